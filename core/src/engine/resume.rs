//! Control links that outlive their transport: a relay that allows it goes on with the same link over another one.
//!
//! Counting and keeping frames is between the link and its transport, so nothing above notices but a pause. See
//! [`resume`](crate::dht_relay::resume) for what is said.

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use bytes::Bytes;

use crate::compact_encoding::Encode;
use crate::dht_relay::Window;
use crate::dht_relay::resume::{Claim, RESUME_PROTOCOL, Ticket, decode_ack, decode_count};
use crate::protomux::{ChannelId, Mux, MuxEvent, OpenChannel};
use crate::time::Instant;

use super::relay::{RelayEvent, RelayId};
use super::types::{CloseReason, Event, LinkId, Misuse};
use super::{Engine, Output};

/// Whether a relay's control link can go on, and how.
#[derive(Debug)]
pub(super) struct Resumption {
    window: Window,
    /// Where the relay says whether it holds links.
    channel: Option<ChannelId>,
    ticket: Option<Ticket>,
    /// The transport is gone.
    interruption: Option<Interruption>,
}

#[derive(Debug)]
struct Interruption {
    /// How long the relay holds the link.
    until: Instant,
    /// Why the transport broke.
    reason: Option<String>,
    /// What is said over the next transport before the link goes on.
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    mux: Box<Mux>,
    channel: Option<ChannelId>,
}

impl Resumption {
    /// Begins with a link on which this channel was opened.
    pub(super) fn new(channel: Option<ChannelId>) -> Self {
        Self { window: Window::new(channel.is_some()), channel, ticket: None, interruption: None }
    }

    /// Returns whether the link has no transport that it may use.
    fn is_interrupted(&self) -> bool {
        self.interruption.is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let until = self.interruption.as_ref().map(|interruption| interruption.until);
        [self.window.poll_timeout(), until].into_iter().flatten().min()
    }
}

