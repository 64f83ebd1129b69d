//! One end of the connection between a peer and a blind relay.

use bytes::Bytes;

use super::PROTOCOL;
use super::messages::{Pair, Unpair};
use crate::noise::{Role, Session};
use crate::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use crate::secret_stream::{self, Entropy, SecretStream};
use crate::time::{Duration, Instant};

/// A secret stream with one channel.
#[derive(Debug)]
pub(crate) struct Link {
    secret: SecretStream,
    mux: Mux,
    channel: Option<ChannelId>,
    is_over: bool,
}

/// What the other end said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// It wants a pair, or has made one.
    Pair(Pair),
    /// It does not want one any more.
    Unpair([u8; 32]),
    /// It has left, or said what makes no sense.
    Over,
}

impl Link {
    /// Starts on a connection that is open; `key` is the client's.
    pub(crate) fn new(role: Role, session: Session, key: &[u8; 32], seed: &[u8; 32], now: Instant) -> Self {
        let options = secret_stream::Options { keep_alive: Some(KEEP_ALIVE), timeout: None };
        let mut mux = Mux::new();
        let channel = mux.open(&OpenChannel { protocol: PROTOCOL, key, ..OpenChannel::default() });
        Self {
            secret: SecretStream::established(role, session, options, Entropy::from_seed(seed), now),
            mux,
            channel,
            is_over: false,
        }
    }

    /// Asks for a pair, or tells of one.
    pub(crate) fn send_pair(&mut self, pair: &Pair) {
        if let Some(channel) = self.channel {
            self.mux.send_encoded(channel, Pair::TYPE, pair);
        }
    }

    /// Takes bytes of the connection.
    pub(crate) fn handle_bytes(&mut self, bytes: Bytes, now: Instant) {
        self.secret.handle_bytes(bytes, now);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.secret.handle_timeout(now);
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.secret.poll_timeout().filter(|_| !self.is_over)
    }

    /// Returns what the other end said next.
    pub(crate) fn poll_event(&mut self) -> Option<LinkEvent> {
        while !self.is_over {
            match self.mux.poll_event() {
                Ok(Some(event)) => {
                    if let Some(event) = self.judge(event) {
                        self.is_over = event == LinkEvent::Over;
                        return Some(event);
                    }
                }
                // A relay has no use for channels that nobody decides about, so the mux never stops for them.
                Ok(None) => match self.secret.poll_event() {
                    Ok(Some(secret_stream::Event::Message(message))) => self.mux.handle_message(message),
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(_) => break,
                },
                Err(_) => break,
            }
        }
        (!core::mem::replace(&mut self.is_over, true)).then_some(LinkEvent::Over)
    }

    /// Returns the next bytes for the connection.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        while let Some(frame) = self.mux.poll_transmit() {
            self.secret.send(frame, now);
        }
        self.secret.poll_transmit()
    }

    fn judge(&mut self, event: MuxEvent) -> Option<LinkEvent> {
        match event {
            MuxEvent::RemoteOpen { open, .. } => {
                self.mux.reject(open);
                None
            }
            MuxEvent::Opened { .. } => None,
            MuxEvent::Message { message_type: Pair::TYPE, payload, .. } => {
                Some(Pair::decode(&payload).map_or(LinkEvent::Over, LinkEvent::Pair))
            }
            MuxEvent::Message { message_type: Unpair::TYPE, payload, .. } => Some(
                Unpair::decode(&payload).map_or(LinkEvent::Over, |unpair| LinkEvent::Unpair(unpair.token)),
            ),
            MuxEvent::Message { .. } => None,
            MuxEvent::Closed { .. } => Some(LinkEvent::Over),
        }
    }
}

/// Silence after which an empty message goes out (hyperdht `relayKeepAlive`).
const KEEP_ALIVE: Duration = Duration::from_secs(5);
