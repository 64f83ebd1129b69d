//! What the tests of the log share: recorded vectors, and stored nodes that load on demand.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hypertab_core::crypto::{KeyPair, Node};
use hypertab_core::hypercore::manifest::{Manifest, Prologue, Signer};
use hypertab_core::hypercore::merkle_tree::{Missing, NodeSource, Tree, TreeBatch};
use hypertab_core::hypercore::verifier::Verifier;
use serde_json::Value;

/// Reads a file of recorded vectors.
pub fn vectors(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

pub fn hex(value: &Value) -> Vec<u8> {
    unhex(text(value))
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn key(value: &Value) -> [u8; 32] {
    hex(value).try_into().unwrap()
}

pub fn node(value: &Value) -> Node {
    Node { index: number(&value["index"]), size: number(&value["size"]), hash: key(&value["hash"]) }
}

pub fn nodes(value: &Value) -> Vec<Node> {
    list(value).iter().map(node).collect()
}

pub fn manifest(value: &Value) -> Manifest {
    let prologue = &value["prologue"];
    let signers = list(&value["signers"]).iter();
    Manifest {
        version: number(&value["version"]),
        allow_patch: value["allowPatch"].as_bool().unwrap(),
        quorum: number(&value["quorum"]),
        signers: signers
            .map(|signer| Signer {
                namespace: key(&signer["namespace"]),
                public_key: key(&signer["publicKey"]),
            })
            .collect(),
        prologue: prologue
            .is_object()
            .then(|| Prologue { hash: key(&prologue["hash"]), length: number(&prologue["length"]) }),
        linked: value["linked"].as_array().map(|keys| keys.iter().map(key).collect()),
        user_data: value["userData"].as_str().map(|bytes| Bytes::from(unhex(bytes))),
    }
}

/// A log with all its nodes, written by one key pair.
pub struct Log {
    pub tree: Tree,
    pub store: Store,
    pub blocks: Vec<Vec<u8>>,
}

impl Log {
    pub fn new(prologue: Option<Prologue>) -> Self {
        Self { tree: Tree::empty(0, prologue), store: Store::default(), blocks: Vec::new() }
    }

    pub fn append<T: AsRef<[u8]>>(&mut self, blocks: &[T]) {
        let mut batch = TreeBatch::new(self.tree.clone());
        for block in blocks {
            batch.append(block.as_ref());
            self.blocks.push(block.as_ref().to_vec());
        }
        self.store.put(&batch.nodes);
        self.tree = batch.tree;
        self.tree.signature = None;
    }

    pub fn sign(&mut self, verifier: &Verifier, pair: &KeyPair) {
        self.tree.signature = Some(verifier.sign(&self.tree, pair).unwrap());
    }
}

/// Stored nodes. Each must be loaded before a walk sees it, unless the store is resident.
#[derive(Clone, Default)]
pub struct Store {
    pub nodes: BTreeMap<u64, Node>,
    loaded: RefCell<BTreeSet<u64>>,
    wanted: RefCell<BTreeSet<u64>>,
}

impl Store {
    pub fn of(nodes: &[Node]) -> Self {
        let mut store = Self::default();
        store.put(nodes);
        store
    }

    pub fn put(&mut self, nodes: &[Node]) {
        self.nodes.extend(nodes.iter().map(|node| (node.index, *node)));
    }

    pub fn list(&self) -> Vec<Node> {
        self.nodes.values().copied().collect()
    }

    /// Runs a walk from nothing loaded until it has all it needs.
    pub fn run<T>(&self, mut walk: impl FnMut(&dyn NodeSource) -> Result<T, Missing>) -> T {
        self.loaded.borrow_mut().clear();
        for _ in 0..200 {
            match walk(self) {
                Ok(value) => return value,
                Err(Missing) => {
                    let wanted = self.wanted.take();
                    assert!(!wanted.is_empty(), "a walk stopped without saying what it needs");
                    self.loaded.borrow_mut().extend(wanted);
                }
            }
        }
        panic!("a walk never ended");
    }
}

impl NodeSource for Store {
    fn node(&self, index: u64) -> Result<Option<Node>, Missing> {
        if !self.loaded.borrow().contains(&index) {
            self.wanted.borrow_mut().insert(index);
            return Err(Missing);
        }
        Ok(self.nodes.get(&index).copied())
    }
}
