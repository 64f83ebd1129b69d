//! Reads of a remote bee and drive over a connection with a delay: what they fetch, and how often they wait.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use hypertab_core::engine::{
    BeeOptions, BeeRead, BeeResponse, CoreId, GetOptions, OpenOptions, Response, Role, UpdateOptions,
};
use hypertab_core::hyperbee::Range;
use hypertab_core::hyperblobs::BLOCK_SIZE;
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hyperdrive::{Entry, content_manifest, entry_key, files_below};
use hypertab_core::storage::StoreId;

use crate::bench_host::Host;

/// The way there and back takes this much longer.
pub const ROUND_TRIP: Duration = Duration::from_millis(20);

/// What a read cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Blocks that were fetched.
    pub blocks: f64,
    /// How many round trips would have taken as long.
    pub trips: f64,
}

/// Serves cores to one reader after the other, until the process ends.
pub fn serve(mut writer: Host, cores: Vec<CoreId>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            writer.attach(&cores, socket.expect("a connection"), Role::Responder);
            while writer.step() {}
        }
    });
    delayed(address)
}

/// A listener that hands everything on to another one, half a round trip later.
fn delayed(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.expect("a connection");
            let far = TcpStream::connect(target).expect("loopback");
            for (from, to) in [(&near, &far), (&far, &near)] {
                let handles = [from, to].map(|socket| {
                    socket.set_nodelay(true).expect("a TCP socket");
                    socket.try_clone().expect("a second handle")
                });
                let [from, to] = handles;
                std::thread::spawn(move || hand_on(from, to));
            }
        }
    });
    address
}

fn hand_on(mut from: TcpStream, mut to: TcpStream) {
    let (sender, pieces) = channel::<(Clock, Vec<u8>)>();
    std::thread::spawn(move || {
        for (due, bytes) in pieces {
            std::thread::sleep(due.saturating_duration_since(Clock::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let due = Clock::now() + ROUND_TRIP / 2;
        if sender.send((due, buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// An empty copy of a bee, or of a drive, at a distance.
pub struct Reader {
    host: Host,
    store: StoreId,
    core: CoreId,
    socket: TcpStream,
}

impl Reader {
    /// Connects, and waits for the head.
    pub fn connect(path: &Path, key: [u8; 32], address: SocketAddr) -> Self {
        let mut host = Host::new(2, true);
        let store = host.store(path);
        let core = host.open_in(store, OpenOptions { key: Some(key), ..OpenOptions::default() });
        let socket = TcpStream::connect(address).expect("loopback");
        host.attach(&[core], socket.try_clone().expect("a second handle"), Role::Initiator);
        let now = host.now();
        let mut handle = host.engine.core(core).expect("open");
        handle.set_finding_peers(false, now);
        let update = handle.update(UpdateOptions::default(), now);
        host.wait(update);
        Self { host, store, core, socket }
    }

    /// Looks a key up in a new bee, which knows nothing.
    pub fn get(&mut self, key: Bytes) -> (Option<Bytes>, Cost) {
        self.measure(|reader| reader.entry(key))
    }

    fn entry(&mut self, key: Bytes) -> Option<Bytes> {
        let bee = self.host.engine.open_bee(self.core, BeeOptions::default()).expect("the core is open");
        let now = self.host.now();
        let request = self.host.engine.bee_get(bee, key, BeeRead::default(), now);
        match self.host.wait(request) {
            Response::Bee(BeeResponse::Entry(entry)) => entry.and_then(|entry| entry.value),
            other => panic!("{other:?}"),
        }
    }

    /// Walks over a range with a new bee, and returns the number of entries.
    pub fn scan(&mut self, mut range: Range) -> (usize, Cost) {
        let bee = self.host.engine.open_bee(self.core, BeeOptions::default()).expect("the core is open");
        self.measure(|reader| {
            let mut count = 0;
            loop {
                let now = reader.host.now();
                let request = reader.host.engine.bee_range(bee, range.clone(), BeeRead::default(), now);
                let Response::Bee(BeeResponse::Entries(entries, more)) = reader.host.wait(request) else {
                    panic!("entries were asked for");
                };
                count += entries.len();
                range.gt = entries.last().map(|entry| entry.key.clone()).or(range.gt);
                if !more {
                    return count;
                }
            }
        })
    }

    /// Lists the files of a folder of a drive.
    pub fn list(&mut self, folder: &str) -> (usize, Cost) {
        self.scan(files_below(folder).expect("a folder"))
    }

    /// Reads a part of a file of a drive.
    pub fn read(&mut self, path: &str, start: u64, length: u64) -> (usize, Cost) {
        let core = self.host.engine.core(self.core).expect("open");
        let manifest = content_manifest(core.manifest().expect("it came with the head"), &core.key());
        let key = manifest.as_ref().map(Manifest::key);
        let options = OpenOptions { key, manifest, ..OpenOptions::default() };
        let blobs = self.host.open_in(self.store, options);
        self.host.attach_more(blobs);
        self.measure(|reader| {
            let entry = reader.entry(entry_key(path));
            let entry = Entry::from_json(&entry.expect("the file is there")).expect("an entry");
            let blob = entry.blob.expect("a file");
            let first = blob.block_offset + start / BLOCK_SIZE as u64;
            let end = blob.block_offset + (start + length).div_ceil(BLOCK_SIZE as u64);
            let now = reader.host.now();
            let requests: Vec<_> = (first..end)
                .map(|index| {
                    let mut core = reader.host.engine.core(blobs).expect("open");
                    core.get(index, GetOptions::default(), now)
                })
                .collect();
            let mut bytes = 0;
            for request in requests {
                match reader.host.wait(request) {
                    Response::Block(Some(block)) => bytes += block.len(),
                    other => panic!("{other:?}"),
                }
            }
            bytes
        })
    }

    fn measure<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Cost) {
        let (blocks, begun) = (self.host.downloads, Clock::now());
        let found = read(self);
        let took = begun.elapsed();
        // What comes late counts too.
        while begun.elapsed() < took + 4 * ROUND_TRIP {
            self.host.step();
        }
        let trips = took.as_secs_f64() / ROUND_TRIP.as_secs_f64();
        (found, Cost { blocks: (self.host.downloads - blocks) as f64, trips })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Returns the mean of what reads cost, each by a reader of its own.
pub fn mean(times: u32, mut read: impl FnMut(u32) -> Cost) -> Cost {
    let costs: Vec<_> = (0..times).map(&mut read).collect();
    let blocks = costs.iter().map(|cost| cost.blocks).sum::<f64>() / f64::from(times);
    let trips = costs.iter().map(|cost| cost.trips).sum::<f64>() / f64::from(times);
    Cost { blocks, trips }
}
