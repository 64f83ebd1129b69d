//! What survives a restart: the UDP port, which gives the node its id, nodes that were there, the secret of the blind relay,
//! and bans.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use hypertab_core::udx::Address;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use zeroize::Zeroizing;

use crate::private;

/// A file with it.
pub(crate) struct State {
    database: Database,
}

impl State {
    /// Opens or creates the file. After a crash it is as it was at the last write.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let told = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("The state in {} cannot be used: {error}.", path.display()))
        };
        // The secret of the blind relay is in it.
        private::make_file(path).map_err(|error| told(&error))?;
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => told(&"another relay has it"),
            error => told(&error),
        })?;
        let state = Self { database };
        state.write(|_, _| Ok(())).map_err(|error| told(&error))?;
        Ok(state)
    }

    /// Returns the UDP port of earlier runs.
    pub(crate) fn port(&self) -> Option<u16> {
        let port = self.value("udp-port")?;
        Some(u16::from_be_bytes(port.try_into().ok()?)).filter(|port| *port != 0)
    }

    /// Returns the secret behind the key of the blind relay.
    pub(crate) fn blind_relay_seed(&self) -> Option<[u8; 32]> {
        self.value("blind-relay-seed").map(Zeroizing::new)?.as_slice().try_into().ok()
    }

    /// Keeps the secret behind the key of the blind relay.
    pub(crate) fn set_blind_relay_seed(&self, seed: &[u8; 32]) -> Result<(), redb::Error> {
        self.write(|values, _| values.insert("blind-relay-seed", &seed[..]).map(drop))
    }

    /// Returns nodes that were there.
    pub(crate) fn nodes(&self) -> Vec<Address> {
        let bytes = self.value("nodes").unwrap_or_default();
        let (nodes, _) = bytes.as_chunks::<6>();
        nodes
            .iter()
            .map(|[a, b, c, d, high, low]| {
                Address::from(SocketAddrV4::new(
                    Ipv4Addr::new(*a, *b, *c, *d),
                    u16::from_be_bytes([*high, *low]),
                ))
            })
            .collect()
    }

    /// Returns bans and when they end.
    pub(crate) fn bans(&self) -> Vec<([u8; 16], u64)> {
        let read = || -> Result<Vec<_>, redb::Error> {
            let table = self.database.begin_read()?.open_table(BANS)?;
            let bans: Result<Vec<_>, _> =
                table.iter()?.map(|entry| entry.map(|(key, until)| (key.value(), until.value()))).collect();
            Ok(bans?)
        };
        read().unwrap_or_default()
    }

    /// Keeps the UDP port.
    pub(crate) fn set_port(&self, port: u16) -> Result<(), redb::Error> {
        self.write(|values, _| values.insert("udp-port", &port.to_be_bytes()[..]).map(drop))
    }

    /// Keeps nodes.
    pub(crate) fn set_nodes(&self, nodes: impl Iterator<Item = Address>) -> Result<(), redb::Error> {
        let nodes = nodes.take(MAX_NODES).map(|node| {
            let [a, b, c, d] = node.ip();
            let [high, low] = node.port().to_be_bytes();
            [a, b, c, d, high, low]
        });
        let bytes: Vec<u8> = nodes.flatten().collect();
        self.write(|values, _| values.insert("nodes", &bytes[..]).map(drop))
    }

    /// Keeps a ban, and forgets those that are over.
    pub(crate) fn set_ban(&self, account: [u8; 16], until: u64, now: u64) -> Result<(), redb::Error> {
        self.write(|_, bans| {
            bans.retain(|_, until| until > now)?;
            bans.insert(account, until).map(drop)
        })
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        let table = self.database.begin_read().ok()?.open_table(VALUES).ok()?;
        table.get(name).ok()?.map(|value| value.value().to_vec())
    }

    fn write(
        &self,
        act: impl FnOnce(&mut Values<'_>, &mut BanTable<'_>) -> Result<(), redb::StorageError>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut values = transaction.open_table(VALUES)?;
            let mut bans = transaction.open_table(BANS)?;
            act(&mut values, &mut bans)?;
        }
        Ok(transaction.commit()?)
    }
}

type Values<'a> = redb::Table<'a, &'static str, &'static [u8]>;
type BanTable<'a> = redb::Table<'a, [u8; 16], u64>;

const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("relay");
const BANS: TableDefinition<'_, [u8; 16], u64> = TableDefinition::new("bans");

/// Nodes that are kept: a few of them will be there again.
const MAX_NODES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_there_again() {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let path = std::env::temp_dir().join(format!("hypertab-relay-{:x}.redb", u64::from_be_bytes(name)));
        let node = Address::new([9, 8, 7, 6], 1234);
        let state = State::open(&path).unwrap();
        assert_eq!((state.port(), state.nodes(), state.bans()), (None, vec![], vec![]));
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);

        state.set_port(4321).unwrap();
        state.set_blind_relay_seed(&[7; 32]).unwrap();
        state.set_nodes([node].into_iter()).unwrap();
        state.set_ban([1; 16], 10, 0).unwrap();
        state.set_ban([2; 16], 20, 10).unwrap();
        assert!(State::open(&path).err().unwrap().to_string().contains("another relay"));
        drop(state);

        let state = State::open(&path).unwrap();
        assert_eq!((state.port(), state.nodes()), (Some(4321), vec![node]));
        assert_eq!(state.blind_relay_seed(), Some([7; 32]));
        assert_eq!(state.bans(), [([2; 16], 20)]);
        drop(state);
        std::fs::write(&path, "no database").unwrap();
        assert!(State::open(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
