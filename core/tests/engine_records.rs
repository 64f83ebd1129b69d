//! What an engine writes, record by record.

mod sim;

use bytes::Bytes;
use hypertab_core::compact_encoding::Decode;
use hypertab_core::engine::*;
use hypertab_core::storage::keys::DataKeys;
use hypertab_core::storage::records::Head;
use hypertab_core::storage::{Intent, MemoryStore, Outcome, ReadId};
use sim::Host;

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

fn read(host: &mut Host, key: Bytes) -> Option<Bytes> {
    let disk = host.disks.first_entry().unwrap().into_mut();
    match disk.data.handle_intent(Intent::Read { id: ReadId(0), keys: vec![key] }) {
        Outcome::Read { values, .. } => values.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}
