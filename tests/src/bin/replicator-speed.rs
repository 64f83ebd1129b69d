//! What scheduling costs per block, storage and crypto left out: `cargo run --release --bin replicator-speed`.

use bytes::Bytes;
use hypertab_core::hypercore::bitfield::Bitfield;
use hypertab_core::hypercore::proof::{BlockProof, Proof};
use hypertab_core::replicator::wire::{BitfieldWords, Data, Message, NoData, Range, Sync};
use hypertab_core::replicator::{
    Action, Applied, GetWish, Local, PeerId, RangeWish, Replicator, ReplicatorOptions, WishId,
};
use hypertab_core::time::Instant;

fn main() {
    for linear in [true, false] {
        report(
            if linear { "one full peer, linear" } else { "one full peer, random" },
            run(1, false, linear, 0),
        );
    }
    report("8 full peers", run(8, false, false, 0));
    report("one peer with a bitfield", run(1, true, false, 0));
    report("8 peers with bitfields", run(8, true, false, 0));
    report("one full peer, 10000 gets waiting for another", run(1, false, false, 10_000));
    report("100000 gets", gets());
}

fn report(name: &str, (blocks, time): (u64, std::time::Duration)) {
    println!("{name}: {:.2} us a block", time.as_secs_f64() * 1e6 / blocks as f64);
}

fn run(peers: u64, sparse: bool, linear: bool, waiting: u64) -> (u64, std::time::Duration) {
    let mut local = Head { length: LENGTH, bits: Bitfield::new() };
    let mut replicator = Replicator::new(ReplicatorOptions::default(), [1; 32]);
    let now = Instant::EPOCH;
    replicator.set_active(true, &local, now);
    for id in 1..=peers {
        replicator.add_peer(PeerId(id), true, &local, now);
        let sync = Sync {
            fork: 0,
            length: 2 * LENGTH,
            remote_length: LENGTH - 1,
            can_upgrade: false,
            uploading: true,
            downloading: true,
            has_manifest: true,
            allow_push: false,
        };
        replicator.handle_message(PeerId(id), Message::Sync(sync), &local, now);
        if !sparse {
            let range = Range { drop: false, start: 0, length: LENGTH };
            replicator.handle_message(PeerId(id), Message::Range(range), &local, now);
        } else {
            let words: Vec<u8> = (0..LENGTH / 8)
                .map(|byte| if byte % 2 == id % 2 || peers == 1 { 0xff } else { 0x5a })
                .collect();
            let bitfield = BitfieldWords { start: 0, words: Bytes::from(words) };
            replicator.handle_message(PeerId(id), Message::Bitfield(bitfield), &local, now);
        }
    }
    for wish in 0..waiting {
        replicator.get(WishId(10 + wish), LENGTH + wish, GetWish::default(), &local, now);
    }
    let range = RangeWish { start: 0, end: Some(LENGTH), blocks: None, linear };
    let start = std::time::Instant::now();
    replicator.range(WishId(1), range, &local, now);
    let blocks = drain(&mut replicator, &mut local, now);
    assert_eq!(blocks, LENGTH);
    (blocks, start.elapsed())
}

fn gets() -> (u64, std::time::Duration) {
    let mut local = Head { length: LENGTH, bits: Bitfield::new() };
    let mut replicator = Replicator::new(ReplicatorOptions::default(), [1; 32]);
    let now = Instant::EPOCH;
    replicator.set_active(true, &local, now);
    replicator.add_peer(PeerId(1), true, &local, now);
    let sync = Sync {
        fork: 0,
        length: LENGTH,
        remote_length: LENGTH,
        can_upgrade: false,
        uploading: true,
        downloading: true,
        has_manifest: true,
        allow_push: false,
    };
    replicator.handle_message(PeerId(1), Message::Sync(sync), &local, now);
    let range = Range { drop: false, start: 0, length: LENGTH };
    replicator.handle_message(PeerId(1), Message::Range(range), &local, now);
    let start = std::time::Instant::now();
    for block in 0..LENGTH {
        replicator.get(WishId(block), block, GetWish::default(), &local, now);
    }
    (drain(&mut replicator, &mut local, now), start.elapsed())
}

/// Answers every request at once, with blocks that nobody verifies.
fn drain(replicator: &mut Replicator, local: &mut Head, now: Instant) -> u64 {
    let mut blocks = 0;
    let value = Bytes::from_static(b"block");
    while let Some(action) = replicator.poll_action() {
        match action {
            Action::Send { peer, message: Message::Request(request) } => {
                let Some(index) = request.what.block.map(|block| block.index) else {
                    let refusal = NoData { request: request.id, reason: 1 };
                    replicator.handle_message(peer, Message::NoData(refusal), local, now);
                    continue;
                };
                let block = Some(BlockProof { index, value: value.clone(), nodes: Vec::new() });
                let proof = Proof { fork: 0, block, ..Proof::default() };
                let data = Data { request: request.id, proof };
                replicator.handle_message(peer, Message::Data(data), local, now);
            }
            Action::Apply { ticket, proof, .. } => {
                let index = proof.block.unwrap().index;
                blocks += u64::from(!local.bits.get(index));
                local.bits.set(index, true);
                let applied = Applied { block: true, ..Applied::default() };
                replicator.applied(ticket, Ok(applied), local, now);
            }
            _ => {}
        }
    }
    blocks
}

struct Head {
    length: u64,
    bits: Bitfield,
}

impl Local for Head {
    fn fork(&self) -> u64 {
        0
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn contiguous_length(&self) -> u64 {
        0
    }

    fn bitfield(&self) -> &Bitfield {
        &self.bits
    }

    fn has_manifest(&self) -> bool {
        true
    }

    fn is_compat(&self) -> bool {
        false
    }

    fn is_writable(&self) -> bool {
        false
    }

    fn missing_nodes(&self, _: u64) -> u64 {
        3
    }

    fn can_upgrade_from(&self, _: u64) -> Option<bool> {
        Some(true)
    }
}

const LENGTH: u64 = 100_000;
