//! Who gets what: answers, timers and stream events on their way to operations, servers and connections.

use super::Endpoint;
use crate::dht::announcer::{Announcer, Milestone};
use crate::dht::client::{Kind, Operation};
use crate::dht::connect::{Dial, Progress};
use crate::dht::context::{Context, Purpose, QueryOwner, Timer};
use crate::dht::events::{ConnectError, ConnectionId, Event, OperationId, ServerId};
use crate::dht::node::NodeEvent;
use crate::dht::persistent::Persistent;
use crate::dht::rpc::{self, Answer, RequestId, SocketId};
use crate::dht::server::{Accept, AcceptProgress, Server};
use crate::dht::streams::StreamEvent;
use crate::time::Instant;
use crate::udx::Address;

impl Endpoint {
    pub(super) fn operate(&mut self, target: [u8; 32], kind: Kind, now: Instant) -> OperationId {
        let id = OperationId(self.next_operation);
        self.next_operation += 1;
        let operation = Operation::new(id, target, kind, &mut self.context, now);
        if let Some((topic, key)) = operation.forgets()
            && let Some(store) = &mut self.store
        {
            store.forget(topic, key);
        }
        self.operations.insert(id, operation);
        self.drain(now);
        id
    }

    pub(super) fn connection_id(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        id
    }

    /// Handles what the node and the streams have to say until they are silent.
    pub(super) fn drain(&mut self, now: Instant) {
        loop {
            if let Some(event) = self.context.node.poll_event() {
                self.handle_node_event(event, now);
            } else if let Some(event) = self.context.streams.poll_event(now) {
                self.handle_stream_event(event, now);
            } else if !self.drive_relays(now) {
                return;
            }
        }
    }

    fn handle_node_event(&mut self, event: NodeEvent, now: Instant) {
        match event {
            NodeEvent::Request(request) => self.handle_request(request, now),
            NodeEvent::Answered(id, answer) => {
                if let Some(purpose) = self.context.requests.remove(&id) {
                    self.dispatch(purpose, Some(id), Some(&answer), now);
                }
            }
            NodeEvent::TimedOut(id) => {
                if let Some(purpose) = self.context.requests.remove(&id) {
                    self.dispatch(purpose, Some(id), None, now);
                }
            }
            NodeEvent::QueryReply(id, answer) => match self.context.queries.get(&id).copied() {
                Some(QueryOwner::Operation(id)) => {
                    self.with_operation(id, |operation, context| operation.reply(&answer, context, now));
                }
                Some(QueryOwner::Dial(id)) => {
                    self.with_dial(id, now, |dial, context| dial.query_reply(&answer, context, now));
                }
                Some(QueryOwner::Announcer(_)) | None => {}
            },
            NodeEvent::QueryFinished(id, closest) => match self.context.queries.remove(&id) {
                Some(QueryOwner::Operation(id)) => {
                    self.with_operation(id, |operation, context| {
                        operation.query_finished(closest, context, now)
                    });
                }
                Some(QueryOwner::Dial(id)) => {
                    self.with_dial(id, now, |dial, context| dial.query_finished(context, now));
                }
                Some(QueryOwner::Announcer(id)) => {
                    self.with_announcer(id, |announcer, context| {
                        announcer.query_finished(&closest, context, now)
                    });
                }
                None => {}
            },
            NodeEvent::Bootstrapped => self.context.events.push_back(Event::Bootstrapped),
            NodeEvent::Persistent => {
                if self.serves_others {
                    self.store.get_or_insert_with(|| Persistent::new(now));
                }
                self.context.events.push_back(Event::Persistent);
                self.refresh_servers(now);
            }
            NodeEvent::Ephemeral => self.context.events.push_back(Event::Ephemeral),
            NodeEvent::NetworkChanged => {
                self.context.events.push_back(Event::NetworkChanged);
                let node = &self.context.node;
                let standing = (node.is_firewalled(), node.public_address());
                if core::mem::replace(&mut self.standing, standing) != standing {
                    self.refresh_servers(now);
                }
            }
            NodeEvent::Woke => self.refresh_servers(now),
        }
    }

