//! Manifests and signatures of several signers against upstream's bytes.

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode, DecodeError, Encode};
use hypertab_core::crypto::KeyPair;
use hypertab_core::crypto::namespaces::DEFAULT_NAMESPACE;
use hypertab_core::hypercore::manifest::{Manifest, ManifestInput, SignerInput};
use hypertab_core::hypercore::multisig::{self, MultiSignature, PartialSignature};
use hypertab_core::hypercore::verifier::Verifier;
use serde_json::Value;

use crate::support::log::{Log, hex, key, list, manifest, nodes, number, text, vectors};

#[test]
fn manifests_encode_and_decode_to_the_same_bytes_and_key() {
    for entry in list(&vectors("core-manifest.json")["manifests"]) {
        let expected = manifest(&entry["manifest"]);
        let encoded = hex(&entry["encoded"]);
        assert_eq!(encode(&expected), encoded, "{}", entry["name"]);
        assert_eq!(decode(&encoded).unwrap(), expected, "{}", entry["name"]);
        assert_eq!(expected.key(), key(&entry["key"]), "{}", entry["name"]);
        assert_eq!(Manifest::create(input(&entry["manifest"])).unwrap(), expected, "{}", entry["name"]);
    }
}

#[test]
fn default_manifest_is_upstreams() {
    let entry = &vectors("core-manifest.json")["manifests"][0];
    let public_key = key(&entry["manifest"]["signers"][0]["publicKey"]);

    let single = Manifest::single_signer(public_key);

    assert_eq!(single, manifest(&entry["manifest"]));
    assert!(single.is_compat(&public_key) && !single.is_compat(&single.key()));
    assert!(single.belongs_to(&public_key) && single.belongs_to(&single.key()));
}

#[test]
fn defaults_are_filled_in_as_upstream_does() {
    let signer = SignerInput { public_key: Some(vec![1; 32]), ..SignerInput::default() };
    let three = ManifestInput { signers: vec![signer.clone(); 3], ..ManifestInput::default() };

    let plain = Manifest::create(three.clone()).unwrap();
    let empty_linked = ManifestInput { linked: Some(vec![]), ..three.clone() };
    let empty_data = ManifestInput { user_data: Some(Bytes::new()), ..three };

    assert_eq!((plain.version, plain.quorum), (1, 2));
    assert_eq!(plain.signers[0].namespace, DEFAULT_NAMESPACE);
    assert_eq!(Manifest::create(empty_linked).unwrap(), plain);
    let with_data = Manifest::create(empty_data).unwrap();
    assert_eq!((with_data.version, with_data.user_data.clone()), (2, Some(Bytes::new())));
    assert_eq!(decode(&encode(&with_data)).unwrap(), with_data);
    assert_eq!(Manifest::create(ManifestInput::default()).unwrap().quorum, 0);
}

#[test]
fn bad_manifests_are_refused_with_upstreams_code() {
    let signer = || SignerInput { public_key: Some(vec![1; 32]), ..SignerInput::default() };
    let base = || ManifestInput { signers: vec![signer()], ..ManifestInput::default() };
    for entry in list(&vectors("core-manifest.json")["refused"]) {
        if entry["encoded"].is_string() {
            assert!(decode(&hex(&entry["encoded"])).is_err(), "{}", entry["name"]);
            continue;
        }
        let input = match text(&entry["name"]) {
            "quorum above signers" => ManifestInput { quorum: Some(2), ..base() },
            "negative quorum" => ManifestInput { quorum: Some(-1), ..base() },
            "user data on v1" => {
                ManifestInput { version: Some(1), user_data: Some(Bytes::from("x")), ..base() }
            }
            "linked on v1" => ManifestInput { version: Some(1), linked: Some(vec![vec![1; 32]]), ..base() },
            "short linked key" => ManifestInput { linked: Some(vec![vec![1; 31]]), ..base() },
            "short prologue hash" => {
                ManifestInput { signers: vec![], prologue: Some((vec![1; 31], 1)), ..base() }
            }
            "unknown hash" => ManifestInput { hash: Some("sha256".into()), ..base() },
            "unknown signature" => {
                let signer = SignerInput { signature: Some("secp256k1".into()), ..signer() };
                ManifestInput { signers: vec![signer], ..base() }
            }
            "missing public key" => ManifestInput { signers: vec![SignerInput::default()], ..base() },
            name => panic!("unknown case {name}"),
        };
        assert_eq!(Manifest::create(input).unwrap_err().code(), text(&entry["code"]), "{}", entry["name"]);
    }
}

