//! Single things that a backend owes.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::session::{Session, delete, delete_range, ensure, put};
use super::{Backend, Verdict};
use crate::storage::{Durability, MAX_READ_KEYS, Op, Outcome, StorageFailure};

/// Runs every case on a new store.
///
/// # Errors
///
/// Names the case and what is wrong.
pub async fn run_cases<B: Backend>(backend: &mut B) -> Verdict {
    let mut number = 0;
    macro_rules! case {
        ($case:ident) => {{
            number += 1;
            backend.crash(None).await;
            let mut session = Session::claim(backend, number).await?;
            session.commit([delete_range([], [0xff; 8])].into(), Durability::Relaxed).await?;
            ensure!(
                session.all().await?.is_empty(),
                "{}: deleting everything leaves something",
                stringify!($case)
            );
            $case(&mut session).await.map_err(|found| format!("{}: {found}", stringify!($case)))?;
        }};
    }
    case!(an_empty_value_is_not_an_absent_one);
    case!(keys_are_in_the_order_of_their_bytes);
    case!(operations_happen_in_their_order);
    case!(values_of_every_size_come_back);
    case!(a_read_gives_values_in_the_order_of_its_keys);
    case!(scans_go_both_ways_and_say_whether_there_are_more);
    case!(reads_beside_a_commit_see_it_or_not);
    case!(a_strict_commit_outlives_a_crash);
    case!(a_commit_that_a_crash_meets_happens_or_not);
    Ok(())
}

async fn an_empty_value_is_not_an_absent_one<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    session.commit([put("empty", ""), delete("never there")].into(), Durability::Relaxed).await?;
    session.commit(Vec::new(), Durability::Strict).await?;
    let keys = ["empty", "absent", "never there"].map(Bytes::from);
    let values = session.read(keys.into()).await?;
    ensure!(values == [Some(Bytes::new()), None, None], "{values:?}");
    ensure!(session.read(Vec::new()).await?.is_empty(), "no keys have values");
    Ok(())
}

async fn keys_are_in_the_order_of_their_bytes<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    let keys: [&[u8]; 9] = [
        b"\0",
        b"\0\0",
        b"\0\xff",
        b"\x01",
        b"a",
        b"a\0",
        b"b",
        b"\xfe\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff",
    ];
    // Written in another order.
    for key in [8, 3, 0, 7, 1, 4, 2, 6, 5].map(|at| keys[at]) {
        session.commit([put(key, key)].into(), Durability::Relaxed).await?;
    }
    let (entries, more) = session.scan(&[], &[0xff; 8], false, 100).await?;
    let found: Vec<&[u8]> = entries.iter().map(|(key, _)| &key[..]).collect();
    ensure!(found == keys && !more, "{found:?}");
    ensure!(entries.iter().all(|(key, value)| key == value), "values of other keys");
    Ok(())
}

async fn operations_happen_in_their_order<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    session
        .commit([put("a1", "old"), put("a2", "old"), put("a3", "old")].into(), Durability::Relaxed)
        .await?;
    let ops = [
        put("a1", "first"),
        put("a1", "second"),
        delete("a2"),
        put("a2", "again"),
        put("b1", "gone"),
        delete_range("a3", "c"),
        put("b2", "there"),
        delete("b2"),
        put("b3", "there"),
        // Ranges that hold nothing.
        delete_range("b3", "b3"),
        delete_range("b4", "b3"),
    ];
    session.commit(ops.into(), Durability::Relaxed).await?;
    let found: Vec<(Bytes, Bytes)> = session.all().await?.into_iter().collect();
    let expected = [("a1", "second"), ("a2", "again"), ("b3", "there")];
    ensure!(found == expected.map(|(key, value)| (key.into(), value.into())), "{found:?}");
    Ok(())
}

