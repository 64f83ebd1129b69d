//! An encrypted stream of messages over any ordered byte path.
//!
//! Source: @hyperswarm/secret-stream 6.9, `index.js`.
//!
//! # Wire
//!
//! Everything is a frame, `u24 length ‖ body`. In order, each way:
//!
//! | body | bytes | meaning |
//! | --- | --- | --- |
//! | handshake | 32, 96, 64 | Noise XX; left out when keys come from elsewhere |
//! | header | 56 | the sender's stream id, the header of the sender's direction |
//! | message | 17 and up | a message, [sealed](cipher) |

pub use hypertab_crypto::secretstream as cipher;
pub mod framer;
mod outgoing;
mod unordered;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub use outgoing::Outgoing;
pub use unordered::Unordered;

use crate::crypto::{KeyPair, blake2b_256_keyed};
use crate::noise::{self, Handshake, NoiseError, Pattern, Role, Session};
use crate::time::{Duration, Instant};
use cipher::{HEADER_LEN, OVERHEAD, Pull, Push};
use framer::{Framer, MAX_BODY, PREFIX_LEN, TooLong};

/// Longest message in bytes.
pub const MAX_MESSAGE: usize = MAX_BODY - OVERHEAD;

/// How often a stream speaks and how long it listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Sends an empty message after this long without another; swallows those of the remote end.
    pub keep_alive: Option<Duration>,
    /// Ends the stream after this long without a byte from the remote end.
    pub timeout: Option<Duration>,
}

/// The random bytes that one end of a stream spends.
#[derive(Clone)]
pub struct Entropy {
    /// Seeds the ephemeral key of the handshake.
    pub ephemeral: [u8; 32],
    /// Starts the outgoing direction.
    pub header: [u8; HEADER_LEN],
    /// Starts the counter of unordered messages.
    pub counter: [u8; 8],
}

impl Entropy {
    /// Expands a seed that serves no other purpose.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut bytes = blake2b_256_keyed(seed, &[b"hypertab/stream/header"]);
        let mut entropy = Self {
            ephemeral: blake2b_256_keyed(seed, &[b"hypertab/stream/ephemeral"]),
            header: [0; HEADER_LEN],
            counter: [0; 8],
        };
        entropy.header.copy_from_slice(&bytes[..HEADER_LEN]);
        entropy.counter.copy_from_slice(&bytes[HEADER_LEN..]);
        bytes.zeroize();
        entropy
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.ephemeral.zeroize();
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretStreamError {
    /// The handshake failed.
    Handshake(NoiseError),
    /// The header frame had another length than 56 bytes.
    HeaderLength {
        /// Bytes of the body.
        found: usize,
    },
    /// The header frame did not belong to this handshake or to the remote role.
    StreamId,
    /// A message was altered, repeated, left out, or never sealed.
    Forged,
    /// A frame announced more bytes than may come at this point.
    TooLong {
        /// Bytes announced.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The remote end was silent for the timeout.
    TimedOut,
}

impl fmt::Display for SecretStreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::HeaderLength { found } => {
                write!(f, "header message of {found} bytes is not {STREAM_HEADER_LEN}")
            }
            Self::StreamId => f.write_str("header does not belong to this handshake"),
            Self::Forged => f.write_str("message does not authenticate"),
            Self::TooLong { found, limit } => write!(f, "frame of {found} bytes is beyond {limit}"),
            Self::TimedOut => f.write_str("stream timed out"),
        }
    }
}

impl core::error::Error for SecretStreamError {}

impl From<TooLong> for SecretStreamError {
    fn from(TooLong { found, limit }: TooLong) -> Self {
        Self::TooLong { found, limit }
    }
}

/// What a stream has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done: messages can be sent, and the remote end is who it says it is.
    Opened {
        /// The remote end's proven key.
        remote_public_key: [u8; 32],
        /// Names this stream.
        handshake_hash: [u8; 64],
    },
    /// A message arrived.
    Message(Bytes),
}