impl Engine {
    /// Goes on with a relay after [`RelayEvent::Interrupted`], over another transport: that of the link that is returned, from
    /// here on. [`RelayEvent::Resumed`] follows; or [`RelayEvent::Interrupted`] once more, if that one breaks too; or
    /// [`RelayEvent::Closed`], if the relay has let the link go.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`], also for one that is not interrupted.
    pub fn resume_relay(&mut self, relay: RelayId) -> Result<LinkId, Misuse> {
        let entry = self.relays.get_mut(&relay).ok_or(Misuse::UnknownRelay)?;
        let Resumption { window, ticket: Some(ticket), interruption: Some(interruption), .. } =
            &mut entry.resumption
        else {
            return Err(Misuse::UnknownRelay);
        };
        if interruption.attempt.is_some() {
            return Err(Misuse::UnknownRelay);
        }
        let claim = Claim { token: ticket.token.clone(), received: window.received() };
        let mut mux = Box::new(Mux::new());
        let handshake = &claim.to_vec()[..];
        let channel =
            mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, handshake, ..OpenChannel::default() });
        let frame = mux.poll_transmit().map(|frame| frame.into_plain());
        interruption.attempt = Some(Attempt { mux, channel });
        let control = entry.control;
        self.transmit_beside(control, frame);
        Ok(control)
    }

    /// Returns the link whose transport leads to a relay. A host that sees no sign of life may break that off, and say
    /// [`Input::LinkLost`](super::Input::LinkLost), long before the system notices.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownRelay`].
    pub fn control_link(&self, relay: RelayId) -> Result<LinkId, Misuse> {
        self.relays.get(&relay).map(|entry| entry.control).ok_or(Misuse::UnknownRelay)
    }

    /// The transport of a link broke: one to a relay that holds it waits for the next transport, unless it is about to be closed;
    /// any other is closed.
    pub(super) fn link_lost(&mut self, link: LinkId, reason: Option<String>, now: Instant) {
        let relay =
            self.links.get(&link).filter(|entry| !entry.link.is_closed()).and_then(|entry| entry.relay);
        let entry = relay.and_then(|relay| self.relays.get_mut(&relay).map(|entry| (relay, entry)));
        let found = entry.filter(|(_, entry)| !entry.is_closing).and_then(|(relay, entry)| {
            let Resumption { ticket, interruption, .. } = &mut entry.resumption;
            let until = now + ticket.as_ref()?.grace;
            let interruption = interruption.get_or_insert_with(|| Interruption {
                until,
                reason: reason.clone(),
                attempt: None,
            });
            interruption.attempt = None;
            Some((relay, interruption.until))
        });
        match found {
            Some((relay, until)) if until > now => {
                self.with_link(link, |entry| entry.link.interrupt());
                self.dirty_relays.insert(relay);
                let grace = until.duration_since(now);
                self.emit(Event::Relay(RelayEvent::Interrupted { relay, reason, grace }));
            }
            _ => {
                self.with_link(link, |entry| {
                    entry.is_gone = true;
                    entry.link.handle_closed(reason);
                });
            }
        }
    }

    /// Takes a message of the transport of a relay's control link; returns it when it is one of the link's.
    pub(super) fn control_bytes(&mut self, relay: RelayId, bytes: Bytes, now: Instant) -> Option<Bytes> {
        let Some(entry) = self.relays.get_mut(&relay) else { return Some(bytes) };
        let Resumption { window, interruption, .. } = &mut entry.resumption;
        if let Some(interruption) = interruption {
            if let Some(attempt) = &mut interruption.attempt {
                match attempt.handle(bytes) {
                    Ok(None) => {}
                    Ok(Some(received)) if window.resume(received).is_ok() => self.resumed(relay, now),
                    Ok(Some(_)) | Err(NotHeld) => self.give_up_resuming(relay),
                }
            }
            return None;
        }
        if window.keeps()
            && let Ok(Some(received)) = decode_ack(&bytes)
        {
            entry.client.handle_alive(now);
            let (is_right, control) = (window.handle_ack(received).is_ok(), entry.control);
            if is_right {
                self.make_room(relay);
            } else {
                let reason = CloseReason::Misbehaved("relay acknowledged what it was not sent");
                self.with_link(control, |entry| entry.link.destroy(reason));
            }
            return None;
        }
        window.handle_received(bytes.len(), now);
        self.dirty_relays.insert(relay);
        Some(bytes)
    }

    /// Notes a message for the transport of a relay's control link.
    pub(super) fn control_sent(&mut self, link: LinkId, relay: RelayId, bytes: &Bytes, now: Instant) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        entry.resumption.window.handle_sent(bytes, now);
        let room = entry.resumption.window.room();
        if let Some(entry) = self.links.get_mut(&link) {
            entry.link.set_room(room);
        }
    }

    /// Takes the relay's word on whether it holds links; false when the event is about something else.
    pub(super) fn handle_resumption(&mut self, relay: RelayId, event: &MuxEvent) -> bool {
        let Some(entry) = self.relays.get_mut(&relay) else { return false };
        let resumption = &mut entry.resumption;
        match event {
            MuxEvent::Opened { channel, handshake } if Some(*channel) == resumption.channel => {
                match Ticket::decode(handshake) {
                    Ok(ticket) => resumption.ticket = Some(ticket),
                    Err(_) => resumption.window.forget(),
                }
            }
            MuxEvent::Closed { channel } if Some(*channel) == resumption.channel => {
                resumption.channel = None;
                resumption.ticket = None;
                resumption.window.forget();
            }
            MuxEvent::Message { channel, .. } if Some(*channel) == resumption.channel => return true,
            _ => return false,
        }
        self.make_room(relay);
        true
    }

    /// Lets frames go to the transport as far as they can be kept.
    fn make_room(&mut self, relay: RelayId) {
        let Some(entry) = self.relays.get(&relay).filter(|entry| !entry.resumption.is_interrupted()) else {
            return;
        };
        let (room, control) = (entry.resumption.window.room(), entry.control);
        self.with_link(control, |entry| entry.link.set_room(room));
    }

    /// Does what is due.
    pub(super) fn wake_resumption(&mut self, relay: RelayId, now: Instant) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        entry.resumption.window.handle_timeout(now);
        if entry.resumption.interruption.as_ref().is_some_and(|interruption| interruption.until <= now) {
            self.give_up_resuming(relay);
        }
    }

    /// Tells a relay how much has come, if it is time to.
    pub(super) fn tell_received(&mut self, relay: RelayId) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        if entry.resumption.interruption.is_none() && entry.resumption.ticket.is_some() {
            let (ack, control) = (entry.resumption.window.poll_ack(), entry.control);
            self.transmit_beside(control, ack);
        }
    }

    /// Lets an interrupted link go, with what it carried; returns whether it was interrupted.
    pub(super) fn close_interrupted(&mut self, relay: RelayId, reason: CloseReason) -> bool {
        let Some(entry) = self.relays.get_mut(&relay) else { return false };
        let Some(interruption) = entry.resumption.interruption.take() else { return false };
        let control = entry.control;
        self.with_link(control, |entry| {
            // The transport of an attempt is there to be closed.
            entry.is_gone = interruption.attempt.is_none();
            entry.link.destroy(reason);
        });
        true
    }

    fn give_up_resuming(&mut self, relay: RelayId) {
        let entry = self.relays.get(&relay);
        let interruption = entry.and_then(|entry| entry.resumption.interruption.as_ref());
        let reason = interruption.and_then(|interruption| interruption.reason.clone());
        let reason = reason.unwrap_or_else(|| LOST.to_string());
        self.close_interrupted(relay, CloseReason::Remote(Some(reason)));
    }

    fn resumed(&mut self, relay: RelayId, now: Instant) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        entry.resumption.interruption = None;
        entry.client.handle_alive(now);
        let control = entry.control;
        while let Some(entry) = self.relays.get_mut(&relay)
            && let Some(frame) = entry.resumption.window.poll_lacking()
        {
            self.transmit_beside(control, Some(frame));
        }
        self.make_room(relay);
        self.dirty_relays.insert(relay);
        self.emit(Event::Relay(RelayEvent::Resumed { relay }));
    }

    /// Sends something over the transport of a link that is no message of the link's.
    fn transmit_beside(&mut self, link: LinkId, bytes: Option<Bytes>) {
        let Some(bytes) = bytes else { return };
        self.with_link(link, |entry| entry.link.spend(bytes.len()));
        self.outputs.push_back(Output::Transmit { link, bytes });
    }
}

/// The relay does not hold the link, or is none that does.
struct NotHeld;

impl Attempt {
    /// Takes a message; returns how many the relay has once it says so.
    fn handle(&mut self, bytes: Bytes) -> Result<Option<u64>, NotHeld> {
        if !self.mux.is_ready() {
            return Err(NotHeld);
        }
        self.mux.handle_message(bytes);
        loop {
            match self.mux.poll_event() {
                Ok(None) => return Ok(None),
                Ok(Some(MuxEvent::Opened { channel, handshake })) if Some(channel) == self.channel => {
                    return decode_count(&handshake).map(Some).map_err(|_| NotHeld);
                }
                Ok(Some(MuxEvent::Closed { channel })) if Some(channel) == self.channel => {
                    return Err(NotHeld);
                }
                // The relay opens its own channel on every transport, before it knows what for.
                Ok(Some(_)) => {}
                Err(_) => return Err(NotHeld),
            }
        }
    }
}

/// Why a link is closed whose transport broke for no reason that is known.
const LOST: &str = "the connection to the relay broke";