async fn values_of_every_size_come_back<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    const SIZES: [usize; 14] = [
        0,
        1,
        159,
        160,
        161,
        4096,
        65_535,
        65_536,
        131_072,
        131_073,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        5 << 20,
    ];
    let value = |size: usize, salt: u8| -> Bytes {
        (0..size).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ salt).collect::<Vec<u8>>().into()
    };
    let key = |size: usize| Bytes::from(format!("size/{size:08}"));
    let all = |salt| SIZES.map(|size| Op::Put { key: key(size), value: value(size, salt) });
    // In one batch, each in its own, and over what was there.
    session.commit(all(1).into(), Durability::Strict).await?;
    for op in all(2) {
        session.commit([op].into(), Durability::Relaxed).await?;
    }
    session.commit(all(3).into(), Durability::Strict).await?;
    session.backend.crash(None).await;
    let mut session = Session::claim(session.backend, 1000).await?;
    for size in SIZES {
        let found = session.read([key(size)].into()).await?;
        ensure!(found == [Some(value(size, 3))], "a value of {size} bytes comes back as another");
    }
    session.commit(SIZES.map(|size| put(key(size), "short")).into(), Durability::Relaxed).await?;
    let found = session.all().await?;
    ensure!(
        found.len() == SIZES.len() && found.values().all(|value| value == "short"),
        "values are not replaced"
    );
    Ok(())
}

async fn a_read_gives_values_in_the_order_of_its_keys<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    let key = |number: usize| Bytes::from(format!("key/{number:05}"));
    let ops = (0..MAX_READ_KEYS).map(|number| put(key(number), vec_of(number, 300))).collect();
    session.commit(ops, Durability::Relaxed).await?;
    let order = |at: usize| (at * 211 + 7) % MAX_READ_KEYS;
    let values = session.read((0..MAX_READ_KEYS).map(|at| key(order(at))).collect()).await?;
    let is_right =
        |(at, value): (usize, &Option<Bytes>)| value.as_deref() == Some(&vec_of(order(at), 300)[..]);
    ensure!(values.iter().enumerate().all(is_right), "values of other keys");
    let twice = session.read([key(5), key(5), Bytes::from_static(b"none"), key(5)].into()).await?;
    let value = Some(Bytes::from(vec_of(5, 300)));
    ensure!(twice == [value.clone(), value.clone(), None, value], "a key that is asked for twice");
    Ok(())
}

async fn scans_go_both_ways_and_say_whether_there_are_more<B: Backend>(
    session: &mut Session<'_, B>,
) -> Verdict {
    let key = |number: u32| format!("key/{number:03}");
    session
        .commit(
            (0..100).map(|number| put(key(number), vec_of(number as usize, 200))).collect(),
            Durability::Relaxed,
        )
        .await?;
    for reverse in [false, true] {
        // Page by page, whatever pages the backend makes.
        let (mut start, mut end, mut seen) = (key(10).into_bytes(), key(90).into_bytes(), Vec::new());
        loop {
            let (entries, more) = session.scan(&start, &end, reverse, 7).await?;
            ensure!(entries.len() <= 7 && (!more || !entries.is_empty()), "a page of {}", entries.len());
            if let Some((last, _)) = entries.last() {
                if reverse {
                    end = last.to_vec();
                } else {
                    start = [&last[..], b"\0"].concat();
                }
            }
            seen.extend(entries);
            if !more {
                break;
            }
        }
        if reverse {
            seen.reverse();
        }
        let is_right = |(at, (found, value)): (usize, &(Bytes, Bytes))| {
            *found == key(10 + at as u32) && value[..] == vec_of(10 + at, 200)[..]
        };
        ensure!(
            seen.len() == 80 && seen.iter().enumerate().all(is_right),
            "{} entries, reverse: {reverse}",
            seen.len()
        );
    }
    for (start, end) in [("key/050", "key/050"), ("key/0505", "key/051"), ("z", "zz")] {
        let found = session.scan(start.as_bytes(), end.as_bytes(), false, 5).await?;
        ensure!(found == (Vec::new(), false), "something between {start} and {end}");
    }
    Ok(())
}

