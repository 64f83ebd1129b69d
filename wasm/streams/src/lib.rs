//! Takes a module apart, so that it compresses, and puts it together again.
//!
//! In a module operators, numbers of locals, offsets and constants take turns, and each says much about the next of its kind and
//! little about what is beside it. Apart, each kind is a stream of its own; and what follows from the rest, sizes of functions
//! and alignments, is left out. Compiled to WebAssembly this is what travels, with the streams in a section of its own: whoever
//! serves, bundles or compiles the file knows what it is.
//!
//! # Wire
//!
//! Numbers are LEB128, as in a module.
//!
//! | field | bytes | meaning |
//! | --- | --- | --- |
//! | start | a number | bytes of the module before its code |
//! | functions | a number | functions in its code |
//! | lengths | a number each | bytes of each stream |
//! | streams | as `lengths` say | the first has all that is no code, as it is |
//!
//! Source: WebAssembly core specification 2.0, 5.4 and 5.5.

#![cfg_attr(target_arch = "wasm32", no_std)]

/// Puts together the module whose streams are `length` bytes at `start`, and returns where it ends; it begins behind them. It has at
/// most twice their bytes.
///
/// # Safety
///
/// From `start` on, memory has three times `length` bytes that nobody else uses.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn join(start: usize, length: usize) -> usize {
    // SAFETY: as above.
    let memory = unsafe { core::slice::from_raw_parts_mut(start as *mut u8, 3 * length) };
    start + join_in(memory, length)
}