/// One end of a secret stream.
///
/// After any `&mut self` call drain [`poll_event`](Self::poll_event), then
/// [`poll_transmit`](Self::poll_transmit), then arm a timer from [`poll_timeout`](Self::poll_timeout). Frames are
/// opened one at a time as events are polled, so whoever stops polling stops decrypting.
#[derive(Debug)]
pub struct SecretStream {
    role: Role,
    options: Options,
    entropy: Entropy,
    framer: Framer,
    state: State,
    push: Option<Push>,
    unordered: Option<Unordered>,
    /// Messages that wait for the handshake. The owner bounds them by its own credit.
    waiting: VecDeque<Outgoing>,
    /// Bytes in `waiting`.
    waiting_bytes: usize,
    transmits: VecDeque<Bytes>,
    keep_alive_at: Option<Instant>,
    timeout_at: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Boxed, because it is large and gone after a moment.
    Handshake(Box<Handshake>),
    /// Keys exist; the event that tells so has not been polled.
    Established(Session),
    /// Waits for the remote end's header.
    Header {
        rx: Key,
        remote_id: [u8; 32],
    },
    Open(Pull),
    Failed(SecretStreamError),
}

impl SecretStream {
    /// Starts a stream with a Noise XX handshake.
    pub fn new(role: Role, key_pair: &KeyPair, options: Options, entropy: Entropy, now: Instant) -> Self {
        let keys = noise::Keys { key_pair, remote_public_key: None, psk: None };
        let state = match Handshake::new(Pattern::Xx, role, keys, &[], entropy.ephemeral) {
            Ok(handshake) => State::Handshake(Box::new(handshake)),
            Err(error) => State::Failed(SecretStreamError::Handshake(error)),
        };
        let mut stream = Self::with_state(role, options, entropy, state, now);
        if role == Role::Initiator {
            stream.write_handshake();
        }
        stream
    }

    /// Starts a stream whose handshake happened elsewhere. A session without a remote key opens with zeros for it.
    pub fn established(
        role: Role,
        session: Session,
        options: Options,
        entropy: Entropy,
        now: Instant,
    ) -> Self {
        let mut stream =
            Self::with_state(role, options, entropy, State::Failed(SecretStreamError::StreamId), now);
        stream.establish(session);
        stream
    }

    fn with_state(role: Role, options: Options, entropy: Entropy, state: State, now: Instant) -> Self {
        Self {
            role,
            options,
            entropy,
            framer: Framer::new(noise::MAX_MESSAGE),
            state,
            push: None,
            unordered: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            transmits: VecDeque::new(),
            keep_alive_at: options.keep_alive.map(|delay| now + delay),
            timeout_at: options.timeout.map(|delay| now + delay),
        }
    }

    /// Takes the next bytes of the transport, cut anywhere.
    pub fn handle_bytes(&mut self, bytes: Bytes, now: Instant) {
        self.timeout_at = self.options.timeout.map(|delay| now + delay);
        self.framer.push(bytes);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.timeout_at.is_some_and(|at| at <= now) {
            self.fail(SecretStreamError::TimedOut);
        } else if self.keep_alive_at.is_some_and(|at| at <= now) {
            self.send(Outgoing::with_capacity(0), now);
        }
    }

