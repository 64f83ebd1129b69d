//! The one engine of this module, and everything that it is connected to.
//!
//! Nothing here calls user code: events are collected, and JavaScript fetches them once the engine has nothing more
//! to do.

use std::cell::{Cell, RefCell, RefMut};

use hypertab_core::collections::BTreeMap;
use hypertab_core::engine::{
    CloseReason, Config, CoreId, Engine, Error, Event, Input, LinkId, Output, RequestId,
};
use hypertab_core::error::StorageFailure;
use hypertab_core::hypercore::v10::Import;
use hypertab_core::storage::log_store::DeviceReply;
use hypertab_core::storage::{Intent, Outcome, StoreId};
use hypertab_core::time::Instant;
use js_sys::{Array, Float64Array, Function, WebAssembly};
use wasm_bindgen::prelude::*;

use crate::barrier::{self, Barrier};
use crate::events;
use crate::memory::Memory;
use crate::socket::{QUEUE_LIMIT, Socket, SocketEvent};
use crate::storage::Backend;

thread_local! {
    /// Once there is one, it stays.
    static RUNTIME: Cell<Option<&'static RefCell<Runtime>>> = const { Cell::new(None) };
    /// How often something has entered the engine that may change it. A number of JavaScript's, which looks at it in place.
    static REVISION: Cell<f64> = const { Cell::new(0.0) };
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Milliseconds since the page or process started, as the engine counts time.
pub(crate) fn now() -> Instant {
    Instant::from_micros((performance_now().max(0.0) * 1000.0) as u64)
}

/// Milliseconds of Unix time when the page or process started, as the clock on the wall has it now.
///
/// Whole milliseconds of both clocks, so that the engine comes to what `Date.now()` says, and not to one less.
fn unix_millis() -> u64 {
    (js_sys::Date::now() - performance_now().floor()).max(0.0) as u64
}

/// A store that does nothing for now. The engine asks for one commit and a few reads at once, so little waits.
#[derive(Default)]
struct Suspended {
    requests: Vec<f64>,
    intents: Vec<Intent>,
}

/// The engine and its surroundings.
pub(crate) struct Runtime {
    pub(crate) engine: Engine,
    pub(crate) backends: BTreeMap<StoreId, Backend>,
    /// Stores that are closing, with the request that waits for it.
    pub(crate) closing: BTreeMap<StoreId, f64>,
    /// Stores that do nothing for now: who waits until nothing is under way, and what waits to be done.
    suspended: BTreeMap<StoreId, Suspended>,
    /// Commits to files, which wait for the next turn of JavaScript: what it writes until then is written together, and
    /// whoever only writes does not keep timers and sockets from theirs.
    commits: Vec<(StoreId, Intent)>,
    /// Whether JavaScript was asked for that turn.
    awaits_turn: bool,
    /// Commits to files so far, and how many there were when JavaScript was asked to look whether a store has a quiet moment.
    writes: u64,
    restless: BTreeMap<StoreId, u64>,
    /// Intents that a store works on.
    under_way: BTreeMap<StoreId, usize>,
    barrier: Barrier,
    pub(crate) sockets: BTreeMap<LinkId, Socket>,
    /// Files whose blocks are being read.
    pub(crate) imports: BTreeMap<CoreId, Import>,
    /// Frames for a socket that is still connecting.
    waiting: BTreeMap<LinkId, Vec<bytes::Bytes>>,
    events: Vec<JsValue>,
    wake: Function,
    /// Asks JavaScript for a timer, in milliseconds; -1 for none. Timers of Node keep its process alive unless it is
    /// told that they need not, which only JavaScript can do.
    set_timer: Function,
    timer: Option<Instant>,
    /// Codes that cancelled requests end with instead of the usual one.
    cancel_codes: BTreeMap<RequestId, String>,
    /// Requests of this module's own, counted down so that they never meet the engine's.
    next_request: f64,
    memory: Memory,
}

/// Starts the engine. `wake` is called, outside any other call, when events wait that no call of JavaScript caused.
pub(crate) fn start(wake: Function, set_timer: Function) -> Result<(), JsError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| JsError::new("this environment has no source of randomness"))?;
    if RUNTIME.get().is_some() {
        return Err(JsError::new("the engine is started already"));
    }
    let runtime = Runtime {
        engine: {
            let mut engine = Engine::new(Config::with_unix_millis(unix_millis()), seed, now());
            engine.expose_channels();
            engine
        },
        backends: BTreeMap::new(),
        closing: BTreeMap::new(),
        suspended: BTreeMap::new(),
        commits: Vec::new(),
        awaits_turn: false,
        writes: 0,
        restless: BTreeMap::new(),
        under_way: BTreeMap::new(),
        barrier: Barrier::default(),
        sockets: BTreeMap::new(),
        imports: BTreeMap::new(),
        waiting: BTreeMap::new(),
        events: Vec::new(),
        wake,
        set_timer,
        timer: None,
        cancel_codes: BTreeMap::new(),
        next_request: -1.0,
        memory: Memory::default(),
    };
    RUNTIME.set(Some(Box::leak(Box::new(RefCell::new(runtime)))));
    Ok(())
}

