//! Many channels over one stream of messages.
//!
//! Source: protomux 3.11, `index.js`.
//!
//! Channels are paired by protocol name and key: one is *open* once both ends opened it. Each end numbers its own, and
//! may send on a channel right after it opened it; the other end keeps such messages until it has decided.

mod codec;
mod pairing;
mod sender;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::collections::BTreeMap;
use crate::compact_encoding::{DecodeError, Encode, Writer};
use crate::secret_stream::Outgoing;
use codec::{Open, take_buffer, take_uint};
use pairing::{GroupId, Name, Pairing};
use sender::Sender;

/// Names a channel of one [`Mux`]; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// Names a remote end's wish to open a channel; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteOpenId(pub u64);

/// What [`Mux::open`] opens.
#[derive(Clone, Debug, Default)]
pub struct OpenChannel<'a> {
    /// Name that is sent and matched.
    pub protocol: &'a str,
    /// Names that are matched besides.
    pub aliases: &'a [&'a str],
    /// Tells channels of one protocol apart; empty for none.
    pub key: &'a [u8],
    /// What the remote end learns with the open, in the protocol's own encoding.
    pub handshake: &'a [u8],
    /// Allows a second channel with this name and key.
    pub shared: bool,
}

/// What happened on a [`Mux`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MuxEvent {
    /// The remote end opened a channel that we have not. Answer with a matching [`Mux::open`] or with [`Mux::reject`].
    RemoteOpen {
        /// What to reject.
        open: RemoteOpenId,
        /// Name that the remote end sent.
        protocol: String,
        /// Key that the remote end sent.
        key: Option<Bytes>,
        /// Handshake of the remote end; repeated by [`Opened`](Self::Opened).
        handshake: Bytes,
    },
    /// Both ends opened the channel.
    Opened {
        /// The channel.
        channel: ChannelId,
        /// Handshake of the remote end.
        handshake: Bytes,
    },
    /// A message arrived; its type need not be one that we know.
    Message {
        /// The channel.
        channel: ChannelId,
        /// Which kind of message of the protocol.
        message_type: u64,
        /// The message in the protocol's own encoding.
        payload: Bytes,
    },
    /// The remote end closed or rejected the channel. Channels that we close tell nothing.
    Closed {
        /// The channel.
        channel: ChannelId,
    },
}

/// Frames that no correct peer sends. The stream must be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// Bytes that are no frame.
    Malformed(DecodeError),
    /// A batch inside a batch.
    NestedBatch,
    /// An open for an id that is taken, zero, or skips others.
    OpenId {
        /// The id.
        found: u64,
    },
    /// A reject for an id that waits for no answer.
    RejectId {
        /// The id.
        found: u64,
    },
    /// A protocol name or key beyond the limit.
    NameTooLong {
        /// Bytes found.
        found: usize,
    },
    /// More channels at once than [`MAX_CHANNELS`].
    TooManyChannels,
}

impl fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed frame: {error}"),
            Self::NestedBatch => f.write_str("batch inside a batch"),
            Self::OpenId { found } => write!(f, "invalid open message for channel {found}"),
            Self::RejectId { found } => write!(f, "invalid reject message for channel {found}"),
            Self::NameTooLong { found } => write!(f, "name of {found} bytes"),
            Self::TooManyChannels => write!(f, "more than {MAX_CHANNELS} channels"),
        }
    }
}

impl core::error::Error for PeerMisbehaved {}

