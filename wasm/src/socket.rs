//! A WebSocket as a link: one binary message a frame, and never more in the browser's queue than it can send soon.
//!
//! A browser tells when bytes arrive but not when they have left, so the queue is looked at by a timer while it is
//! full. Receiving cannot be paused at all: the engine asks no peer for more than it can take.

use std::cell::Cell;
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use hypertab_core::dht_relay::resume::LEFT;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

/// Bytes that may wait in the browser.
pub(crate) const QUEUE_LIMIT: u64 = 1 << 20;
/// How often a full queue is looked at, in milliseconds.
const POLL_INTERVAL: u32 = 4;

/// Status of a socket that nobody closed.
const BROKEN: u16 = 1006;

/// What happens to a socket.
pub(crate) enum SocketEvent {
    /// It may be used, and takes this many bytes.
    Open,
    /// One message arrived.
    Message(Vec<u8>),
    /// Bytes left for the network: as many more may be sent.
    Drained(u64),
    /// It is gone; nothing more happens. Whether it broke, rather than being closed at the other end.
    Closed { reason: String, is_broken: bool },
}

/// An open socket. Dropping it closes it.
pub(crate) struct Socket {
    socket: WebSocket,
    /// Bytes sent and not known to have left.
    queued: Rc<Cell<u64>>,
    notify: Rc<dyn Fn(SocketEvent)>,
    poll: Rc<Cell<Option<Timeout>>>,
    _handlers: Handlers,
}

struct Handlers {
    _open: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
    _error: Closure<dyn FnMut()>,
}

impl Socket {
    /// Takes over a socket that is connecting or open. `notify` is called in tasks of the socket, never from here.
    pub(crate) fn new(socket: WebSocket, notify: impl Fn(SocketEvent) + 'static) -> Self {
        let notify: Rc<dyn Fn(SocketEvent)> = Rc::new(notify);
        socket.set_binary_type(BinaryType::Arraybuffer);

        let on_open = {
            let notify = Rc::clone(&notify);
            Closure::<dyn FnMut()>::new(move || notify(SocketEvent::Open))
        };
        let on_message = {
            let notify = Rc::clone(&notify);
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                // Text has no meaning in the relay's protocol.
                if let Ok(buffer) = event.data().dyn_into::<ArrayBuffer>() {
                    notify(SocketEvent::Message(Uint8Array::new(&buffer).to_vec()));
                }
            })
        };
        let on_close = {
            let notify = Rc::clone(&notify);
            Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
                let is_broken = event.code() == BROKEN;
                notify(SocketEvent::Closed { reason: close_reason(event.code(), event.reason()), is_broken });
            })
        };
        // An error says nothing, on purpose of the browsers; the close event that follows says little more.
        let on_error = Closure::<dyn FnMut()>::new(|| {});
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        socket.set_onerror(Some(on_error.as_ref().unchecked_ref()));

        Socket {
            socket,
            queued: Rc::default(),
            notify,
            poll: Rc::default(),
            _handlers: Handlers { _open: on_open, _message: on_message, _close: on_close, _error: on_error },
        }
    }

    /// Whether it can be sent to.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.ready_state() == WebSocket::OPEN
    }

    /// Sends one message. A socket that is closing swallows it; its close event follows.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if self.socket.send_with_u8_array(bytes).is_err() {
            return;
        }
        self.queued.set(self.queued.get() + bytes.len() as u64);
        watch(self.socket.clone(), Rc::clone(&self.queued), Rc::clone(&self.notify), Rc::clone(&self.poll));
    }

    /// Closes it as one that is gone on without; no further event comes.
    pub(crate) fn leave(self) {
        let _ = self.socket.close_with_code(LEFT);
    }

    /// Closes it without waiting; no further event comes.
    pub(crate) fn close(self) {
        drop(self);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // A socket that never opened reports its closing as an error.
        self.socket.set_onerror(None);
        self.poll.set(None);
        let _ = self.socket.close();
    }
}

/// Reports what has left the browser's queue, in a later task, until all has.
fn watch(
    socket: WebSocket,
    queued: Rc<Cell<u64>>,
    notify: Rc<dyn Fn(SocketEvent)>,
    poll: Rc<Cell<Option<Timeout>>>,
) {
    if let Some(timer) = poll.take() {
        poll.set(Some(timer));
        return;
    }
    let delay = if u64::from(socket.buffered_amount()) < QUEUE_LIMIT / 2 { 0 } else { POLL_INTERVAL };
    let next = Rc::clone(&poll);
    poll.set(Some(Timeout::new(delay, move || {
        next.set(None);
        let left = u64::from(socket.buffered_amount()).min(queued.get());
        let drained = queued.replace(left) - left;
        if left > 0 {
            watch(socket, queued, Rc::clone(&notify), next);
        }
        if drained > 0 {
            notify(SocketEvent::Drained(drained));
        }
    })));
}

fn close_reason(code: u16, reason: String) -> String {
    match (code, reason.is_empty()) {
        (_, false) => reason,
        (1000 | 1001, true) => "the relay closed the connection".into(),
        (BROKEN, true) => "the relay cannot be reached".into(),
        (1008, true) => "the relay refused us".into(),
        (1012 | 1013, true) => "the relay is restarting or busy".into(),
        (code, true) => format!("the connection to the relay ended (code {code})"),
    }
}
