//! Proofs against upstream's: made, accepted, refused, reorganised, stand-alone.

use bytes::Bytes;
use hypertab_core::compact_encoding::Writer;
use hypertab_core::crypto::{KeyPair, discovery_key};
use hypertab_core::hypercore::conflict::{Verdict, check_conflict};
use hypertab_core::hypercore::manifest::{Manifest, Prologue};
use hypertab_core::hypercore::merkle_tree::{
    Tree, byte_range, missing_nodes, roots_at, seek, truncated_ancestors,
};
use hypertab_core::hypercore::proof::{
    BlockRequest, HashRequest, Proof, ProofRequest, SeekRequest, UpgradeRequest, data_len, decode_data,
    decode_request, encode_data, encode_request, request_len,
};
use hypertab_core::hypercore::prove::{Refused, prove};
use hypertab_core::hypercore::reorg::{Reorg, ReorgWant};
use hypertab_core::hypercore::standalone::StandaloneProof;
use hypertab_core::hypercore::verifier::Verifier;
use hypertab_core::hypercore::verify::{Identity, VerifyError, verify};
use serde_json::Value;

use crate::support::log::{Log, Store, hex, key, list, manifest, nodes, number, text, vectors};
use crate::support::sim::Random;

#[test]
fn proofs_are_made_and_accepted_as_upstream_does() {
    let file = vectors("core-proofs.json");
    let mut known = None;
    for case in list(&file["cases"]) {
        let name = text(&case["name"]);
        let writer = writer(&file, name);
        let message = &case["request"]["message"];
        let encoded_request = hex(&case["request"]["encoded"]);
        let (id, fork, priority, request) = decode_request(&encoded_request).unwrap();
        assert_eq!((id, fork, priority), (number(&message["id"]), 0, 0), "{name}");
        assert_eq!(request, request_of(message), "{name}");
        let mut out = Writer::new();
        encode_request(id, fork, priority, &request, &mut out);
        assert_eq!(out.into_vec(), encoded_request, "{name}");
        assert_eq!(request_len(id, fork, priority, &request), encoded_request.len(), "{name}");

        let mut proof = writer.log.store.run(|source| prove(source, &writer.log.tree, &request)).unwrap();
        if let Some(block) = &mut proof.block {
            block.value = Bytes::from(writer.log.blocks[block.index as usize].clone());
        }
        if request.manifest && !writer.manifest.is_compat(&writer.key) {
            proof.manifest = Some(writer.manifest.clone());
        }
        let data = Bytes::from(hex(&case["data"]["encoded"]));
        let mut out = Writer::new();
        encode_data(id, &proof, &mut out);
        assert_eq!(out.into_vec(), data, "{name}");
        assert_eq!(data_len(id, &proof), data.len(), "{name}");
        assert_eq!(decode_data(&data).unwrap(), (id, proof.clone()), "{name}");

        let manifest = match case["reader"]["manifestKnown"].as_bool().unwrap() {
            true => Some(&writer.manifest),
            false => None,
        };
        let mut store = Store::of(&nodes(&case["reader"]["nodes"]));
        let mut tree = reader_tree(&store, &case["reader"], manifest);
        let verified =
            store.run(|source| verify(source, &tree, &Identity::new(&writer.key, manifest), &proof)).unwrap();
        store.put(&verified.nodes);
        let after = &case["after"];
        assert_eq!(store.list(), nodes(&after["nodes"]), "{name}");
        assert_eq!(verified.block.is_some(), request.block.is_some(), "{name}");
        assert_eq!(verified.manifest.is_some(), manifest.is_none(), "{name}");
        if let Some(upgraded) = verified.upgraded {
            tree = upgraded;
        }
        let state = (tree.fork, tree.length, tree.byte_length);
        let expected = (&after["fork"], &after["length"], &after["byteLength"]);
        assert_eq!(state, (number(expected.0), number(expected.1), number(expected.2)), "{name}");
        known = verified.manifest.or(known);
    }
    assert!(known.is_some());
}