impl From<DecodeError> for PeerMisbehaved {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The channels of one stream.
///
/// Feed frames to [`handle_message`](Self::handle_message) only while [`is_ready`](Self::is_ready), then poll
/// [`poll_event`](Self::poll_event) until `None` and [`poll_transmit`](Self::poll_transmit) until `None`. A frame is
/// decoded item by item as events are polled, so a batch costs no more memory than its bytes.
#[derive(Debug, Default)]
pub struct Mux {
    channels: BTreeMap<ChannelId, Channel>,
    /// Our ids, from 1 on.
    local: Vec<Local>,
    /// Freed ids of ours, the latest last.
    free: Vec<u64>,
    /// The remote end's ids, from 1 on.
    remote: Vec<Option<Remote>>,
    pairing: Pairing,
    next_channel: u64,
    next_open: u64,
    /// Where each undecided open is in `remote`.
    opens: BTreeMap<RemoteOpenId, u64>,
    /// Bytes in messages of undecided channels.
    buffered: usize,
    /// The frame being decoded.
    input: Option<Input>,
    events: VecDeque<Queued>,
    sender: Sender,
}

#[derive(Debug)]
struct Channel {
    group: GroupId,
    local_id: u64,
    /// 0 until the remote end opened it.
    remote_id: u64,
}

/// The state of one of our ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Free,
    /// Sent an open that is not answered. `None` when we closed it since.
    Waiting(Option<ChannelId>),
    Open(ChannelId),
}

/// The state of one id of the remote end's.
#[derive(Debug)]
enum Remote {
    Undecided(Undecided),
    Open(ChannelId),
}

#[derive(Debug)]
struct Undecided {
    open: RemoteOpenId,
    group: GroupId,
    handshake: Bytes,
    messages: Vec<(u64, Bytes)>,
    /// The remote end closed it already.
    closed: bool,
}

impl Undecided {
    fn buffered(&self) -> usize {
        self.messages.iter().map(|(_, payload)| MESSAGE_COST + payload.len()).sum()
    }
}

#[derive(Debug)]
enum Queued {
    Event(MuxEvent),
    /// The last event of a batch was polled: send the answers as one.
    EndOfBatch,
    /// The remote end closed this channel before we had opened it.
    ClosedBefore(ChannelId),
}

/// A frame being decoded.
#[derive(Debug)]
enum Input {
    Frame(Bytes),
    /// The items left, the channel of the next one, and whether we corked.
    Batch {
        items: Bytes,
        channel: u64,
        corked: bool,
    },
}

impl Mux {
    /// Creates a multiplexer without channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a channel, or returns `None` when one with this name and key is open and not shared, or there are too many.
    ///
    /// When the remote end has opened a matching one, [`MuxEvent::Opened`] and its messages follow.
    pub fn open(&mut self, options: &OpenChannel<'_>) -> Option<ChannelId> {
        let group = self.pairing.group(options.protocol, options.aliases, options.key);
        let full = self.free.is_empty() && self.local.len() >= MAX_CHANNELS;
        if full || (!options.shared && self.pairing.is_open(group)) {
            self.pairing.collect(group);
            return None;
        }
        let channel = ChannelId(self.next_channel);
        self.next_channel += 1;
        let local_id = self.free.pop().unwrap_or_else(|| {
            self.local.push(Local::Free);
            self.local.len() as u64
        });
        let remote_id = self.pairing.opened(group, local_id);
        let state = if remote_id == 0 { Local::Waiting(Some(channel)) } else { Local::Open(channel) };
        set(&mut self.local, local_id, state);
        self.channels.insert(channel, Channel { group, local_id, remote_id });
        self.sender.open(local_id, options.protocol, options.key, options.handshake);
        if remote_id != 0 {
            self.decide(remote_id, channel);
        }
        Some(channel)
    }

    /// Refuses what the remote end wants to open. Does nothing when it was answered by an [`open`](Self::open) meanwhile.
    pub fn reject(&mut self, open: RemoteOpenId) {
        let Some(remote_id) = self.opens.remove(&open) else { return };
        let Some(Remote::Undecided(undecided)) = take(&mut self.remote, remote_id) else { return };
        self.buffered -= undecided.buffered();
        self.pairing.rejected(undecided.group, remote_id);
        self.sender.control(codec::REJECT, remote_id);
    }

