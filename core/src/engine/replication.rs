//! Cores on links: channels, their messages, and what replicators want.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::collections::{BTreeMap, BTreeSet};
use crate::compact_encoding::{Decode, Encode};
use crate::hypercore::core::Core;
use crate::hypercore::jobs::Work;
use crate::id::DiscoveryKey;
use crate::protomux::{ChannelId, MuxEvent, OpenChannel, RemoteOpenId};
use crate::replicator::wire::{Handshake, Message, PROTOCOL, PROTOCOL_ALIAS};
use crate::replicator::{Action, ReplicatorEvent, capability, is_capable};
use crate::time::Instant;

use super::cores::{CoreEntry, Purpose};
use super::link::{Link, LinkOutput};
use super::relay::{Carrier, RelayId};
use super::types::{CloseReason, CoreId, Event, LinkId, Misuse, PeerId, Role};
use super::{Engine, Output, Sleeper};

/// A link and the cores on it.
#[derive(Debug)]
pub(super) struct LinkEntry {
    pub(super) link: Link,
    /// Cores attached to it.
    pub(super) cores: BTreeSet<CoreId>,
    channels: BTreeMap<ChannelId, CoreId>,
    /// Cores that the peer wants and nobody has decided about. Bounded by the multiplexer.
    pub(super) undecided: BTreeMap<DiscoveryKey, RemoteOpenId>,
    /// Replies are being gathered.
    is_corked: bool,
    /// Peers were told that there is no room.
    is_full: bool,
    /// The transport is gone: closing it is not asked for.
    pub(super) is_gone: bool,
    /// The relay whose control link it is.
    pub(super) relay: Option<RelayId>,
    /// What carries it, if not a transport of the host's.
    pub(super) carrier: Option<Carrier>,
}

/// A core on a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attachment {
    channel: Option<ChannelId>,
    /// Set once the peer has opened the channel too.
    peer: Option<PeerId>,
}

impl LinkEntry {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            cores: BTreeSet::new(),
            channels: BTreeMap::new(),
            undecided: BTreeMap::new(),
            is_corked: false,
            is_full: false,
            is_gone: false,
            relay: None,
            carrier: None,
        }
    }
}

impl Engine {
    /// Replicates a core over a link, from as soon as both are open until one of them closes.
    ///
    /// # Errors
    ///
    /// [`Misuse`] when one of them is not there.
    pub fn attach(&mut self, core: CoreId, link: LinkId, now: Instant) -> Result<(), Misuse> {
        let entry = self.cores.get_mut(&core).ok_or(Misuse::UnknownCore)?;
        if self.dialling.contains_key(&link) {
            entry.attachments.entry(link).or_default();
            self.count_opens(core);
            return Ok(());
        }
        let link_entry = self.links.get_mut(&link).ok_or(Misuse::UnknownLink)?;
        link_entry.link.mux_mut();
        link_entry.cores.insert(core);
        entry.attachments.entry(link).or_default();
        self.dirty_links.insert(link);
        self.open_channel(core, link, now);
        self.count_opens(core);
        Ok(())
    }