    /// Sends an empty message whenever nothing was sent for that long; `None` for never.
    pub fn set_keep_alive(&mut self, delay: Option<Duration>, now: Instant) {
        self.options.keep_alive = delay;
        self.keep_alive_at = delay.map(|delay| now + delay);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.state, State::Failed(_)) {
            return None;
        }
        [self.timeout_at, self.keep_alive_at].into_iter().flatten().min()
    }

    /// Sends a message, or keeps it until the handshake is done. Messages beyond [`MAX_MESSAGE`] bytes are refused.
    pub fn send(&mut self, message: Outgoing, now: Instant) -> bool {
        if message.len() > MAX_MESSAGE || matches!(self.state, State::Failed(_)) {
            return false;
        }
        self.keep_alive_at = self.options.keep_alive.map(|delay| now + delay);
        match &mut self.push {
            Some(push) => self.transmits.push_back(message.into_sealed(push)),
            // A keep-alive has nothing to keep alive yet.
            None if message.is_empty() => {}
            None => {
                self.waiting_bytes += message.len();
                self.waiting.push_back(message);
            }
        }
        true
    }

    /// Returns the next bytes for the transport: always one whole frame.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// Returns what happened next.
    ///
    /// # Errors
    ///
    /// When the stream is over; the same error returns ever after. Bytes that
    /// [`poll_transmit`](Self::poll_transmit) still has may be sent first.
    pub fn poll_event(&mut self) -> Result<Option<Event>, SecretStreamError> {
        match self.next_event() {
            Ok(event) => Ok(event),
            Err(error) => {
                self.fail(error);
                Err(error)
            }
        }
    }

    /// Returns the sealer of unordered messages, once the handshake is done.
    pub fn unordered(&mut self) -> Option<&mut Unordered> {
        self.unordered.as_mut()
    }

    /// Returns why the stream is over, if it is.
    pub fn error(&self) -> Option<SecretStreamError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Returns how many received bytes wait to be polled.
    pub fn buffered(&self) -> usize {
        self.framer.buffered()
    }

    /// Returns how many bytes wait for the handshake to end.
    pub fn waiting(&self) -> usize {
        self.waiting_bytes
    }

    fn next_event(&mut self) -> Result<Option<Event>, SecretStreamError> {
        loop {
            match &self.state {
                State::Failed(error) => return Err(*error),
                State::Established(_) => return Ok(self.open()),
                _ => {}
            }
            let Some(mut body) = self.framer.next_frame()? else { return Ok(None) };
            match &mut self.state {
                State::Handshake(handshake) => {
                    handshake.read(&body).map_err(SecretStreamError::Handshake)?;
                    self.write_handshake();
                }
                State::Header { rx, remote_id } => {
                    let Some((id, header)) = body.split_first_chunk::<32>() else {
                        return Err(SecretStreamError::HeaderLength { found: body.len() });
                    };
                    let Ok(header) = header.try_into() else {
                        return Err(SecretStreamError::HeaderLength { found: body.len() });
                    };
                    if !bool::from(id.ct_eq(remote_id)) {
                        return Err(SecretStreamError::StreamId);
                    }
                    let pull = Pull::new(&rx.0, header);
                    self.state = State::Open(pull);
                    self.framer.set_limit(MAX_BODY);
                }
                State::Open(pull) => {
                    pull.open(&mut body).map_err(|_| SecretStreamError::Forged)?;
                    body.advance(1);
                    body.truncate(body.len() - (OVERHEAD - 1));
                    if body.is_empty() && self.options.keep_alive.is_some() {
                        continue;
                    }
                    return Ok(Some(Event::Message(body.freeze())));
                }
                State::Established(_) | State::Failed(_) => {}
            }
        }
    }

    /// Writes the next handshake message if it is our turn, and ends the handshake when it is complete.
    fn write_handshake(&mut self) {
        let State::Handshake(handshake) = &mut self.state else { return };
        if !handshake.is_finished() {
            match handshake.write(&[]) {
                Ok(message) => {
                    let mut frame = Vec::with_capacity(PREFIX_LEN + message.len());
                    frame.extend_from_slice(&[0; PREFIX_LEN]);
                    frame.extend_from_slice(&message);
                    self.transmits.push_back(outgoing::into_frame(frame));
                }
                Err(error) => return self.fail(SecretStreamError::Handshake(error)),
            }
        }
        let State::Handshake(handshake) = &self.state else { return };
        if handshake.is_finished() {
            let placeholder = State::Failed(SecretStreamError::StreamId);
            let State::Handshake(handshake) = core::mem::replace(&mut self.state, placeholder) else {
                return;
            };
            match handshake.finish() {
                Ok(session) => self.establish(session),
                Err(error) => self.fail(SecretStreamError::Handshake(error)),
            }
        }
    }

    /// Sends our header and what waited for it.
    fn establish(&mut self, session: Session) {
        let mut push = Push::new(&session.tx, &self.entropy.header);
        let mut frame = Vec::with_capacity(PREFIX_LEN + STREAM_HEADER_LEN);
        frame.extend_from_slice(&[0; PREFIX_LEN]);
        frame.extend_from_slice(&stream_id(&session.handshake_hash, self.role));
        frame.extend_from_slice(&self.entropy.header);
        self.transmits.push_back(outgoing::into_frame(frame));
        for message in self.waiting.drain(..) {
            self.transmits.push_back(message.into_sealed(&mut push));
        }
        self.waiting_bytes = 0;
        self.push = Some(push);
        self.unordered = Some(Unordered::new(self.role, &session.handshake_hash, self.entropy.counter));
        self.framer.set_limit(STREAM_HEADER_LEN);
        self.state = State::Established(session);
    }

    fn open(&mut self) -> Option<Event> {
        let State::Established(session) = &self.state else { return None };
        let remote_public_key = session.remote_public_key.unwrap_or_default();
        let handshake_hash = session.handshake_hash;
        let remote_id = stream_id(&handshake_hash, self.role.remote());
        self.state = State::Header { rx: Key(session.rx), remote_id };
        Some(Event::Opened { remote_public_key, handshake_hash })
    }

    fn fail(&mut self, error: SecretStreamError) {
        if !matches!(self.state, State::Failed(_)) {
            self.state = State::Failed(error);
            self.push = None;
            self.unordered = None;
            self.waiting.clear();
            self.waiting_bytes = 0;
        }
    }
}