/// Takes apart the module that is `length` bytes at `start`, and returns where its streams end; they begin behind it. For code that
/// this does not know they end where they begin.
///
/// # Safety
///
/// As of [`join`].
#[cfg(all(target_arch = "wasm32", feature = "split"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn split(start: usize, length: usize) -> usize {
    // SAFETY: as above.
    let memory = unsafe { core::slice::from_raw_parts_mut(start as *mut u8, 3 * length) };
    start + split_in(memory, length).unwrap_or(length)
}

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn stop(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Joins the streams in the first `length` bytes, behind them; returns where the module ends.
pub fn join_in(memory: &mut [u8], length: usize) -> usize {
    let mut header = Mover::<true>::new(memory);
    let start = header.read_number(FRAME);
    let functions = header.read_number(FRAME);
    let mut lengths = [0; SLOTS];
    for length in &mut lengths[..STREAMS] {
        *length = header.read_number(FRAME);
    }
    let mut at = header.reads[FRAME];
    let mut mover = Mover::<true>::new(memory);
    for (read, length) in mover.reads.iter_mut().zip(lengths) {
        *read = at;
        at += length;
    }
    mover.writes[FRAME] = length;
    mover.bytes(FRAME, start);
    mover.write(FRAME, CODE);
    let section = mover.writes[FRAME];
    mover.write_number(functions, section + NUMBER, NUMBER);
    mover.writes[FRAME] = section + 2 * NUMBER;
    for _ in 0..functions {
        let function = mover.writes[FRAME] + SIZE;
        mover.writes[FRAME] = function;
        mover.function();
        mover.write_number(mover.writes[FRAME] - function, function - SIZE, SIZE);
    }
    mover.write_number(mover.writes[FRAME] - section - NUMBER, section, NUMBER);
    mover.bytes(FRAME, lengths[FRAME] - start);
    mover.writes[FRAME]
}

/// Splits the module in the first `length` bytes, behind it; returns where the streams end, and `None` when they would not be joined to
/// the same.
#[cfg(any(not(target_arch = "wasm32"), feature = "split"))]
pub fn split_in(memory: &mut [u8], length: usize) -> Option<usize> {
    let mut mover = Mover::<false>::new(memory);
    mover.reads[FRAME] = PREAMBLE;
    let (start, end) = loop {
        let start = mover.reads[FRAME];
        let section = mover.read(FRAME);
        let size = mover.read_number(FRAME);
        let content = mover.reads[FRAME];
        if section == CODE {
            break (start, content + size);
        }
        if start >= length {
            return None;
        }
        mover.reads[FRAME] = content + size;
    };
    let functions = mover.read_number(FRAME);
    let code = mover.reads[FRAME];

    // What has no place is counted.
    mover.writes = [usize::MAX / 2; SLOTS];
    mover.functions(functions)?;
    let mut lengths = mover.writes.map(|end| end - usize::MAX / 2);
    lengths[FRAME] = start + length - end;

    mover.writes[FRAME] = length;
    for number in [start, functions].into_iter().chain(lengths[..STREAMS].iter().copied()) {
        let at = mover.writes[FRAME];
        let bytes = (usize::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize;
        mover.write_number(number, at, bytes);
        mover.writes[FRAME] = at + bytes;
    }
    let mut at = mover.writes[FRAME];
    let frame = at;
    for (write, length) in mover.writes.iter_mut().zip(lengths) {
        *write = at;
        at += length;
    }
    mover.reads[FRAME] = code;
    mover.functions(functions)?;
    memory.copy_within(..start, frame);
    memory.copy_within(end..length, frame + start);
    Some(at)
}

/// Moves code between a module and its streams: what belongs to which of them is told here, for both ways. When it `JOINS`, the module
/// is what is written.
struct Mover<'a, const JOINS: bool> {
    /// Both the module and the streams.
    memory: &'a mut [u8],
    /// Where each stream is read; the module has the place of the first.
    reads: [usize; SLOTS],
    /// Where each stream is written, in the same way.
    writes: [usize; SLOTS],
}

impl<'a, const JOINS: bool> Mover<'a, JOINS> {
    fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, reads: [0; SLOTS], writes: [0; SLOTS] }
    }

    /// Moves functions out of a module; `None` for one that ends elsewhere than its size says, or is too large.
    #[cfg(any(not(target_arch = "wasm32"), feature = "split"))]
    fn functions(&mut self, count: usize) -> Option<()> {
        for _ in 0..count {
            let size = self.read_number(FRAME);
            let end = self.reads[FRAME] + size;
            let is_known = self.function();
            if !is_known || self.reads[FRAME] != end || size >= 1 << (7 * SIZE) {
                return None;
            }
        }
        Some(())
    }

    /// Moves a function without its size; `false` when an alignment is not natural, which would be lost.
    fn function(&mut self) -> bool {
        let mut is_natural = true;
        for _ in 0..self.number(LOCALS) {
            self.numbers(LOCALS, 2);
        }
        let mut depth = 1_usize;
        while depth > 0 && self.reads[Self::source(OPERATORS)] < self.memory.len() {
            let operator = self.byte(OPERATORS);
            match operator {
                0x02..=0x04 => {
                    depth += 1;
                    self.number(BLOCK);
                }
                0x0b => depth -= 1,
                0x0c | 0x0d => _ = self.number(BRANCH),
                0x0e => {
                    let count = self.number(TABLE);
                    self.numbers(TABLE, count + 1);
                }
                0x10 => _ = self.number(CALL),
                0x11 => self.numbers(OTHER, 2),
                0x1c => {
                    let count = self.number(OTHER);
                    self.numbers(OTHER, count);
                }
                0x20 => _ = self.number(GET),
                0x21 | 0x22 => _ = self.number(SET),
                0x23..=0x26 | 0x3f | 0x40 | 0xd0 | 0xd2 => _ = self.number(OTHER),
                0x28..=0x3e => {
                    is_natural &= self.alignment(NATURAL[usize::from(operator - 0x28)]);
                    self.number(if operator < 0x36 { LOAD } else { STORE });
                }
                0x41 => _ = self.number(CONSTANT + usize::from(self.next())),
                0x42 => _ = self.number(LONG),
                0x43 => self.bytes(OTHER, 4),
                0x44 => self.bytes(OTHER, 8),
                0xfc => match self.number(OTHER) {
                    0..=7 => {}
                    8 | 10 | 12 | 14 => self.numbers(OTHER, 2),
                    _ => self.numbers(OTHER, 1),
                },
                0xfd => match self.number(VECTOR) {
                    0..=11 | 92 | 93 => self.numbers(VECTOR, 2),
                    12 | 13 => self.bytes(VECTOR, 16),
                    21..=34 => self.bytes(VECTOR, 1),
                    84..=91 => self.numbers(VECTOR, 3),
                    _ => {}
                },
                _ => {}
            }
        }
        is_natural
    }

    /// Moves a number of 64 bits at most, and returns what of it is in 32.
    fn number(&mut self, stream: usize) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte(stream);
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte < 0x80 {
                return value as usize;
            }
        }
    }

    fn numbers(&mut self, stream: usize, count: usize) {
        for _ in 0..count {
            self.number(stream);
        }
    }

    fn bytes(&mut self, stream: usize, count: usize) {
        for _ in 0..count {
            self.byte(stream);
        }
    }

    fn byte(&mut self, stream: usize) -> u8 {
        let byte = self.read(Self::source(stream));
        self.write(if JOINS { FRAME } else { stream }, byte);
        byte
    }

    /// The slot that a stream is read by.
    fn source(stream: usize) -> usize {
        if JOINS { stream % SLOTS } else { FRAME }
    }

    /// Returns the operator behind the number that is moved next.
    fn next(&self) -> u8 {
        let mut at = self.reads[Self::source(OPERATORS)];
        if !JOINS {
            while self.at(at) >= 0x80 {
                at += 1;
            }
            at += 1;
        }
        self.at(at)
    }

    /// Writes an alignment that is no part of a stream, or reads it; whether it is `natural`.
    fn alignment(&mut self, natural: u8) -> bool {
        if JOINS {
            self.write(FRAME, natural);
            return true;
        }
        self.read(FRAME) == natural
    }

    fn read_number(&mut self, slot: usize) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.read(slot);
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte < 0x80 {
                return value as usize;
            }
        }
    }

    /// Writes a number in as many bytes as are said.
    fn write_number(&mut self, mut number: usize, mut at: usize, bytes: usize) {
        for left in (0..bytes).rev() {
            let more = if left > 0 { 0x80 } else { 0 };
            if let Some(place) = self.memory.get_mut(at) {
                *place = (number & 0x7f) as u8 | more;
            }
            number >>= 7;
            at += 1;
        }
    }

    fn read(&mut self, slot: usize) -> u8 {
        let read = &mut self.reads[slot % SLOTS];
        let byte = self.memory.get(*read).copied().unwrap_or(0);
        *read += 1;
        byte
    }

    fn write(&mut self, slot: usize, byte: u8) {
        let write = &mut self.writes[slot % SLOTS];
        if let Some(place) = self.memory.get_mut(*write) {
            *place = byte;
        }
        *write += 1;
    }

    fn at(&self, at: usize) -> u8 {
        self.memory.get(at).copied().unwrap_or(0)
    }
}

