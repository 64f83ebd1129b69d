//! The little of JSON that entries need: one pass over the text, and other people's values left as they are.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

/// Deepest nesting of a value.
const MAX_DEPTH: usize = 512;

/// Text that is being read.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Calls `member` at the value of each member; it takes the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            member(self, &name)?;
            if self.take(b'}') {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    /// Takes `null`, if that is next.
    pub(super) fn null(&mut self) -> bool {
        self.word("null")
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        if self.word("true") { Some(true) } else { self.word("false").then_some(false) }
    }

    /// Takes a whole number of at most 2^53 - 1.
    pub(super) fn integer(&mut self) -> Option<u64> {
        let raw = self.value()?;
        let number: u64 = raw.parse().ok()?;
        (number <= crate::compact_encoding::MAX_UINT).then_some(number)
    }

    pub(super) fn string(&mut self) -> Option<String> {
        self.space();
        let raw = self.raw_string()?;
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(slash) = rest.find('\\') {
            text.push_str(&rest[..slash]);
            let escape = rest.as_bytes().get(slash + 1)?;
            // What is escaped may be a part of a character.
            rest = rest.get(slash + 2..)?;
            match escape {
                b'"' | b'\\' | b'/' => text.push(char::from(*escape)),
                b'b' => text.push('\u{8}'),
                b'f' => text.push('\u{c}'),
                b'n' => text.push('\n'),
                b'r' => text.push('\r'),
                b't' => text.push('\t'),
                b'u' => {
                    let unit = hex(rest)?;
                    rest = &rest[4..];
                    let low = rest.strip_prefix("\\u").and_then(hex);
                    let pair = low.and_then(|low| char::decode_utf16([unit, low]).next()?.ok());
                    match pair.filter(|_| (0xd800..0xdc00).contains(&unit)) {
                        Some(character) => {
                            text.push(character);
                            rest = &rest[6..];
                        }
                        // Half a pair is no character; JavaScript writes this one in its place.
                        None => text.push(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
                    }
                }
                _ => return None,
            }
        }
        text.push_str(rest);
        Some(text)
    }

    /// Takes any value, and returns its text.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        self.space();
        let start = self.at;
        let mut open = Vec::new();
        loop {
            self.space();
            match self.peek()? {
                b'{' | b'[' => {
                    let close = if self.peek() == Some(b'{') { b'}' } else { b']' };
                    self.at += 1;
                    if !self.take(close) {
                        if open.len() == MAX_DEPTH {
                            return None;
                        }
                        open.push(close);
                        if close == b'}' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => {
                    self.raw_string()?;
                }
                _ => self.scalar()?,
            }
            loop {
                let Some(&close) = open.last() else { return self.text.get(start..self.at) };
                if self.take(close) {
                    open.pop();
                    continue;
                }
                self.expect(b',')?;
                if close == b'}' {
                    self.name()?;
                }
                break;
            }
        }
    }

    /// Whether nothing is left but space.
    pub(super) fn is_done(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    fn name(&mut self) -> Option<()> {
        self.space();
        self.raw_string()?;
        self.expect(b':')
    }

    // Numbers and words: their form is checked by whoever wants them.
    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'E') = self.peek() {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let is_number = text.parse::<f64>().is_ok()
            && text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        (is_number || matches!(text, "null" | "true" | "false")).then_some(())
    }

    fn raw_string(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    fn word(&mut self, word: &str) -> bool {
        self.space();
        let is_next = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn hex(text: &str) -> Option<u16> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

/// Appends a string as `JSON.stringify` writes it.
pub(super) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_whole() {
        for value in [
            "null",
            "-1.5e3",
            "\"a\\\"b\"",
            "{}",
            "[]",
            "[1,[2,{\"a\":[]}],\"]\"]",
            "{\"a\":{\"b\":null},\"c\":[{}]}",
        ] {
            let text = [value, " , rest"].concat();
            assert_eq!(Scanner::new(&text).value(), Some(value));
        }
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            "{",
            "[1",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "\"a",
            "\"\\",
            "nul",
            "+1",
            "inf",
            "[}",
            "{\"a\":1]",
        ] {
            assert_eq!(Scanner::new(value).value(), None, "{value}");
        }
        assert_eq!(Scanner::new(&"[".repeat(100_000)).value(), None);
    }

    #[test]
    fn strings_come_back() {
        for text in ["", "plain", "a\"b\\c/d", "\u{8}\u{c}\n\r\t\u{1}\u{1f}", "ü✓𝄞"] {
            let mut json = String::new();
            push_string(&mut json, text);
            assert_eq!(Scanner::new(&json).string().as_deref(), Some(text));
            assert_eq!(serde_json::to_string(text).unwrap(), json);
        }
        assert_eq!(
            Scanner::new("\"\\ud834\\udd1e\\ud834x\\u0041\"").string().as_deref(),
            Some("𝄞\u{fffd}xA")
        );
        assert_eq!(Scanner::new("\"\\u00\"").string(), None);
        assert_eq!(Scanner::new("\"\\x\"").string(), None);
        assert_eq!(Scanner::new("\"\\é\"").string(), None, "half a character is not escaped");
    }
}