#[test]
fn tampered_proofs_are_refused_with_upstreams_code() {
    let file = vectors("core-proofs.json");
    let writer = writer(&file, "");
    for case in list(&file["refused"]) {
        let length = number(&case["reader"]["length"]);
        let manifest = (length > 0).then_some(&writer.manifest);
        let roots: Vec<_> = [7, 19, 24].iter().map(|index| writer.log.store.nodes[index]).collect();
        let store = if length > 0 { Store::of(&roots) } else { Store::default() };
        let tree = reader_tree(&store, &case["reader"], manifest);
        let data = Bytes::from(hex(&case["encoded"]));
        let (_, proof) = decode_data(&data).unwrap();

        let result = store.run(|source| verify(source, &tree, &Identity::new(&writer.key, manifest), &proof));

        assert_eq!(result.is_ok(), case["accepted"].as_bool().unwrap(), "{}", case["name"]);
        let code = result.err().and_then(|error| error.code());
        assert_eq!(code, case["error"].as_str(), "{}", case["name"]);
    }
}

#[test]
fn what_upstream_does_not_prove_is_refused() {
    let file = vectors("core-proofs.json");
    let writer = writer(&file, "");
    for case in list(&file["invalid"]) {
        let request = request_of(&case["request"]);
        let result = writer.log.store.run(|source| prove(source, &writer.log.tree, &request));
        assert_eq!(result.unwrap_err().code(), text(&case["code"]), "{}", case["name"]);
    }
}

#[test]
fn a_reorg_ends_where_upstreams_does() {
    let file = vectors("core-proofs.json");
    let reorg = &file["reorg"];
    let key = key(&file["key"]);
    let manifest = writer(&file, "").manifest;
    let server = Store::of(&nodes(&reorg["writer"]["nodes"]));
    let mut store = Store::of(&nodes(&reorg["reader"]["nodes"]));
    let tree = reader_tree(&store, &reorg["reader"], Some(&manifest));
    let mut machine: Option<Reorg> = None;
    let mut server_tree = reader_tree(&server, &reorg["writer"], None);

    for step in list(&reorg["steps"]) {
        let data = Bytes::from(hex(&step["data"]));
        let (id, proof) = decode_data(&data).unwrap();
        let encoded = hex(&step["request"]);
        let (_, _, _, request) = decode_request(&encoded).unwrap();
        if let Some(upgrade) = &proof.upgrade {
            server_tree.signature = upgrade.signature.clone();
        }
        let made = server.run(|source| prove(source, &server_tree, &request)).unwrap();
        assert_eq!((made, id), (proof.clone(), id));

        match &mut machine {
            None => {
                let result = store
                    .run(|source| Reorg::start(source, &tree, &Identity::new(&key, Some(&manifest)), &proof));
                machine = Some(result.unwrap());
            }
            Some(machine) => {
                assert_eq!(machine.request(), Some(request));
                let mut broken = proof.clone();
                broken.hash.as_mut().unwrap().nodes[0].hash[0] ^= 1;
                assert!(store.run(|source| machine.update(source, &broken)).is_err());
                store.run(|source| machine.clone().update(source, &proof)).unwrap();
                let updated = store.run(|source| {
                    let mut next = machine.clone();
                    Ok(next.update(source, &proof)?.map(|()| next))
                });
                *machine = updated.unwrap();
            }
        }
        let state = machine.as_ref().unwrap();
        let after = &step["after"];
        let want = after["want"].as_object().map(|want| ReorgWant {
            start: number(&want["start"]),
            end: number(&want["end"]),
            nodes: number(&want["nodes"]),
        });
        assert_eq!(state.want(), want);
        assert_eq!(state.want().is_none(), after["finished"].as_bool().unwrap());
        assert_eq!(state.ancestors(), number(&after["ancestors"]));
        assert_eq!(state.diff(), after["diff"].as_u64());
    }

    let done = machine.unwrap().finish().unwrap();
    assert_eq!(done.old, (0, 13));
    store.nodes.retain(|&index, _| index < 2 * done.ancestors);
    for index in truncated_ancestors(done.ancestors) {
        store.nodes.remove(&index);
    }
    store.put(&done.nodes);
    assert_eq!(store.list(), nodes(&reorg["after"]["nodes"]));
    let left = list(&reorg["blocksLeft"]).iter().map(number);
    assert!(left.eq([0, 4, 7, 9].into_iter().filter(|&block| block < done.ancestors)));
    assert_eq!((done.tree.length, done.tree.fork), (9, 1));
}

