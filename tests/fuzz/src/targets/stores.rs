//! Disks that hold something else than what was written to them.

use std::sync::OnceLock;

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::storage::conformance::CrashFile;
use hypertab_core::storage::log_store::{FileStore, SyncFile as _};
use hypertab_core::storage::{Batch, CommitId, Durability, Intent, MemoryStore, Op, Outcome, Owner, ReadId};

use super::engine::{Host, open_options};
use super::take;

/// A log store in a damaged file: it opens and reads what is left, or says that it is damaged.
pub fn log_store(mut data: &[u8]) {
    let mut file = image().clone();
    let len = file.current.len();
    if take(&mut data) & 3 == 0 {
        file.set_len(len - usize::from(take(&mut data)) * 40 % len);
    }
    while data.len() >= 4 {
        let at = usize::from(take(&mut data))
            | usize::from(take(&mut data)) << 8
            | usize::from(take(&mut data) & 3) << 16;
        // Headers are few, and most of what can be damaged is behind them.
        let at = if at < 20_000 { at % 60 + at / 10_000 * 4096 } else { at } % file.current.len().max(1);
        let byte = take(&mut data);
        let _ = file.write_at(at as u64, &[byte]);
    }
    for _ in 0..2 {
        let mut store = FileStore::open(file);
        store.handle_intent(Intent::Claim { id: CommitId(0), owner: OWNER });
        assert!(store.poll_outcome().is_some());
        let mut start = Bytes::new();
        for _ in 0..200 {
            let end = Bytes::from_static(&[0xff; 4]);
            store.handle_intent(Intent::Scan {
                id: ReadId(1),
                start: start.clone(),
                end,
                reverse: false,
                limit: 50,
            });
            match store.poll_outcome() {
                Some(Outcome::Scan { entries, more: true, .. }) => {
                    let (last, _) = entries.last().expect("more of nothing");
                    assert!(*last >= start, "a scan that goes back");
                    start = [&last[..], &[0]].concat().into();
                }
                Some(Outcome::Scan { .. } | Outcome::ReadFailed { .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        store.handle_intent(put(7, 300));
        assert!(matches!(store.poll_outcome(), Some(Outcome::Committed(_) | Outcome::CommitFailed { .. })));
        store.close();
        file = store.into_file();
    }
}

fn image() -> &'static CrashFile {
    static IMAGE: OnceLock<CrashFile> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut store = FileStore::open(CrashFile::default());
        store.set_memtable_limit(9000);
        store.set_branch_limit(20);
        store.handle_intent(Intent::Claim { id: CommitId(0), owner: OWNER });
        for number in 0..120 {
            store.handle_intent(put(number % 50, 20 + usize::from(number) * 9));
        }
        store.into_file()
    })
}

fn put(number: u8, size: usize) -> Intent {
    let value = Bytes::from(vec![number; size]);
    // So long that there are several leaves, and branches of them.
    let key = [&[4, number][..], &[0; 400]].concat();
    let ops = vec![
        Op::Put { key: key.into(), value },
        Op::DeleteRange { start: vec![4, 200].into(), end: vec![4, 210].into() },
    ];
    Intent::Commit { id: CommitId(1), owner: OWNER, batch: Batch { ops }, durability: Durability::Strict }
}

const OWNER: Owner = Owner([3; 16]);

/// A core in a store of which values were changed, taken away or replaced.
pub fn store(mut data: &[u8]) {
    let mut disk: MemoryStore = good_store().clone();
    let entries: Vec<(Bytes, Bytes)> =
        disk.entries().map(|(key, value)| (key.clone(), value.clone())).collect();
    for _ in 0..=take(&mut data) % 3 {
        let (key, value) = &entries[usize::from(take(&mut data)) % entries.len()];
        let mut value = value.to_vec();
        let op = match take(&mut data) % 5 {
            0 => Op::Delete { key: key.clone() },
            1 => Op::Put { key: key.clone(), value: Bytes::copy_from_slice(data) },
            2 => {
                value.truncate(usize::from(take(&mut data)) % (value.len() + 1));
                Op::Put { key: key.clone(), value: value.into() }
            }
            _ => {
                for _ in 0..=take(&mut data) % 4 {
                    let at = usize::from(take(&mut data)) % value.len().max(1);
                    let byte = take(&mut data);
                    value.get_mut(at).into_iter().for_each(|found| *found = byte);
                }
                Op::Put { key: key.clone(), value: value.into() }
            }
        };
        disk.apply(Batch { ops: vec![op] });
    }
    let mut host = Host::new(disk);
    if let Some(core) = host.open(open_options(None)) {
        host.use_core(core);
    }
}

fn good_store() -> &'static MemoryStore {
    static STORE: OnceLock<MemoryStore> = OnceLock::new();
    STORE.get_or_init(|| {
        let mut host = Host::new(MemoryStore::new());
        let core = host.open(open_options(Some(KeyPair::from_seed(&[4; 32])))).expect("an empty store");
        host.append(core, 9);
        host.use_core(core);
        host.disk
    })
}
