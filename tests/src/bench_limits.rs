//! What this machine can do at most: single steps, and workloads reduced to what cannot be left out of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Instant as Clock;

use bytes::Bytes;
use hypertab_core::crypto::{self, KeyPair, Node};
use hypertab_core::secret_stream::cipher::{OVERHEAD, Pull, Push, Tag};
use hypertab_core::storage::log_store::SyncFile as _;

use crate::disk_file::DiskFile;

/// Measures everything. `file` names a new file, `block` makes the bytes of a block of an index and a size.
pub fn run(file: &dyn Fn() -> PathBuf, block: &dyn Fn(u32, usize) -> Bytes, out: &dyn Fn(&str, f64, &str)) {
    const TIMES: u32 = 5000;
    let pair = KeyPair::from_seed(&[7; 32]);
    let message = [5; 112];
    let seconds = timed(|| {
        (0..TIMES).for_each(|_| {
            std::hint::black_box(pair.sign(&message));
        })
    });
    out("limit-sign", f64::from(TIMES) / seconds, "signatures/s");
    let signature = pair.sign(&message);
    let seconds = timed(|| {
        (0..TIMES).for_each(|_| assert!(crypto::verify(&message, &signature, &pair.public_key)));
    });
    out("limit-verify", f64::from(TIMES) / seconds, "verifications/s");
    let large = block(1, 65536);
    let rounds = 4000;
    let seconds = timed(|| {
        (0..rounds).for_each(|_| {
            std::hint::black_box(crypto::leaf_hash(&large));
        })
    });
    out("limit-blake2b-64k", f64::from(rounds) * 65536.0 / seconds / 1e6, "MB/s");
    let small = block(1, 1024);
    let seconds = timed(|| {
        (0..100_000).for_each(|_| {
            std::hint::black_box(crypto::leaf_hash(&small));
        })
    });
    out("limit-blake2b-1k", 100_000.0 * 1024.0 / seconds / 1e6, "MB/s");
    let together: Vec<Bytes> = (0..16).map(|index| block(index, 65536)).collect();
    let together: Vec<&[u8]> = together.iter().map(|block| &block[..]).collect();
    let seconds = timed(|| {
        (0..rounds / 16).for_each(|_| {
            std::hint::black_box(crypto::leaf_hashes(&together));
        })
    });
    let hash = f64::from(rounds) * 65536.0 / seconds / 1e6;
    out("limit-blake2b-64k-together", hash, "MB/s");
    let mut push = Push::new(&[1; 32], &[2; 24]);
    let mut buffer = vec![0; 65536 + 17];
    let seconds = timed(|| (0..rounds).for_each(|_| push.seal(Tag::MESSAGE, &mut buffer)));
    let cipher = f64::from(rounds) * 65536.0 / seconds / 1e6;
    out("limit-xchacha20poly1305-64k", cipher, "MB/s");
    // Whoever receives opens every byte and hashes it; whoever sends only seals.
    out("limit-receive-64k", 1.0 / (1.0 / cipher + 1.0 / hash), "MB/s");

    floors(file, block, out);
    let mut disk = DiskFile::open(&file()).expect("a file");
    let piece = vec![9; 1 << 20];
    let seconds = timed(|| {
        (0..256).for_each(|at| disk.write_at(at << 20, &piece).expect("room"));
    });
    out("limit-storage", 256.0 * f64::from(1 << 20) / seconds / 1e6, "MB/s");
    out("limit-transport", transport(), "MB/s");
}

/// The workloads on logs without log, index and engine: the same bytes are hashed, signed, and given to the system in as many calls.
fn floors(file: &dyn Fn() -> PathBuf, block: &dyn Fn(u32, usize) -> Bytes, out: &dyn Fn(&str, f64, &str)) {
    let mut disk = Floor::new(file());
    let blocks = batches(block, 50_000, 1000, 1024);
    let seconds = timed(|| blocks.iter().for_each(|batch| disk.append(batch)));
    out("limit-append-batch-1k", 50_000.0 / seconds, "blocks/s");
    let mut state = 12345_u32;
    let seconds = timed(|| {
        for _ in 0..50_000 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
            std::hint::black_box(disk.read(u64::from(state % 50_000) * 1024, 1024));
        }
    });
    out("limit-get-random-1k", 50_000.0 / seconds, "blocks/s");

    let mut disk = Floor::new(file());
    let blocks = batches(block, 2000, 50, 65536);
    let seconds = timed(|| blocks.iter().for_each(|batch| disk.append(batch)));
    out("limit-append-batch-64k", 2000.0 * 65536.0 / seconds / 1e6, "MB/s");

    let mut disk = Floor::new(file());
    let blocks = batches(block, 5000, 1, 1024);
    let seconds = timed(|| blocks.iter().for_each(|batch| disk.append(batch)));
    out("limit-append-single-1k", 5000.0 / seconds, "blocks/s");

    // A file is a block of the one core, and its entry of the other.
    let mut disk = Floor::new(file());
    let blocks = batches(block, 2000, 1, 8192);
    let entry = [block(0, 256)];
    let seconds = timed(|| {
        for content in &blocks {
            disk.append(content);
            disk.append(&entry);
        }
    });
    out("limit-drive-put-8k", 2000.0 / seconds, "files/s");
    out("limit-replicate-64k", replicate([file(), file()], block), "MB/s");
}