#[test]
fn a_stand_alone_proof_is_upstreams() {
    let file = vectors("core-proofs.json");
    let entry = &file["fullyRemote"];
    let (bytes, core_key) = (Bytes::from(hex(&entry["encoded"])), key(&entry["key"]));
    let manifest = writer(&file, "").manifest;

    let proof = StandaloneProof::decode(&bytes).unwrap();

    assert_eq!(proof.discovery_key, discovery_key(&core_key));
    assert_eq!(proof.encode(), bytes);
    let verified = proof.verify(&core_key, &manifest).unwrap();
    assert_eq!((verified.tree.length, verified.tree.fork), (number(&entry["length"]), 1));
    assert_eq!(proof.proof.block.as_ref().map(|block| block.index), Some(3));
    let mut broken = bytes.to_vec();
    broken[40] ^= 1;
    let broken = StandaloneProof::decode(&Bytes::from(broken));
    assert!(broken.is_err() || broken.unwrap().verify(&core_key, &manifest).is_err());
}

#[test]
fn every_proof_between_two_trees_verifies() {
    let pair = KeyPair::from_seed(&[3; 32]);
    let manifest = Manifest::single_signer(pair.public_key);
    let key = manifest.key();
    let verifier = Verifier::new(key, &manifest).unwrap();
    for seed in 1..=40 {
        let mut random = Random(seed);
        let length = 1 + random.below(70);
        let mut writer = Log::new(None);
        let (mut store, mut tree) = (Store::default(), Tree::default());
        let mut have = vec![false; length as usize];
        while have.contains(&false) {
            if writer.tree.length < length {
                let count = 1 + random.below(length - writer.tree.length);
                let blocks: Vec<Vec<u8>> =
                    (0..count).map(|_| vec![random.below(256) as u8; random.below(40) as usize]).collect();
                writer.append(&blocks);
                writer.sign(&verifier, &pair);
            }
            let mut request = ProofRequest::default();
            let ours = tree.length;
            if ours < writer.tree.length && (ours == 0 || random.below(2) == 0) {
                let more = 1 + random.below(writer.tree.length - ours);
                request.upgrade = Some(UpgradeRequest { start: ours, length: more });
            }
            let end = request.upgrade.map_or(ours, |upgrade| upgrade.start + upgrade.length);
            let block = random.below(end);
            if random.below(3) > 0 {
                let nodes = store.run(|source| missing_nodes(source, 2 * block, ours));
                if random.below(4) == 0 {
                    request.hash = Some(HashRequest { index: 2 * block, nodes });
                } else {
                    request.block = Some(BlockRequest { index: block, nodes });
                }
            }
            if request.upgrade.is_none() && request.block.is_none() && request.hash.is_none() {
                continue;
            }
            let target = request.block.map(|block| block.index).or(request.hash.map(|hash| hash.index / 2));
            if target.is_none_or(|target| request.upgrade.is_none() || target < ours) && random.below(3) == 0
            {
                request.seek =
                    Some(SeekRequest { bytes: random.below(writer.tree.byte_length + 1), padding: 0 });
            }

            let mut result = writer.store.run(|source| prove(source, &writer.tree, &request));
            if matches!(result, Err(Refused::SeekOutOfBounds { .. })) {
                request.seek = None;
                result = writer.store.run(|source| prove(source, &writer.tree, &request));
            }
            let mut proof = result.unwrap_or_else(|error| panic!("seed {seed}: {error} {request:?}"));
            if let Some(block) = &mut proof.block {
                block.value = Bytes::from(writer.blocks[block.index as usize].clone());
            }
            let mut out = Writer::new();
            encode_data(1, &proof, &mut out);
            let bytes = Bytes::from(out.into_vec());
            assert_eq!(decode_data(&bytes).unwrap().1, proof, "seed {seed}");

            let check = |proof: &Proof| {
                store.run(|source| verify(source, &tree, &Identity::new(&key, Some(&manifest)), proof))
            };
            let verified = check(&proof).unwrap_or_else(|error| panic!("seed {seed}: {error} {request:?}"));
            if let Some(broken) = tamper(&proof, &mut random) {
                assert!(check(&broken).is_err(), "seed {seed}: {request:?} {broken:?}");
            }

            let late = (proof.clone(), tree.length);
            store.put(&verified.nodes);
            if let Some(upgraded) = verified.upgraded {
                assert_eq!(upgraded.tree_hash(), writer.tree.tree_hash(), "seed {seed}");
                tree = upgraded;
            }
            if let Some((block, value)) = verified.block {
                assert_eq!(value, writer.blocks[block as usize], "seed {seed}");
                have[block as usize] = true;
            }
            for (index, node) in &store.nodes {
                assert_eq!(writer.store.nodes.get(index), Some(node), "seed {seed}");
            }
            // The same proof again, as from a slower peer.
            let again =
                store.run(|source| verify(source, &tree, &Identity::new(&key, Some(&manifest)), &late.0));
            assert_eq!(again.map(|verified| verified.upgraded), Ok(None), "seed {seed}: {request:?}");
        }
        assert_eq!(tree.roots, writer.tree.roots, "seed {seed}");
    }
}

