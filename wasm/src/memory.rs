//! The memory of the module, which grows in steps that are larger the larger it is.

/// How much of the memory is added ahead of need: one part in this many.
#[cfg(target_arch = "wasm32")]
const SHARE: usize = 8;

/// What was known of the memory when it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    #[cfg(target_arch = "wasm32")]
    pages: usize,
}

impl Memory {
    /// Takes room in advance if the memory has grown since the last time.
    ///
    /// The allocator grows it by little more than it needs. With every growth JavaScript gets the whole memory as a
    /// new object, whose size counts against its collector: a large memory that grows often is collected all the time.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn grow_ahead(&mut self) {
        let pages = core::arch::wasm32::memory_size::<0>();
        if pages == self.pages {
            return;
        }
        // Given back at once, and then there for whoever needs it: the allocator never makes the memory smaller.
        let mut ahead = Vec::<u8>::new();
        // Where there is no room for so much there may be for what is needed.
        let _ = ahead.try_reserve_exact(pages / SHARE * PAGE);
        drop(core::hint::black_box(ahead));
        self.pages = core::arch::wasm32::memory_size::<0>();
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn grow_ahead(&mut self) {}
}

/// Bytes of a page.
#[cfg(target_arch = "wasm32")]
const PAGE: usize = 64 << 10;
