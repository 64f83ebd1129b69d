//! Streams of relays that the host may take a shorter way for: a data channel between two tabs, say.
//!
//! The link stays what it is: the same keys, the same channels, no byte lost or repeated. See [`detour`] for how.
//!
//! [`detour`]: crate::dht_relay::detour

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::dht_relay::StreamId;
use crate::dht_relay::detour::{Detour, DetourOutput, Misled};
use crate::time::{Duration, Instant};

use super::Engine;
use super::relay::{Carrier, RelayId};
use super::types::{CloseReason, Event, LinkId, LinkPath, Misuse};

impl Engine {
    /// Expects a direct path of a link that runs through relays: the peer has agreed, and may use it before we do. Follow
    /// up with [`open_direct`](Self::open_direct) or [`close_direct`](Self::close_direct).
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownLink`], also for a link that runs through no relay.
    pub fn expect_direct(&mut self, link: LinkId, now: Instant) -> Result<(), Misuse> {
        self.direct(link, now, |detour| {
            detour.expect();
            Ok(())
        })
    }

    /// Uses the direct path from here on: what the link sends comes as [`Event::DirectBytes`].
    ///
    /// # Errors
    ///
    /// As for [`expect_direct`](Self::expect_direct).
    pub fn open_direct(&mut self, link: LinkId, now: Instant) -> Result<(), Misuse> {
        self.direct(link, now, |detour| {
            detour.open(now);
            Ok(())
        })
    }

    /// Takes a message of the direct path.
    ///
    /// # Errors
    ///
    /// As for [`expect_direct`](Self::expect_direct).
    pub fn handle_direct(&mut self, link: LinkId, message: Bytes, now: Instant) -> Result<(), Misuse> {
        self.direct(link, now, |detour| detour.handle_direct(message, now))
    }

    /// Goes back to the relays: the direct path is broken, or will not be there.
    ///
    /// # Errors
    ///
    /// As for [`expect_direct`](Self::expect_direct).
    pub fn close_direct(&mut self, link: LinkId, now: Instant) -> Result<(), Misuse> {
        self.direct(link, now, |detour| {
            detour.close(now);
            Ok(())
        })
    }

    fn direct(
        &mut self,
        link: LinkId,
        now: Instant,
        act: impl FnOnce(&mut Detour) -> Result<(), Misled>,
    ) -> Result<(), Misuse> {
        let carrier = self.links.get(&link).and_then(|entry| entry.carrier).ok_or(Misuse::UnknownLink)?;
        self.with_detour(carrier, now, act);
        Ok(())
    }

    /// Hands a link's bytes to whatever carries them.
    pub(super) fn carry(&mut self, carrier: Carrier, bytes: Bytes, now: Instant) {
        self.with_detour(carrier, now, |detour| {
            detour.write(bytes, now);
            Ok(())
        });
    }

    /// Ends the stream of a link that closed, once everything that it sent is on its way through the relays.
    pub(super) fn drop_carrier(&mut self, carrier: Carrier, reason: &CloseReason, now: Instant) {
        let Carrier { relay, stream } = carrier;
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        if entry.streams.remove(&stream).is_none() {
            return;
        }
        entry.finishing.remove(&stream);
        self.dirty_relays.insert(relay);
        // An end is answered with an end: a peer that ended in order is not to hear of an error.
        if matches!(reason, CloseReason::Local | CloseReason::Remote(None)) {
            entry.ending.insert(stream, now + LINGER);
            self.with_detour(carrier, now, |detour| {
                detour.close(now);
                Ok(())
            });
        } else {
            entry.detours.remove(&stream);
            entry.client.destroy(stream, Some(reason.to_string()));
        }
    }

    /// Ends our side of a stream that is read on, once everything that was sent is on its way through the relays.
    pub(super) fn finish_carrier(&mut self, carrier: Carrier, now: Instant) {
        if let Some(entry) = self.relays.get_mut(&carrier.relay) {
            entry.finishing.insert(carrier.stream);
            self.with_detour(carrier, now, |detour| {
                detour.close(now);
                Ok(())
            });
        }
    }

    pub(super) fn wake_detours(&mut self, relay: RelayId, now: Instant) {
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        let is_due = |detour: &Detour| detour.poll_timeout().is_some_and(|at| at <= now);
        let due = entry.detours.iter().filter(|(_, detour)| is_due(detour));
        let due: Vec<StreamId> = due.map(|(stream, _)| *stream).collect();
        let late = entry.ending.iter().filter(|(_, at)| **at <= now);
        let late: Vec<StreamId> = late.map(|(stream, _)| *stream).collect();
        for stream in late {
            entry.ending.remove(&stream);
            entry.detours.remove(&stream);
            entry.client.destroy(stream, None);
        }
        for stream in due {
            self.with_detour(Carrier { relay, stream }, now, |detour| {
                detour.handle_timeout(now);
                Ok(())
            });
        }
    }

    /// Does something with a stream's path, and everything that follows from it.
    pub(super) fn with_detour(
        &mut self,
        carrier: Carrier,
        now: Instant,
        act: impl FnOnce(&mut Detour) -> Result<(), Misled>,
    ) {
        let Carrier { relay, stream } = carrier;
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        let link = entry.streams.get(&stream).copied();
        let Some(detour) = entry.detours.get_mut(&stream) else { return };
        self.dirty_relays.insert(relay);
        if act(detour).is_err() {
            if let Some(link) = link {
                self.with_link(link, |entry| entry.link.destroy(CloseReason::Misbehaved(MISLED)));
            }
            return;
        }
        loop {
            let Some(entry) = self.relays.get_mut(&relay) else { return };
            let Some(detour) = entry.detours.get_mut(&stream) else { return };
            let Some(output) = detour.poll_output() else { break };
            match (output, link) {
                (DetourOutput::Relay(bytes), _) => {
                    // A stream that is over swallows them; the link hears of its end.
                    let _ = entry.client.write(stream, bytes);
                }
                (DetourOutput::Received(bytes), Some(link)) => {
                    self.with_link(link, |entry| entry.link.handle_bytes(bytes, now));
                }
                (DetourOutput::Credit(bytes), Some(link)) => {
                    self.with_link(link, |entry| entry.link.handle_credit(bytes));
                }
                (DetourOutput::Direct(bytes), Some(link)) => self.emit(Event::DirectBytes { link, bytes }),
                (DetourOutput::Moved, Some(link)) => self.emit(Event::Path { link, path: LinkPath::Direct }),
                (DetourOutput::Returned(why), Some(link)) => {
                    self.emit(Event::Path { link, path: LinkPath::Relayed(why) });
                }
                // The link is closed: only what it sent matters.
                (_, None) => {}
            }
        }
        let Some(entry) = self.relays.get_mut(&relay) else { return };
        if entry.finishing.contains(&stream) && entry.detours.get(&stream).is_some_and(Detour::is_plain) {
            entry.finishing.remove(&stream);
            entry.client.end(stream);
        }
        if entry.ending.contains_key(&stream) && entry.detours.get(&stream).is_some_and(Detour::is_plain) {
            entry.ending.remove(&stream);
            entry.detours.remove(&stream);
            entry.client.end(stream);
        }
    }
}

/// How long a closed link may take to send again, through the relays, what may be lost on the direct path.
const LINGER: Duration = Duration::from_secs(10);

const MISLED: &str = "the peer broke the rules of changing paths";