/// Runs a command and everything that follows from it.
pub(crate) fn with<R>(command: impl FnOnce(&mut Runtime) -> R) -> Result<R, JsError> {
    let mut runtime = enter_to_change()?;
    let result = command(&mut runtime);
    leave(runtime);
    Ok(result)
}

/// Looks at the engine without giving it anything to do.
pub(crate) fn look<R>(look: impl FnOnce(&mut Runtime) -> R) -> Result<R, JsError> {
    enter().map(|mut runtime| look(&mut runtime))
}

// What every export does before and after its own is here once: they are two hundred.
#[inline(never)]
fn enter() -> Result<RefMut<'static, Runtime>, JsError> {
    let runtime = RUNTIME.get().ok_or_else(|| JsError::new("the engine is not started"))?;
    Ok(runtime.borrow_mut())
}

#[inline(never)]
fn enter_to_change() -> Result<RefMut<'static, Runtime>, JsError> {
    REVISION.set(REVISION.get() + 1.0);
    enter()
}

#[inline(never)]
fn leave(mut runtime: RefMut<'static, Runtime>) {
    runtime.drain();
}

/// As [`with`], from a task of this module: JavaScript is told when there is something to fetch.
pub(crate) fn with_wake(task: impl FnOnce(&mut Runtime)) {
    let Ok(mut runtime) = enter_to_change() else { return };
    let was_quiet = runtime.events.is_empty();
    task(&mut runtime);
    runtime.drain();
    let wake = (was_quiet && !runtime.events.is_empty()).then(|| runtime.wake.clone());
    drop(runtime);
    if let Some(wake) = wake {
        // It only schedules a fetch; nothing can be done about a failure here.
        let _ = wake.call0(&JsValue::NULL);
    }
}

/// The revision where it is in memory, until that has grown: then JavaScript has another object for it, and this array is empty.
pub(crate) fn revision() -> Float64Array {
    let memory = wasm_bindgen::memory().unchecked_into::<WebAssembly::Memory>();
    let place = REVISION.with(Cell::as_ptr) as u32;
    Float64Array::new_with_byte_offset_and_length(&memory.buffer(), place, 1)
}

impl Runtime {
    /// Hands over what happened since the last time.
    pub(crate) fn take_events(&mut self) -> Array {
        self.events.drain(..).collect()
    }

    pub(crate) fn push_event(&mut self, event: JsValue) {
        self.events.push(event);
    }

    /// Returns a request id for something that this module carries out itself.
    pub(crate) fn own_request(&mut self) -> f64 {
        self.next_request -= 1.0;
        self.next_request
    }

    pub(crate) fn add_store(&mut self, backend: Backend) -> StoreId {
        let store = self.engine.create_store();
        self.backends.insert(store, backend);
        self.start_ops(store);
        store
    }

