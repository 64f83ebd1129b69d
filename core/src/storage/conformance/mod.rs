//! The suite that every backend passes, wherever it runs: single cases, random batches against an ordered map with crashes, and a
//! sequence whose writer is ended from outside.
//!
//! Backends of browsers answer later, so the suite is asynchronous; [`block_on`] runs it on those that answer at once.

mod cases;
mod crash_file;
mod random;
mod session;

use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

pub use self::cases::{run_cases, run_fence, run_full};
pub use self::crash_file::CrashFile;
pub use self::random::{Random, check_sequence, run, write_sequence};
use super::{Intent, Outcome};

/// A store that a test can run and crash.
pub trait Backend: Sized {
    /// Carries out intents that are handed in at once. Returns their outcomes, in any order.
    fn handle_intents(&mut self, intents: Vec<Intent>) -> impl Future<Output = Vec<Outcome>>;

    /// Loses what was not durable and opens again; when an intent is given, while that one is under way. Returns whether
    /// [`Durability::Relaxed`](super::Durability::Relaxed) commits since the last strict one may be lost.
    fn crash(&mut self, during: Option<Intent>) -> impl Future<Output = bool>;

    /// Opens the store once more, as another process or tab does; `None` when it can be open only once.
    fn open_again(&mut self) -> impl Future<Output = Option<Self>>;

    /// Leaves no room on the device, or room again. Returns false when that cannot be had here.
    fn set_full(&mut self, is_full: bool) -> impl Future<Output = bool>;
}

/// What a test found: how the backend differs from what it owes.
pub type Verdict<T = ()> = Result<T, String>;

/// Runs a test on a backend that answers at once.
///
/// # Panics
///
/// When the backend does not answer at once.
pub fn block_on<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("this backend answers later"),
    }
}

impl Backend for super::MemoryStore {
    async fn handle_intents(&mut self, intents: Vec<Intent>) -> Vec<Outcome> {
        intents.into_iter().map(|intent| self.handle_intent(intent)).collect()
    }

    async fn crash(&mut self, during: Option<Intent>) -> bool {
        during.map(|intent| self.handle_intent(intent));
        false
    }

    async fn open_again(&mut self) -> Option<Self> {
        None
    }

    async fn set_full(&mut self, _is_full: bool) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    #[test]
    fn memory_store_behaves_like_an_ordered_map() {
        for seed in 1..20 {
            block_on(run(&mut MemoryStore::new(), seed, 500)).unwrap();
        }
        block_on(run_cases(&mut MemoryStore::new())).unwrap();
        block_on(run_fence(&mut MemoryStore::new())).unwrap();
    }
}
