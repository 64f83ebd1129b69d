//! Links that are held while their client is away, and the client that comes back.

use bytes::Bytes;

use super::super::limits::{Permissions, Refusal};
use super::super::resume::{Claim, RESUME_PROTOCOL, decode_ack, encode_count};
use super::{Session, Standing};
use crate::compact_encoding::Encode;
use crate::protomux::{OpenChannel, RemoteOpenId};
use crate::time::Instant;

/// A link that the client wants to go on with.
#[derive(Debug)]
pub(super) struct Claimed {
    open: RemoteOpenId,
    claim: Claim,
    is_told: bool,
}

impl Session {
    /// The client asks whether it may come back, or comes back.
    pub(super) fn resume_opened(&mut self, open: RemoteOpenId, handshake: &Bytes) {
        match (Claim::decode(handshake), &self.ticket) {
            (Err(_), _) => self.refuse(Refusal::Malformed),
            (Ok(None), Some(ticket)) if !self.window.keeps() => {
                let handshake = &ticket.to_vec()[..];
                let channel = OpenChannel { protocol: RESUME_PROTOCOL, handshake, ..OpenChannel::default() };
                self.mux.open(&channel);
                self.window.keep();
            }
            (Ok(Some(claim)), Some(_))
                if matches!(self.standing, Standing::Unknown) && self.claimed.is_none() =>
            {
                self.claimed = Some(Claimed { open, claim, is_told: false });
            }
            (Ok(_), _) => self.mux.reject(open),
        }
    }

    /// Returns what the client claims a link with, once.
    pub(in super::super) fn poll_claim(&mut self) -> Option<&[u8; 32]> {
        let claimed = self.claimed.as_mut().filter(|claimed| !claimed.is_told)?;
        claimed.is_told = true;
        Some(&claimed.claim.token.0)
    }

    /// Tells the client that it cannot go on with the link that it claims.
    pub(in super::super) fn reject_claim(&mut self) {
        if let Some(claimed) = self.claimed.take() {
            self.mux.reject(claimed.open);
            self.collect();
        }
    }

    /// Returns how many frames the client has of the link that it claims.
    pub(in super::super) fn claimed_count(&self) -> Option<u64> {
        Some(self.claimed.as_ref()?.claim.received)
    }

    /// Answers a claim: returns the last frame of this session, which is over. The next one is of the session claimed.
    pub(in super::super) fn answer_claim(&mut self, received: u64) -> Option<Bytes> {
        self.claimed = None;
        let handshake = &encode_count(received)[..];
        self.mux.open(&OpenChannel { protocol: RESUME_PROTOCOL, handshake, ..OpenChannel::default() })?;
        self.collect();
        self.outbox.pop_last_frame()
    }

    /// Returns what a client comes back with.
    pub(in super::super) fn token(&self) -> Option<&[u8; 32]> {
        Some(&self.ticket.as_ref()?.token.0)
    }

    /// Holds the session for its client, whose WebSocket broke; reports whether that is of use.
    pub(in super::super) fn hold(&mut self, now: Instant) -> bool {
        let can_come_back = self.window.keeps()
            && self.refusal.is_none()
            && matches!(self.standing, Standing::Admitted)
            && self.held_until.is_none();
        if let (true, Some(ticket)) = (can_come_back, &self.ticket) {
            self.held_until = Some(now + ticket.grace);
        }
        can_come_back && self.ticket.is_some()
    }

    pub(in super::super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Lets a session that is held end with the next timeout.
    pub(in super::super) fn cut_hold(&mut self, now: Instant) {
        if let Some(until) = &mut self.held_until {
            *until = now.min(*until);
        }
    }

    /// Returns the bytes that are kept for the client.
    pub(in super::super) fn kept(&self) -> usize {
        self.window.kept()
    }

    /// Returns since when the client has not acknowledged them.
    pub(in super::super) fn kept_since(&self) -> Option<Instant> {
        self.window.kept_since()
    }

    /// Lets go of what is kept for the client: if its WebSocket breaks meanwhile, it begins anew.
    pub(in super::super) fn lose_kept(&mut self) {
        self.window.lose();
    }

    /// Returns how many frames have come.
    pub(in super::super) fn received(&self) -> u64 {
        self.window.received()
    }

    /// Reports whether a client that has so many frames can go on.
    pub(in super::super) fn can_resume(&self, received: u64) -> bool {
        self.refusal.is_none() && self.window.has_all_after(received)
    }

    /// Goes on with a client that came back, or that has another WebSocket.
    pub(in super::super) fn resume(
        &mut self,
        received: u64,
        first: Bytes,
        permissions: Permissions,
        now: Instant,
    ) {
        if self.window.resume(received).is_err() {
            return self.refuse(Refusal::Malformed);
        }
        self.first = Some(first);
        self.permissions = permissions;
        self.held_until = None;
        self.heard = now;
    }

    pub(in super::super) fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Takes an acknowledgement; reports whether it was one.
    pub(super) fn takes_ack(&mut self, frame: &Bytes) -> bool {
        if !self.window.keeps() {
            return false;
        }
        match decode_ack(frame) {
            Ok(None) => return false,
            Ok(Some(received)) if self.window.handle_ack(received).is_ok() => {}
            Ok(Some(_)) | Err(_) => self.refuse(Refusal::Malformed),
        }
        true
    }

    /// Returns whether something goes out that is no frame of the session's.
    pub(super) fn has_urgent(&self) -> bool {
        self.first.is_some() || self.window.has_lacking() || self.window.is_ack_due()
    }

    /// Returns what goes out before the frames of the session.
    pub(super) fn poll_urgent(&mut self) -> Option<Bytes> {
        let first = self.first.take();
        first.or_else(|| self.window.poll_lacking()).or_else(|| self.window.poll_ack())
    }
}
