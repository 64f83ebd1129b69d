//! The relay's side: pairs, and the two streams that each is made of.

use alloc::vec::Vec;

use super::link::Link;
use super::messages::Pair;
use crate::collections::BTreeMap;
use crate::dht::events::{ConnectionId, ServerId};
use crate::udx::Address;

/// A blind relay for others.
#[derive(Debug)]
pub(crate) struct Service {
    /// On which key it is reached.
    pub server: ServerId,
    max_sessions: usize,
    sessions: BTreeMap<ConnectionId, Session>,
    /// Tokens that one side has named, or both.
    pairs: BTreeMap<[u8; 32], Both>,
    /// The streams that forward, and which pair they belong to.
    streams: BTreeMap<ConnectionId, ([u8; 32], usize)>,
    refused: u64,
}

/// What a blind relay has, and has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Peers that are here.
    pub sessions: usize,
    /// Pairs of them whose packets are forwarded.
    pub pairs: usize,
    /// Peers that were turned away.
    pub refused: u64,
}

/// A peer at a blind relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its connection, for [`Endpoint::close_blind_relay_session`](crate::dht::Endpoint::close_blind_relay_session).
    pub session: ConnectionId,
    /// Its key.
    pub public_key: [u8; 32],
    /// Where it is.
    pub address: Address,
}

/// A connection of a peer that wants streams forwarded.
#[derive(Debug)]
struct Session {
    link: Link,
    public_key: [u8; 32],
    address: Address,
    /// What it has named, by token and side.
    sides: Vec<([u8; 32], usize)>,
}

/// The two sides of a pair: that which did not choose the token, and that which did.
type Both = [Option<Side>; 2];

#[derive(Clone, Copy, Debug)]
struct Side {
    session: ConnectionId,
    /// By which id the peer is addressed.
    remote_id: u32,
    /// The stream that takes its packets, once the pair is complete.
    stream: Option<ConnectionId>,
}

/// A pair that is complete: for each side its session, and what it asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub token: [u8; 32],
    pub sessions: [ConnectionId; 2],
}

impl Service {
    /// Starts without sessions.
    pub(crate) fn new(server: ServerId, max_sessions: usize) -> Self {
        Self {
            server,
            max_sessions,
            sessions: BTreeMap::new(),
            pairs: BTreeMap::new(),
            streams: BTreeMap::new(),
            refused: 0,
        }
    }

    /// Returns what there is at the moment.
    pub(crate) fn figures(&self) -> Figures {
        let pairs = self.streams.len() / 2;
        Figures { sessions: self.sessions.len(), pairs, refused: self.refused }
    }

    /// Takes a peer in, unless there are too many: in all, with its key, or at its host.
    pub(crate) fn open(&mut self, peer: Peer, link: Link) -> bool {
        let Peer { session, public_key, address } = peer;
        let share = self.max_sessions.div_ceil(SHARE).max(MIN_SHARE);
        let count = |is_same: &dyn Fn(&Session) -> bool| {
            self.sessions.values().filter(|other| is_same(other)).count()
        };
        let has_room = self.sessions.len() < self.max_sessions
            && count(&|other| other.public_key == public_key) < share
            && count(&|other| other.address.ip() == address.ip()) < share;
        if has_room {
            self.sessions.insert(session, Session { link, public_key, address, sides: Vec::new() });
        } else {
            self.refused += 1;
        }
        has_room
    }

    /// Returns whose packets a stream forwards, and who gets them.
    pub(crate) fn ends(&self, stream: ConnectionId) -> Option<[Peer; 2]> {
        let (token, side) = *self.streams.get(&stream)?;
        let both = self.pairs.get(&token)?;
        Some([self.peer(both, side)?, self.peer(both, 1 - side)?])
    }

    fn peer(&self, both: &Both, side: usize) -> Option<Peer> {
        let id = both.get(side)?.as_ref()?.session;
        let Session { public_key, address, .. } = self.sessions.get(&id)?;
        Some(Peer { session: id, public_key: *public_key, address: *address })
    }