/// Returns the public name of one end of a stream.
pub fn stream_id(handshake_hash: &[u8; 64], role: Role) -> [u8; 32] {
    let namespace = match role {
        Role::Initiator => &NS_INITIATOR,
        Role::Responder => &NS_RESPONDER,
    };
    blake2b_256_keyed(handshake_hash, &[namespace])
}

struct Key([u8; 32]);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Length of the header frame's body.
const STREAM_HEADER_LEN: usize = 32 + HEADER_LEN;

/// Namespace 0 of `hyperswarm/secret-stream`: initiator.
const NS_INITIATOR: [u8; 32] = [
    0xa9, 0x31, 0xa0, 0x15, 0x5b, 0x5c, 0x09, 0xe6, 0xd2, 0x86, 0x28, 0x23, 0x6a, 0xf8, 0x3c, 0x4b, 0x8a,
    0x6a, 0xf9, 0xaf, 0x60, 0x98, 0x6e, 0xde, 0xed, 0xe9, 0xdc, 0x5d, 0x63, 0x19, 0x2b, 0xf7,
];

/// Namespace 1 of `hyperswarm/secret-stream`: responder.
const NS_RESPONDER: [u8; 32] = [
    0x74, 0x2c, 0x9d, 0x83, 0x3d, 0x43, 0x0a, 0xf4, 0xc4, 0x8a, 0x87, 0x05, 0xe9, 0x16, 0x31, 0xee, 0xcf,
    0x29, 0x54, 0x42, 0xbb, 0xca, 0x18, 0x99, 0x6e, 0x59, 0x70, 0x97, 0x72, 0x3b, 0x10, 0x61,
];

/// Namespace 2 of `hyperswarm/secret-stream`: unordered messages.
const NS_SEND: [u8; 32] = [
    0xaa, 0xb9, 0x7d, 0x09, 0x74, 0x71, 0xf5, 0x66, 0x51, 0xb0, 0x46, 0x0f, 0xfc, 0x8a, 0xaa, 0x7d, 0x33,
    0x42, 0xf7, 0x37, 0x75, 0x97, 0xd6, 0x0b, 0x92, 0x5a, 0x1d, 0xac, 0x68, 0x9a, 0xdc, 0xbf,
];
