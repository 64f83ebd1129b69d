//! The targets, by what they are fed to.

pub mod bee;
pub mod blind_relay;
pub mod decoders;
pub mod engine;
pub mod links;
pub mod machines;
pub mod network;
pub mod stores;

/// Takes a byte off the front; 0 at the end.
fn take(data: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = data.split_first() else { return 0 };
    *data = rest;
    first
}

/// Cuts bytes into pieces, each with its length before it.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !data.is_empty() && found.len() < 64 {
        let len = usize::from(take(&mut data)) | usize::from(take(&mut data) & 0x3f) << 8;
        let (piece, rest) = data.split_at(len.min(data.len()));
        found.push(piece);
        data = rest;
    }
    found
}