#[test]
fn every_reorg_between_two_forks_keeps_only_what_they_share() {
    let pair = KeyPair::from_seed(&[3; 32]);
    let manifest = Manifest::single_signer(pair.public_key);
    let key = manifest.key();
    let verifier = Verifier::new(key, &manifest).unwrap();
    for seed in 1..=200 {
        let mut random = Random(seed);
        let shared = random.below(40);
        let (old_more, new_more) = (random.below(20), 1 + random.below(20));
        let block = |seed: u64| vec![seed as u8; 1 + seed as usize % 9];
        let mut old = Log::new(None);
        old.append(&(0..shared + old_more).map(block).collect::<Vec<_>>());
        let mut new = Log::new(None);
        new.append(&(0..shared).map(block).collect::<Vec<_>>());
        new.append(&(0..new_more).map(|more| block(100 + more)).collect::<Vec<_>>());
        new.tree.fork = 2;
        new.sign(&verifier, &pair);
        let dense = random.below(2) == 0;
        let mut store = old.store.clone();
        if !dense {
            // A reader that holds the roots and some blocks.
            let keep = random.below(shared + old_more + 1);
            let roots: Vec<u64> = old.tree.roots.iter().map(|root| root.index).collect();
            let near = |index: u64| index.abs_diff(2 * keep) < 16;
            store.nodes.retain(|index, _| roots.contains(index) || near(*index));
        }

        let upgrade = Some(UpgradeRequest { start: 0, length: new.tree.length });
        let request = ProofRequest { upgrade, ..ProofRequest::default() };
        let proof = new.store.run(|source| prove(source, &new.tree, &request)).unwrap();
        let started = store
            .run(|source| Reorg::start(source, &old.tree, &Identity::new(&key, Some(&manifest)), &proof));
        let mut reorg = started.unwrap();
        let mut rounds = 0;
        while let Some(request) = reorg.request() {
            let proof = new.store.run(|source| prove(source, &new.tree, &request)).unwrap();
            let updated = store.run(|source| {
                let mut next = reorg.clone();
                Ok(next.update(source, &proof)?.map(|()| next))
            });
            reorg = updated.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            rounds += 1;
            assert!(rounds < 20, "seed {seed}");
        }
        let done = reorg.finish().unwrap();

        assert!(done.ancestors <= shared, "seed {seed}");
        if dense {
            assert_eq!(done.ancestors, shared, "seed {seed}");
        }
        store.nodes.retain(|&index, _| index < 2 * done.ancestors);
        for index in truncated_ancestors(done.ancestors) {
            store.nodes.remove(&index);
        }
        store.put(&done.nodes);
        for (index, node) in &store.nodes {
            assert_eq!(new.store.nodes.get(index), Some(node), "seed {seed}");
        }
        let roots = store.run(|source| roots_at(source, done.tree.length)).unwrap();
        assert_eq!((roots, done.tree.fork), (new.tree.roots, 2), "seed {seed}");
    }
}

#[test]
fn hostile_messages_are_refused_without_a_panic() {
    let file = vectors("core-proofs.json");
    let writer = writer(&file, "");
    let (log, key) = (&writer.log, &writer.key);
    let cases = list(&file["cases"]);
    let mut random = Random(7);
    let mut decoded = 0;
    for _ in 0..20_000 {
        let case = &cases[random.below(cases.len() as u64) as usize];
        let mut bytes = hex(&case["data"]["encoded"]);
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = 0xff,
                _ => bytes.truncate(at + 1),
            }
        }
        if let Ok((_, mut proof)) = decode_data(&Bytes::from(bytes)) {
            decoded += 1;
            let empty = Store::default();
            let tree = Tree::empty(0, None);
            let _ = empty.run(|source| verify(source, &tree, &Identity::new(key, None), &proof));
            let _ = log
                .store
                .run(|source| verify(source, &log.tree, &Identity::new(key, Some(&writer.manifest)), &proof));
            let _ = log.store.run(|source| {
                check_conflict(source, &log.tree, &Identity::new(key, Some(&writer.manifest)), &proof)
            });
            proof.fork = 1;
            let _ =
                log.store.run(|source| Reorg::start(source, &log.tree, &Identity::new(key, None), &proof));
        }
    }
    assert!(decoded > 1000, "{decoded}");

    for _ in 0..20_000 {
        let mut value = || match random.below(4) {
            0 => random.below(30),
            1 => u64::MAX - random.below(3),
            2 => (1 << random.below(64)) - random.below(2),
            _ => random.below(14),
        };
        let (block, hash) = (value() % 2 == 0, value() % 2 == 0);
        let request = ProofRequest {
            block: block.then(|| BlockRequest { index: value(), nodes: value() }),
            hash: hash.then(|| HashRequest { index: value(), nodes: value() }),
            seek: (value() % 2 == 0).then(|| SeekRequest { bytes: value(), padding: value() }),
            upgrade: (value() % 2 == 0).then(|| UpgradeRequest { start: value(), length: value() }),
            manifest: false,
        };
        let index = value();
        let _ = log.store.run(|source| prove(source, &log.tree, &request));
        let _ = log.store.run(|source| byte_range(source, &log.tree, index));
        let _ = log.store.run(|source| missing_nodes(source, index, log.tree.length));
        let (bytes, padding) = (value(), value());
        let _ = log.store.run(|source| seek(source, &log.tree, bytes, padding));
    }
}