async fn reads_beside_a_commit_see_it_or_not<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    let keys: Vec<Bytes> = (0..20).map(|number| Bytes::from(format!("key/{number}"))).collect();
    let fill = |byte: usize| keys.iter().map(|key| put(key, vec_of(byte, 5000))).collect::<Vec<Op>>();
    session.commit(fill(0), Durability::Relaxed).await?;
    for round in 1..5 {
        let mut intents = alloc::vec![session.commit_intent(fill(round), Durability::Relaxed)];
        for _ in 0..20 {
            intents.push(session.read_intent(keys.clone()));
        }
        let outcomes = session.backend.handle_intents(intents).await;
        ensure!(outcomes.len() == 21, "{} outcomes of 21 intents", outcomes.len());
        let (old, new) = (vec_of(round - 1, 5000), vec_of(round, 5000));
        for outcome in outcomes {
            match outcome {
                Outcome::Committed(_) => {}
                Outcome::Read { values, .. } => {
                    let is_either = |value: &Option<Bytes>| {
                        value.as_ref().is_some_and(|value| value[..] == old[..] || value[..] == new[..])
                    };
                    ensure!(
                        values.len() == keys.len() && values.iter().all(is_either),
                        "neither before nor after"
                    );
                }
                _ => return Err("another outcome".into()),
            }
        }
        let values = session.read(keys.clone()).await?;
        ensure!(
            values.iter().all(|value| value.as_deref() == Some(&new[..])),
            "a read after a commit does not see it"
        );
    }
    Ok(())
}

async fn a_strict_commit_outlives_a_crash<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    session.commit([put("strict", "kept")].into(), Durability::Strict).await?;
    session.commit([put("relaxed", "first")].into(), Durability::Relaxed).await?;
    session.commit([put("relaxed", "second"), put("later", "")].into(), Durability::Relaxed).await?;
    let may_lose = session.backend.crash(None).await;
    let mut session = Session::claim(session.backend, 1001).await?;
    let all = session.all().await?;
    let [strict, relaxed, later] =
        ["strict", "relaxed", "later"].map(|key| all.get(key.as_bytes()).map(|value| &value[..]));
    ensure!(strict == Some(b"kept"), "a strict commit is lost");
    ensure!(later.is_some() == (relaxed == Some(b"second")), "half a commit");
    ensure!(may_lose || later.is_some(), "a relaxed commit is lost");
    Ok(())
}

async fn a_commit_that_a_crash_meets_happens_or_not<B: Backend>(session: &mut Session<'_, B>) -> Verdict {
    let keys = ["a", "b", "c", "d"];
    let fill = |byte: usize| keys.map(|key| put(key, vec_of(byte, 100_000))).to_vec();
    session.commit(fill(0), Durability::Strict).await?;
    let (mut last, mut owner) = (0, 1100);
    session.backend.crash(None).await;
    let mut session = Session::claim(session.backend, owner).await?;
    for round in 1..12 {
        let intent = session.commit_intent(fill(round), Durability::Relaxed);
        session.backend.crash(Some(intent)).await;
        owner += 1;
        session = Session::claim(session.backend, owner).await?;
        let all = session.all().await?;
        let found = [last, round]
            .into_iter()
            .find(|&byte| all.values().all(|value| value[..] == vec_of(byte, 100_000)[..]));
        ensure!(all.len() == keys.len() && found.is_some(), "round {round}: neither before nor after");
        last = found.unwrap_or_default();
        // And it goes on from there.
        session.commit([put("e", "")].into(), Durability::Relaxed).await?;
        session.commit([delete("e")].into(), Durability::Strict).await?;
    }
    Ok(())
}