    /// Hands the answer to a request, or its absence, to whoever waits for it.
    pub(super) fn dispatch(
        &mut self,
        purpose: Purpose,
        request: Option<RequestId>,
        answer: Option<&Answer>,
        now: Instant,
    ) {
        let request = request.unwrap_or(RequestId(u64::MAX));
        match purpose {
            Purpose::Commit(id) => {
                self.with_operation(id, |operation, context| operation.committed(answer, context));
            }
            Purpose::Write(id, reply) => {
                let error = answer.map(|answer| answer.error);
                if self.operations.contains_key(&id) {
                    self.context.events.push_back(Event::Written { operation: id, reply, error });
                }
            }
            Purpose::Unannounce(id) => {
                self.with_operation(id, |operation, context| operation.unannounced(context, now));
            }
            Purpose::Handshake(id) => self
                .with_dial(id, now, |dial, context| dial.handshake_answered(request, answer, context, now)),
            Purpose::Lan(id, to) => {
                self.with_dial(id, now, |dial, context| dial.lan_answered(to, answer.is_some(), context, now))
            }
            Purpose::Punch(id) => {
                self.with_dial(id, now, |dial, context| dial.punch_answered(request, answer, context, now));
            }
            Purpose::Sample(id) => {
                if let Some(accept) = self.accepts.get_mut(&id) {
                    accept.sampled(request, answer, &mut self.context, now);
                } else {
                    self.with_dial(id, now, |dial, context| dial.sampled(request, answer, context, now));
                }
            }
            Purpose::SelfAnnounce(id, relay) => {
                let is_taken = answer.is_some_and(|answer| answer.error == 0);
                self.with_announcer(id, |announcer, context| {
                    announcer.announced(relay, is_taken, context, now)
                });
            }
            Purpose::Farewell(id) => {
                self.with_announcer(id, |announcer, context| announcer.farewell(answer, context, now));
            }
            Purpose::SelfUnannounce(id) => self.with_announcer(id, |announcer, _| announcer.unannounced()),
            Purpose::Keepalive(node) => {
                if answer.is_some() {
                    self.context.keepalive.answered(node);
                } else {
                    for id in self.context.keepalive.lost(node) {
                        self.with_announcer(id, |announcer, context| {
                            announcer.refresh(context, now);
                            None
                        });
                    }
                }
            }
        }
    }

    fn with_operation(&mut self, id: OperationId, act: impl FnOnce(&mut Operation, &mut Context) -> bool) {
        if let Some(operation) = self.operations.get_mut(&id)
            && act(operation, &mut self.context)
        {
            self.operations.remove(&id);
        }
    }

    pub(super) fn with_dial(
        &mut self,
        id: ConnectionId,
        now: Instant,
        act: impl FnOnce(&mut Dial, &mut Context) -> Progress,
    ) {
        if let Some(dial) = self.dials.get_mut(&id) {
            let progress = act(dial, &mut self.context);
            self.settle_dial(id, progress, now);
        }
    }

    fn with_announcer(
        &mut self,
        id: ServerId,
        act: impl FnOnce(&mut Announcer, &mut Context) -> Option<Milestone>,
    ) {
        if let Some(server) = self.servers.get_mut(&id) {
            let milestone = act(&mut server.announcer, &mut self.context);
            self.reach(id, milestone);
        }
    }

    pub(super) fn with_accept(
        &mut self,
        id: ConnectionId,
        now: Instant,
        act: impl FnOnce(&mut Accept, &Server, &mut Context) -> AcceptProgress,
    ) {
        let Some(accept) = self.accepts.get_mut(&id) else { return };
        let server_id = accept.server;
        let Some(server) = self.servers.get(&server_id) else { return };
        let progress = act(accept, server, &mut self.context);
        self.settle_accept(id, server_id, progress, now);
    }

    pub(super) fn settle_dial(&mut self, id: ConnectionId, progress: Progress, now: Instant) {
        match progress {
            Progress::Pending => {}
            Progress::Connected => {
                self.dials.remove(&id);
            }
            Progress::Failed(error) => {
                if let Some(mut dial) = self.dials.remove(&id) {
                    dial.close(&mut self.context, now);
                }
                self.context.streams.forget(id);
                self.context.relaying.farewells.push_back((id, false));
                self.context.events.push_back(Event::Failed { connection: id, server: None, error });
            }
        }
    }

    pub(super) fn settle_accept(
        &mut self,
        id: ConnectionId,
        server: ServerId,
        progress: AcceptProgress,
        now: Instant,
    ) {
        if let AcceptProgress::Failed(error) = progress {
            self.context.relaying.farewells.push_back((id, false));
            self.context.events.push_back(Event::Failed { connection: id, server: Some(server), error });
        }
        self.forget_clear(id, now);
    }

    fn forget_clear(&mut self, id: ConnectionId, now: Instant) {
        if self.accepts.get(&id).is_some_and(|accept| accept.is_clear(now))
            && let Some(accept) = self.accepts.remove(&id)
            && let Some(server) = self.servers.get_mut(&accept.server)
        {
            server.by_message.remove(&accept.message);
            server.by_number.remove(&accept.number);
        }
    }

