//! Holepunch messages of a peer, and what it is answered.

use super::super::context::Context;
use super::super::error;
use super::super::messages::{Firewall, Holepunch, HolepunchPayload};
use super::super::punch::Analysis;
use super::super::router::answer_holepunch;
use super::super::rpc::{Incoming, SocketId};
use super::{Accept, PendingPunch, Relayed, forward};
use crate::time::Instant;

impl Accept {
    /// Answers holepunch messages once the own network is understood.
    pub(super) fn advance_punches(&mut self, context: &mut Context, now: Instant) {
        while let Some(mut pending) = self.punches.pop() {
            let Some(puncher) = &mut self.puncher else { return };
            match puncher.analyze(pending.may_reopen, context, now) {
                Analysis::Pending => {
                    self.punches.push(pending);
                    return;
                }
                Analysis::Unstable if !puncher.remote_is_punching && !pending.may_reopen => {
                    pending.may_reopen = true;
                    self.punches.push(pending);
                }
                Analysis::Unstable if !puncher.remote_is_punching => {
                    self.abort(&pending.message, &pending.request, error::ABORTED, context, now);
                }
                _ => self.answer_punch(pending, context, now),
            }
        }
    }

    pub(super) fn answer_punch(&mut self, pending: PendingPunch, context: &mut Context, now: Instant) {
        let PendingPunch { message, request, remote, token, .. } = pending;
        let (Some(puncher), Some(peer)) = (&mut self.puncher, message.peer_address) else { return };
        let firewall = puncher.nat().firewall();
        let is_consistent = matches!(firewall, Firewall::Open | Firewall::Consistent);
        let is_ours = remote
            .remote_address
            .is_some_and(|address| puncher.nat().addresses().is_some_and(|own| own.contains(&address)));
        if is_consistent && is_ours {
            puncher.ping(peer, context);
        }
        let mut refusal = 0;
        if puncher.remote_is_punching {
            self.deadline = None;
            let is_too_early =
                puncher.is_random() && !puncher.is_punching() && !context.may_punch_randomly(now);
            if is_too_early && self.relayed == Relayed::No {
                self.abort(&message, &request, error::TRY_LATER, context, now);
                return;
            }
            // With a relay there is time: the peer comes back in a while.
            refusal = if is_too_early { error::TRY_LATER } else { 0 };
            if !is_too_early && !puncher.punch(context, now) {
                self.abort(&message, &request, error::ABORTED, context, now);
                return;
            }
        }
        if firewall != Firewall::Unknown {
            puncher.freeze();
        }
        let payload = HolepunchPayload {
            error: refusal,
            firewall,
            round: self.round,
            is_connected: self.is_connected,
            is_punching: puncher.is_punching(),
            addresses: puncher.nat().addresses().map(<[_]>::to_vec),
            token,
            remote_token: remote.token,
            ..HolepunchPayload::default()
        };
        let socket = puncher.socket();
        self.send_punch_answer(&message, &request, &payload, Some(socket), context);
    }

    pub(super) fn abort(
        &mut self,
        message: &Holepunch,
        request: &Incoming,
        error: u64,
        context: &mut Context,
        now: Instant,
    ) {
        let payload = HolepunchPayload { error, round: self.round, ..HolepunchPayload::default() };
        let socket = context.node.socket();
        self.send_punch_answer(message, request, &payload, Some(socket), context);
        // The path may still come about within the local network, until the deadline, or through a blind relay.
        if let Some(mut puncher) = self.puncher.take() {
            puncher.close(None, context, now);
        }
        if self.deadline.is_none() {
            self.arm(now, context);
        }
    }

    fn send_punch_answer(
        &self,
        message: &Holepunch,
        request: &Incoming,
        payload: &HolepunchPayload,
        socket: Option<SocketId>,
        context: &mut Context,
    ) {
        let Some(sealer) = &self.sealer else { return };
        let sealed = sealer.seal(payload, context.rng.bytes());
        forward(answer_holepunch(message, sealed, request.from), request, socket, context);
    }
}