    /// Closes a channel. Messages that are on their way to it are ignored.
    pub fn close(&mut self, channel: ChannelId) {
        if let Some(local_id) = self.forget(channel) {
            self.sender.control(codec::CLOSE, local_id);
        }
    }

    /// Sends a message of which the bytes are at hand; returns false when the channel is closed.
    pub fn send(&mut self, channel: ChannelId, message_type: u64, payload: &[u8]) -> bool {
        self.send_with(channel, message_type, payload.len(), |writer| writer.raw(payload))
    }

    /// Sends a message, encoded where it is sealed later; returns false when the channel is closed.
    pub fn send_encoded(&mut self, channel: ChannelId, message_type: u64, message: &impl Encode) -> bool {
        self.send_with(channel, message_type, message.encoded_len(), |writer| message.encode(writer))
    }

    /// Sends a message that `write` appends: exactly `len` bytes.
    pub fn send_with(
        &mut self,
        channel: ChannelId,
        message_type: u64,
        len: usize,
        write: impl FnOnce(&mut Writer),
    ) -> bool {
        let Some(channel) = self.channels.get(&channel) else { return false };
        self.sender.message(channel.local_id, message_type, len, write);
        true
    }

    /// Collects everything sent from here on, until as many [`uncork`](Self::uncork)s.
    pub fn cork(&mut self) {
        self.sender.cork();
    }

    /// Sends what was collected as one frame.
    pub fn uncork(&mut self) {
        self.sender.uncork();
    }

    /// Returns whether a channel with this name and key is open or being opened by us.
    pub fn has_channel(&self, protocol: &str, key: &[u8]) -> bool {
        self.pairing.find(&Name::new(protocol, key)).is_some_and(|group| self.pairing.is_open(group))
    }