/// Fills the device under a new store: a commit without room fails, and what was there before stays. Returns false when the backend
/// cannot be made full.
///
/// # Errors
///
/// Says what is wrong.
pub async fn run_full<B: Backend>(backend: &mut B) -> Verdict<bool> {
    let mut session = Session::claim(backend, 1).await?;
    let fill = |byte: usize| ["a", "b", "c"].map(|key| put(key, vec_of(byte, 700_000))).to_vec();
    session.commit(fill(1), Durability::Strict).await?;
    if !session.backend.set_full(true).await {
        return Ok(false);
    }
    // A browser looks at what is left now and then only.
    let mut last = 1;
    let failed = loop {
        match session.try_commit(fill(last + 1), Durability::Strict).await? {
            Ok(()) => last += 1,
            Err(failure) => break failure,
        }
        ensure!(last < MOST_UNNOTICED, "a full device took {last} commits");
    };
    ensure!(failed == StorageFailure::Full, "on a full device a commit ends with {failed}");
    // Until it is opened again, nothing else is committed: what is there is not known.
    let next = session.try_commit([put("d", "")].into(), Durability::Strict).await?;
    ensure!(next.is_err(), "a commit after one that failed");
    session.backend.crash(None).await;

    // A store that is full opens for reading.
    let mut session = Session::claim(session.backend, 2).await?;
    let all = session.all().await?;
    let is_old = all.len() == 3 && all.values().all(|value| value[..] == vec_of(last, 700_000)[..]);
    ensure!(is_old, "a commit that failed changed something");

    ensure!(session.backend.set_full(false).await, "the device stays full");
    session.backend.crash(None).await;
    let mut session = Session::claim(session.backend, 3).await?;
    session.commit(fill(100), Durability::Strict).await?;
    let values = session.all().await?;
    ensure!(
        values.values().all(|value| value[..] == vec_of(100, 700_000)[..]),
        "with room again, a commit is lost"
    );
    Ok(true)
}

/// Opens a new store twice, if it can be: whoever claims it last writes it, and the other one is told and changes nothing.
///
/// # Errors
///
/// Says when both write, or none.
pub async fn run_fence<B: Backend>(backend: &mut B) -> Verdict {
    let mut first = Session::claim(backend, 1).await?;
    let earlier = first.owner;
    first.commit([put("key", "before")].into(), Durability::Strict).await?;
    let mut other = first.backend.open_again().await;
    let fenced = |found: Result<(), StorageFailure>| {
        if found == Err(StorageFailure::Fenced) {
            Ok(())
        } else {
            Err(format!("an owner of before gets {found:?}"))
        }
    };
    if let Some(other) = &mut other {
        let mut second = Session::claim(other, 2).await?;
        for _ in 0..2 {
            fenced(first.try_commit([put("key", "never")].into(), Durability::Strict).await?)?;
        }
        second.commit([put("more", "")].into(), Durability::Relaxed).await?;
        fenced(first.try_commit([delete("key")].into(), Durability::Relaxed).await?)?;
        check_fenced(&mut second, "more").await?;
        // It is asleep while so much is written that nothing is left of where its log ended.
        let mut another = second.backend.open_again().await.ok_or("the store does not open again")?;
        let mut third = Session::claim(&mut another, 3).await?;
        for number in 0..MANY {
            third.commit([put("large", vec_of(number, 1 << 20))].into(), Durability::Relaxed).await?;
        }
        fenced(second.try_commit([put("key", "never")].into(), Durability::Strict).await?)?;
        let found = third.read([Bytes::from_static(b"key")].into()).await?;
        ensure!(found == [Some(Bytes::from_static(b"after"))], "{found:?}");
        Ok(())
    } else {
        first.backend.crash(None).await;
        let mut second = Session::claim(first.backend, 2).await?;
        let later = core::mem::replace(&mut second.owner, earlier);
        for _ in 0..2 {
            fenced(second.try_commit([put("key", "never")].into(), Durability::Strict).await?)?;
        }
        second.owner = later;
        second.commit([put("more", "")].into(), Durability::Relaxed).await?;
        check_fenced(&mut second, "more").await
    }
}

async fn check_fenced<B: Backend>(second: &mut Session<'_, B>, more: &str) -> Verdict {
    let keys = [Bytes::from_static(b"key"), Bytes::copy_from_slice(more.as_bytes())];
    let found = second.read(keys.into()).await?;
    ensure!(found == [Some(Bytes::from_static(b"before")), Some(Bytes::new())], "{found:?}");
    second.commit([put("key", "after")].into(), Durability::Strict).await?;
    let found = second.read([Bytes::from_static(b"key")].into()).await?;
    ensure!(found == [Some(Bytes::from_static(b"after"))], "{found:?}");
    Ok(())
}

/// Commits of a megabyte after which a log has used again, or given up, what it began with.
const MANY: usize = 64;

/// Commits of two megabytes that a device may take before it notices that it is full.
const MOST_UNNOTICED: usize = 40;

/// Bytes that differ by number.
fn vec_of(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(7) ^ number as u8).collect()
}
