//! One link: a WebSocket and its session.

use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hypertab_core::dht_relay::{self, LinkId, Refusal, Way};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_websockets::{CloseCode, Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::access::Guest;
use crate::config::Level;
use crate::hub::{Hub, Slot};
use crate::log;
use crate::socket::Socket;

/// Runs a link until either side closes it.
pub(crate) async fn run(
    socket: Socket,
    hub: &Rc<Hub>,
    guest: Guest,
    (id, slot): (LinkId, &Rc<Slot>),
    stopped: watch::Receiver<bool>,
) {
    let max_message = usize::try_from(hub.settings().message_size.0).unwrap_or(usize::MAX);
    let socket = ServerBuilder::new()
        .limits(Limits::default().max_payload_len(Some(max_message)))
        .config(Config::default().flush_threshold(FLUSH_THRESHOLD).frame_size(usize::MAX))
        .serve(socket);
    let (sink, stream) = socket.split();
    hub.driver.pump();
    let shown = log::address(guest.address);
    log::line(Level::Debug, "link opened", &[("link", &id.0), ("address", &shown)]);
    let link = Link { hub, id, slot, guest, resumed: Notify::new() };
    link.run(sink, stream, stopped).await;
}

struct Link<'a> {
    hub: &'a Rc<Hub>,
    id: LinkId,
    slot: &'a Rc<Slot>,
    guest: Guest,
    /// The session may be read again.
    resumed: Notify,
}

/// How a link ends.
enum End {
    /// The client is gone.
    Gone,
    /// With a close frame of ours.
    Close(u16, &'static str),
    /// For a reason that is counted.
    Refuse(Refusal),
    /// With one that the library has written: what came is no WebSocket, or too large.
    Refused,
}

impl Link<'_> {
    async fn run(
        &self,
        mut sink: SplitSink<WebSocketStream<Socket>, Message>,
        mut stream: SplitStream<WebSocketStream<Socket>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let end = tokio::select! {
            end = self.read(&mut stream) => end,
            end = self.write(&mut sink) => end,
            end = self.live() => end,
            _ = stopped.wait_for(|is_stopped| *is_stopped) => {
                End::Close(dht_relay::CloseCode::GoingAway.code(), "the relay stops")
            }
        };
        let end = match end {
            End::Refuse(refusal) => {
                self.hub.refused(refusal, self.guest.address);
                End::Close(refusal.code().code(), refusal.reason())
            }
            End::Refused => {
                self.hub.refused(Refusal::Malformed, self.guest.address);
                End::Refused
            }
            other => other,
        };
        let why = match &end {
            End::Gone => "the client is gone",
            End::Refused => "what came is no WebSocket, or too large",
            End::Close(_, "") | End::Refuse(_) => "the client closed it",
            End::Close(_, reason) => reason,
        };
        log::line(Level::Debug, "link closed", &[("link", &self.id.0), ("why", &why)]);
        // What comes in meanwhile has to be read: bytes left unread would make the close itself get lost.
        let farewell = async {
            match end {
                End::Gone | End::Refuse(_) => {}
                End::Close(code, reason) => {
                    let close = Message::close(CloseCode::try_from(code).ok(), reason);
                    if sink.send(close).await.is_ok() {
                        while let Some(Ok(_)) = stream.next().await {}
                    }
                }
                End::Refused => {
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
        let most = [self.guest.life, self.hub.settings().max_life].into_iter().flatten().min();
        let introduced = async {
            self.slot.introduced.notified().await;
            if let Some(key) = self.slot.key.get() {
                self.hub.introduce(self.id, &self.guest, key).await;
            }
            std::future::pending::<()>().await;
        };
        let over = async {
            match most {
                Some(life) => sleep(life).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = introduced => End::Gone,
            () = over => End::Refuse(Refusal::Expired),
            refusal = self.barred() => End::Refuse(refusal),
        }
    }

    /// Waits until settings that were read again keep the client out.
    async fn barred(&self) -> Refusal {
        let mut revised = self.hub.revised.subscribe();
        loop {
            // The hub outlives its links.
            let _ = revised.changed().await;
            if self.hub.is_unwelcome(&self.guest, self.slot.key.get()) {
                return Refusal::KeyDenied;
            }
        }
    }

    /// Hands a frame to the session.
    fn take(&self, frame: bytes::Bytes) {
        let now = self.hub.driver.now();
        self.hub.driver.machine.borrow_mut().bridge.handle_frame(self.id, frame, now);
        self.hub.driver.pump();
    }

    /// Waits for a write, and reports whether it succeeded in time.
    async fn is_done<E>(&self, write: impl Future<Output = Result<(), E>>) -> bool {
        matches!(timeout(self.hub.settings().write_timeout, write).await, Ok(Ok(())))
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
                    match self.hub.charge(self.id, Way::In, len) {
                        None => return End::Refuse(Refusal::DaySpent),
                        Some(Duration::ZERO) => {}
                        Some(wait) => sleep(wait).await,
                    }
                }
                Some(Ok(message)) if message.is_text() => {
                    let code = dht_relay::CloseCode::Unsupported.code();
                    return End::Close(code, "only binary messages are understood");
                }
                // Pings are answered by the library.
                Some(Ok(message)) if !message.is_close() => {}
                Some(Err(Error::PayloadTooLong { .. } | Error::Protocol(_))) => return End::Refused,
                Some(Ok(_)) => return End::Close(NORMAL, ""),
                Some(Err(_)) | None => return End::Gone,
            }
        }
    }

    /// Writes until the link is to be closed.
    async fn write(&self, sink: &mut SplitSink<WebSocketStream<Socket>, Message>) -> End {
        loop {
            self.slot.waker.notified().await;
            self.resumed.notify_one();
            loop {
                let now = self.hub.driver.now();
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
            // Peers may send as much more as left.
            self.hub.driver.pump();
            if let Some(refusal) = self.hub.driver.machine.borrow().bridge.refusal(self.id) {
                return End::Refuse(refusal);
            }
        }
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
