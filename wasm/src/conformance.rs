//! The suite of all storage backends on those of a browser and of Node, for the module that the tests build.
//!
//! JavaScript says where a store is, and hurts the device when asked to; everything else is what pages run.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use hypertab_core::storage::conformance::{self, Backend as Tested};
use hypertab_core::storage::log_store::DeviceReply;
use hypertab_core::storage::{Intent, Outcome};
use wasm_bindgen::prelude::*;

use crate::storage::{Backend, JsFile};

#[wasm_bindgen]
extern "C" {
    /// Where a store is.
    #[derive(Clone)]
    pub type Place;

    /// The database; undefined for a file.
    #[wasm_bindgen(method, getter)]
    fn database(this: &Place) -> Option<String>;

    /// Whether it can be open twice.
    #[wasm_bindgen(method, getter, js_name = isShared)]
    fn is_shared(this: &Place) -> bool;

    /// Opens the file.
    #[wasm_bindgen(method, catch, js_name = openFile)]
    async fn open_file(this: &Place) -> Result<JsValue, JsValue>;

    /// Lets the device fail in the midst of what is written next, sooner or later, until the store is opened again.
    #[wasm_bindgen(method)]
    fn tear(this: &Place);

    /// Waits for a moment in which the store may be given up.
    #[wasm_bindgen(method, catch)]
    async fn moment(this: &Place) -> Result<JsValue, JsValue>;

    /// Leaves no room, or room again.
    #[wasm_bindgen(method, catch, js_name = setFull)]
    async fn set_full(this: &Place, is_full: bool) -> Result<JsValue, JsValue>;

    /// Notes how many commits of a sequence are answered; false to stop there.
    #[wasm_bindgen(method)]
    fn told(this: &Place, answered: u32) -> bool;

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str);
}

/// Runs one test of the suite on the store of a place: `random`, `cases`, `fence`, `full`, `write` or `check`.
///
/// `count` is the rounds of `random`, and for `check` the commits of `write` that were answered.
#[wasm_bindgen(js_name = runConformance)]
pub async fn run_conformance(place: Place, test: String, seed: u32, count: u32) -> Result<JsValue, JsError> {
    std::panic::set_hook(Box::new(|panic| console_error(&panic.to_string())));
    let mut host = Host::open(place.clone()).await.map_err(|error| JsError::new(&error))?;
    let seed = u64::from(seed);
    let none = |()| JsValue::UNDEFINED;
    let result = match test.as_str() {
        "random" => conformance::run(&mut host, seed, count).await.map(none),
        "cases" => conformance::run_cases(&mut host).await.map(none),
        "fence" => conformance::run_fence(&mut host).await.map(none),
        "full" => conformance::run_full(&mut host).await.map(JsValue::from),
        "write" => conformance::write_sequence(&mut host, seed, |done| place.told(done)).await.map(none),
        "check" => conformance::check_sequence(&mut host, seed, count).await.map(JsValue::from),
        _ => Err(format!("there is no test {test}")),
    };
    host.backend.release();
    result.map_err(|found| JsError::new(&found))
}

/// Replies of a device that nobody took yet.
#[derive(Default)]
struct Inbox {
    replies: VecDeque<(u64, DeviceReply)>,
    waker: Option<Waker>,
}

/// One opening of a store.
struct Host {
    place: Place,
    backend: Backend,
    inbox: Rc<RefCell<Inbox>>,
}

impl Host {
    async fn open(place: Place) -> Result<Self, String> {
        let backend = match place.database() {
            Some(name) => {
                Backend::indexed_db(&name).await.map_err(|_| String::from("the database does not open"))?
            }
            None => {
                let file =
                    place.open_file().await.map_err(|error| format!("the file does not open: {error:?}"))?;
                Backend::file(file.unchecked_into::<JsFile>())
            }
        };
        Ok(Host { place, backend, inbox: Rc::default() })
    }

    fn start_ops(&mut self) {
        let inbox = Rc::clone(&self.inbox);
        self.backend.start_ops(move |op, reply| {
            let waker = {
                let mut inbox = inbox.borrow_mut();
                inbox.replies.push_back((op, reply));
                inbox.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        });
    }

    async fn next_reply(&self) -> (u64, DeviceReply) {
        poll_fn(|context| {
            let mut inbox = self.inbox.borrow_mut();
            match inbox.replies.pop_front() {
                Some(reply) => Poll::Ready(reply),
                None => {
                    inbox.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Gives the store up as it is, and opens it anew.
    async fn reopen(&mut self) {
        // The device cannot be open twice everywhere, so the one of before has to go first.
        std::mem::replace(&mut self.backend, Backend::memory()).release();
        match Host::open(self.place.clone()).await {
            Ok(host) => *self = host,
            // The test that goes on with it says that the store is empty.
            Err(error) => console_error(&error),
        }
    }
}

impl Tested for Host {
    async fn handle_intents(&mut self, intents: Vec<Intent>) -> Vec<Outcome> {
        let count = intents.len();
        let mut outcomes = Vec::new();
        intents.into_iter().for_each(|intent| self.backend.handle_intent(intent, &mut outcomes));
        loop {
            self.start_ops();
            if outcomes.len() >= count {
                return outcomes;
            }
            let (op, reply) = self.next_reply().await;
            self.backend.handle_reply(op, reply, &mut outcomes);
        }
    }

    async fn crash(&mut self, during: Option<Intent>) -> bool {
        if let Some(intent) = during {
            self.place.tear();
            self.backend.handle_intent(intent, &mut Vec::new());
            self.start_ops();
            let _ = self.place.moment().await;
        }
        self.reopen().await;
        // The system goes on: what it was handed is there.
        false
    }

    async fn open_again(&mut self) -> Option<Self> {
        if !self.place.is_shared() {
            return None;
        }
        Host::open(self.place.clone()).await.ok()
    }

    async fn set_full(&mut self, is_full: bool) -> bool {
        self.place.set_full(is_full).await.is_ok_and(|done| done.is_truthy())
    }
}
