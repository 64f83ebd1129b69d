//! One link: a WebSocket and its session.

use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hypertab_core::dht_relay::resume::LEFT;
use hypertab_core::dht_relay::{LinkId, Refusal, Way};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_websockets::{CloseCode, Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::access::{Denial, Guest};
use crate::config::Level;
use crate::hub::{Hub, Slot};
use crate::log;
use crate::socket::Socket;

/// Runs a link until either side closes it, or another WebSocket carries it; or goes on with one that the client claims.
pub(crate) async fn run(
    socket: Socket,
    hub: &Rc<Hub>,
    guest: Rc<Guest>,
    (mut id, mut slot): (LinkId, Rc<Slot>),
    mut stopped: watch::Receiver<bool>,
) {
    let max_message = usize::try_from(hub.settings().message_size.0).unwrap_or(usize::MAX);
    let socket = ServerBuilder::new()
        .limits(Limits::default().max_payload_len(Some(max_message)))
        .config(Config::default().flush_threshold(FLUSH_THRESHOLD).frame_size(usize::MAX))
        .serve(socket);
    let (mut sink, mut stream) = socket.split();
    hub.driver.pump();
    let shown = log::address(guest.address);
    log::line(Level::Debug, "link opened", &[("link", &id.0), ("address", &shown)]);
    loop {
        let turn = slot.turn.get();
        let (resumed, flushed) = (Notify::new(), Notify::new());
        let link = Link { hub, id, slot: &slot, turn, guest: &guest, resumed, flushed };
        match link.run(&mut sink, &mut stream, &mut stopped).await {
            End::Resume(next) => (id, slot) = next,
            // What carries the link now ends it, whatever else has happened here at the same moment.
            _ if !link.is_own() => {
                return log::line(Level::Debug, "link went on elsewhere", &[("link", &id.0)]);
            }
            // Boxed, as is what comes once in the life of a link: thousands of others are waiting meanwhile.
            end => return Box::pin(link.end(end, sink, stream)).await,
        }
    }
}

struct Link<'a> {
    hub: &'a Rc<Hub>,
    id: LinkId,
    slot: &'a Rc<Slot>,
    /// Which of the WebSockets this is that have carried the link.
    turn: u64,
    guest: &'a Rc<Guest>,
    /// The session may be read again.
    resumed: Notify,
    /// Everything that was to be written has been.
    flushed: Notify,
}

/// How a link ends.
enum End {
    /// The client is gone, and has not said so.
    Gone,
    /// Another WebSocket of the client's carries the link.
    Replaced,
    /// This one carries another link from here on.
    Resume((LinkId, Rc<Slot>)),
    /// With a close frame of ours.
    Close(u16, &'static str),
    /// For a reason that is counted.
    Refuse(Refusal),
    /// For one that would have kept the client out.
    Deny(Denial),
    /// For one that the library has told the client.
    Refused(Refusal),
}

impl Link<'_> {
    async fn run(
        &self,
        sink: &mut SplitSink<WebSocketStream<Socket>, Message>,
        stream: &mut SplitStream<WebSocketStream<Socket>>,
        stopped: &mut watch::Receiver<bool>,
    ) -> End {
        tokio::select! {
            () = self.slot.replaced.notified() => End::Replaced,
            end = self.read(stream) => end,
            end = self.write(sink) => end,
            end = self.live() => end,
            _ = stopped.wait_for(|is_stopped| *is_stopped) => End::Refuse(Refusal::Draining),
        }
    }

