//! The files of hypercore 10, as written by it and after damage.

use hypertab_core::compact_encoding::{Decode, Encode, Writer};
use hypertab_core::engine::{OpenCore, OpenOptions};
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hypercore::v10::{Entry, Header, Import, ImportError, Oplog};
use hypertab_core::storage::MemoryStore;
use serde_json::Value;

use crate::support::common::{entries, hex, hex_fixed, load};
use crate::support::sim::{Host, Random};

#[test]
fn entries_and_headers_decode() {
    let vectors = load("core-storage-v10.json");
    for vector in entries(&vectors, "entries") {
        let entry = Entry::from_slice(&hex(&vector["encoded"])).unwrap();
        assert_entry(&entry, &vector["value"]);
    }
    let vector = &vectors["headerV0"];
    assert_header(&Header::from_slice(&hex(&vector["encoded"])).unwrap(), &vector["decoded"]);
}

#[test]
fn every_oplog_is_read_as_hypercore_10_reads_it() {
    let vectors = load("core-storage-v10.json");
    for vector in entries(&vectors, "oplogRecovery") {
        let result = &vector["result"];
        match Oplog::read(&file(&vector["image"])) {
            Err(_) => assert_eq!(result["error"], "OPLOG_CORRUPT", "{}", vector["name"]),
            Ok(oplog) => assert_oplog(&oplog, result, &vector["name"]),
        }
    }
}

#[test]
fn every_store_is_imported_whole() {
    let vectors = load("core-storage-v10.json");
    for store in entries(&vectors, "stores") {
        let name = &store["name"];
        let files = &store["files"];
        let oplog = file(&files["oplog"]);
        assert_oplog(&Oplog::read(&oplog).unwrap(), &store["oplog"], name);
        let header = files.get("header").map(file);
        let optional = |name: &str| files.get(name).map(file).unwrap_or_default();
        let (tree, bitfield, data) = (optional("tree"), optional("bitfield"), optional("data"));

        let mut import = Import::open(&oplog, header.as_deref(), &tree, &bitfield).unwrap();

        assert_eq!(import.key(), &hex_fixed(&store["key"]), "{name}");
        let head = import.tree().clone();
        assert_eq!((head.length, head.fork), (number(&store["length"]), number(&store["fork"])), "{name}");
        assert_eq!(head.byte_length, number(&store["byteLength"]), "{name}");
        assert_eq!(head.tree_hash(), hex_fixed(&store["treeHash"]), "{name}");
        assert_eq!(import.bitfield().first_unset(0), number(&store["contiguousLength"]), "{name}");
        let mut blocks = Vec::new();
        while let Some((offset, len)) = import.poll_range(10) {
            let (start, end) = (offset as usize, (offset + len) as usize);
            blocks.extend(import.handle_bytes(&data[start..end]));
        }
        let expected: Vec<(u64, Vec<u8>)> = store["blocks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| {
                let value = &block["value"];
                // An empty block reads as null there.
                (number(&block["index"]), if value.is_null() { Vec::new() } else { hex(value) })
            })
            .collect();
        let blocks: Vec<(u64, Vec<u8>)> =
            blocks.into_iter().map(|(index, block)| (index, block.to_vec())).collect();
        assert_eq!(blocks, expected, "{name}");
    }
}