/// All that is no code; and the module.
const FRAME: usize = 0;
const LOCALS: usize = 1;
const OPERATORS: usize = 2;
const BLOCK: usize = 3;
const BRANCH: usize = 4;
const TABLE: usize = 5;
const CALL: usize = 6;
const GET: usize = 7;
const SET: usize = 8;
const LOAD: usize = 9;
const STORE: usize = 10;
const LONG: usize = 11;
const VECTOR: usize = 12;
const OTHER: usize = 13;
/// Constants of 32 bits are apart by the operator that follows them.
const CONSTANT: usize = 14;
const STREAMS: usize = CONSTANT + 256;

/// A power of two that has room for all streams.
const SLOTS: usize = 512;

/// The section of a module that has its code.
const CODE: u8 = 10;

/// What a module begins with.
#[cfg(any(not(target_arch = "wasm32"), feature = "split"))]
const PREAMBLE: usize = 8;

/// Bytes of the size of a function, as many as the largest takes, and of any number of 32 bits.
const SIZE: usize = 3;
const NUMBER: usize = 5;

/// Alignments natural to the loads and stores from 0x28 on, as powers of two.
const NATURAL: [u8; 23] = [2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_the_same_when_it_was_apart() {
        for body in [EVERYTHING, &[0x00, 0x0b]] {
            let module = module(&[body, &[0x01, 0x02, 0x7f, 0x41, 0x2a, 0x1a, 0x0b]]);

            let streams = split(&module).unwrap();

            assert_eq!(join(&streams), module);
        }
    }

    #[test]
    fn sizes_and_alignments_do_not_travel() {
        let load = [0x00, 0x20, 0x00, 0x28, 0x02, 0x00, 0x1a, 0x0b];
        let one = split(&module(&[&load])).unwrap();
        let two = split(&module(&[&load, &load])).unwrap();

        // Locals, six bytes of operators without what is behind them, a local and an offset.
        assert_eq!(two.len() - one.len(), load.len() - 1);
    }

    #[test]
    fn code_that_would_be_lost_is_refused() {
        let unaligned = [0x00, 0x20, 0x00, 0x28, 0x00, 0x00, 0x1a, 0x0b];
        let without_an_end = [0x00, 0x20, 0x00];
        let too_large = [vec![0x00], vec![0x01; 1 << 21], vec![0x0b]].concat();

        for body in [&unaligned[..], &without_an_end, &too_large] {
            assert_eq!(split(&module(&[&[0x00, 0x0b], body])), None);
        }
    }

    #[test]
    fn what_has_no_code_is_refused() {
        assert_eq!(split(b"\0asm\x01\0\0\0"), None);
        assert_eq!(split(b"no module, and longer than one begins"), None);
        assert_eq!(split(b""), None);
    }

    fn split(module: &[u8]) -> Option<Vec<u8>> {
        let mut memory = module.to_vec();
        memory.resize(module.len() * 3 + 1000, 0);
        let end = split_in(&mut memory, module.len())?;
        Some(memory[module.len()..end].to_vec())
    }

    fn join(streams: &[u8]) -> Vec<u8> {
        let mut memory = streams.to_vec();
        memory.resize(streams.len() * 3, 0);
        let end = join_in(&mut memory, streams.len());
        memory[streams.len()..end].to_vec()
    }

    /// A module with these functions and something before and behind them, its sizes written as [`join_in`] writes them.
    fn module(bodies: &[&[u8]]) -> Vec<u8> {
        let padded = |number: usize, bytes: usize| {
            (0..bytes)
                .map(move |at| (number >> (7 * at)) as u8 & 0x7f | if at + 1 < bytes { 0x80 } else { 0 })
        };
        let mut code: Vec<u8> = padded(bodies.len(), NUMBER).collect();
        for body in bodies {
            code.extend(padded(body.len(), SIZE));
            code.extend_from_slice(body);
        }
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.extend([0x00, 0x03, 0x01, b'x', 0x0a]);
        module.push(CODE);
        module.extend(padded(code.len(), NUMBER));
        module.extend(code);
        module.extend([0x0b, 0x01, 0x00]);
        module
    }

    /// One operator or more of each shape that the binary format has.
    #[rustfmt::skip]
    const EVERYTHING: &[u8] = &[
        0x02, 0x80, 0x01, 0x7f, 0x02, 0x7e,
        0x02, 0x40, 0x03, 0x7f, 0x04, 0x85, 0x01, 0x05, 0x0b, 0x0b, 0x0b,
        0x0c, 0x00, 0x0d, 0x81, 0x01, 0x0e, 0x02, 0x00, 0x01, 0x02, 0x0e, 0x00, 0x00,
        0x10, 0x80, 0x02, 0x11, 0x81, 0x01, 0x00, 0x1b, 0x1c, 0x01, 0x7f,
        0x20, 0x00, 0x21, 0xff, 0x01, 0x22, 0x02, 0x23, 0x00, 0x24, 0x01, 0x25, 0x00, 0x26, 0x00,
        0x28, 0x02, 0x90, 0x01, 0x29, 0x03, 0x08, 0x2d, 0x00, 0x01, 0x36, 0x02, 0x04, 0x3e, 0x02, 0x0b,
        0x3f, 0x00, 0x40, 0x00,
        0x41, 0x0b, 0x6a, 0x41, 0x80, 0x80, 0xc0, 0x00, 0x41, 0x7f, 0x10, 0x0b,
        0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00,
        0x43, 0x0b, 0x0b, 0x0b, 0x0b, 0x44, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b,
        0xd0, 0x70, 0xd1, 0xd2, 0x0b, 0xc0,
        0xfc, 0x00, 0xfc, 0x08, 0x0b, 0x00, 0xfc, 0x09, 0x0b, 0xfc, 0x0a, 0x00, 0x00, 0xfc, 0x0b, 0x00,
        0xfc, 0x0c, 0x0b, 0x00, 0xfc, 0x0d, 0x0b, 0xfc, 0x0e, 0x00, 0x00, 0xfc, 0x11, 0x00,
        0xfd, 0x00, 0x04, 0x0b, 0xfd, 0x0b, 0x04, 0x0b,
        0xfd, 0x0c, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b,
        0xfd, 0x0d, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b,
        0xfd, 0x15, 0x0b, 0xfd, 0x22, 0x0b, 0xfd, 0x23, 0xfd, 0x54, 0x00, 0x0b, 0x0b, 0xfd, 0x5b, 0x00, 0x0b, 0x0b,
        0xfd, 0x5c, 0x02, 0x0b, 0xfd, 0xae, 0x01,
        0x0b,
    ];
}