    /// Stops replicating a core over a link.
    pub fn detach(&mut self, core: CoreId, link: LinkId, now: Instant) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(attachment) = entry.attachments.remove(&link) else { return };
        if let Some(link_entry) = self.links.get_mut(&link) {
            link_entry.cores.remove(&core);
            if let Some(channel) = attachment.channel {
                link_entry.channels.remove(&channel);
                link_entry.link.mux_mut().close(channel);
                self.dirty_links.insert(link);
            }
        }
        self.remove_peer(core, link, attachment.peer, false, now);
        self.count_opens(core);
    }

    pub(super) fn detach_all(&mut self, core: CoreId, now: Instant) {
        let Some(entry) = self.cores.get(&core) else { return };
        let links: Vec<LinkId> = entry.attachments.keys().copied().collect();
        for link in links {
            self.detach(core, link, now);
        }
    }

    /// Opens channels on all links that have none.
    pub(super) fn open_channels(&mut self, core: CoreId, now: Instant) {
        let Some(entry) = self.cores.get(&core) else { return };
        let links: Vec<LinkId> = entry.attachments.keys().copied().collect();
        for link in links {
            self.open_channel(core, link, now);
        }
        self.count_opens(core);
    }

    fn open_channel(&mut self, core: CoreId, link: LinkId, _now: Instant) {
        let (Some(entry), Some(link_entry)) = (self.cores.get_mut(&core), self.links.get_mut(&link)) else {
            return;
        };
        let Some(open) = entry.open() else { return };
        let (key, discovery_key) = (*open.key(), *open.discovery_key());
        let Some(attachment) =
            entry.attachments.get_mut(&link).filter(|attachment| attachment.channel.is_none())
        else {
            return;
        };
        let Some(hash) = link_entry.link.handshake_hash().filter(|_| !link_entry.link.is_closed()) else {
            return;
        };
        let is_initiator = link_entry.link.role() == Role::Initiator;
        let handshake = Handshake { seeks: true, capability: capability(is_initiator, &key, &hash) };
        let options = OpenChannel {
            protocol: PROTOCOL,
            aliases: &[PROTOCOL_ALIAS],
            key: &discovery_key,
            handshake: &handshake.to_vec(),
            shared: false,
        };
        link_entry.undecided.remove(&discovery_key);
        attachment.channel = link_entry.link.mux_mut().open(&options);
        if let Some(channel) = attachment.channel {
            link_entry.channels.insert(channel, core);
        }
        self.dirty_links.insert(link);
    }

    /// Tells the replicator how many channels may still open.
    fn count_opens(&mut self, core: CoreId) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let links = &self.links;
        let is_pending = |(link, attachment): &(&LinkId, &Attachment)| {
            // A link that is not there is still being dialled.
            let is_opening = links.get(link).is_none_or(|entry| entry.link.handshake_hash().is_none());
            attachment.peer.is_none() && (attachment.channel.is_some() || is_opening)
        };
        let count = entry.attachments.iter().filter(is_pending).count();
        if let Some((core, replicator)) = entry.parts() {
            replicator.set_pending_opens(u32::try_from(count).unwrap_or(u32::MAX), core);
        }
        self.dirty_cores.insert(core);
    }

    /// Lets a link read, then write.
    pub(super) fn drive_link(&mut self, id: LinkId, now: Instant) {
        while let Some(entry) = self.links.get_mut(&id) {
            if core::mem::take(&mut entry.is_corked) {
                entry.link.mux_mut().uncork();
            }
            let Some(output) = entry.link.poll_output(now) else { break };
            match output {
                LinkOutput::Transmit(bytes) => match (entry.carrier, entry.relay) {
                    (Some(carrier), _) => self.carry(carrier, bytes, now),
                    (None, relay) => {
                        if let Some(relay) = relay {
                            self.control_sent(id, relay, &bytes, now);
                        }
                        self.outputs.push_back(Output::Transmit { link: id, bytes });
                    }
                },
                LinkOutput::Opened { public_key, remote_public_key, handshake_hash } => {
                    self.emit(Event::LinkOpened { link: id, public_key, remote_public_key, handshake_hash });
                    let attached =
                        self.links.get(&id).map_or_else(BTreeSet::new, |entry| entry.cores.clone());
                    for core in attached {
                        self.open_channel(core, id, now);
                        self.count_opens(core);
                    }
                }
                LinkOutput::Message(bytes) => self.emit_message(id, bytes),
                LinkOutput::Writable => match entry.relay {
                    Some(relay) => {
                        self.dirty_relays.insert(relay);
                    }
                    None => self.emit(Event::LinkDrain { link: id }),
                },
                LinkOutput::Channel(event) => {
                    let is_busy = self.handle_channel(id, event, now);
                    if is_busy || self.outputs.len() > MAX_OUTPUTS {
                        self.dirty_links.insert(id);
                        return;
                    }
                }
                LinkOutput::Ended => self.emit(Event::LinkEnded { link: id }),
                LinkOutput::Finished => match entry.carrier {
                    Some(carrier) => self.finish_carrier(carrier, now),
                    None => self.outputs.push_back(Output::FinishLink { link: id }),
                },
                LinkOutput::Closed { reason } => return self.link_closed(id, reason, now),
            }
        }
        let Some(entry) = self.links.get_mut(&id) else { return };
        self.wakes.set(Sleeper::Link(id), entry.link.poll_timeout());
        self.tell_room(id);
    }

    /// Tells the cores on a link when it fills up or has room again.
    fn tell_room(&mut self, id: LinkId) {
        let Some(entry) = self.links.get_mut(&id) else { return };
        let is_full = !entry.link.is_writable();
        if is_full == entry.is_full {
            return;
        }
        entry.is_full = is_full;
        for core in entry.channels.values() {
            self.dirty_cores.insert(*core);
            let Some(core_entry) = self.cores.get_mut(core) else { continue };
            let Some(peer) = core_entry.attachments.get(&id).and_then(|attachment| attachment.peer) else {
                continue;
            };
            if let Some((core, replicator)) = core_entry.parts() {
                replicator.set_drained(peer, !is_full, core);
            }
        }
    }

    /// Returns whether what came of it is to be done before the link reads on.
    fn handle_channel(&mut self, link: LinkId, event: MuxEvent, now: Instant) -> bool {
        if let Some(relay) = self.links.get(&link).and_then(|entry| entry.relay) {
            self.handle_control(relay, event, now);
            return false;
        }
        if self.is_own_channel(link, &event) {
            self.handle_own_channel(link, event);
            return false;
        }
        match event {
            MuxEvent::RemoteOpen { open, protocol, key, .. } => {
                self.remote_opened(link, open, &protocol, key.as_ref(), now);
            }
            MuxEvent::Opened { channel, handshake } => self.channel_opened(link, channel, &handshake, now),
            MuxEvent::Message { channel, message_type, payload } => {
                return self.channel_message(link, channel, message_type, &payload, now);
            }
            MuxEvent::Closed { channel } => self.channel_closed(link, channel, now),
        }
        false
    }

    /// Returns whether what came of it is to be done before the link reads on.
    fn channel_message(
        &mut self,
        link: LinkId,
        channel: ChannelId,
        message_type: u64,
        payload: &Bytes,
        now: Instant,
    ) -> bool {
        let Some((core, peer)) = self.peer_of(link, channel) else { return false };
        if let Some(entry) = self.cores.get_mut(&core) {
            entry.total_traffic.count_received(message_type);
            entry.traffic.entry(peer).or_default().count_received(message_type);
        }
        match Message::decode(message_type, payload) {
            Ok(Some(message)) => {
                self.dirty_cores.insert(core);
                let parts = self.cores.get_mut(&core).and_then(CoreEntry::parts);
                parts.is_some_and(|(open, replicator)| {
                    replicator.handle_message(peer, message, open, now);
                    replicator.is_busy()
                })
            }
            Ok(None) => false,
            Err(_) => {
                self.destroy_link(link, "remote sent bytes that are no replication message");
                false
            }
        }
    }

    fn channel_closed(&mut self, link: LinkId, channel: ChannelId, now: Instant) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let Some(core) = entry.channels.remove(&channel) else { return };
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(attachment) = entry.attachments.get_mut(&link) else { return };
        let peer = core::mem::take(attachment).peer;
        if self.remove_peer(core, link, peer, true, now) {
            self.open_channel(core, link, now);
        }
        self.count_opens(core);
    }

    fn is_own_channel(&self, link: LinkId, event: &MuxEvent) -> bool {
        if !self.exposes_channels {
            return false;
        }
        let Some(entry) = self.links.get(&link) else { return false };
        match event {
            MuxEvent::RemoteOpen { protocol, key, .. } => {
                !(is_replication(protocol) && key.as_ref().is_some_and(|key| key.len() == 32))
            }
            MuxEvent::Opened { channel, .. }
            | MuxEvent::Message { channel, .. }
            | MuxEvent::Closed { channel } => !entry.channels.contains_key(channel),
        }
    }

    fn remote_opened(
        &mut self,
        link: LinkId,
        open: RemoteOpenId,
        protocol: &str,
        key: Option<&Bytes>,
        now: Instant,
    ) {
        let discovery_key: Option<DiscoveryKey> = key.and_then(|key| key.as_ref().try_into().ok());
        let Some(entry) = self.links.get_mut(&link) else { return };
        let Some(discovery_key) = discovery_key.filter(|_| is_replication(protocol)) else {
            entry.link.mux_mut().reject(open);
            return;
        };
        entry.undecided.insert(discovery_key, open);
        let attached = self
            .cores_named(&discovery_key)
            .find(|core| self.links.get(&link).is_some_and(|entry| entry.cores.contains(core)));
        match attached {
            Some(core) => {
                self.open_channel(core, link, now);
                self.count_opens(core);
            }
            None => self.emit(Event::DiscoveryKey { link, discovery_key }),
        }
    }

    fn channel_opened(&mut self, link: LinkId, channel: ChannelId, handshake: &Bytes, now: Instant) {
        let Some(link_entry) = self.links.get(&link) else { return };
        let Some(core) = link_entry.channels.get(&channel).copied() else { return };
        let Some(hash) = link_entry.link.handshake_hash() else { return };
        let (is_initiator, is_full) = (link_entry.link.role() == Role::Initiator, link_entry.is_full);
        let peer = self.next_peer();
        let Some(entry) = self.cores.get_mut(&core) else { return };
        let Some(key) = entry.open().map(|core| *core.key()) else { return };
        let handshake = Handshake::from_slice(handshake).ok();
        let Some(handshake) = handshake.filter(|handshake| is_capable(handshake, is_initiator, &key, &hash))
        else {
            return self.destroy_link(link, "remote sent an invalid replication capability");
        };
        if let Some(attachment) = entry.attachments.get_mut(&link) {
            attachment.peer = Some(peer);
        }
        entry.peers.insert(peer, link);
        if let Some((open, replicator)) = entry.parts() {
            replicator.add_peer(peer, handshake.seeks, open, now);
            if is_full {
                replicator.set_drained(peer, false, open);
            }
        }
        self.emit(Event::PeerAdd { core, peer, link });
        self.count_opens(core);
    }

    /// Forgets a peer. Returns whether its channel is to be opened again.
    fn remove_peer(
        &mut self,
        core: CoreId,
        link: LinkId,
        peer: Option<PeerId>,
        is_remote: bool,
        now: Instant,
    ) -> bool {
        let Some(peer) = peer else { return false };
        let Some(entry) = self.cores.get_mut(&core) else { return false };
        entry.peers.remove(&peer);
        entry.traffic.remove(&peer);
        let reopen = entry
            .parts()
            .is_some_and(|(open, replicator)| replicator.remove_peer(peer, is_remote, open, now));
        self.dirty_cores.insert(core);
        self.emit(Event::PeerRemove { core, peer, link });
        reopen
    }

    fn peer_of(&self, link: LinkId, channel: ChannelId) -> Option<(CoreId, PeerId)> {
        let core = *self.links.get(&link)?.channels.get(&channel)?;
        let peer = self.cores.get(&core)?.attachments.get(&link)?.peer?;
        Some((core, peer))
    }

    fn destroy_link(&mut self, link: LinkId, why: &'static str) {
        self.with_link(link, |entry| entry.link.destroy(CloseReason::Misbehaved(why)));
    }

    fn link_closed(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(entry) = self.links.remove(&id) else { return };
        self.dirty_links.remove(&id);
        self.wakes.set(Sleeper::Link(id), None);
        for core in entry.cores {
            self.detach(core, id, now);
        }
        if let Some(carrier) = entry.carrier {
            self.drop_carrier(carrier, &reason, now);
        } else if !entry.is_gone {
            self.outputs.push_back(Output::CloseLink { link: id, reason: reason.clone() });
        }
        match entry.relay {
            Some(relay) => self.control_closed(relay, &reason, now),
            None => self.emit(Event::LinkClosed { link: id, reason }),
        }
    }

    /// Forgets that cores were attached to a link that never came about.
    pub(super) fn forget_attachments(&mut self, link: LinkId) {
        let attached = self.cores.iter().filter(|(_, entry)| entry.attachments.contains_key(&link));
        let attached: Vec<CoreId> = attached.map(|(core, _)| *core).collect();
        for core in attached {
            if let Some(entry) = self.cores.get_mut(&core) {
                entry.attachments.remove(&link);
            }
            self.count_opens(core);
        }
    }

    /// Does what a replicator wants.
    pub(super) fn handle_action(&mut self, core: CoreId, action: Action, now: Instant) {
        let Some(entry) = self.cores.get_mut(&core) else { return };
        match action {
            Action::Send { peer, message } => self.send(core, peer, &message),
            Action::ClosePeer { peer, reason } => {
                let Some(link) = entry.peers.remove(&peer) else { return };
                entry.traffic.remove(&peer);
                let channel = entry.attachments.get_mut(&link).and_then(|at| core::mem::take(at).channel);
                if let (Some(channel), Some(link_entry)) = (channel, self.links.get_mut(&link)) {
                    link_entry.channels.remove(&channel);
                    link_entry.link.mux_mut().close(channel);
                    self.dirty_links.insert(link);
                }
                if reason.is_some() {
                    self.destroy_link(link, "remote broke the replication protocol");
                }
                self.emit(Event::PeerRemove { core, peer, link });
                self.count_opens(core);
            }
            Action::OpenChannels => self.open_channels(core, now),
            Action::Prove { ticket, request, .. } => {
                entry.submit(Work::Prove(request.what), Purpose::Prove(ticket))
            }
            Action::CancelProve { ticket } => entry.cancel_proof(ticket),
            Action::Apply { ticket, proof, .. } => entry.submit(Work::Apply(proof), Purpose::Apply(ticket)),
            Action::CheckReorg { ticket, proof, .. } => {
                entry.submit(Work::CheckReorg(proof), Purpose::CheckReorg(ticket));
            }
            Action::ApplyReorg { fork } => entry.submit(Work::ApplyReorg { fork }, Purpose::ApplyReorg),
            Action::ForgetReorg { fork } => {
                if let Some((open, _)) = entry.parts() {
                    open.forget_reorg(fork);
                }
            }
            Action::CheckConflict { ticket, proof, .. } => {
                let purpose = Purpose::CheckConflict(ticket, Box::new(proof.clone()));
                entry.submit(Work::CheckConflict(proof), purpose);
            }
            Action::CanUpgrade { peer, length } => {
                entry.submit(Work::CanUpgrade { length }, Purpose::CanUpgrade(peer, length));
            }
            Action::Seek { id, bytes, padding } => {
                entry.submit(Work::Seek { bytes, padding }, Purpose::Seek(id));
            }
            Action::Resolved { id, value } => self.wish_resolved(core, id, value, now),
            Action::Rejected { id, error } => self.wish_rejected(core, id, error),
            Action::Event(event) => self.handle_replicator_event(core, event, now),
        }
    }

    fn send(&mut self, core: CoreId, peer: PeerId, message: &Message) {
        let Some(entry) = self.cores.get(&core) else { return };
        let Some(link) = entry.peers.get(&peer).copied() else { return };
        let Some(channel) = entry.attachments.get(&link).and_then(|attachment| attachment.channel) else {
            return;
        };
        let Some(link_entry) = self.links.get_mut(&link) else { return };
        let mux = link_entry.link.mux_mut();
        if !core::mem::replace(&mut link_entry.is_corked, true) {
            mux.cork();
        }
        mux.send_encoded(channel, message.message_type(), message);
        if let Some(entry) = self.cores.get_mut(&core) {
            entry.total_traffic.count_sent(message.message_type());
            entry.traffic.entry(peer).or_default().count_sent(message.message_type());
        }
        self.dirty_links.insert(link);
        if !link_entry.is_full {
            self.tell_room(link);
        }
    }

    fn handle_replicator_event(&mut self, core: CoreId, event: ReplicatorEvent, now: Instant) {
        let event = match event {
            ReplicatorEvent::Upload { peer, index, byte_length } => {
                Event::Upload { core, peer, index, byte_length }
            }
            ReplicatorEvent::Download { peer, index, byte_length, elapsed } => {
                Event::Download { core, peer, index, byte_length, elapsed }
            }
            ReplicatorEvent::InvalidRequest { peer } => Event::InvalidRequest { core, peer },
            ReplicatorEvent::VerificationError { peer, error, block } => {
                Event::VerificationError { core, peer, error, block }
            }
            ReplicatorEvent::RemoteContiguousLength { length } => {
                if let Some((open, _)) = self.cores.get_mut(&core).and_then(CoreEntry::parts) {
                    Core::set_remote_contiguous_length(open, length);
                }
                Event::RemoteContiguousLength { core, length }
            }
            ReplicatorEvent::Extension { peer, name, payload } => {
                if self.bee_message(core, peer, &name, &payload, now) {
                    return;
                }
                Event::Extension { core, peer, name, payload }
            }
            ReplicatorEvent::Downloading(_) => return,
        };
        self.emit(event);
    }
}

fn is_replication(protocol: &str) -> bool {
    protocol == PROTOCOL || protocol == PROTOCOL_ALIAS
}

/// Outputs after which a link stops reading until the host has taken them.
const MAX_OUTPUTS: usize = 1024;
