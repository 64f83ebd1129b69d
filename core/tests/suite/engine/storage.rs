//! A store written by our engine against the same store written by upstream.

use std::collections::BTreeMap;

use hypertab_core::compact_encoding::Decode;
use hypertab_core::corestore::keys::{self as names, Namespace};
use hypertab_core::corestore::query::{Answer, Intake, Question};
use hypertab_core::crypto::Secret;
use hypertab_core::engine::{AppendOptions, Error, Event, OpenCore, OpenOptions, Response};
use hypertab_core::hypercore::proof::{BlockRequest, ProofRequest, UpgradeRequest};
use hypertab_core::storage::keys::{self, DataKeys};
use hypertab_core::storage::records::{Alias, Auth, StoreHead};
use hypertab_core::storage::{Batch, MemoryStore, Op, StorageFailure};

use crate::support::common;
use crate::support::sim::Host;

#[test]
fn our_store_has_upstreams_keys_and_values() {
    let upstream: BTreeMap<Vec<u8>, Vec<u8>> = common::upstreams_store().into_iter().collect();
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let upstreams_head = StoreHead::from_slice(&upstream[&keys::store_head().to_vec()]).unwrap();
    let seed = upstreams_head.seed.unwrap();
    let asked = host.engine.ask_store(store, Question::Seed(Some(seed.clone())));
    assert_eq!(host.settled(asked), Ok(Response::Store(Box::new(Answer::Seed(Some(seed))))));
    let mut cores = Vec::new();
    for (pointer, name) in [(0, "main"), (1, "db")] {
        let auth = Auth::from_slice(&upstream[&keys::auth(pointer).to_vec()]).unwrap();
        let namespaces = upstream.keys().filter(|key| key[0] == 2);
        let namespaces: Vec<[u8; 32]> = namespaces.map(|key| key[1..33].try_into().unwrap()).collect();
        let namespace = namespaces[pointer as usize];
        let core = OpenOptions {
            key: Some(auth.key),
            key_pair: auth.key_pair.unwrap().key_pair,
            manifest: auth.manifest,
            alias: Some(Alias { name: name.into(), namespace }),
            ..OpenOptions::default()
        };
        cores.push(host.open(store, OpenCore { core, ..OpenCore::default() }));
    }

    host.append(cores[0], &[b"a", b"b"]);

    let data = DataKeys { data: 0 };
    let (head, page) = (data.head().to_vec(), data.page(0).to_vec());
    let ours = host.disks[&store].data.entries();
    let ours: BTreeMap<Vec<u8>, Vec<u8>> = ours.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert!(ours.keys().eq(upstream.keys()));
    for (key, value) in &ours {
        if *key == head {
            // Upstream adds when it was stored, which is nobody's business.
            assert_eq!(value[..value.len() - 1], upstream[key][..value.len() - 1]);
        } else if *key == page {
            // Upstream stores zeros to its end.
            assert_eq!(value[..], [3]);
            assert!(upstream[key].starts_with(value) && upstream[key][1..].iter().all(|byte| *byte == 0));
        } else {
            assert_eq!(value, &upstream[key], "{key:?}");
        }
    }
}

#[test]
fn an_upstream_store_opens_and_goes_on() {
    let mut host = Host::new(1);
    let store = host.store(upstreams_store());

    let core = host.open(store, OpenCore::default());

    assert_eq!(host.engine.core(core).unwrap().length(), 2);
    assert_eq!(host.get_now(core, 1).unwrap(), "b");
    assert_eq!(host.append(core, &[b"c"]), 3);
}

#[test]
fn a_writer_whose_store_was_taken_over_is_told_and_writes_nothing() {
    let mut first = Host::new(1);
    let store = first.store(MemoryStore::new());
    let core = first.open(store, OpenCore::default());
    first.append(core, &[b"before"]);

    let mut second = Host::new(2);
    let shared = first.disks.get_mut(&store).unwrap();
    let taken = second.store(std::mem::take(&mut shared.data));
    let copy = second.open(taken, OpenCore::default());
    let before: Vec<_> =
        second.disks[&taken].data.entries().map(|(key, value)| (key.clone(), value.clone())).collect();
    let swap = |first: &mut Host, second: &mut Host| {
        let ours = &mut first.disks.get_mut(&store).unwrap().data;
        std::mem::swap(ours, &mut second.disks.get_mut(&taken).unwrap().data);
    };
    swap(&mut first, &mut second);
    let failure = Error::Storage(StorageFailure::Fenced);
    for _ in 0..2 {
        let mut handle = first.engine.core(core).unwrap();
        let request = handle.append(vec!["a second history".into()], AppendOptions::default());
        assert_eq!(first.settled(request), Err(failure));
    }
    let failed = Event::StoreFailed { store, failure: StorageFailure::Fenced };
    assert_eq!(first.events.iter().filter(|event| format!("{event:?}") == format!("{failed:?}")).count(), 1);
    assert_eq!(first.engine.core(core).unwrap().length(), 1);
    swap(&mut first, &mut second);

    let data = &second.disks[&taken].data;
    assert!(data.entries().map(|(key, value)| (key.clone(), value.clone())).eq(before));
    assert_eq!(second.append(copy, &[b"after"]), 2);
}