    pub(super) fn reach(&mut self, id: ServerId, milestone: Option<Milestone>) {
        match milestone {
            Some(Milestone::Listening) => self.context.events.push_back(Event::Listening { server: id }),
            Some(Milestone::Closed) => {
                self.servers.remove(&id);
                self.context.events.push_back(Event::ServerClosed { server: id });
            }
            None => {}
        }
    }

    pub(super) fn refresh_servers(&mut self, now: Instant) {
        for server in self.servers.values_mut() {
            server.announcer.refresh(&mut self.context, now);
        }
    }

    pub(super) fn handle_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Connection(id) => {
                if let Some(accept) = self.accepts.get_mut(&id) {
                    let server = accept.server;
                    let progress = accept.handle_timeout(&mut self.context, now);
                    self.settle_accept(id, server, progress, now);
                } else {
                    self.with_dial(id, now, |dial, context| dial.handle_timeout(context, now));
                }
            }
            Timer::Server(id) => self.with_announcer(id, |announcer, context| {
                announcer.handle_timeout(context, now);
                None
            }),
            Timer::Signature(id) => {
                if let Some((_, write)) = self.context.signatures.remove(&id) {
                    self.dispatch(write.purpose, None, None, now);
                }
            }
            Timer::Socket(socket) => self.context.close_socket(socket),
            Timer::Relay(id) => self.handle_relay_timeout(id, now),
            Timer::Keepalive => {
                let is_firewalled = self.context.node.is_firewalled();
                let (due, next) = self.context.keepalive.round(is_firewalled, now);
                for node in due {
                    let outgoing = self.context.node.outgoing(node, true, rpc::command::PING);
                    self.context.request(outgoing, Purpose::Keepalive(node), now);
                }
                if let Some(at) = next {
                    self.context.wake_at(Timer::Keepalive, at);
                }
            }
        }
    }

    fn handle_stream_event(&mut self, event: StreamEvent, now: Instant) {
        let event = match event {
            StreamEvent::Knock(id, socket, from) => {
                if self.relays_knock(id, socket, from, now) {
                    return;
                }
                let remote = self.context.streams.remote(id).filter(|_| !self.is_relayed(id));
                if remote.is_some_and(|remote| remote.ip() == from.ip()) {
                    self.context.streams.accept(id, socket, from, now);
                } else if remote.is_some() {
                    self.context.streams.refuse(id, socket, from);
                } else if let Some(accept) = self.accepts.get_mut(&id) {
                    accept.knocked(socket, from, &mut self.context, now);
                } else if self.dials.contains_key(&id) {
                    self.with_dial(id, now, |dial, context| dial.knocked(socket, from, context, now));
                } else {
                    self.context.streams.refuse(id, socket, from);
                }
                return;
            }
            StreamEvent::Data(connection, bytes) => Event::Data { connection, bytes },
            StreamEvent::Message(connection, bytes) => Event::Message { connection, bytes },
            StreamEvent::Drain(connection) => Event::Drain { connection },
            StreamEvent::End(connection) => Event::End { connection },
            StreamEvent::Closed(connection, socket, error) => {
                if let Some(socket) = socket {
                    self.context.close_socket_later(socket, now);
                }
                let refused = ConnectError::TooManyConnections;
                self.context.relaying.farewells.push_back((connection, false));
                if self.is_relayed(connection) {
                    if let Some(mut dial) = self.dials.remove(&connection) {
                        dial.close(&mut self.context, now);
                    } else if let Some(accept) = self.accepts.get_mut(&connection) {
                        accept.closed(&mut self.context, now);
                    }
                } else if self.dials.contains_key(&connection) {
                    self.settle_dial(connection, Progress::Failed(refused), now);
                    return;
                } else if let Some(accept) = self.accepts.get_mut(&connection)
                    && !accept.is_open()
                {
                    let server = accept.server;
                    accept.give_up(&mut self.context, now);
                    self.settle_accept(connection, server, AcceptProgress::Failed(refused), now);
                    return;
                }
                Event::Closed { connection, error }
            }
        };
        self.context.events.push_back(event);
    }

    pub(super) fn handle_punch(&mut self, socket: SocketId, from: Address, now: Instant) {
        if socket < SocketId::FIRST_PUNCH {
            return;
        }
        let Some(id) = self.context.punch_sockets.get(&socket).copied() else { return };
        if let Some(accept) = self.accepts.get_mut(&id) {
            accept.handle_punch(socket, from, &mut self.context);
        } else {
            self.with_dial(id, now, |dial, context| dial.handle_punch(socket, from, context, now));
        }
    }
}
