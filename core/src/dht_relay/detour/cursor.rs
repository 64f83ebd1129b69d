//! Where the frames of one direction begin and end.

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The length of the next frame, as far as it has come.
    prefix: u64,
    prefix_len: usize,
    /// Bytes of the present frame that have not come.
    left: u64,
}

impl Cursor {
    pub(super) fn is_between_frames(&self) -> bool {
        self.left == 0 && self.prefix_len == 0
    }

    /// Follows bytes of frames.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.scan(bytes, false);
    }

    /// Follows bytes and returns how many those are: with `stops`, up to what is, or may be, a frame without length.
    pub(super) fn scan(&mut self, bytes: &[u8], stops: bool) -> usize {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.left > 0 {
                let part = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= part as u64;
                at += part;
                continue;
            }
            if stops
                && self.prefix_len == 0
                && bytes.get(at..at + PREFIX_LEN).is_none_or(|prefix| prefix == [0; PREFIX_LEN])
            {
                break;
            }
            self.prefix |= u64::from(*byte) << (8 * self.prefix_len);
            self.prefix_len += 1;
            at += 1;
            if self.prefix_len == PREFIX_LEN {
                self.left = core::mem::take(&mut self.prefix);
                self.prefix_len = 0;
            }
        }
        at
    }
}

/// Bytes of a length.
pub(super) const PREFIX_LEN: usize = 3;