    pub(crate) fn add_socket(&mut self, link: LinkId, socket: web_sys::WebSocket) {
        let socket = Socket::new(socket, move |event| {
            with_wake(|runtime| runtime.handle_socket(link, event));
        });
        if socket.is_open() {
            self.input(Input::Credit { link, bytes: QUEUE_LIMIT });
        }
        self.sockets.insert(link, socket);
    }

    fn handle_socket(&mut self, link: LinkId, event: SocketEvent) {
        match event {
            SocketEvent::Open => {
                self.input(Input::Credit { link, bytes: QUEUE_LIMIT });
                if let Some(socket) = self.sockets.get(&link) {
                    self.waiting.remove(&link).into_iter().flatten().for_each(|frame| socket.send(&frame));
                }
            }
            SocketEvent::Message(bytes) => self.input(Input::Bytes { link, bytes: bytes.into() }),
            SocketEvent::Drained(bytes) => self.input(Input::Credit { link, bytes }),
            SocketEvent::Closed { reason, is_broken } => self.socket_closed(link, reason, is_broken),
        }
    }

    /// A socket is gone, or is no longer believed in.
    pub(crate) fn socket_closed(&mut self, link: LinkId, reason: String, is_broken: bool) {
        self.waiting.remove(&link);
        if self.sockets.remove(&link).is_some() {
            let reason = Some(reason);
            self.input(match is_broken {
                true => Input::LinkLost { link, reason },
                false => Input::LinkClosed { link, reason },
            });
        }
    }

