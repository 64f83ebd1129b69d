//! What clients and a mirror say to each other, in the protocols of upstream's blind peers.
//!
//! Source: blind-peer-muxer 1.2, blind-peer-encodings 3.3 and protomux-rpc 1.10.
//!
//! # Wire
//!
//! | channel | message | fields |
//! | --- | --- | --- |
//! | `blind-peer` | 0 | flags (1 referrer, 2 priority, 4 announce), referrer, priority, then count and `key length` each |
//! | `protomux-rpc`, id: the mirror's key | 0 request | number, method, value |
//! | | 1 response | flags (1 error, 2 code, 4 cause), number, then the value, or message, code, cause's message and code |
//!
//! | method | value | answer |
//! | --- | --- | --- |
//! | `add-core` | flags (1 2 4 three keys, 8 priority, 16 announce), key, those | `key length bytes updated active priority flags` |
//! | `delete-core` | key | whether there was one |
//! | `hypertab/copy` | key | ours: flags (1 kept, 2 announced), `length held bytes limit until`, then the code of what stops it |

use bytes::Bytes;
use hypertab_core::compact_encoding::{DecodeError, Reader, Writer};
use hypertab_core::id::PublicKey;

/// Name of the channel without answers.
pub(super) const CORES_PROTOCOL: &str = "blind-peer";

/// Name of the channel with answers.
pub(super) const RPC_PROTOCOL: &str = "protomux-rpc";

/// Several cores that are to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddCores {
    pub(super) announce: bool,
    /// Keys, and blocks that the client has of each.
    pub(super) cores: Vec<(PublicKey, u64)>,
}

impl AddCores {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        if flags & 1 != 0 {
            reader.fixed::<32>()?;
        }
        if flags & 2 != 0 {
            reader.uint()?;
        }
        let cores = reader.array(|reader| Ok((reader.fixed()?, reader.uint()?)))?;
        Ok(Self { announce: flags & 4 != 0, cores })
    }
}

/// One core that is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddCore {
    pub(super) key: PublicKey,
    pub(super) priority: u64,
    pub(super) announce: bool,
}

impl AddCore {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.uint()?;
        let key = reader.fixed()?;
        for bit in [1, 2, 4] {
            if flags & bit != 0 {
                reader.fixed::<32>()?;
            }
        }
        let priority = if flags & 8 != 0 { reader.uint()? } else { 0 };
        // 2 is for those whom upstream's operators trust.
        Ok(Self { key, priority: priority.min(1), announce: flags & 16 != 0 })
    }
}

/// What is known of a copy, in the form that upstream's clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CoreRecord {
    pub(super) key: PublicKey,
    pub(super) length: u64,
    pub(super) bytes: u64,
    /// Milliseconds of Unix time.
    pub(super) updated: u64,
    /// Milliseconds of Unix time.
    pub(super) active: u64,
    pub(super) priority: u64,
    pub(super) announce: bool,
}

impl CoreRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.fixed(&self.key);
        for number in [self.length, self.bytes, self.updated, self.active, self.priority] {
            writer.uint(number);
        }
        writer.uint(self.announce.into());
        writer.into_vec()
    }
}

/// How a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyStatus {
    pub(super) is_kept: bool,
    pub(super) is_announced: bool,
    /// Blocks of the log, as far as the mirror knows.
    pub(super) length: u64,
    /// Blocks stored without a gap from the start.
    pub(super) held: u64,
    /// What it counts for.
    pub(super) bytes: u64,
    /// What one core may count for.
    pub(super) limit: u64,
    /// When it is dropped unless somebody asks again; milliseconds of Unix time.
    pub(super) until: u64,
    /// Why there is no more of it.
    pub(super) stopped: Option<&'static str>,
}

impl CopyStatus {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.uint(u64::from(self.is_kept) | (u64::from(self.is_announced) << 1));
        for number in [self.length, self.held, self.bytes, self.limit, self.until] {
            writer.uint(number);
        }
        writer.string(self.stopped.unwrap_or_default());
        writer.into_vec()
    }
}

/// Reads a key that stands alone.
pub(super) fn decode_key(bytes: &[u8]) -> Result<PublicKey, DecodeError> {
    Reader::new(bytes).fixed()
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// 0 wants no answer.
    pub(super) id: u64,
    pub(super) method: String,
    pub(super) value: Bytes,
}