    /// Returns whether neither end has a channel.
    pub fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.opens.is_empty()
    }

    /// Returns whether undecided channels hold so much that nothing more is decoded until some are decided.
    pub fn is_paused(&self) -> bool {
        self.buffered > MAX_BUFFERED || self.opens.len() >= MAX_UNDECIDED
    }

    /// Returns whether the next frame may come.
    pub fn is_ready(&self) -> bool {
        self.input.is_none() && self.events.is_empty() && !self.is_paused()
    }

    /// Takes a frame. Only call while [`is_ready`](Self::is_ready); a frame before its turn replaces the one in work.
    pub fn handle_message(&mut self, frame: Bytes) {
        debug_assert!(self.input.is_none(), "the frame before is not decoded");
        if !frame.is_empty() {
            self.input = Some(Input::Frame(frame));
        }
    }

    /// Returns what happened next.
    ///
    /// # Errors
    ///
    /// When the remote end broke the protocol. The stream must be destroyed.
    pub fn poll_event(&mut self) -> Result<Option<MuxEvent>, PeerMisbehaved> {
        loop {
            match self.events.pop_front() {
                Some(Queued::Event(MuxEvent::RemoteOpen { open, .. })) if !self.opens.contains_key(&open) => {
                }
                Some(Queued::Event(MuxEvent::Opened { channel, .. } | MuxEvent::Message { channel, .. }))
                    if !self.channels.contains_key(&channel) => {}
                Some(Queued::Event(event)) => return Ok(Some(event)),
                Some(Queued::EndOfBatch) => self.sender.uncork(),
                Some(Queued::ClosedBefore(channel)) => {
                    if self.forget(channel).is_some() {
                        return Ok(Some(MuxEvent::Closed { channel }));
                    }
                }
                None if self.is_paused() || self.input.is_none() => return Ok(None),
                None => self.decode_next()?,
            }
        }
    }

    /// Returns how many bytes wait to be sent, those of a batch that is being collected included.
    pub fn queued(&self) -> usize {
        self.sender.queued()
    }

    /// Returns the next frame to send.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.sender.poll()
    }

    fn decode_next(&mut self) -> Result<(), PeerMisbehaved> {
        match self.input.take() {
            None => Ok(()),
            Some(Input::Frame(mut frame)) => {
                let channel = take_uint(&mut frame)?;
                let message_type = take_uint(&mut frame)?;
                if (channel, message_type) == (codec::CONTROL, codec::BATCH) {
                    let channel = take_uint(&mut frame)?;
                    self.input = Some(Input::Batch { items: frame, channel, corked: false });
                    return Ok(());
                }
                self.decode_message(channel, message_type, frame)
            }
            Some(Input::Batch { items, .. }) if items.is_empty() => Ok(()),
            Some(Input::Batch { mut items, mut channel, mut corked }) => {
                let mut item = take_buffer(&mut items)?;
                if item.is_empty() {
                    channel = take_uint(&mut items)?;
                } else {
                    let message_type = take_uint(&mut item)?;
                    if (channel, message_type) == (codec::CONTROL, codec::BATCH) {
                        return Err(PeerMisbehaved::NestedBatch);
                    }
                    if !corked && !items.is_empty() {
                        corked = true;
                        self.sender.cork();
                    }
                    self.decode_message(channel, message_type, item)?;
                }
                if !items.is_empty() {
                    self.input = Some(Input::Batch { items, channel, corked });
                } else if corked {
                    self.events.push_back(Queued::EndOfBatch);
                }
                Ok(())
            }
        }
    }

    fn decode_message(
        &mut self,
        remote_id: u64,
        message_type: u64,
        mut payload: Bytes,
    ) -> Result<(), PeerMisbehaved> {
        if remote_id == codec::CONTROL {
            return match message_type {
                codec::OPEN => self.remote_opened(Open::decode(&payload)?),
                codec::REJECT => self.remote_rejected(take_uint(&mut payload)?),
                codec::CLOSE => {
                    self.remote_closed(take_uint(&mut payload)?);
                    Ok(())
                }
                _ => Ok(()),
            };
        }
        match get_mut(&mut self.remote, remote_id) {
            // Sent before the remote end learned that the channel is closed.
            None => {}
            Some(Remote::Undecided(undecided)) => {
                self.buffered += MESSAGE_COST + payload.len();
                undecided.messages.push((message_type, payload));
            }
            Some(Remote::Open(channel)) => {
                let channel = *channel;
                self.events.push_back(Queued::Event(MuxEvent::Message { channel, message_type, payload }));
            }
        }
        Ok(())
    }

    fn remote_opened(&mut self, open: Open) -> Result<(), PeerMisbehaved> {
        let known = self.remote.len() as u64;
        if open.id == 0 || open.id > known + 1 || get_mut(&mut self.remote, open.id).is_some() {
            return Err(PeerMisbehaved::OpenId { found: open.id });
        }
        if open.id > known {
            if self.remote.len() >= MAX_CHANNELS {
                return Err(PeerMisbehaved::TooManyChannels);
            }
            self.remote.push(None);
        }
        let key = open.key.as_deref().unwrap_or_default();
        let group = self.pairing.group(&open.protocol, &[], key);
        if let Some(local_id) = self.pairing.answered(group) {
            match get(&self.local, local_id) {
                Local::Waiting(Some(channel)) => {
                    set(&mut self.local, local_id, Local::Open(channel));
                    if let Some(state) = self.channels.get_mut(&channel) {
                        state.remote_id = open.id;
                    }
                    set(&mut self.remote, open.id, Some(Remote::Open(channel)));
                    let handshake = open.handshake;
                    self.events.push_back(Queued::Event(MuxEvent::Opened { channel, handshake }));
                }
                // We closed it before the remote end opened it, and it has read both by the time it can matter.
                _ => self.release(local_id),
            }
            self.pairing.collect(group);
            return Ok(());
        }
        let id = RemoteOpenId(self.next_open);
        self.next_open += 1;
        self.opens.insert(id, open.id);
        self.pairing.remote_opened(group, open.id);
        let undecided = Undecided {
            open: id,
            group,
            handshake: open.handshake.clone(),
            messages: Vec::new(),
            closed: false,
        };
        set(&mut self.remote, open.id, Some(Remote::Undecided(undecided)));
        let Open { protocol, key, handshake, .. } = open;
        self.events.push_back(Queued::Event(MuxEvent::RemoteOpen { open: id, protocol, key, handshake }));
        Ok(())
    }

    fn remote_rejected(&mut self, local_id: u64) -> Result<(), PeerMisbehaved> {
        let Local::Waiting(channel) = get(&self.local, local_id) else {
            return Err(PeerMisbehaved::RejectId { found: local_id });
        };
        self.pairing.remote_rejected(local_id);
        match channel {
            Some(channel) => {
                self.forget(channel);
                self.events.push_back(Queued::Event(MuxEvent::Closed { channel }));
                self.release(local_id);
            }
            None => self.release(local_id),
        }
        Ok(())
    }

    fn remote_closed(&mut self, remote_id: u64) {
        match get_mut(&mut self.remote, remote_id) {
            None => {}
            Some(Remote::Undecided(undecided)) => undecided.closed = true,
            Some(Remote::Open(channel)) => {
                let channel = *channel;
                self.forget(channel);
                self.events.push_back(Queued::Event(MuxEvent::Closed { channel }));
            }
        }
    }

    /// Pairs a channel that we just opened with the remote end's, and lets go what was kept for it.
    fn decide(&mut self, remote_id: u64, channel: ChannelId) {
        let Some(Remote::Undecided(undecided)) = take(&mut self.remote, remote_id) else { return };
        set(&mut self.remote, remote_id, Some(Remote::Open(channel)));
        self.opens.remove(&undecided.open);
        self.buffered -= undecided.buffered();
        self.events.push_back(Queued::Event(MuxEvent::Opened { channel, handshake: undecided.handshake }));
        for (message_type, payload) in undecided.messages {
            self.events.push_back(Queued::Event(MuxEvent::Message { channel, message_type, payload }));
        }
        if undecided.closed {
            self.events.push_back(Queued::ClosedBefore(channel));
        }
    }

    /// Drops a channel and returns the id that it had. The id stays taken while the remote end owes an answer to it.
    fn forget(&mut self, channel: ChannelId) -> Option<u64> {
        let Channel { group, local_id, remote_id } = self.channels.remove(&channel)?;
        if remote_id == 0 {
            set(&mut self.local, local_id, Local::Waiting(None));
        } else {
            take(&mut self.remote, remote_id);
            self.release(local_id);
        }
        self.pairing.closed(group);
        Some(local_id)
    }

    fn release(&mut self, local_id: u64) {
        set(&mut self.local, local_id, Local::Free);
        self.free.push(local_id);
    }
}

/// Returns the state of a local id; ids count from 1.
fn get(local: &[Local], id: u64) -> Local {
    index(id).and_then(|index| local.get(index)).copied().unwrap_or(Local::Free)
}

fn get_mut(remote: &mut [Option<Remote>], id: u64) -> Option<&mut Remote> {
    remote.get_mut(index(id)?)?.as_mut()
}

fn take(remote: &mut [Option<Remote>], id: u64) -> Option<Remote> {
    remote.get_mut(index(id)?)?.take()
}

fn set<T>(states: &mut [T], id: u64, state: T) {
    if let Some(slot) = index(id).and_then(|index| states.get_mut(index)) {
        *slot = state;
    }
}

fn index(id: u64) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

/// Most channels of one stream, each way. Upstream has no limit; a store may replicate tens of thousands of cores.
pub const MAX_CHANNELS: usize = 65536;

/// Bytes kept for undecided channels before decoding pauses, as upstream.
const MAX_BUFFERED: usize = 32768;

/// What a kept message counts besides its bytes, as upstream.
const MESSAGE_COST: usize = 512;

/// Undecided channels before decoding pauses. Each costs a look into storage and an event.
const MAX_UNDECIDED: usize = 4096;

#[cfg(test)]
mod tests;
