//! Where datagrams go to and come from: an IPv4 host with a port, and the local socket.
//!
//! Source: compact-encoding-net 1.2, `index.js`, `ipv4Address`.

use core::fmt;

/// An IPv4 address with its UDP port.
///
/// # Wire
///
/// | field | type | bytes | meaning |
/// | --- | --- | --- | --- |
/// | host | `[u8; 4]` | 4 | network order |
/// | port | `u16` | 2 | little-endian |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The four numbers of the dotted text, first one first.
    pub host: [u8; 4],
    /// The UDP port; 0 names no port.
    pub port: u16,
}

/// A local UDP socket of the driver, by a number that the driver chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

impl Address {
    /// Bytes of an encoded address.
    pub const ENCODED_LEN: usize = 6;

    /// Joins a host and a port.
    pub const fn new(host: [u8; 4], port: u16) -> Self {
        Self { host, port }
    }

    /// Returns the host.
    pub const fn ip(&self) -> [u8; 4] {
        self.host
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the 6 bytes that stand for this address on the wire.
    pub const fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let [a, b, c, d] = self.host;
        let [low, high] = self.port.to_le_bytes();
        [a, b, c, d, low, high]
    }

    /// Reads an address from the start of `bytes`; `None` when they are fewer than 6.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, low, high] = *bytes.first_chunk()?;
        Some(Self::new([a, b, c, d], u16::from_le_bytes([low, high])))
    }

    /// Reports whether the host is this machine (`127.0.0.0/8`).
    pub const fn is_loopback(&self) -> bool {
        self.host[0] == 127
    }

    /// Reports whether the host is `0.0.0.0`.
    pub const fn is_unspecified(&self) -> bool {
        matches!(self.host, [0, 0, 0, 0])
    }

    /// Reports whether the host belongs to a local network: private (RFC 1918), link-local or shared by a
    /// carrier (RFC 6598).
    pub const fn is_private(&self) -> bool {
        matches!(
            self.host,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..]
        )
    }

    /// Reports whether the host names a group (`224.0.0.0/4`).
    pub const fn is_multicast(&self) -> bool {
        matches!(self.host[0], 224..=239)
    }

    /// Reports whether no datagram sent to this address can reach a peer on the public internet.
    pub const fn is_bogon(&self) -> bool {
        let is_reserved = matches!(
            self.host,
            [0, ..]
                | [192, 0, 0, _]
                | [192, 0, 2, _]
                | [198, 18..=19, ..]
                | [198, 51, 100, _]
                | [203, 0, 113, _]
                | [240..=255, ..]
        );
        self.port == 0 || is_reserved || self.is_loopback() || self.is_private() || self.is_multicast()
    }
}

impl From<core::net::SocketAddrV4> for Address {
    fn from(address: core::net::SocketAddrV4) -> Self {
        Self::new(address.ip().octets(), address.port())
    }
}

impl From<Address> for core::net::SocketAddrV4 {
    fn from(address: Address) -> Self {
        Self::new(address.host.into(), address.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.host;
        write!(f, "{a}.{b}.{c}.{d}:{}", self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn port_is_little_endian_and_host_in_network_order() {
        let address = Address::new([127, 0, 0, 1], 0x1234);

        assert_eq!(address.encode(), [127, 0, 0, 1, 0x34, 0x12]);
        assert_eq!(Address::decode(&[127, 0, 0, 1, 0x34, 0x12, 9]), Some(address));
        assert_eq!(Address::decode(&[127, 0, 0, 1, 0x34]), None);
        assert_eq!(address.to_string(), "127.0.0.1:4660");
    }

    #[test]
    fn hosts_outside_the_public_internet_are_bogons() {
        for host in [
            [0, 0, 0, 0],
            [10, 1, 2, 3],
            [100, 64, 0, 1],
            [127, 0, 0, 1],
            [169, 254, 1, 1],
            [172, 31, 0, 1],
            [192, 168, 1, 1],
            [224, 0, 0, 1],
            [255, 255, 255, 255],
        ] {
            assert!(Address::new(host, 1).is_bogon(), "{host:?}");
        }
        for host in [[8, 8, 8, 8], [100, 128, 0, 1], [172, 32, 0, 1], [192, 169, 0, 1]] {
            assert!(!Address::new(host, 1).is_bogon(), "{host:?}");
        }
        assert!(Address::new([8, 8, 8, 8], 0).is_bogon());
    }
}