/// Two ends on this machine: one reads blocks from a file, seals and sends them, the other opens, hashes and writes them.
fn replicate([source, copy]: [PathBuf; 2], block: &dyn Fn(u32, usize) -> Bytes) -> f64 {
    const COUNT: u32 = 1000;
    const SIZE: usize = 65536;
    let open = |path: PathBuf| DiskFile::open(&path).expect("a file");
    let (mut source, mut copy) = (open(source), open(copy));
    for at in 0..COUNT {
        source.write_at(u64::from(at) * SIZE as u64, &block(at, SIZE)).expect("room");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let sending = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(address).expect("loopback");
        let (mut push, mut frame) = (Push::new(&[1; 32], &[2; 24]), vec![0; SIZE + OVERHEAD]);
        for at in 0..COUNT {
            source.read_at(u64::from(at) * SIZE as u64, &mut frame[1..=SIZE]).expect("written before");
            push.seal(Tag::MESSAGE, &mut frame);
            socket.write_all(&frame).expect("connected");
        }
    });
    let (mut socket, _) = listener.accept().expect("a connection");
    let mut pull = Pull::new(&[1; 32], &[2; 24]);
    let mut frames = vec![vec![0; SIZE + OVERHEAD]; 4];
    let seconds = timed(|| {
        for start in (0..COUNT).step_by(frames.len()) {
            for frame in &mut frames {
                socket.read_exact(frame).expect("connected");
                pull.open(frame).expect("sealed by the other end");
            }
            let bodies: Vec<&[u8]> = frames.iter().map(|frame| &frame[1..=SIZE]).collect();
            std::hint::black_box(crypto::leaf_hashes(&bodies));
            for (at, body) in (start..).zip(bodies) {
                copy.write_at(u64::from(at) * SIZE as u64, body).expect("room");
            }
        }
    });
    sending.join().expect("the sender does not fail");
    f64::from(COUNT) * SIZE as f64 / seconds / 1e6
}

fn batches(block: &dyn Fn(u32, usize) -> Bytes, count: u32, batch: u32, size: usize) -> Vec<Vec<Bytes>> {
    let make = |start| (start..start + batch).map(|index| block(index, size)).collect();
    (0..count).step_by(batch as usize).map(make).collect()
}

/// A file that blocks are appended to.
struct Floor {
    disk: DiskFile,
    pair: KeyPair,
    end: u64,
    record: Vec<u8>,
}

impl Floor {
    fn new(path: PathBuf) -> Self {
        let disk = DiskFile::open(&path).expect("a file");
        Floor { disk, pair: KeyPair::from_seed(&[7; 32]), end: 0, record: Vec::new() }
    }

    /// Hashes blocks and the parents above them, signs, and writes blocks, nodes and a page of the bitfield.
    fn append(&mut self, blocks: &[Bytes]) {
        let bodies: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
        let leaf = |hash| Node { index: 0, size: 1024, hash };
        let leaves: Vec<Node> = crypto::leaf_hashes(&bodies).into_iter().map(leaf).collect();
        let pairs: Vec<(Node, Node)> = leaves.iter().map(|leaf| (*leaf, *leaf)).collect();
        let parents = crypto::parent_hashes(&pairs);
        std::hint::black_box(self.pair.sign(&parents[0]));
        self.record.clear();
        bodies.iter().for_each(|body| self.record.extend_from_slice(body));
        leaves.iter().for_each(|leaf| self.record.extend_from_slice(&leaf.hash));
        parents.iter().for_each(|parent| self.record.extend_from_slice(parent));
        self.record.resize(self.record.len() + 4096, 0);
        // The log has records of at most a mebibyte.
        for piece in self.record.chunks(1 << 20) {
            self.disk.write_at(self.end, piece).expect("room");
            self.end += piece.len() as u64;
        }
    }

    fn read(&mut self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.disk.read_at(offset, &mut bytes).expect("written before");
        bytes
    }
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Clock::now();
    run();
    start.elapsed().as_secs_f64()
}

fn transport() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let total = 512_u64 << 20;
    let sending = std::thread::spawn(move || {
        let mut socket = TcpStream::connect(address).expect("loopback");
        let piece = vec![9; 64 << 10];
        (0..total / piece.len() as u64).for_each(|_| socket.write_all(&piece).expect("connected"));
    });
    let (mut socket, _) = listener.accept().expect("a connection");
    let mut buffer = vec![0; 256 << 10];
    let seconds = timed(|| {
        let mut left = total;
        while left > 0 {
            left -= socket.read(&mut buffer).expect("connected") as u64;
        }
    });
    sending.join().expect("the sender does not fail");
    total as f64 / seconds / 1e6
}
