//! What a link is made of, what it wants, and why it closes.

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::crypto::KeyPair;
use crate::noise::{Role, Session};
use crate::protomux::{MuxEvent, PeerMisbehaved};
use crate::secret_stream::{MAX_MESSAGE, SecretStreamError};
use crate::time::Duration;

/// What a transport keeps of what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Bytes in order; pieces may be cut and glued, so small frames leave glued.
    Stream,
    /// Messages with their boundaries.
    Framed,
}

/// How a link is protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// A Noise XX handshake, then encryption.
    Noise {
        /// Proves who we are.
        key_pair: KeyPair,
    },
    /// Encryption with keys of a handshake that happened elsewhere.
    Established {
        /// What the handshake left behind.
        session: Session,
        /// Our own key.
        public_key: [u8; 32],
    },
    /// The host encrypts: each input and each output is one message in clear. Use [`Transport::Framed`].
    External {
        /// Names the host's handshake.
        handshake_hash: [u8; 64],
        /// The remote end's key, proven to the host.
        remote_public_key: [u8; 32],
        /// Our own key.
        public_key: [u8; 32],
    },
    /// No handshake and no encryption: each input and each output is one message. For a relay's control link, never for cores.
    Plain,
}

/// What a new link is.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Which end we are.
    pub role: Role,
    /// What the transport keeps.
    pub transport: Transport,
    /// How the link is protected.
    pub security: Security,
    /// Sends an empty message after this long without another. Upstream's replication streams take 5 seconds.
    pub keep_alive: Option<Duration>,
    /// Closes the link after this long without a byte from the remote end.
    pub timeout: Option<Duration>,
}

/// Why a link closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    Local,
    /// We broke it off.
    Broken,
    /// The transport or the remote end closed it, for the reason that the host gives.
    Remote(Option<String>),
    /// Encryption failed, or the remote end fell silent.
    SecretStream(SecretStreamError),
    /// The remote end broke the protocol of the channels.
    Protomux(PeerMisbehaved),
    /// The remote end broke a protocol inside a channel.
    Misbehaved(&'static str),
    /// The remote end sent this many bytes more than we were ready to read.
    Flooded {
        /// Bytes received and not read.
        found: usize,
    },
    /// A message of ours is longer than a frame can be.
    MessageTooLong,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed"),
            Self::Broken => f.write_str("broken off"),
            Self::Remote(None) => f.write_str("closed by the remote end"),
            Self::Remote(Some(reason)) => f.write_str(reason),
            Self::SecretStream(error) => error.fmt(f),
            Self::Protomux(error) => error.fmt(f),
            Self::Misbehaved(what) => f.write_str(what),
            Self::Flooded { found } => write!(f, "{found} bytes arrived that could not be read"),
            Self::MessageTooLong => write!(f, "message is longer than {MAX_MESSAGE} bytes"),
        }
    }
}

/// What a link wants of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOutput {
    /// Write these bytes to the transport.
    Transmit(Bytes),
    /// The handshake is done. Links that are [`Plain`](Security::Plain) skip this.
    Opened {
        /// Our own key.
        public_key: [u8; 32],
        /// The remote end's proven key.
        remote_public_key: [u8; 32],
        /// Names this link.
        handshake_hash: [u8; 64],
    },
    /// A message arrived while messages are read as such.
    Message(Bytes),
    /// Something happened on a channel.
    Channel(MuxEvent),
    /// The link had no room, and has some again.
    Writable,
    /// The remote end writes nothing more, and every message was taken. It may be written to.
    Ended,
    /// Everything is on its way that was sent before [`finish`](Link::finish). Close the transport that way.
    Finished,
    /// The link is over; nothing follows. Close the transport.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}
