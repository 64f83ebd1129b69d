//! The key pairs and manifests of named cores.
//!
//! Everything follows from the primary key, so a store can be made again from those 32 bytes.
//!
//! Source: corestore 7.12, `index.js` (`createKeyPair`, `namespace`, `deriveSeed`).

use zeroize::Zeroizing;

use crate::crypto::{KeyPair, blake2b_256, blake2b_256_keyed};
use crate::hypercore::manifest::Manifest;
use crate::id::Hash;

/// A part of a store with names of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(pub Hash);

impl Namespace {
    /// The namespace of a store, and of a session of it that was not given another.
    pub const ROOT: Self = Self([0; 32]);

    /// Returns the namespace `name` inside this one.
    pub fn child(&self, name: &[u8]) -> Self {
        Self(blake2b_256(&[&self.0, name]))
    }
}

impl AsRef<[u8]> for Namespace {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the seed of the key pair `name`.
///
/// Names are any bytes; an empty one is a name too, although upstream's `get` takes it for none. So are namespaces, as long as
/// no core is named in them.
pub fn seed(
    primary_key: &[u8; 32],
    namespace: &(impl AsRef<[u8]> + ?Sized),
    name: &[u8],
) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake2b_256_keyed(primary_key, &[&NAMESPACE, namespace.as_ref(), name]))
}

/// Returns the key pair `name`.
pub fn key_pair(primary_key: &[u8; 32], namespace: &(impl AsRef<[u8]> + ?Sized), name: &[u8]) -> KeyPair {
    KeyPair::from_seed(&seed(primary_key, namespace, name))
}

/// Returns the manifest of the core that `public_key` signs alone, with the store's manifest version.
///
/// Versions differ only in the first byte, and so in the key of the core.
pub fn manifest(public_key: [u8; 32], version: u64) -> Manifest {
    Manifest { version, ..Manifest::single_signer(public_key) }
}

/// `namespace("corestore", 0)`.
const NAMESPACE: Hash = [
    0xac, 0x5c, 0x4c, 0xbf, 0xb1, 0x06, 0x47, 0x76, 0x40, 0x46, 0x37, 0xa2, 0x80, 0xc7, 0x1f, 0xac, 0x82,
    0x32, 0x81, 0xd3, 0x51, 0xeb, 0xec, 0xed, 0x03, 0x15, 0x17, 0x43, 0x27, 0x0d, 0xef, 0x29,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::namespace;

    #[test]
    fn constant_is_what_it_is_named_after() {
        assert_eq!(NAMESPACE, namespace("corestore", 0));
    }

    #[test]
    fn names_differ_by_namespace_and_store() {
        let inner = Namespace::ROOT.child(b"a");

        assert_ne!(seed(&[1; 32], &Namespace::ROOT, b"x"), seed(&[1; 32], &inner, b"x"));
        assert_ne!(seed(&[1; 32], &inner, b"x"), seed(&[2; 32], &inner, b"x"));
        assert_ne!(inner.child(b"b"), Namespace::ROOT.child(b"ab"));
    }
}
