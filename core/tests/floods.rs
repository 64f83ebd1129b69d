//! Floods: a peer that says the same thing a hundred thousand times, and never reads an answer. Memory stays bounded, and
//! an honest peer still brings everything.
//!
//! One test, because the allocator that counts is the whole program's.

#[path = "suite/support/hostile.rs"]
mod hostile;
#[path = "suite/support/sim.rs"]
mod sim;

use std::alloc::System;

use bytes::Bytes;
use cap::Cap;
use hostile::{LENGTH, Stage, nothing, raw};
use hypertab_core::compact_encoding::{Encode, Writer};
use hypertab_core::engine::{Event, Input, Output};
use hypertab_core::hypercore::proof::{BlockRequest, ProofRequest, SeekRequest, UpgradeRequest};
use hypertab_core::replicator::wire::{
    BitfieldWords, Data, Extension, Message, NoData, Range, Request, Sync, Want,
};
use hypertab_core::time::Duration;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a peer may cost, bytes: two of the largest frames, unread, and as much again of answers.
const BOUND: usize = 100 << 20;

/// Messages of one flood, and how many frames come before anybody looks at the disk.
const MESSAGES: u64 = 100_000;

#[test]
fn floods_cost_no_more_than_a_bound() {
    let request = |id, what| Message::Request(Request { id, fork: 0, what, priority: id % 3 });
    let block = |index| Some(BlockRequest { index, nodes: 0 });
    let message = move |kind: usize, at: u64| -> Message {
        match kind {
            0 => request(at + 1, ProofRequest { block: block(at % LENGTH), ..ProofRequest::default() }),
            1 => request(at + 1, ProofRequest { block: block(1 << 40), ..ProofRequest::default() }),
            2 => request(
                at + 1,
                ProofRequest { seek: Some(SeekRequest { bytes: at, padding: 0 }), ..ProofRequest::default() },
            ),
            3 => request(
                at + 1,
                ProofRequest {
                    upgrade: Some(UpgradeRequest { start: 0, length: LENGTH }),
                    manifest: true,
                    ..ProofRequest::default()
                },
            ),
            4 => Message::Cancel { request: at },
            5 => Message::Want(Want { start: at << 21, length: 1 << 21, any: false }),
            6 => Message::Want(Want { start: at * 32, length: 32, any: at.is_multiple_of(2) }),
            7 => Message::Unwant(Want { start: at << 21, length: 1 << 21, any: false }),
            8 => Message::Range(Range { drop: at.is_multiple_of(2), start: at << 30, length: 1 }),
            9 => Message::Range(Range { drop: false, start: at * 2, length: 1 }),
            10 => {
                Message::Bitfield(BitfieldWords { start: at << 16, words: Bytes::from_static(&[0x55; 64]) })
            }
            11 => Message::NoData(NoData { request: at, reason: at % 3 }),
            12 => Message::Extension(Extension { name: format!("name {at}"), payload: vec![0; 100].into() }),
            13 => Message::Sync(Sync {
                fork: at % 5,
                length: at,
                remote_length: 0,
                can_upgrade: true,
                uploading: true,
                downloading: true,
                has_manifest: true,
                allow_push: true,
            }),
            _ => Message::Data(Data { request: at % 70, proof: Default::default() }),
        }
    };
    for kind in 0..15 {
        flood(&format!("message {kind}"), move |at| {
            let message = message(kind, at);
            raw(1, message.message_type(), &message.to_vec())
        });
    }
    flood("opens of channels nobody knows", |at| {
        let id = at + 2;
        let mut open = vec![0xfd];
        open.extend_from_slice(&(id as u32).to_le_bytes());
        open.extend_from_slice(&[5, b'h', b'e', b'l', b'l', b'o', 8]);
        open.extend_from_slice(&at.to_le_bytes());
        raw(0, 1, &[&[0xfd][..], &(id as u16).to_le_bytes(), &open[5..]].concat())
    });
    flood("opens and closes", |at| match at % 2 {
        0 => raw(0, 1, &[2, 1, b'x', 0]),
        _ => raw(0, 3, &[2]),
    });
    flood("messages on channels nobody opened", |at| raw(at + 100, 1, &[7; 200]));
    flood("batches of switches", |_| raw(0, 0, &[&[1][..], &[0, 1].repeat(100)].concat()));
    flood("empty frames", |_| Bytes::new());
    // As many messages in one frame: nobody looks at anything in between.
    let want = Message::Want(Want { start: 0, length: 1 << 21, any: false });
    burst("wants", std::iter::repeat_n(want, 1_000_000));
    let sync = |length| Sync {
        fork: 0,
        length,
        remote_length: 0,
        can_upgrade: true,
        uploading: true,
        downloading: true,
        has_manifest: true,
        allow_push: false,
    };
    burst("heads", (0..1_000_000).map(|at| Message::Sync(sync(at))));
    let extension = |name| Message::Extension(Extension { name, payload: Bytes::new() });
    let long = extension("x".repeat(4 << 20));
    burst("messages with a long name", [long].into_iter().chain((0..1000).map(|_| extension(String::new()))));
    burst("messages with a name", (0..1_000_000).map(|_| extension("x".into())));
}

/// One frame with many messages.
fn burst(name: &str, messages: impl Iterator<Item = Message>) {
    let mut batch = Writer::from_vec(Vec::new());
    batch.uint(1);
    for message in messages {
        batch.buffer(&[&[message.message_type() as u8][..], &message.to_vec()].concat());
    }
    let batch = raw(0, 0, &batch.into_vec());
    assert!(batch.len() < 16 << 20, "{name}: {} bytes", batch.len());
    let mut stage = Stage::new(nothing());
    stage.want();
    stage.run(Duration::from_secs(1), |stage| {
        // With a gap, so that its blocks cannot be told in one range.
        let core = stage.reader.engine.core(stage.copy).unwrap();
        core.has(LENGTH - 1, LENGTH) && !core.has(0, LENGTH)
    });
    let before = ALLOCATOR.allocated();
    ALLOCATOR.set_limit(before + BOUND).unwrap();
    stage.reader.engine.handle_input(Input::Bytes { link: stage.lies.0, bytes: batch }, stage.reader.now);
    let mut outputs = 0_u64;
    while !matches!(stage.reader.engine.poll_output(stage.reader.now), Output::Idle { .. }) {
        outputs += 1;
    }
    ALLOCATOR.set_limit(usize::MAX).unwrap();
    println!("{name}: {outputs} outputs");
}

fn flood(name: &str, mut frame: impl FnMut(u64) -> Bytes) {
    let mut stage = Stage::new(nothing());
    stage.want();
    stage.run(Duration::from_secs(1), |stage| {
        stage.reader.events.iter().any(|event| matches!(event, Event::PeerAdd { .. }))
    });
    let before = ALLOCATOR.allocated();
    let mut most = 0;
    for at in 0..MESSAGES {
        stage.inject(frame(at));
        if at % 64 == 0 {
            // Nothing that the reader says is taken, and no credit is given back.
            stage.reader.wires.remove(&stage.lies.0);
            stage
                .reader
                .events
                .retain(|event| matches!(event, Event::PeerAdd { .. } | Event::LinkClosed { .. }));
            stage.reader.settle();
            most = most.max(ALLOCATOR.allocated().saturating_sub(before));
        }
        if stage.is_closed() {
            break;
        }
    }
    println!("{name}: {} KiB at most, {}", most >> 10, if stage.is_closed() { "closed" } else { "open" });
    assert!(most < BOUND, "{name}: {most} bytes");
    stage.check_stored(name);
    stage.finish(name);
}