#[test]
fn an_overtaken_upgrade_still_brings_its_block() {
    let file = vectors("core-proofs.json");
    let writer = writer(&file, "");
    let block = Some(BlockRequest { index: 10, nodes: 0 });
    let upgrade = Some(UpgradeRequest { start: 5, length: 8 });
    let request = ProofRequest { block, upgrade, ..ProofRequest::default() };
    let mut proof = writer.log.store.run(|source| prove(source, &writer.log.tree, &request)).unwrap();
    proof.block.as_mut().unwrap().value = Bytes::from(writer.log.blocks[10].clone());
    let full = &writer.log.tree;
    let check = |store: &Store, tree: &Tree, proof: &Proof| {
        store.run(|source| verify(source, tree, &Identity::new(&writer.key, Some(&writer.manifest)), proof))
    };

    let verified = check(&writer.log.store, full, &proof).unwrap();
    assert_eq!((verified.upgraded, verified.block.unwrap().0), (None, 10));

    let jumped = Store::of(&full.roots);
    assert_eq!(check(&jumped, full, &proof), Err(VerifyError::Stale));

    proof.block.as_mut().unwrap().value = Bytes::from("something else");
    assert!(matches!(check(&writer.log.store, full, &proof), Err(VerifyError::InvalidChecksum { .. })));
}

#[test]
fn two_signed_trees_of_one_fork_are_a_conflict() {
    let pair = KeyPair::from_seed(&[3; 32]);
    let manifest = Manifest::single_signer(pair.public_key);
    let key = manifest.key();
    let verifier = Verifier::new(key, &manifest).unwrap();
    let log = |blocks: &[&[u8]]| {
        let mut log = Log::new(None);
        log.append(blocks);
        log.sign(&verifier, &pair);
        log
    };
    let ours = log(&[b"a", b"b", b"c"]);
    let theirs = log(&[b"a", b"x", b"c", b"d"]);
    let longer = log(&[b"a", b"b", b"c", b"d"]);
    let request = |length| ProofRequest {
        upgrade: Some(UpgradeRequest { start: 0, length }),
        ..ProofRequest::default()
    };
    let proof =
        |log: &Log, length| log.store.run(|source| prove(source, &log.tree, &request(length))).unwrap();
    let judge = |proof: &Proof| {
        ours.store
            .run(|source| check_conflict(source, &ours.tree, &Identity::new(&key, Some(&manifest)), proof))
    };

    let own = proof(&ours, 3);
    assert_eq!(judge(&proof(&theirs, 3)), Verdict::Conflict { length: 3, fork: 0, own: Box::new(own) });
    assert_eq!(judge(&proof(&longer, 3)), Verdict::Same);
    assert_eq!(judge(&proof(&longer, 4)), Verdict::Incomparable);
    let mut unsigned = proof(&theirs, 3);
    unsigned.upgrade.as_mut().unwrap().signature = None;
    assert_eq!(judge(&unsigned), Verdict::Invalid(VerifyError::InvalidSignature));
    let mut shifted = proof(&theirs, 3);
    let upgrade = shifted.upgrade.as_mut().unwrap();
    (upgrade.start, upgrade.length) = (1, 2);
    assert!(matches!(judge(&shifted), Verdict::Invalid(VerifyError::InvalidOperation { .. })));
    let lost = Store::default();
    let verdict = lost.run(|source| {
        check_conflict(source, &ours.tree, &Identity::new(&key, Some(&manifest)), &proof(&ours, 3))
    });
    let Verdict::Repair(repair) = verdict else { panic!("{verdict:?}") };
    assert_eq!(repair.tree.roots, ours.tree.roots);
}

