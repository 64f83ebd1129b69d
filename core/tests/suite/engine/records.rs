//! What an engine writes, record by record.

use bytes::Bytes;
use hypertab_core::compact_encoding::Decode;
use hypertab_core::engine::*;
use hypertab_core::storage::keys::DataKeys;
use hypertab_core::storage::records::Head;
use hypertab_core::storage::{Intent, MemoryStore, Outcome, ReadId};

use crate::support::sim::Host;

#[test]
fn heads_say_when_they_were_stored() {
    let mut host = Host::new(1);
    host.engine = Engine::new(Config::with_unix_millis(1_700_000_000_000), [1; 32], host.now);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"a"]);

    let head = read(&mut host, DataKeys { data: 0 }.head()).unwrap();

    assert_eq!(Head::from_slice(&head).unwrap().timestamp, 1_700_000_000_000 + host.now.as_micros() / 1000);
}

#[test]
fn heads_follow_a_clock_that_was_set() {
    let mut host = Host::new(1);
    host.engine = Engine::new(Config::with_unix_millis(1_700_000_000_000), [1; 32], host.now);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"a"]);
    host.engine.set_unix_millis(1_800_000_000_000);
    host.append(core, &[b"b"]);

    let head = read(&mut host, DataKeys { data: 0 }.head()).unwrap();

    assert_eq!(Head::from_slice(&head).unwrap().timestamp, 1_800_000_000_000 + host.now.as_micros() / 1000);
}

#[test]
fn a_group_knows_which_of_its_cores_changed_when() {
    let mut host = Host::new(1);
    host.engine = Engine::new(Config::with_unix_millis(1_700_000_000_000), [1; 32], host.now);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    host.append(core, &[b"a"]);
    let request = host.engine.core(core).unwrap().set_group([7; 32]);
    assert_eq!(host.settled(request), Ok(Response::Done));
    let other = host.engine.core(core).unwrap().set_group([8; 32]);
    assert!(matches!(host.settled(other), Err(Error::StorageConflict(_))));

    let timestamp = |host: &mut Host| {
        let head = read(host, DataKeys { data: 0 }.head()).unwrap();
        Head::from_slice(&head).unwrap().timestamp
    };
    host.append(core, &[b"b"]);
    let first = timestamp(&mut host);
    host.append(core, &[b"c"]);
    let second = timestamp(&mut host);

    // The bytes are those of hypercore-storage 3.2 after the same calls.
    let update = |time: u64| {
        let mut key = vec![6, 0];
        key.extend_from_slice(&time.to_be_bytes());
        key.push(0);
        Bytes::from(key)
    };
    let key = host.engine.core(core).unwrap().key();
    assert_eq!(read(&mut host, update(second)).as_deref(), Some(&key[..]));
    assert!(first == second || read(&mut host, update(first)).is_none());
    let mut record = vec![1];
    record.extend_from_slice(&[7; 32]);
    assert_eq!(read(&mut host, Bytes::from_static(&[3, 0, 2])).as_deref(), Some(&record[..]));
    let mut topic = vec![5];
    topic.extend_from_slice(&[7; 32]);
    assert_eq!(read(&mut host, Bytes::from(topic)).as_deref(), Some(&[0][..]));
    assert_eq!(host.engine.core(core).unwrap().group(), Some(&[7; 32]));
}

fn read(host: &mut Host, key: Bytes) -> Option<Bytes> {
    let disk = host.disks.first_entry().unwrap().into_mut();
    match disk.data.handle_intent(Intent::Read { id: ReadId(0), keys: vec![key] }) {
        Outcome::Read { values, .. } => values.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}