/// Imports with a crash after every storage outcome, then once more: nothing is missing, and nothing is signed anew.
#[test]
fn import_that_was_cut_short_is_taken_up_again() {
    let vectors = load("core-storage-v10.json");
    for store in entries(&vectors, "stores") {
        let files = &store["files"];
        let optional = |name: &str| files.get(name).map(file).unwrap_or_default();
        let [oplog, tree, bitfield, data] = ["oplog", "tree", "bitfield", "data"].map(optional);
        let header = files.get("header").map(file);
        let import = Import::open(&oplog, header.as_deref(), &tree, &bitfield).unwrap();
        for outcomes in 0..8 {
            let mut disk = MemoryStore::new();
            for outcomes in [outcomes, usize::MAX] {
                let mut host = Host::new(1);
                let id = host.store(disk);
                let options =
                    OpenOptions { import: Some(Box::new(import.clone())), ..OpenOptions::default() };
                let open = OpenCore { core: options, ..OpenCore::default() };
                let (core, _) = host.engine.open_core(id, open, host.now);
                let mut random = Random(3);
                let mut blocks = import.clone();
                let mut has_begun = false;
                host.drain();
                for _ in 0..outcomes {
                    if !host.step_disk(&mut random) {
                        let Ok(mut handle) = host.engine.core(core) else { break };
                        let Some((offset, len)) = blocks.poll_range(8) else { break };
                        let (start, end) = (offset as usize, (offset + len) as usize);
                        handle.restore(blocks.handle_bytes(&data[start..end]));
                        has_begun = true;
                        host.drain();
                    }
                }
                if outcomes == usize::MAX {
                    assert!(has_begun || store["blocks"].as_array().unwrap().is_empty());
                    let handle = host.engine.core(core).unwrap();
                    let head = (handle.length(), handle.fork(), handle.contiguous_length());
                    let expected = ["length", "fork", "contiguousLength"].map(|name| number(&store[name]));
                    assert_eq!(head, expected.into());
                    for block in store["blocks"].as_array().unwrap() {
                        let value = &block["value"];
                        let value = if value.is_null() { Vec::new() } else { hex(value) };
                        assert_eq!(host.get_now(core, number(&block["index"])).unwrap(), value);
                    }
                    assert_eq!(host.tree_hash(core), hex_fixed(&store["treeHash"]));
                }
                disk = host.disks.remove(&id).unwrap().data;
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_and_damaged_blocks_left_out() {
    let vectors = load("core-storage-v10.json");
    let store = &entries(&vectors, "stores")[3];
    let [oplog, tree, bitfield, mut data] =
        ["oplog", "tree", "bitfield", "data"].map(|name| file(&store["files"][name]));
    for at in 0..oplog.len() {
        let mut broken = oplog.clone();
        broken[at] ^= 0x10;
        if let Ok(import) = Import::open(&broken, None, &tree, &bitfield) {
            assert!(import.tree().length <= number(&store["length"]));
        }
    }
    let mut broken = tree.clone();
    broken.fill(1);
    let _ = Import::open(&oplog, None, &broken, &bitfield);

    data[0] ^= 1;
    let mut import = Import::open(&oplog, None, &tree, &bitfield).unwrap();
    let (offset, len) = import.poll_range(usize::MAX).unwrap();
    assert_eq!(offset, 0);
    let blocks = import.handle_bytes(&data[..len as usize]);
    let indexes: Vec<u64> = blocks.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 2, 3, 4]);
}

#[test]
fn a_manifest_of_another_core_signs_for_nobody() {
    let manifest = Manifest::single_signer([5; 32]);
    let oplog = |key: [u8; 32]| {
        let mut header = Writer::new();
        header.raw(&[1, 2]);
        header.fixed(&key);
        manifest.encode(&mut header);
        // No user data, an empty tree, no hints.
        header.raw(&[0; 6]);
        let word = (header.as_slice().len() as u32) << 2;
        let record = [&word.to_le_bytes(), header.as_slice()].concat();
        let mut oplog = [&hypertab_crypto::crc32(&record).to_le_bytes()[..], &record].concat();
        oplog.resize(8192, 0);
        oplog
    };

    assert!(Import::open(&oplog(manifest.key()), None, &[], &[]).is_ok());
    assert!(Import::open(&oplog([5; 32]), None, &[], &[]).is_ok(), "a key that signs itself");
    let other = Import::open(&oplog([6; 32]), None, &[], &[]);
    assert_eq!(other.err(), Some(ImportError::InvalidSignature));
}

#[test]
fn numbers_in_an_oplog_cost_nothing_before_it_is_verified() {
    let vectors = load("core-storage-v10.json");
    let files = &entries(&vectors, "stores")[3]["files"];
    let [oplog, tree, bitfield] = ["oplog", "tree", "bitfield"].map(|name| file(&files[name]));
    let mut entry = Writer::new();
    // An upgrade to any length, and all blocks of it.
    for number in [4 | 8, 0, 0, 1 << 50, 0, 0, 0, 1 << 50] {
        entry.uint(number);
    }
    for bit in 0..2 {
        let word = (entry.as_slice().len() as u32) << 2 | bit;
        let record = [&word.to_le_bytes(), entry.as_slice()].concat();
        let checksum = hypertab_crypto::crc32(&record).to_le_bytes();
        let oplog = [&oplog[..8192], &checksum, &record].concat();
        let is_read = !Oplog::read(&oplog).unwrap().entries.is_empty();
        let import = Import::open(&oplog, None, &tree, &bitfield);
        assert_eq!(import.err(), is_read.then_some(ImportError::TreeCorrupt));
    }
}

fn assert_oplog(oplog: &Oplog, expected: &Value, name: &Value) {
    match &oplog.header {
        None => assert!(expected["header"].is_null(), "{name}"),
        Some(header) => assert_header(header, &expected["header"]),
    }
    let expected_entries = expected["entries"].as_array().unwrap();
    assert_eq!(oplog.entries.len(), expected_entries.len(), "{name}");
    for (entry, expected) in oplog.entries.iter().zip(expected_entries) {
        assert_entry(entry, expected);
    }
    assert_eq!(oplog.entry_bytes, number(&expected["entryBytes"]), "{name}");
    let bits = expected["headerBits"].as_array().unwrap();
    assert_eq!(oplog.header_bits.map(u64::from), [number(&bits[0]), number(&bits[1])], "{name}");
}

fn assert_header(header: &Header, expected: &Value) {
    if let Some((start, length)) = header.external {
        let external = &expected["external"];
        return assert_eq!((start, length), (number(&external["start"]), number(&external["length"])));
    }
    assert_eq!(header.key, hex_fixed(&expected["key"]));
    let pair = header.key_pair.as_ref();
    assert_eq!(pair.is_some(), !expected["keyPair"].is_null());
    if let Some(pair) = pair {
        assert_eq!(pair.public_key, hex_fixed(&expected["keyPair"]["publicKey"]));
        let secret = pair.key_pair.as_ref().map(|pair| pair.secret_key.to_bytes().to_vec());
        let expected = &expected["keyPair"]["secretKey"];
        assert_eq!(secret, (!expected.is_null()).then(|| hex(expected)));
    }
    let manifest = header.manifest.as_ref();
    assert_eq!(manifest.is_some(), !expected["manifest"].is_null());
    if let Some(manifest) = manifest {
        assert_eq!(manifest.version, number(&expected["manifest"]["version"]));
        assert_eq!(
            manifest.signers[0].public_key,
            hex_fixed(&expected["manifest"]["signers"][0]["publicKey"])
        );
        assert!(manifest.belongs_to(&header.key) || manifest.is_compat(&header.key));
    }
    let tree = &expected["tree"];
    assert_eq!((header.fork, header.length), (number(&tree["fork"]), number(&tree["length"])));
    assert_eq!(header.root_hash, (!tree["rootHash"].is_null()).then(|| hex_fixed(&tree["rootHash"])));
    let signature = header.signature.as_ref().map(|signature| signature.to_vec());
    assert_eq!(signature, (!tree["signature"].is_null()).then(|| hex(&tree["signature"])));
    assert_eq!(header.contiguous_length, number(&expected["hints"]["contiguousLength"]));
    let user_data = expected["userData"].as_array().unwrap();
    assert_eq!(header.user_data.len(), user_data.len());
}

fn assert_entry(entry: &Entry, expected: &Value) {
    let user_data = &expected["userData"];
    assert_eq!(entry.user_data.is_some(), !user_data.is_null());
    if let Some((name, value)) = &entry.user_data {
        assert_eq!(
            (name.as_str(), value.to_vec()),
            (user_data["key"].as_str().unwrap(), hex(&user_data["value"]))
        );
    }
    let nodes = expected["treeNodes"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(entry.nodes.len(), nodes.len());
    for (node, expected) in entry.nodes.iter().zip(nodes) {
        assert_eq!((node.index, node.size), (number(&expected["index"]), number(&expected["size"])));
        assert_eq!(node.hash, hex_fixed(&expected["hash"]));
    }
    let upgrade = &expected["treeUpgrade"];
    assert_eq!(entry.upgrade.is_some(), !upgrade.is_null());
    if let Some(found) = &entry.upgrade {
        let head = [&upgrade["fork"], &upgrade["ancestors"], &upgrade["length"]].map(number);
        assert_eq!([found.fork, found.ancestors, found.length], head);
        assert_eq!(found.signature, hex(&upgrade["signature"]));
    }
    let bitfield = &expected["bitfield"];
    assert_eq!(entry.bitfield.is_some(), !bitfield.is_null());
    if let Some(found) = &entry.bitfield {
        assert_eq!((found.start, found.length), (number(&bitfield["start"]), number(&bitfield["length"])));
        assert_eq!(Some(found.drop), bitfield["drop"].as_bool());
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn file(image: &Value) -> Vec<u8> {
    let mut bytes = vec![0; number(&image["byteLength"]) as usize];
    for run in image["runs"].as_array().unwrap() {
        let (start, run) = (number(&run["offset"]) as usize, hex(&run["hex"]));
        bytes[start..start + run.len()].copy_from_slice(&run);
    }
    bytes
}