    async fn end(
        &self,
        end: End,
        mut sink: SplitSink<WebSocketStream<Socket>, Message>,
        mut stream: SplitStream<WebSocketStream<Socket>>,
    ) {
        let end = match end {
            End::Refuse(refusal) => {
                self.hub.refused(refusal, self.guest.address);
                End::Close(refusal.code().code(), refusal.reason())
            }
            End::Deny(denial) => {
                self.hub.denied(denial, self.guest.address);
                End::Close(denial.close_code(), denial.sentence())
            }
            End::Refused(refusal) => {
                self.hub.refused(refusal, self.guest.address);
                End::Refused(refusal)
            }
            other => other,
        };
        let why = match &end {
            End::Gone | End::Replaced | End::Resume(_) => "the client is gone",
            End::Refused(refusal) => refusal.reason(),
            End::Close(_, "") | End::Refuse(_) | End::Deny(_) => "the client closed it",
            End::Close(_, reason) => reason,
        };
        log::line(Level::Debug, "link closed", &[("link", &self.id.0), ("why", &why)]);
        match end {
            End::Gone => self.hub.lose_link(self.id),
            _ => self.hub.close_link(self.id),
        }
        // What comes in meanwhile has to be read: bytes left unread would make the close itself get lost.
        let farewell = async {
            match end {
                End::Gone | End::Replaced | End::Resume(_) | End::Refuse(_) | End::Deny(_) => {}
                End::Close(code, reason) => {
                    let close = Message::close(CloseCode::try_from(code).ok(), reason);
                    if sink.send(close).await.is_ok() {
                        while let Some(Ok(_)) = stream.next().await {}
                    }
                }
                End::Refused(_) => {
                    let _ = sink.flush().await;
                    if let Ok(socket) = sink.reunite(stream) {
                        drain(socket.into_inner()).await;
                    }
                }
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, farewell).await;
    }

    /// Decides about the client once it has introduced itself, and waits for the end of the link's life.
    async fn live(&self) -> End {
        let now = Instant::now();
        let own = self.guest.life.map(|life| now + life);
        // A link gets no older by going on over another WebSocket.
        let most = self.hub.settings().max_life.map(|life| self.slot.opened.get().unwrap_or(now) + life);
        let introduced = async {
            self.slot.introduced.notified().await;
            if let Some(key) = self.slot.key.get() {
                Box::pin(self.hub.introduce(self.id, self.guest, key)).await;
            }
            std::future::pending::<()>().await;
        };
        let claimed = async {
            loop {
                self.slot.claim.notified().await;
                if let Some(next) = Box::pin(self.hub.resume(self.id, self.slot, self.guest)).await {
                    return next;
                }
            }
        };
        let over = async {
            match [own, most].into_iter().flatten().min() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = introduced => End::Gone,
            next = claimed => End::Resume(next),
            () = over => End::Refuse(Refusal::Expired),
            end = self.barred() => end,
        }
    }

    /// Waits until settings that were read again keep the client out.
    async fn barred(&self) -> End {
        let mut revised = self.hub.revised.subscribe();
        loop {
            // The hub outlives its links.
            let _ = revised.changed().await;
            if let Some(denial) = self.hub.barred(self.guest) {
                return End::Deny(denial);
            }
            if self.slot.key.get().is_some_and(|key| !self.hub.serves(self.guest, &key)) {
                return End::Refuse(Refusal::KeyDenied);
            }
        }
    }

    /// Returns whether the link is this WebSocket's: one whose client has another is not heard any more.
    fn is_own(&self) -> bool {
        self.slot.turn.get() == self.turn
    }

    /// Hands a frame to the session.
    fn take(&self, frame: bytes::Bytes) {
        if !self.is_own() {
            return;
        }
        let now = self.hub.driver.now();
        self.hub.driver.machine.borrow_mut().bridge.handle_frame(self.id, frame, now);
        self.hub.driver.pump();
    }

    /// Waits for a write, and reports whether it succeeded in time.
    async fn is_done<E>(&self, write: impl Future<Output = Result<(), E>>) -> bool {
        let Ok(written) = timeout(self.hub.settings().write_timeout, write).await else {
            // Who takes nothing hears no reason either.
            self.hub.metrics.refused("write_timeout");
            return false;
        };
        written.is_ok()
    }

    /// Reads until the link is to be closed.
    async fn read(&self, stream: &mut SplitStream<WebSocketStream<Socket>>) -> End {
        loop {
            while self.hub.driver.machine.borrow().bridge.is_paused(self.id) {
                self.resumed.notified().await;
            }
            match stream.next().await {
                Some(Ok(message)) if message.is_binary() => {
                    let frame: bytes::Bytes = message.into_payload().into();
                    let len = frame.len();
                    self.take(frame);
                    if let Some(end) = self.pay(len).await {
                        return end;
                    }
                }
                Some(Ok(message)) if message.is_text() => {
                    return End::Refuse(Refusal::Text);
                }
                Some(Ok(message)) if !message.is_close() => {
                    if let Some(end) = self.pay(message.as_payload().len()).await {
                        return end;
                    }
                    // The library answers, however much waits: a client that takes no answers is not read any more.
                    if message.is_ping() {
                        self.slot.waker.notify_one();
                        self.flushed.notified().await;
                    }
                }
                Some(Err(Error::PayloadTooLong { .. })) => return End::Refused(Refusal::TooBig),
                Some(Err(Error::Protocol(_))) => return End::Refused(Refusal::Malformed),
                Some(Ok(message)) => return closed(&message),
                Some(Err(_)) | None => return End::Gone,
            }
        }
    }

    /// Counts bytes that came, and waits as long as that takes; returns how the link ends if they were too many.
    async fn pay(&self, bytes: usize) -> Option<End> {
        match self.hub.charge(self.id, Way::In, bytes) {
            None => return Some(End::Refuse(Refusal::DaySpent)),
            Some(Duration::ZERO) => {}
            Some(wait) => sleep(wait).await,
        }
        None
    }

    /// Writes until the link is to be closed.
    async fn write(&self, sink: &mut SplitSink<WebSocketStream<Socket>, Message>) -> End {
        loop {
            self.slot.waker.notified().await;
            self.resumed.notify_one();
            loop {
                let now = self.hub.driver.now();
                if !self.is_own() {
                    // Who was to be woken is the WebSocket that carries the link.
                    self.slot.waker.notify_one();
                    return End::Replaced;
                }
                let frame = self.hub.driver.machine.borrow_mut().bridge.poll_frame(self.id, now);
                let Some(frame) = frame else { break };
                let len = frame.len();
                if !self.is_done(sink.feed(Message::binary(frame))).await {
                    return End::Gone;
                }
                match self.hub.charge(self.id, Way::Out, len) {
                    None => return End::Refuse(Refusal::DaySpent),
                    Some(Duration::ZERO) => {}
                    Some(wait) => {
                        if !self.is_done(sink.flush()).await {
                            return End::Gone;
                        }
                        sleep(wait).await;
                    }
                }
            }
            if !self.is_done(sink.flush()).await {
                return End::Gone;
            }
            self.flushed.notify_one();
            // Peers may send as much more as left.
            self.hub.driver.pump();
            if let Some(refusal) = self.hub.driver.machine.borrow().bridge.refusal(self.id) {
                return End::Refuse(refusal);
            }
        }
    }
}

/// Tells a client that leaves from one that only leaves this WebSocket, over which it hears nothing.
fn closed(message: &Message) -> End {
    match message.as_close() {
        Some((code, _)) if u16::from(code) == LEFT => End::Gone,
        _ => End::Close(NORMAL, ""),
    }
}

/// Reads what is left of a connection.
async fn drain(mut socket: Socket) {
    let mut scratch = vec![0; 64 * 1024];
    while matches!(socket.read(&mut scratch).await, Ok(1..)) {}
}

/// Bytes that gather before they are written.
const FLUSH_THRESHOLD: usize = 64 * 1024;

/// How long a client gets to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// WebSocket status of an orderly end.
const NORMAL: u16 = 1000;