/// A writer of the recorded cases.
struct Recorded {
    log: Log,
    key: [u8; 32],
    manifest: Manifest,
}

fn writer(file: &Value, case: &str) -> Recorded {
    let blocks: Vec<_> = list(&file["blocks"]).iter().map(hex).collect();
    let pair = KeyPair::from_seed(&key(&file["seed"]));
    let single = Manifest::single_signer(pair.public_key);
    let mut five = Log::new(None);
    five.append(&blocks[..5]);
    let prologue = Some(Prologue { hash: five.tree.tree_hash(), length: 5 });
    let (length, key, manifest) = match case {
        case if case.starts_with("compat core") => (6, pair.public_key, single),
        case if case.starts_with("static core") => {
            let manifest = Manifest { quorum: 0, signers: vec![], prologue, ..single };
            (5, manifest.key(), manifest)
        }
        case if case.starts_with("prologue core") => {
            let manifest = Manifest { prologue, ..single };
            (8, manifest.key(), manifest)
        }
        _ => (13, key(&file["key"]), single),
    };
    let mut log = Log::new(manifest.prologue);
    log.append(&blocks[..length]);
    if !manifest.signers.is_empty() {
        log.sign(&Verifier::new(key, &manifest).unwrap(), &pair);
    }
    Recorded { log, key, manifest }
}

fn reader_tree(store: &Store, state: &Value, manifest: Option<&Manifest>) -> Tree {
    let length = number(&state["length"]);
    let roots = store.run(|source| roots_at(source, length)).unwrap();
    let prologue = manifest.and_then(|manifest| manifest.prologue);
    Tree::from_roots(number(&state["fork"]), length, roots, prologue)
}

fn request_of(message: &Value) -> ProofRequest {
    let part = |name: &str| message.get(name).filter(|part| part.is_object());
    ProofRequest {
        block: part("block")
            .map(|block| BlockRequest { index: number(&block["index"]), nodes: number(&block["nodes"]) }),
        hash: part("hash")
            .map(|hash| HashRequest { index: number(&hash["index"]), nodes: number(&hash["nodes"]) }),
        seek: part("seek")
            .map(|seek| SeekRequest { bytes: number(&seek["bytes"]), padding: number(&seek["padding"]) }),
        upgrade: part("upgrade").map(|upgrade| UpgradeRequest {
            start: number(&upgrade["start"]),
            length: number(&upgrade["length"]),
        }),
        manifest: message.get("manifest").is_some_and(|manifest| manifest == true),
    }
}

/// Breaks one byte, size or node of a proof. `None` when there is nothing that matters.
fn tamper(proof: &Proof, random: &mut Random) -> Option<Proof> {
    let mut broken = proof.clone();
    let mut lists = Vec::new();
    if let Some(block) = &mut broken.block {
        if random.below(2) == 0 {
            block.value = Bytes::from([&block.value[..], b"!"].concat());
            return Some(broken);
        }
        lists.push(&mut block.nodes);
    }
    lists.extend(broken.hash.as_mut().map(|hash| &mut hash.nodes));
    lists.extend(broken.seek.as_mut().map(|seek| &mut seek.nodes));
    if let Some(upgrade) = &mut broken.upgrade {
        lists.push(&mut upgrade.nodes);
        lists.push(&mut upgrade.additional_nodes);
    }
    lists.retain(|list| !list.is_empty());
    if lists.is_empty() {
        return None;
    }
    let chosen = random.below(lists.len() as u64) as usize;
    let list = lists.swap_remove(chosen);
    let node = random.below(list.len() as u64) as usize;
    match random.below(3) {
        0 => list[node].hash[5] ^= 4,
        1 => list[node].size += 1,
        _ => list[node].index += 2,
    }
    Some(broken)
}

#[test]
fn request_vectors_name_manifests_upstream_knows() {
    let file = vectors("core-proofs.json");
    for case in list(&file["cases"]) {
        let sent = &case["data"]["message"]["manifest"];
        if sent.is_object() {
            assert_eq!(manifest(sent), writer(&file, text(&case["name"])).manifest);
        }
    }
}