#[test]
fn an_upstream_store_answers_without_opening_a_core() {
    let mut host = Host::new(1);
    let store = host.store(upstreams_store());
    let mut ask = |question| {
        let request = host.engine.ask_store(store, question);
        match host.settled(request) {
            Ok(Response::Store(answer)) => *answer,
            other => panic!("{other:?}"),
        }
    };

    let Answer::Seed(Some(seed)) = ask(Question::Seed(Some(Secret::from([9; 32])))) else {
        panic!("no seed")
    };
    let main = Alias { name: "main".into(), namespace: Namespace::ROOT.0 };
    let Answer::Core(Some(discovery_key)) = ask(Question::Alias(main.clone())) else { panic!("no core") };
    assert_eq!(ask(Question::DefaultCore), Answer::Core(Some(discovery_key)));
    let Answer::Infos(infos) = ask(Question::Infos(vec![[7; 32], discovery_key])) else { panic!("no infos") };
    let [None, Some(info)] = infos.as_slice() else { panic!("{infos:?}") };
    assert_eq!(info.pointers.alias, Some(main.clone()));
    assert_eq!(info.head.as_ref().unwrap().length, 2);
    let pair = names::key_pair(&seed, &Namespace::ROOT, b"main");
    assert_eq!(info.auth.key, names::manifest(pair.public_key, 1).key());

    let page = |answer| match answer {
        Answer::Cores(cores, next) => (cores, next),
        other => panic!("{other:?}"),
    };
    let (first, next) = page(ask(Question::Cores { from: None, limit: 1 }));
    let (second, end) = page(ask(Question::Cores { from: next, limit: 1 }));
    assert_eq!((first.len(), second.len(), first[0].0 < second[0].0), (1, 1, true));
    assert_eq!(end, None);
    let question = |namespace| Question::Aliases { namespace, from: None, limit: 10 };
    assert_eq!(ask(question(Some(main.namespace))), Answer::Aliases(vec![(main, discovery_key)], None));
    let Answer::Aliases(all, None) = ask(question(None)) else { panic!("no names") };
    assert_eq!(all.iter().map(|(alias, _)| alias.name.as_str()).collect::<Vec<_>>(), ["main", "db"]);
}

#[test]
fn a_core_is_forgotten_and_others_stay() {
    let mut host = Host::new(1);
    let store = host.store(upstreams_store());
    let ask = |host: &mut Host, question| {
        let request = host.engine.ask_store(store, question);
        host.settled(request).map(|response| match response {
            Response::Store(answer) => *answer,
            other => panic!("{other:?}"),
        })
    };
    let name = |name: &str| Question::Alias(Alias { name: name.into(), namespace: Namespace::ROOT.0 });
    let Ok(Answer::Core(Some(main))) = ask(&mut host, name("main")) else { panic!("no core") };
    let core = host.open(store, OpenCore::default());
    assert_eq!(host.append(core, &[b"c"]), 3);

    assert!(ask(&mut host, Question::Forget(main)).is_err());
    let closed = host.engine.close_core(core, host.now);
    host.settled(closed).unwrap();
    let keys = host.disks[&store].data.entries().count();
    assert_eq!(ask(&mut host, Question::Forget(main)).unwrap(), Answer::Core(Some(main)));
    assert_eq!(ask(&mut host, Question::Forget(main)).unwrap(), Answer::Core(None));

    assert_eq!(ask(&mut host, Question::DefaultCore).unwrap(), Answer::Core(None));
    assert_eq!(ask(&mut host, name("main")).unwrap(), Answer::Core(None));
    assert!(host.disks[&store].data.entries().count() + 8 < keys);
    let Answer::Cores(left, None) = ask(&mut host, Question::Cores { from: None, limit: 10 }).unwrap() else {
        panic!("no cores")
    };
    assert_eq!(left.len(), 1);
    let other = OpenCore {
        core: OpenOptions { discovery_key: Some(left[0].0), ..OpenOptions::default() },
        ..OpenCore::default()
    };
    let other = host.open(store, other);
    assert!(host.engine.core(other).unwrap().manifest().is_some());
}