    /// Takes a socket for broken, and tells the other end, in case it is there.
    pub(crate) fn leave_socket(&mut self, link: LinkId, reason: String) {
        self.waiting.remove(&link);
        if let Some(socket) = self.sockets.remove(&link) {
            socket.leave();
            self.input(Input::LinkLost { link, reason: Some(reason) });
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        if let Input::LinkClosed { link, .. } | Input::LinkLost { link, .. } = &input {
            self.barrier.forget_link(*link);
        }
        self.engine.handle_input(input, now());
    }

    /// Carries out what the engine wants until it wants nothing more.
    fn drain(&mut self) {
        // The other clock stands still while a computer sleeps, and this one can be set.
        self.engine.set_unix_millis(unix_millis());
        loop {
            match self.engine.poll_output(now()) {
                output @ (Output::Transmit { .. }
                | Output::FinishLink { .. }
                | Output::CloseLink { .. }
                | Output::Event(Event::LinkClosed { .. })) => self.leave(output),
                Output::Storage { store, intent } => self.store(store, intent),
                Output::Event(event) => self.tell(event),
                Output::Idle { wake_at } => {
                    self.arm(wake_at);
                    self.memory.grow_ahead();
                    return;
                }
            }
        }
    }

    /// Lets something out, or holds it until what it may be about is on the disk.
    fn leave(&mut self, output: Output) {
        match self.barrier.pass(output) {
            Some(output) => self.let_out(output),
            None => self.sync_stores(),
        }
    }

    fn sync_stores(&mut self) {
        while let Some(store) = self.barrier.poll_sync() {
            let done = move |result| with_wake(|runtime| runtime.handle_synced(store, result));
            let result =
                self.backends.get_mut(&store).map_or(Some(Ok(())), |backend| backend.start_sync(done));
            if let Some(result) = result {
                self.synced(store, result);
            }
        }
    }

    fn handle_synced(&mut self, store: StoreId, result: Result<(), StorageFailure>) {
        self.synced(store, result);
        self.sync_stores();
    }

    // Begins no other sync: of stores in memory, which are synced at once, there may be thousands.
    fn synced(&mut self, store: StoreId, result: Result<(), StorageFailure>) {
        match result {
            Ok(()) => self.barrier.handle_synced(store),
            Err(failure) => {
                let reason = Some(failure.to_string());
                let (lacking, rest) = self.barrier.handle_failure(store);
                for link in lacking {
                    match self.sockets.remove(&link) {
                        Some(socket) => socket.close(),
                        None => {
                            self.events.push(events::close_link(link, &CloseReason::Remote(reason.clone())))
                        }
                    }
                    self.input(Input::LinkClosed { link, reason: reason.clone() });
                }
                rest.into_iter().for_each(|output| self.let_out(output));
                self.input(Input::Storage { store, outcome: barrier::stop(failure) });
            }
        }
        while let Some(output) = self.barrier.poll_output() {
            self.let_out(output);
        }
        self.finish_closing(store);
    }

    fn let_out(&mut self, output: Output) {
        match output {
            Output::Transmit { link, bytes } => self.transmit(link, bytes),
            Output::FinishLink { link } => self.events.push(events::finish_link(link)),
            Output::CloseLink { link, reason } => {
                self.waiting.remove(&link);
                if let Some(socket) = self.sockets.remove(&link) {
                    socket.close();
                } else {
                    self.events.push(events::close_link(link, &reason));
                }
            }
            Output::Event(event) => self.tell(event),
            Output::Storage { .. } | Output::Idle { .. } => {}
        }
    }

    fn transmit(&mut self, link: LinkId, bytes: bytes::Bytes) {
        match self.sockets.get(&link) {
            Some(socket) if socket.is_open() => socket.send(&bytes),
            Some(_) => self.waiting.entry(link).or_default().push(bytes),
            None => self.events.push(events::transmit(link, &bytes)),
        }
    }

    fn store(&mut self, store: StoreId, intent: Intent) {
        if let Some(suspended) = self.suspended.get_mut(&store) {
            return suspended.intents.push(intent);
        }
        if matches!(intent, Intent::Commit { .. }) && self.backends.get(&store).is_some_and(Backend::is_file)
        {
            self.commits.push((store, intent));
            return self.await_turn();
        }
        self.carry_out(store, intent);
    }

    fn await_turn(&mut self) {
        if !core::mem::replace(&mut self.awaits_turn, true) {
            self.events.push(events::commit());
        }
    }

    /// Stores together whatever is asked for in this turn of JavaScript.
    pub(crate) fn gather_commits(&mut self) {
        self.engine.hold_commits();
        self.await_turn();
    }

    /// Writes what waits for the next turn, and what follows from it.
    pub(crate) fn write_commits(&mut self) {
        self.awaits_turn = true;
        self.engine.let_commits_go();
        self.drain();
        while !self.commits.is_empty() {
            for (store, intent) in core::mem::take(&mut self.commits) {
                self.carry_out(store, intent);
            }
            self.drain();
        }
        self.awaits_turn = false;
    }

    fn carry_out(&mut self, store: StoreId, mut intent: Intent) {
        let Some(backend) = self.backends.get_mut(&store) else { return };
        self.barrier.relax(store, &mut intent);
        *self.under_way.entry(store).or_default() += 1;
        let is_write = matches!(intent, Intent::Commit { .. });
        let mut outcomes = Vec::new();
        backend.handle_intent(intent, &mut outcomes);
        if is_write && backend.is_file() {
            self.writes += 1;
            if backend.is_restless() && !self.restless.contains_key(&store) {
                self.watch(store);
            }
        }
        self.start_ops(store);
        self.finish_intents(store, outcomes);
    }

    fn watch(&mut self, store: StoreId) {
        self.restless.insert(store, self.writes);
        self.events.push(events::restless(store));
    }

    /// Some time has passed: a store that had nothing to write meanwhile does what waits for that.
    pub(crate) fn settle_store(&mut self, store: StoreId) {
        let Some(writes) = self.restless.remove(&store) else { return };
        if writes != self.writes {
            return self.watch(store);
        }
        let Some(backend) = self.backends.get_mut(&store) else { return };
        let mut outcomes = Vec::new();
        backend.settle(&mut outcomes);
        self.finish_intents(store, outcomes);
    }

    fn start_ops(&mut self, store: StoreId) {
        if let Some(backend) = self.backends.get_mut(&store) {
            backend.start_ops(move |op, reply| with_wake(|runtime| runtime.handle_reply(store, op, reply)));
        }
    }

    fn handle_reply(&mut self, store: StoreId, op: u64, reply: DeviceReply) {
        let Some(backend) = self.backends.get_mut(&store) else { return };
        let mut outcomes = Vec::new();
        backend.handle_reply(op, reply, &mut outcomes);
        self.start_ops(store);
        self.finish_intents(store, outcomes);
        self.finish_closing(store);
    }

    /// Begins nothing more in a store. The request ends once what is under way is done.
    pub(crate) fn suspend_store(&mut self, store: StoreId) -> f64 {
        self.write_commits();
        let request = self.own_request();
        self.suspended.entry(store).or_default().requests.push(request);
        self.finish_suspending(store);
        request
    }

    /// Goes on with a store.
    pub(crate) fn resume_store(&mut self, store: StoreId) {
        let Some(suspended) = self.suspended.remove(&store) else { return };
        for request in suspended.requests {
            self.events.push(events::done(request, Ok(JsValue::UNDEFINED)));
        }
        for intent in suspended.intents {
            self.store(store, intent);
        }
    }

    fn finish_suspending(&mut self, store: StoreId) {
        if self.under_way.get(&store).is_some_and(|count| *count > 0) {
            return;
        }
        let Some(suspended) = self.suspended.get_mut(&store) else { return };
        for request in core::mem::take(&mut suspended.requests) {
            self.events.push(events::done(request, Ok(JsValue::UNDEFINED)));
        }
    }

    fn finish_intents(&mut self, store: StoreId, outcomes: Vec<Outcome>) {
        if let Some(count) = self.under_way.get_mut(&store) {
            *count = count.saturating_sub(outcomes.len());
        }
        self.finish_suspending(store);
        for outcome in outcomes {
            self.barrier.note(store, &outcome);
            self.input(Input::Storage { store, outcome });
        }
    }

    /// Begins to close a store: whatever is under way is written first.
    pub(crate) fn close_store(&mut self, store: StoreId) -> f64 {
        self.resume_store(store);
        self.write_commits();
        let request = self.own_request();
        self.engine.close_store(store, now());
        if let Some(backend) = self.backends.get_mut(&store) {
            backend.close();
        }
        self.closing.insert(store, request);
        self.start_ops(store);
        self.finish_closing(store);
        request
    }

    fn finish_closing(&mut self, store: StoreId) {
        if !self.closing.contains_key(&store) {
            return;
        }
        match self.backends.get(&store) {
            Some(backend) if !backend.is_closed() => return,
            _ => {}
        }
        if !self.barrier.close(store) {
            return self.sync_stores();
        }
        if let Some(backend) = self.backends.remove(&store) {
            backend.release();
        }
        self.under_way.remove(&store);
        if let Some(request) = self.closing.remove(&store) {
            self.events.push(events::done(request, Ok(JsValue::UNDEFINED)));
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::Done { request, result } = &event
            && let Some(code) = self.cancel_codes.remove(request)
            && matches!(result, Err(Error::RequestCancelled))
        {
            let error = events::failure(&code, &Error::RequestCancelled.to_string());
            return self.events.push(events::done(events::number(request.0), Err(error)));
        }
        self.events.extend(events::to_js(event));
    }

    /// Takes a request back; it ends with `code`, if one is given.
    pub(crate) fn cancel(&mut self, request: RequestId, code: Option<String>) {
        if let Some(code) = code {
            self.cancel_codes.insert(request, code);
        }
        self.engine.cancel(request, now());
    }

    /// The time that was asked for last has come.
    pub(crate) fn handle_timeout(&mut self) {
        self.timer = None;
        self.input(Input::Timeout);
    }

    fn arm(&mut self, wake_at: Option<Instant>) {
        if self.timer == wake_at {
            return;
        }
        self.timer = wake_at;
        // Rounded up: a timer that fires early finds nothing to do and is set again for nothing.
        let millis = wake_at.map_or(-1.0, |wake_at| {
            wake_at.duration_since(now()).as_micros().div_ceil(1000).min(MAX_SLEEP) as f64
        });
        // It only sets a timer; nothing can be done about a failure here.
        let _ = self.set_timer.call1(&JsValue::NULL, &millis.into());
    }
}

/// Longest time that a browser's timer can be set for: 2^31 - 1 milliseconds.
const MAX_SLEEP: u128 = 0x7fff_ffff;
