//! Channels of the host's own beside those of cores: other protocols on the same link.
//!
//! An engine whose host does not [`expose`](Engine::expose_channels) them refuses whatever is no core's.

use bytes::Bytes;

use crate::protomux::{ChannelId, MuxEvent, OpenChannel, RemoteOpenId};
use crate::time::Instant;

use super::Engine;
use super::types::{Event, LinkId, Misuse};

/// Bytes that went over a link's transport, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

/// Messages between cores, counted by their type on the wire: sync, request, cancel, data, no data, want, unwant,
/// bitfield, range, extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages sent.
    pub sent: [u64; 10],
    /// Messages received.
    pub received: [u64; 10],
}

impl Traffic {
    pub(super) fn count_sent(&mut self, message_type: u64) {
        count(&mut self.sent, message_type);
    }

    pub(super) fn count_received(&mut self, message_type: u64) {
        count(&mut self.received, message_type);
    }
}

fn count(counts: &mut [u64; 10], message_type: u64) {
    if let Some(count) = usize::try_from(message_type).ok().and_then(|at| counts.get_mut(at)) {
        *count += 1;
    }
}

impl Engine {
    /// Tells from here on which channels peers want, on every link: the host answers each [`Event::RemoteChannel`].
    pub fn expose_channels(&mut self) {
        self.exposes_channels = true;
    }

    /// Opens a channel. Returns `None` when one of this name is open and not shared, or there are too many.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownLink`].
    pub fn open_channel_on(
        &mut self,
        link: LinkId,
        options: &OpenChannel<'_>,
    ) -> Result<Option<ChannelId>, Misuse> {
        self.with_link(link, |entry| entry.link.mux_mut().open(options)).ok_or(Misuse::UnknownLink)
    }

    /// Refuses a channel that the peer wants, unless it was opened meanwhile.
    pub fn reject_channel(&mut self, link: LinkId, open: RemoteOpenId) {
        self.with_link(link, |entry| entry.link.mux_mut().reject(open));
    }

    /// Sends on a channel. Returns whether the link takes more at once; otherwise wait for [`Event::LinkDrain`].
    pub fn channel_send(
        &mut self,
        link: LinkId,
        channel: ChannelId,
        message_type: u64,
        payload: &[u8],
    ) -> bool {
        self.with_link(link, |entry| {
            entry.link.mux_mut().send(channel, message_type, payload) && entry.link.is_writable()
        })
        .unwrap_or(false)
    }

    /// Closes a channel.
    pub fn close_channel(&mut self, link: LinkId, channel: ChannelId) {
        self.with_link(link, |entry| entry.link.mux_mut().close(channel));
    }

    /// Gathers what is sent on a link, or sends it as one once it was let go of as often.
    pub fn cork(&mut self, link: LinkId, corked: bool) {
        self.with_link(link, |entry| {
            let mux = entry.link.mux_mut();
            if corked { mux.cork() } else { mux.uncork() }
        });
    }

    /// Sends an empty message whenever nothing was sent for that long; `None` for never.
    pub fn set_keep_alive(&mut self, link: LinkId, delay: Option<crate::time::Duration>, now: Instant) {
        self.with_link(link, |entry| entry.link.set_keep_alive(delay, now));
    }

    /// Sends an empty message, which peers ignore.
    pub fn send_keep_alive(&mut self, link: LinkId, now: Instant) {
        self.with_link(link, |entry| entry.link.send_keep_alive(now));
    }

    /// Returns what went over a link, while it is there.
    pub fn link_stats(&self, link: LinkId) -> Option<LinkStats> {
        self.links.get(&link).map(|entry| entry.link.stats())
    }

    /// Tells the host what happened on a channel that is no core's.
    pub(super) fn handle_own_channel(&mut self, link: LinkId, event: MuxEvent) {
        self.emit(match event {
            MuxEvent::RemoteOpen { open, protocol, key, .. } => {
                Event::RemoteChannel { link, open, protocol, key: key.unwrap_or_else(Bytes::new) }
            }
            MuxEvent::Opened { channel, handshake } => Event::ChannelOpened { link, channel, handshake },
            MuxEvent::Message { channel, message_type, payload } => {
                Event::ChannelMessage { link, channel, message_type, payload }
            }
            MuxEvent::Closed { channel } => Event::ChannelClosed { link, channel },
        });
    }
}
