//! Kinds of IPv4 addresses, and the choice between several of one peer.
//!
//! Source: bogon 1.3, `index.js`; hyperdht 6.33, `lib/holepuncher.js`, `matchAddress`.

use crate::udx::Address;

/// Reports whether an address belongs to a local network.
pub fn is_private(ip: [u8; 4]) -> bool {
    matches!(ip, [10 | 127, ..] | [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..])
}

/// Reports whether an address belongs to nobody.
pub fn is_reserved(ip: [u8; 4]) -> bool {
    matches!(
        ip,
        [0 | 224.., ..] | [192, 0, 0 | 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _]
    )
}

/// Reports whether an address cannot be reached through the internet.
pub fn is_bogon(ip: [u8; 4]) -> bool {
    is_private(ip) || is_reserved(ip)
}

/// Returns the first remote address that shares most leading bytes with a local one, and at least one.
pub fn match_address(local: &[Address], remote: &[Address]) -> Option<Address> {
    let mut best = (0, None);
    for own in local {
        for other in remote {
            let same = own.ip().iter().zip(other.ip()).take(3).take_while(|(a, b)| **a == *b).count();
            if same > best.0 {
                best = (same, Some(*other));
            }
        }
    }
    best.1
}
