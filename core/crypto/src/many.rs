//! BLAKE2b of many messages at once.

use alloc::vec::Vec;

use crate::blake2b_256;

/// Bytes in front of each message: what hypercore's tree puts before a block and before two hashes.
pub const PREFIX_LEN: usize = 9;

/// Returns the BLAKE2b-256 digests of `prefix ‖ body` for each message, in their order.
pub fn blake2b_256_many(messages: &[([u8; PREFIX_LEN], &[u8])]) -> Vec<[u8; 32]> {
    let mut digests = Vec::with_capacity(messages.len());
    let rest = lanes::hash(messages, &mut digests);
    digests.extend(rest.iter().map(|(prefix, body)| blake2b_256(&[prefix, body])));
    digests
}

/// Several messages side by side, one in each lane of a wide register.
#[cfg(all(target_arch = "x86_64", any(unix, windows)))]
mod lanes {
    use alloc::vec::Vec;

    use blake2b_simd::Params;
    use blake2b_simd::many::{HashManyJob, hash_many, update_many};

    use super::PREFIX_LEN;

    /// Messages side by side. Fewer of them are as fast one after the other.
    const COUNT: usize = 4;
    /// Messages that are prepared together: enough to fill every lane again and again, few enough to stay in a near cache.
    const MOST: usize = 16;
    /// Bodies up to this many bytes are joined with their prefix, and so take the fast way from their first to their last byte.
    const JOINED: usize = 2048;

    /// Hashes all messages but a last few, which it returns.
    pub(super) fn hash<'a, 'b>(
        messages: &'a [([u8; PREFIX_LEN], &'b [u8])],
        digests: &mut Vec<[u8; 32]>,
    ) -> &'a [([u8; PREFIX_LEN], &'b [u8])] {
        let (groups, rest) = messages.split_at(messages.len() - messages.len() % COUNT);
        groups.chunks(MOST).for_each(|group| hash_group(group, digests));
        rest
    }

    fn hash_group(messages: &[([u8; PREFIX_LEN], &[u8])], digests: &mut Vec<[u8; 32]>) {
        let mut params = Params::new();
        params.hash_length(32);
        let mut take = |hash: blake2b_simd::Hash| {
            let digest = hash.as_bytes().try_into().expect("the length that was asked for");
            digests.push(digest);
        };
        if messages.iter().all(|(_, body)| body.len() <= JOINED) {
            let mut joined =
                Vec::with_capacity(messages.iter().map(|(_, body)| PREFIX_LEN + body.len()).sum());
            for (prefix, body) in messages {
                joined.extend_from_slice(prefix);
                joined.extend_from_slice(body);
            }
            let mut left = &joined[..];
            let mut jobs: Vec<_> = messages
                .iter()
                .map(|(_, body)| {
                    let (message, behind) = left.split_at(PREFIX_LEN + body.len());
                    left = behind;
                    HashManyJob::new(&params, message)
                })
                .collect();
            hash_many(&mut jobs);
            jobs.iter().for_each(|job| take(job.to_hash()));
        } else {
            let mut states: Vec<_> = messages
                .iter()
                .map(|(prefix, _)| {
                    let mut state = params.to_state();
                    state.update(prefix);
                    state
                })
                .collect();
            update_many(states.iter_mut().zip(messages.iter().map(|(_, body)| body)));
            states.iter().for_each(|state| take(state.finalize()));
        }
    }
}

/// Where no wider registers are known, each message is hashed alone.
#[cfg(not(all(target_arch = "x86_64", any(unix, windows))))]
mod lanes {
    use alloc::vec::Vec;

    use super::PREFIX_LEN;

    pub(super) fn hash<'a, 'b>(
        messages: &'a [([u8; PREFIX_LEN], &'b [u8])],
        _digests: &mut Vec<[u8; 32]>,
    ) -> &'a [([u8; PREFIX_LEN], &'b [u8])] {
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_digests_are_those_of_each_message_alone() {
        let bytes: Vec<u8> = (0..9000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for count in (0..40).chain([100]) {
            for longest in [0, 64, 119, 120, 247, 300, 2048, 9000] {
                let messages: Vec<_> = (0..count)
                    .map(|i| ([i as u8; PREFIX_LEN], &bytes[..longest * (i % 3 + 1) / 3]))
                    .collect();

                let alone = messages.iter().map(|(prefix, body)| blake2b_256(&[prefix, body]));
                assert_eq!(blake2b_256_many(&messages), alone.collect::<Vec<_>>(), "{count} of {longest}");
            }
        }
    }
}
