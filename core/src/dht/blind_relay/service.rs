//! The relay's side: pairs, and the two streams that each is made of.

use alloc::vec::Vec;

use super::link::Link;
use super::messages::Pair;
use crate::collections::BTreeMap;
use crate::dht::events::{ConnectionId, ServerId};

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
}

/// A connection of a peer that wants streams forwarded.
#[derive(Debug)]
struct Session {
    link: Link,
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
        }
    }

    /// Returns how many sessions and how many complete pairs there are.
    pub(crate) fn figures(&self) -> (usize, usize) {
        (self.sessions.len(), self.streams.len() / 2)
    }

    /// Takes a peer in, unless there are too many.
    pub(crate) fn open(&mut self, session: ConnectionId, link: Link) -> bool {
        let has_room = self.sessions.len() < self.max_sessions;
        if has_room {
            self.sessions.insert(session, Session { link, sides: Vec::new() });
        }
        has_room
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

/// Pairs of one session: hyperdht asks for one in each.
const MAX_PAIRS: usize = 16;