#[test]
fn questions_about_a_store_that_is_closed_fail() {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    host.engine.close_store(store, host.now);

    let request = host.engine.ask_store(store, Question::DefaultCore);

    assert!(host.settled(request).is_err());
}

fn upstreams_store() -> MemoryStore {
    let ops = common::upstreams_store()
        .into_iter()
        .map(|(key, value)| Op::Put { key: key.into(), value: value.into() });
    let mut data = MemoryStore::new();
    data.apply(Batch { ops: ops.collect() });
    data
}

#[test]
fn an_incoming_core_is_found_once_it_was_taken_in() {
    let mut host = Host::new(1);
    let source = host.store(MemoryStore::new());
    let alias = Alias { name: "name".into(), namespace: Namespace::ROOT.0 };
    let original = host.open(source, OpenCore::default());
    host.append(original, &[b"a", b"b", b"c"]);
    let store = host.store(MemoryStore::new());
    let (key, discovery_key) = {
        let core = host.engine.core(original).unwrap();
        (core.key(), core.discovery_key())
    };
    let open = |incoming: bool| OpenCore {
        core: OpenOptions {
            key: Some(key),
            alias: Some(alias.clone()),
            create_if_missing: incoming,
            incoming: incoming.then_some(0),
            ..OpenOptions::default()
        },
        ..OpenCore::default()
    };
    let ask = |host: &mut Host, question| {
        let request = host.engine.ask_store(store, question);
        match host.settled(request) {
            Ok(Response::Store(answer)) => *answer,
            other => panic!("{other:?}"),
        }
    };
    let upgrade = UpgradeRequest { start: 0, length: 3 };
    let block = BlockRequest { index: 1, nodes: 0 };
    let wanted =
        ProofRequest { block: Some(block), upgrade: Some(upgrade), manifest: true, ..Default::default() };

    for is_dropped in [true, false] {
        let proof = host.engine.core(original).unwrap().proof(wanted.clone());
        let Ok(Response::Proof(proof)) = host.settled(proof) else { panic!("no proof") };
        let incoming = host.open(store, open(true));
        let applied = host.engine.core(incoming).unwrap().apply_proof(*proof);
        host.settled(applied).unwrap();
        let request = host.engine.close_core(incoming, host.now);
        host.settled(request).unwrap();
        let (opening, request) = host.engine.open_core(store, open(false), host.now);
        assert_ne!(opening, incoming);
        assert_eq!(host.settled(request), Err(Error::StorageEmpty));
        assert_eq!(ask(&mut host, Question::Alias(alias.clone())), Answer::Core(None));
        assert_eq!(ask(&mut host, Question::DefaultCore), Answer::Core(None));
        if is_dropped {
            assert_eq!(ask(&mut host, Question::DropIncoming), Answer::Keys(vec![discovery_key], None));
            assert_eq!(ask(&mut host, Question::DropIncoming), Answer::Keys(vec![], None));
            let left: Vec<_> = host.disks[&store].data.entries().map(|(key, _)| key.to_vec()).collect();
            assert_eq!(left, [keys::store_head().to_vec()]);
        }
    }
    let seed = Secret::from([7; 32]);
    let intake =
        Intake { cores: vec![discovery_key], seed: Some(seed.clone()), default: Some(discovery_key) };
    assert_eq!(ask(&mut host, Question::TakeIn(Box::new(intake.clone()))), Answer::Keys(vec![], None));

    assert_eq!(ask(&mut host, Question::Seed(None)), Answer::Seed(Some(seed)));
    assert_eq!(ask(&mut host, Question::Alias(alias.clone())), Answer::Core(Some(discovery_key)));
    assert_eq!(ask(&mut host, Question::DefaultCore), Answer::Core(Some(discovery_key)));
    let core = host.open(store, open(false));
    assert_eq!(host.engine.core(core).unwrap().length(), 3);
    assert_eq!(host.get_now(core, 1).unwrap(), "b");
    // The second time, there is one: the twin stays beside it.
    let twin = host.open(store, open(true));
    assert_ne!(twin, core);
    assert_eq!(host.engine.core(twin).unwrap().length(), 0);
    assert_eq!(ask(&mut host, Question::TakeIn(Box::new(intake))), Answer::Keys(vec![discovery_key], None));
    assert_eq!(host.get_now(core, 1).unwrap(), "b");
}
