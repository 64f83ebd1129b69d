//! One link: a WebSocket and its session.

use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hypertab_core::dht_relay::{self, LinkId, MAX_FRAME};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_websockets::{CloseCode, Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::server::Hub;

/// Runs a link until either side closes it.
pub(crate) async fn run(stream: TcpStream, hub: &Rc<Hub>, stopped: watch::Receiver<bool>) {
    let socket = ServerBuilder::new()
        .limits(Limits::default().max_payload_len(Some(MAX_FRAME)))
        .config(Config::default().flush_threshold(FLUSH_THRESHOLD).frame_size(usize::MAX))
        .serve(stream);
    let (sink, stream) = socket.split();
    let (id, waker) = hub.driver.machine.borrow_mut().open_link(hub.driver.now());
    hub.driver.pump();
    let link = Link { hub, id, waker, resumed: Notify::new() };
    link.run(sink, stream, stopped).await;
    hub.driver.machine.borrow_mut().close_link(id, hub.driver.now());
    hub.driver.pump();
}

struct Link<'a> {
    hub: &'a Rc<Hub>,
    id: LinkId,
    /// The session has frames, may be read again, or is to be closed.
    waker: Rc<Notify>,
    /// The session may be read again.
    resumed: Notify,
}

/// How a link ends.
enum End {
    /// The client is gone.
    Gone,
    /// With a close frame of ours.
    Close(u16, &'static str),
    /// With one that the library has written: what came is no WebSocket, or too large.
    Refused,
}

impl Link<'_> {
    async fn run(
        &self,
        mut sink: SplitSink<WebSocketStream<TcpStream>, Message>,
        mut stream: SplitStream<WebSocketStream<TcpStream>>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let end = tokio::select! {
            end = self.read(&mut stream) => end,
            end = self.write(&mut sink) => end,
            _ = stopped.wait_for(|is_stopped| *is_stopped) => {
                End::Close(dht_relay::CloseCode::GoingAway.code(), "the relay stops")
            }
        };
        // What comes in meanwhile has to be read: bytes left unread would make the close itself get lost.
        let farewell = async {
            match end {
                End::Gone => {}
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

    /// Reads until the link is to be closed.
    async fn read(&self, stream: &mut SplitStream<WebSocketStream<TcpStream>>) -> End {
        loop {
            while self.hub.driver.machine.borrow().bridge.is_paused(self.id) {
                self.resumed.notified().await;
            }
            match stream.next().await {
                Some(Ok(message)) if message.is_binary() => {
                    let now = self.hub.driver.now();
                    let frame = message.into_payload().into();
                    self.hub.driver.machine.borrow_mut().bridge.handle_frame(self.id, frame, now);
                    self.hub.driver.pump();
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
    async fn write(&self, sink: &mut SplitSink<WebSocketStream<TcpStream>, Message>) -> End {
        loop {
            self.waker.notified().await;
            self.resumed.notify_one();
            loop {
                let now = self.hub.driver.now();
                let frame = self.hub.driver.machine.borrow_mut().bridge.poll_frame(self.id, now);
                let Some(frame) = frame else { break };
                if !is_done(sink.feed(Message::binary(frame))).await {
                    return End::Gone;
                }
            }
            if !is_done(sink.flush()).await {
                return End::Gone;
            }
            // Peers may send as much more as left.
            self.hub.driver.pump();
            if let Some(refusal) = self.hub.driver.machine.borrow().bridge.refusal(self.id) {
                return End::Close(refusal.code().code(), refusal.reason());
            }
        }
    }
}

/// Waits for a write, and reports whether it succeeded in time.
async fn is_done<E>(write: impl Future<Output = Result<(), E>>) -> bool {
    matches!(timeout(WRITE_TIMEOUT, write).await, Ok(Ok(())))
}

/// Reads what is left of a connection.
async fn drain(mut socket: TcpStream) {
    let mut scratch = vec![0; 64 * 1024];
    while matches!(socket.read(&mut scratch).await, Ok(1..)) {}
}

/// Bytes that gather before they are written.
const FLUSH_THRESHOLD: usize = 64 * 1024;

/// How long a client may take no byte.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client gets to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// WebSocket status of an orderly end.
const NORMAL: u16 = 1000;
