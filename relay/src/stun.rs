//! Answers STUN binding requests, so that pages learn their address without a third party.
//!
//! Source: RFC 8489, sections 5, 6.3 and 14.2.

use hypertab_core::udx::Address;

/// Answers a datagram, if it is a binding request without anything that has to be understood.
pub(crate) fn answer(datagram: &[u8], from: Address) -> Option<[u8; ANSWER_LEN]> {
    let (header, attributes) = datagram.split_at_checked(HEADER_LEN)?;
    let (kind, rest) = header.split_first_chunk::<2>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (cookie, id) = rest.split_first_chunk::<4>()?;
    if *kind != BINDING_REQUEST
        || *cookie != COOKIE
        || usize::from(u16::from_be_bytes(*len)) != attributes.len()
        || attributes.len() % 4 != 0
        || has_required(attributes)
    {
        return None;
    }
    let mut answer = [0; ANSWER_LEN];
    let (start, attribute) = answer.split_at_mut(HEADER_LEN);
    start[..2].copy_from_slice(&BINDING_ANSWER);
    start[2..4].copy_from_slice(&12_u16.to_be_bytes());
    start[4..8].copy_from_slice(&COOKIE);
    start[8..].copy_from_slice(id);
    attribute[..2].copy_from_slice(&XOR_MAPPED_ADDRESS);
    attribute[2..4].copy_from_slice(&8_u16.to_be_bytes());
    attribute[5] = 1;
    let port = from.port().to_be_bytes();
    for (to, (byte, mask)) in attribute[6..8].iter_mut().zip(port.iter().zip(COOKIE)) {
        *to = byte ^ mask;
    }
    for (to, (byte, mask)) in attribute[8..12].iter_mut().zip(from.ip().iter().zip(COOKIE)) {
        *to = byte ^ mask;
    }
    Some(answer)
}

/// Reports whether something has to be understood that is not: attributes below 0x8000, but for those of ICE checks.
fn has_required(mut attributes: &[u8]) -> bool {
    while let Some((kind, rest)) = attributes.split_first_chunk::<2>() {
        let Some((len, rest)) = rest.split_first_chunk::<2>() else { return true };
        let len = usize::from(u16::from_be_bytes(*len)).next_multiple_of(4);
        let Some(rest) = rest.get(len..) else { return true };
        if u16::from_be_bytes(*kind) < 0x8000 && !KNOWN.contains(kind) {
            return true;
        }
        attributes = rest;
    }
    !attributes.is_empty()
}

const HEADER_LEN: usize = 20;

/// Bytes of every answer: one attribute. 12 more than the smallest request, 1.25 times with the headers around it.
pub(crate) const ANSWER_LEN: usize = 32;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_ANSWER: [u8; 2] = [1, 1];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0, 0x20];

/// Attributes below 0x8000 that need no reaction: user name, integrity, priority, use-candidate.
const KNOWN: [[u8; 2]; 4] = [[0, 6], [0, 8], [0, 0x24], [0, 0x25]];

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Address = Address::new([192, 0, 2, 1], 32853);

    #[test]
    fn answer_has_the_address_of_the_standards_example() {
        let request = request(&[]);

        let answer = answer(&request, FROM).unwrap();

        assert_eq!(answer[..4], [1, 1, 0, 12]);
        assert_eq!(answer[4..20], request[4..20]);
        // RFC 5769, section 2.2.
        assert_eq!(answer[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    }

    #[test]
    fn nothing_else_is_answered() {
        let good = request(&[0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
        assert!(answer(&good, FROM).is_some());

        for len in 0..good.len() {
            assert_eq!(answer(&good[..len], FROM), None);
        }
        // An indication, an answer, another cookie, an attribute that has to be understood.
        for (at, byte) in [(1, 0x11), (0, 1), (4, 0x22)] {
            let mut wrong = good.clone();
            wrong[at] = byte;
            assert_eq!(answer(&wrong, FROM), None);
        }
        assert_eq!(answer(&request(&[0, 3, 0, 4, 0, 0, 0, 6]), FROM), None);
        assert_eq!(answer(&request(&[0x80, 0x22, 0xff, 0xff]), FROM), None);
    }

    #[test]
    fn whatever_is_answered_asked_for_it() {
        let seeds =
            [request(&[]), request(&[0x80, 0x22, 0, 3, b'a', b'b', b'c', 0, 0, 6, 0, 1, b'a', 0, 0, 0])];

        crate::mutations::each(&[&seeds[0], &seeds[1]], |bytes| {
            let Some(answer) = answer(bytes, FROM) else { return };
            assert_eq!((&bytes[..2], &bytes[4..8]), (&BINDING_REQUEST[..], &COOKIE[..]));
            assert_eq!(answer[8..20], bytes[8..20]);
        });
    }

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, attributes.len() as u8];
        bytes.extend(COOKIE);
        bytes.extend(*b"twelve bytes");
        bytes.extend(attributes);
        bytes
    }
}
