//! The core of a drive's blobs, derived from that of its entries.

use crate::crypto::{blake2b_256, namespace};
use crate::hypercore::manifest::{Manifest, Signer};

/// Returns the manifest of the blobs of the drive with this manifest and key, or `None` before version 1.
pub fn content_manifest(manifest: &Manifest, key: &[u8; 32]) -> Option<Manifest> {
    if manifest.version < 1 {
        return None;
    }
    let blobs = namespace("hyperdrive", 0);
    let signer = |signer: &Signer| Signer {
        namespace: blake2b_256(&[&blobs, key, &signer.namespace]),
        public_key: signer.public_key,
    };
    Some(Manifest {
        version: manifest.version,
        allow_patch: manifest.allow_patch,
        quorum: manifest.quorum,
        signers: manifest.signers.iter().map(signer).collect(),
        prologue: None,
        linked: None,
        user_data: None,
    })
}

/// Returns the key of the blobs of the drive with this manifest, or `None` before version 1.
pub fn content_key(manifest: &Manifest) -> Option<[u8; 32]> {
    content_manifest(manifest, &manifest.key()).map(|manifest| manifest.key())
}
