//! Floods: a peer that says the same thing a hundred thousand times, and never reads an answer. Memory stays bounded, and
//! an honest peer still brings everything.
//!
//! One test, because the allocator that counts is the whole program's.

mod hostile_support;
mod sim;

use std::alloc::System;

use bytes::Bytes;
use cap::Cap;
use hostile_support::{LENGTH, Stage, nothing, raw};
use hypertab_core::compact_encoding::Encode;
use hypertab_core::engine::Event;
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