    /// Reports whether a connection is a session.
    pub(crate) fn has(&self, session: ConnectionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Returns the link of a session.
    pub(crate) fn link(&mut self, session: ConnectionId) -> Option<&mut Link> {
        self.sessions.get_mut(&session).map(|session| &mut session.link)
    }

    /// Takes the wish of a session; returns the pair that is complete with it. Whoever names a token in the second
    /// place on the same side hears nothing.
    pub(crate) fn pair(&mut self, id: ConnectionId, pair: &Pair) -> Option<Match> {
        let session = self.sessions.get_mut(&id)?;
        let remote_id = u32::try_from(pair.id).ok()?;
        let side = usize::from(pair.is_initiator);
        if session.sides.len() >= MAX_PAIRS {
            return None;
        }
        let both = self.pairs.entry(pair.token).or_default();
        let place = both.get_mut(side).filter(|place| place.is_none())?;
        *place = Some(Side { session: id, remote_id, stream: None });
        session.sides.push((pair.token, side));
        match *both {
            [Some(one), Some(other)] => {
                Some(Match { token: pair.token, sessions: [one.session, other.session] })
            }
            _ => None,
        }
    }

    /// Takes the streams of a pair that is complete, one for each side.
    pub(crate) fn connect(&mut self, token: [u8; 32], streams: [ConnectionId; 2]) {
        let Some(both) = self.pairs.get_mut(&token) else { return };
        for (side, stream) in streams.into_iter().enumerate() {
            if let Some(place) = both.get_mut(side).and_then(Option::as_mut) {
                place.stream = Some(stream);
                self.streams.insert(stream, (token, side));
            }
        }
    }

    /// Returns the id by which the peer behind a forwarding stream is addressed.
    pub(crate) fn remote_id(&self, stream: ConnectionId) -> Option<u32> {
        let (token, side) = self.streams.get(&stream)?;
        Some(self.pairs.get(token)?.get(*side).copied().flatten()?.remote_id)
    }

    /// Reports whether a connection is a stream that forwards.
    pub(crate) fn forwards(&self, stream: ConnectionId) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Takes a pair apart; returns its streams, which are to be closed.
    pub(crate) fn unpair(&mut self, token: &[u8; 32]) -> Vec<ConnectionId> {
        let mut streams = Vec::new();
        for side in self.pairs.remove(token).into_iter().flatten().flatten() {
            streams.extend(side.stream);
            if let Some(session) = self.sessions.get_mut(&side.session) {
                session.sides.retain(|(other, _)| other != token);
            }
        }
        for stream in &streams {
            self.streams.remove(stream);
        }
        streams
    }

    /// Takes the wish of a session back; see [`unpair`](Self::unpair). Tokens of others stay.
    pub(crate) fn withdraw(&mut self, id: ConnectionId, token: &[u8; 32]) -> Vec<ConnectionId> {
        let owns = |session: &Session| session.sides.iter().any(|(other, _)| other == token);
        if self.sessions.get(&id).is_some_and(owns) { self.unpair(token) } else { Vec::new() }
    }

    /// Ends a forwarding stream, and with it the pair.
    pub(crate) fn stream_closed(&mut self, stream: ConnectionId) -> Vec<ConnectionId> {
        match self.streams.get(&stream).copied() {
            Some((token, _)) => self.unpair(&token),
            None => Vec::new(),
        }
    }

    /// Ends a session; returns the streams that are to be closed with it.
    pub(crate) fn close(&mut self, id: ConnectionId) -> Vec<ConnectionId> {
        let Some(session) = self.sessions.remove(&id) else { return Vec::new() };
        session.sides.iter().flat_map(|(token, _)| self.unpair(token)).collect()
    }
}

/// Part of all sessions that one key, or one host, may have: one in so many.
const SHARE: usize = 4;

/// As few sessions are nobody's share.
const MIN_SHARE: usize = 16;

/// Pairs of one session: hyperdht asks for one in each.
const MAX_PAIRS: usize = 16;
