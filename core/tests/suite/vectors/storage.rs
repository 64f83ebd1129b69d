//! Keys and records against a store written by upstream.

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode, Encode};
use hypertab_core::crypto::Node;
use hypertab_core::storage::keys::{self, DataKeys};
use hypertab_core::storage::records::{Auth, CorePointers, Head, Hints, StoreHead};

use crate::support::common::upstreams_store;

#[test]
fn every_record_of_an_upstream_store_reads_and_writes_back() {
    let entries = upstreams_store();
    let value = |key: Bytes| &entries.iter().find(|(found, _)| *found == key).unwrap().1;

    let head = StoreHead::from_slice(value(keys::store_head())).unwrap();
    assert_eq!((head.cores, head.datas, head.groups), (2, 2, 0));
    assert_eq!(head.to_vec(), *value(keys::store_head()));

    let mut cores = 0;
    for (key, record) in &entries {
        let Some(discovery_key) = keys::discovery_key(key) else { continue };
        cores += 1;
        let pointers = CorePointers::from_slice(record).unwrap();
        assert_eq!(pointers.to_vec(), *record);

        let alias = pointers.alias.unwrap();
        assert_eq!(*value(keys::alias(&alias.namespace, &alias.name)), discovery_key);

        let stored = value(keys::auth(pointers.core));
        let auth = Auth::from_slice(stored).unwrap();
        assert_eq!(auth.to_vec(), *stored);
        assert_eq!(auth.discovery_key, discovery_key);
        assert_eq!(auth.manifest.unwrap().key(), auth.key);
        assert!(auth.key_pair.unwrap().key_pair.is_some());
    }
    assert_eq!(cores, 2);

    let data = DataKeys { data: 0 };
    let head = Head::from_slice(value(data.head())).unwrap();
    assert_eq!((head.fork, head.length), (0, 2));
    assert_eq!(head.signature.as_ref().unwrap().len(), 68);
    let (untimed, stored) = (head.to_vec(), value(data.head()));
    assert_eq!(untimed[..untimed.len() - 1], stored[..untimed.len() - 1]);

    let hints = Hints::from_slice(value(data.hints())).unwrap();
    assert_eq!(hints, Hints { contiguous_length: 2, ..Hints::default() });
    assert_eq!(hints.to_vec(), *value(data.hints()));

    assert_eq!((value(data.block(0)).as_slice(), value(data.block(1)).as_slice()), (&b"a"[..], &b"b"[..]));
    for index in 0..3 {
        let node = Node::from_slice(value(data.node(index))).unwrap();
        assert_eq!(node.index, index);
        assert_eq!(node.to_vec(), *value(data.node(index)));
    }
    assert_eq!(value(data.page(0)).len(), 4096);
}
