//! Functions from bytes to values. What decodes encodes again, to something that decodes to the same.

use bytes::Bytes;
use hypertab_core::compact_encoding::{Any, Decode, Encode, Reader};
use hypertab_core::crypto::{KeyPair, parse_key};
use hypertab_core::hypercore::bitfield::{Bitfield, pack_page, unpack_page};
use hypertab_core::hypercore::manifest::{Manifest, Signer};
use hypertab_core::hypercore::merkle_tree::Tree;
use hypertab_core::hypercore::multisig::{MultiSignature, raw_signature};
use hypertab_core::hypercore::v10::{Import, Oplog};
use hypertab_core::hypercore::verifier::Verifier;
use hypertab_core::replicator::wire::{Handshake, Message};
use hypertab_core::storage::records;

use super::take;

/// The reader, type by type.
pub fn encodings(mut data: &[u8]) {
    let kinds: Vec<u8> = (0..8).map(|_| take(&mut data)).collect();
    let mut reader = Reader::new(data);
    for kind in kinds {
        let is_over = match kind % 16 {
            0 => reader.uint().is_err(),
            1 => reader.uint_max64().is_err(),
            2 => reader.int().is_err(),
            3 => reader.u24().is_err(),
            4 => reader.u48().is_err(),
            5 => reader.biguint64().is_err(),
            6 => reader.f64().is_err(),
            7 => reader.buffer().is_err(),
            8 => reader.optional_buffer().is_err(),
            9 => reader.string().is_err(),
            10 => reader.frame().is_err(),
            11 => reader.array(Reader::uint).is_err(),
            12 => reader.uint32array().is_err(),
            13 => reader.lexint().is_err(),
            14 => reader.bool().is_err(),
            _ => reader.fixed::<32>().is_err(),
        };
        if is_over {
            break;
        }
    }
    if let Ok(value) = Any::from_slice(data) {
        assert_eq!(value.to_vec().len(), value.encoded_len());
        Any::from_slice(&value.to_vec()).expect("what was encoded decodes");
    }
}

/// Messages of replication.
pub fn wire(mut data: &[u8]) {
    let message_type = u64::from(take(&mut data) % 12);
    if let Ok(Some(message)) = Message::decode(message_type, &Bytes::copy_from_slice(data)) {
        let bytes = message.to_vec();
        assert_eq!(bytes.len(), message.encoded_len());
        assert_eq!(Message::decode(message_type, &bytes.into()), Ok(Some(message)));
    }
    if let Ok(handshake) = Handshake::from_slice(data) {
        assert_eq!(Handshake::from_slice(&handshake.to_vec()), Ok(handshake));
    }
}

/// Manifests, and what they are asked.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::from_slice(data) else { return };
    let again = manifest.to_vec();
    assert_eq!(Manifest::from_slice(&again).as_ref(), Ok(&manifest));
    if manifest.validate().is_err() {
        return;
    }
    if let Ok(verifier) = Verifier::new(manifest.key(), &manifest) {
        assert!(!verifier.verify(&tree(), Some(data)), "a signature that nobody made");
        assert!(!verifier.verify(&tree(), None) || manifest.quorum == 0);
    }
}

/// Signatures of several.
pub fn multisig(data: &[u8]) {
    let _ = MultiSignature::decode(data);
    let _ = MultiSignature::decode_v0(data);
    let _ = raw_signature(data);
    let signers = (1..=3)
        .map(|seed| Signer { namespace: [7; 32], public_key: KeyPair::from_seed(&[seed; 32]).public_key });
    let signers: Vec<Signer> = signers.collect();
    for version in [0, 1, 2] {
        let manifest =
            Manifest { version, quorum: 2, signers: signers.clone(), ..Manifest::single_signer([0; 32]) };
        if let Ok(verifier) = Verifier::new(manifest.key(), &manifest) {
            assert!(!verifier.verify(&tree(), Some(data)), "a signature that nobody made");
        }
    }
}

/// What a store keeps.
pub fn records(data: &[u8]) {
    again::<records::StoreHead>(data);
    again::<records::CorePointers>(data);
    again::<records::Head>(data);
    again::<records::Hints>(data);
    again::<records::Sessions>(data);
    again::<records::Dependency>(data);
    if let Ok(auth) = records::Auth::from_slice(data) {
        records::Auth::from_slice(&auth.to_vec()).expect("what was encoded decodes");
    }
    if let Some(page) = unpack_page(data) {
        assert_eq!(unpack_page(&pack_page(&page)), Some(page));
    }
}

fn again<T: for<'a> Decode<'a> + Encode + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(value) = T::from_slice(data) {
        let bytes = value.to_vec();
        assert_eq!(bytes.len(), value.encoded_len());
        assert_eq!(T::from_slice(&bytes), Ok(value));
    }
}

/// Keys as people write them.
pub fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = parse_key(&text);
    let long = "y".repeat(data.len().min(60));
    let _ = parse_key(&long);
}

/// A peer's bitfield, which is bounded, against nothing: it only has to live.
pub fn bitfield(mut data: &[u8]) {
    let mut bits = Bitfield::bounded(1 << 24);
    let page = data.len().min(4096);
    bits.load_page(u64::from(take(&mut data)), &data[..page.min(data.len())]);
    while data.len() > 9 {
        let kind = take(&mut data);
        let (numbers, rest) = data.split_at(8);
        data = rest;
        let start = u64::from_le_bytes(numbers.try_into().expect("eight bytes")) >> (kind & 63);
        match kind >> 6 {
            0 => bits.set_range(start, start.saturating_add(u64::from(kind) * 1000), kind & 1 == 0),
            1 => drop(bits.insert(start, &data[..data.len().min(64)])),
            2 => drop(bits.want(start, 1 << 20).take(20).count()),
            _ => {
                let first = bits.first_set(start);
                assert!(first.is_none_or(|first| first >= start && bits.get(first)));
                assert!(!bits.get(bits.first_unset(start)));
                bits.count(start, start.saturating_add(5000));
            }
        }
    }
    bits.contiguous_length(0);
}

/// The files of a hypercore 10.
pub fn oplog(data: &[u8]) {
    let _ = Oplog::read(data);
    let middle = data.len() / 2;
    for (oplog, tree) in [(data, &data[middle..]), (&data[..middle], data)] {
        if let Ok(mut import) = Import::open(oplog, Some(tree), tree, data) {
            for _ in 0..16 {
                let Some((_, len)) = import.poll_range(4) else { break };
                import.handle_bytes(&vec![0; usize::try_from(len).unwrap_or(0).min(1 << 20)]);
            }
        }
    }
}

fn tree() -> Tree {
    Tree { length: 3, ..Tree::empty(0, None) }
}