impl Request {
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let id = reader.uint()?;
        let method = reader.string()?.to_string();
        let rest = reader.remaining();
        Ok(Self { id, method, value: bytes.slice(bytes.len() - rest..) })
    }
}

/// Why a question is not answered: one of the protocol's codes, and what the answering side says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) message: &'static str,
    pub(super) code: &'static str,
    pub(super) cause: Option<(&'static str, &'static str)>,
}

impl Failed {
    pub(super) const UNDECODABLE: Self =
        Self { message: "Could not decode request", code: "DECODE_ERROR", cause: None };
    pub(super) const UNKNOWN_METHOD: Self =
        Self { message: "Unknown method", code: "UNKNOWN_METHOD", cause: None };

    /// The answering side does not want to, for a reason of its own.
    pub(super) fn because(sentence: &'static str, code: &'static str) -> Self {
        Self { message: "Request failed", code: "REQUEST_ERROR", cause: Some((sentence, code)) }
    }
}

/// Writes an answer.
pub(super) fn encode_response(id: u64, answer: &Result<Vec<u8>, Failed>) -> Vec<u8> {
    let mut writer = Writer::new();
    match answer {
        Ok(value) => {
            writer.u8(0);
            writer.uint(id);
            writer.raw(value);
        }
        Err(failed) => {
            writer.u8(if failed.cause.is_some() { 7 } else { 3 });
            writer.uint(id);
            writer.string(failed.message);
            writer.string(failed.code);
            if let Some((sentence, code)) = failed.cause {
                writer.string(sentence);
                writer.string(code);
            }
        }
    }
    writer.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that blind-peer-muxer 1.2 and blind-peer-encodings 3.3 wrote.
    #[test]
    fn upstreams_bytes_are_read() {
        let plain: Vec<u8> = [&[0, 1][..], &[7; 32], &[5]].concat();
        assert_eq!(AddCores::decode(&plain), Ok(AddCores { announce: false, cores: vec![([7; 32], 5)] }));
        let full: Vec<u8> = [&[7][..], &[9; 32], &[1, 2], &[7; 32], &[5], &[8; 32], &[0xfd, 0, 1]].concat();
        let cores = vec![([7; 32], 5), ([8; 32], 256)];
        assert_eq!(AddCores::decode(&full), Ok(AddCores { announce: true, cores }));

        let one: Vec<u8> = [&[25][..], &[7; 32], &[9; 32], &[2]].concat();
        assert_eq!(AddCore::decode(&one), Ok(AddCore { key: [7; 32], priority: 1, announce: true }));
    }

    #[test]
    fn whatever_else_comes_is_an_error_and_takes_no_memory() {
        assert!(AddCores::decode(&[]).is_err());
        assert!(AddCores::decode(&[0, 0xfe, 0xff, 0xff, 0xff, 0x0f]).is_err());
        assert!(AddCores::decode(&[0, 2, 1, 2, 3]).is_err());
        assert!(AddCore::decode(&[16, 1, 2]).is_err());
        assert!(Request::decode(&Bytes::from_static(&[1, 200, 97])).is_err());
        assert!(decode_key(&[1; 31]).is_err());
        let many: Vec<u8> = [&[7][..], &[9; 32], &[1, 2], &[7; 32], &[5], &[8; 32], &[0xfd, 0, 1]].concat();
        let one: Vec<u8> = [&[25][..], &[7; 32], &[9; 32], &[2]].concat();
        crate::mutations::each(&[&many, &one, b"\x01\x09add-cores\x07"], |bytes| {
            let _ = (AddCores::decode(bytes), AddCore::decode(bytes), decode_key(bytes));
            let _ = Request::decode(&Bytes::copy_from_slice(bytes));
        });
    }

    #[test]
    fn answers_have_upstreams_flags() {
        assert_eq!(encode_response(3, &Ok(vec![1])), [0, 3, 1]);
        let unknown = encode_response(3, &Err(Failed::UNKNOWN_METHOD));
        assert_eq!(unknown[..3], [3, 3, 14]);
        let refused = encode_response(3, &Err(Failed::because("no", "X")));
        assert_eq!((refused[0], &refused[refused.len() - 5..]), (7, &[2, b'n', b'o', 1, b'X'][..]));
    }
}