#[test]
fn signatures_of_several_signers_are_upstreams() {
    let file = vectors("core-manifest.json");
    let multi = &file["multisig"];
    let blocks: Vec<_> = list(&multi["blocks"]).iter().map(hex).collect();
    let who = manifest(&multi["manifest"]);
    let verifier = Verifier::new(key(&multi["key"]), &who).unwrap();
    let lengths = [6, 4, 5];
    assert_eq!(multisig::signable_length(&lengths, 2), 5);
    assert_eq!(multisig::signable_length(&lengths, 4), 0);

    for entry in list(&multi["signatures"]).iter().chain(list(&multi["combinations"])) {
        let mut log = Log::new(None);
        log.append(&blocks[..number(&entry["length"]) as usize]);
        assert_eq!(log.tree.tree_hash(), key(&entry["treeHash"]));
        let valid = verifier.verify(&log.tree, Some(&hex(&entry["encoded"])));
        assert_eq!(valid, entry["valid"].as_bool().unwrap(), "{}", entry["name"]);
    }
    for entry in list(&multi["signatures"]) {
        let decoded = MultiSignature::decode(&hex(&entry["encoded"])).unwrap();
        assert_eq!(decoded.patch, nodes(&entry["decoded"]["patch"]));
        let inputs: Vec<_> = decoded
            .proofs
            .iter()
            .map(|proof| partial(&verifier, &blocks, &lengths, proof.signer, number(&entry["length"])))
            .collect();
        for (proof, input) in decoded.proofs.iter().zip(&inputs) {
            assert_eq!((proof.patch, proof.signature), (input.patch, input.signature));
        }
        assert_eq!(verifier.assemble(&inputs), hex(&entry["encoded"]), "{}", entry["name"]);
    }
}

#[test]
fn signatures_for_version_0_are_upstreams() {
    let file = vectors("core-manifest.json");
    let entry = &file["multisigV0"];
    let blocks: Vec<_> = list(&file["multisig"]["blocks"]).iter().map(hex).collect();
    let mut who = manifest(&file["multisig"]["manifest"]);
    who.version = 0;
    who.signers.iter_mut().for_each(|signer| signer.namespace = [0xaa; 32]);
    assert_eq!(who.key(), key(&entry["key"]));
    let verifier = Verifier::new(who.key(), &who).unwrap();
    let mut log = Log::new(None);
    log.append(&blocks[..4]);

    let inputs = [0, 1].map(|signer| partial(&verifier, &blocks, &[6, 4, 5], signer, 4));
    let signature = verifier.assemble(&inputs);

    assert_eq!(signature, hex(&entry["encoded"]));
    assert!(verifier.verify(&log.tree, Some(&signature)));
    let mut broken = signature.to_vec();
    broken[10] ^= 1;
    assert!(!verifier.verify(&log.tree, Some(&broken)));
    assert!(!verifier.verify(&log.tree, None));
}

fn partial(
    verifier: &Verifier,
    blocks: &[Vec<u8>],
    lengths: &[u64],
    signer: u64,
    target: u64,
) -> PartialSignature {
    let pair = KeyPair::from_seed(&[signer as u8 + 1; 32]);
    let mut log = Log::new(None);
    log.append(&blocks[..lengths[signer as usize] as usize]);
    let raw = verifier.sign(&log.tree, &pair).unwrap();
    let raw = multisig::raw_signature(&raw).unwrap();
    let partial = log.store.run(|source| multisig::partial_signature(source, &log.tree, signer, target, raw));
    partial.unwrap().unwrap()
}

fn input(value: &Value) -> ManifestInput {
    let manifest = manifest(value);
    ManifestInput {
        version: Some(manifest.version),
        hash: Some("blake2b".into()),
        allow_patch: manifest.allow_patch,
        quorum: Some(manifest.quorum as i64),
        signers: manifest
            .signers
            .iter()
            .map(|signer| SignerInput {
                signature: Some("ed25519".into()),
                namespace: Some(signer.namespace.to_vec()),
                public_key: Some(signer.public_key.to_vec()),
            })
            .collect(),
        prologue: manifest.prologue.map(|prologue| (prologue.hash.to_vec(), prologue.length)),
        linked: manifest.linked.map(|keys| keys.iter().map(|key| key.to_vec()).collect()),
        user_data: manifest.user_data,
    }
}

fn encode(manifest: &Manifest) -> Vec<u8> {
    manifest.to_vec()
}

fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
    Manifest::from_slice(bytes)
}
