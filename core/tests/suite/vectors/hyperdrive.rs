//! Compares drives with upstream's: keys, entries, blobs, block maps, paths, listings and ranges.
#![cfg(feature = "drive")]

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode as _, Encode as _};
use hypertab_core::crypto::blake2b_256;
use hypertab_core::hyperbee::{
    BatchWriter, BlockCache, DiffCursor, Range, RangeCursor, View, header_block, messages::Metadata,
};
use hypertab_core::hyperblobs::{APPEND_BLOCKS, BLOCK_SIZE, BlobId, ByteRange, Dedup, block_map};
use hypertab_core::hypercore::encryption::{BlockEncryption, KeyMode};
use hypertab_core::hypercore::manifest::Manifest;
use hypertab_core::hyperdrive::{
    Children, Entry, Listing, content_key, content_manifest, entry_key, path, path_of, resolve,
};
use serde_json::{Value, json};

use crate::support::bee::Blocks;
use crate::support::common::{entries, hex, hex_fixed, load};

const DRIVES: [(&str, &str, &str); 2] =
    [("hyperdrive-basic", "core", "blobsCore"), ("hyperdrive-encrypted", "db", "blobs")];

#[test]
fn keys_of_blobs_are_derived() {
    let mirror = load("hyperdrive-mirror");
    let drives = DRIVES.map(|(file, core, blobs)| {
        let vectors = load(file);
        (vectors[core].clone(), vectors[blobs].clone())
    });
    for (core, blobs) in
        drives.into_iter().chain([(mirror["dst"]["db"].clone(), mirror["dst"]["blobs"].clone())])
    {
        let manifest = hex(&core["manifest"]);
        let manifest = Manifest::from_slice(&manifest).unwrap();

        assert_eq!(manifest.key(), hex_fixed(&core["key"]));
        let content = content_manifest(&manifest, &manifest.key()).unwrap();
        assert_eq!(content.to_vec(), hex(&blobs["manifest"]));
        assert_eq!(content_key(&manifest), Some(hex_fixed(&blobs["key"])));
        assert_eq!(content_manifest(&Manifest { version: 0, ..manifest }, &[0; 32]), None);
    }
}

#[test]
fn script_gives_the_same_blocks() {
    let vectors = load("hyperdrive-basic");
    let mut drive = Drive::new();

    for op in entries(&vectors, "ops") {
        drive.apply(op);
        let lengths = json!([drive.db.len(), drive.blobs.len()]);
        assert_eq!(lengths, json!([op["db"], op["blobs"]]), "{op}");
    }

    let expected: Vec<_> = entries(&vectors, "dbBlocks").iter().map(hex).collect();
    for (seq, (found, expected)) in drive.db.all().iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "block {seq}");
    }
    assert_eq!(drive.db.len(), expected.len());
    drive.check_blobs(entries(&vectors, "blobBlocks"));
}

#[test]
fn encrypted_drive_stores_the_same_blocks() {
    let vectors = load("hyperdrive-encrypted");
    let key = hex_fixed(&vectors["encryptionKey"]);
    let mut drive = Drive::new();

    entries(&vectors, "ops").iter().for_each(|op| drive.apply(op));

    for (name, blocks, stored) in
        [("db", drive.db.all(), "dbBlocks"), ("blobs", &drive.blobs[..], "blobBlocks")]
    {
        let core_key = hex_fixed(&vectors[name]["key"]);
        let encryption = BlockEncryption::new(&key, &core_key, KeyMode::Normal);
        let stored = entries(&vectors, stored);
        assert_eq!(blocks.len(), stored.len());
        for (index, (block, stored)) in (0..).zip(blocks.iter().zip(stored)) {
            let found = encryption.encrypt(index, 0, block);
            match stored {
                Value::String(_) => assert_eq!(found, hex(stored), "{name} {index}"),
                stored => assert!(is_block(&found, stored), "{name} {index}"),
            }
        }
    }
    let range = &vectors["range"];
    assert_eq!(drive.read(range["path"].as_str().unwrap(), &range["options"]), hex(&range["data"]));
    assert_eq!(json!(drive.entries(drive.version())), vectors["entries"]);
}

#[test]
fn mirrored_entries_come_back() {
    let vectors = load("hyperdrive-mirror");
    let blocks = Blocks::of(entries(&vectors, "dbBlocks"));
    let blobs = entries(&vectors, "blobBlocks");

    let source = load("hyperdrive-basic");
    let mut cache = BlockCache::default();
    let mut view = View::new(&blocks, &mut cache, blocks.version());
    let mut listing = Listing::new("/").unwrap();
    let mut keys = Vec::new();
    while let Some(found) = listing.next(&mut view).unwrap() {
        let value = found.value.unwrap();
        let entry = Entry::from_json(&value).unwrap();
        assert_eq!(entry.to_json(), value);
        let end = entry.blob.map_or(0, |blob| blob.block_end());
        assert!(end <= blobs.len() as u64);
        keys.push(json!(path_of(&found.key).unwrap()));
    }
    let expected: Vec<_> = entries(&source, "entries").iter().map(|entry| entry["key"].clone()).collect();
    assert_eq!(keys, expected);
}

#[test]
fn folders_list_the_same() {
    let vectors = load("hyperdrive-basic");
    let blocks = Blocks::of(entries(&vectors, "dbBlocks"));
    let mut cache = BlockCache::default();
    let mut view = View::new(&blocks, &mut cache, blocks.version());

    for case in entries(&vectors, "lists").iter().filter(|case| case["options"]["ignore"].is_null()) {
        let folder = case["folder"].as_str().unwrap();
        let mut found = Vec::new();
        if case["options"]["recursive"] == false {
            let mut walk = Children::new(folder).unwrap();
            while let Some((_, entry)) = walk.next(&mut view).unwrap() {
                found.push(json!(path_of(&entry.key).unwrap()));
            }
        } else {
            let mut walk = Listing::new(folder).unwrap();
            while let Some(entry) = walk.next(&mut view).unwrap() {
                found.push(json!(path_of(&entry.key).unwrap()));
            }
        }
        assert_eq!(Value::from(found), case["keys"], "{case}");
    }
    for case in entries(&vectors, "readdirs") {
        let mut walk = Children::new(case["folder"].as_str().unwrap()).unwrap();
        let mut found = Vec::new();
        while let Some((name, _)) = walk.next(&mut view).unwrap() {
            found.push(json!(name));
        }
        assert_eq!(Value::from(found), case["names"], "{case}");
    }
}

#[test]
fn reading_a_folder_does_not_read_what_is_below_its_children() {
    let mut drive = Drive::new();
    for folder in 0..4 {
        for file in 0..500 {
            drive.put_entry(&format!("/{folder}/{file:03}"), &Entry::default());
        }
    }
    let before = drive.db.asked().len();
    let mut cache = BlockCache::default();
    let mut view = View::new(&drive.db, &mut cache, drive.version());

    let mut walk = Children::new("/").unwrap();
    let mut names = Vec::new();
    while let Some((name, _)) = walk.next(&mut view).unwrap() {
        names.push(name);
    }

    assert_eq!(names, ["0", "1", "2", "3"]);
    let asked: std::collections::BTreeSet<_> = drive.db.asked()[before..].iter().copied().collect();
    assert!(asked.len() < 120, "{} blocks of 2001", asked.len());
}

#[test]
fn versions_and_differences_are_the_same() {
    let vectors = load("hyperdrive-basic");
    let blocks = Blocks::of(entries(&vectors, "dbBlocks"));
    let mut cache = BlockCache::default();

    for case in entries(&vectors, "diffs") {
        let mut view = View::new(&blocks, &mut cache, blocks.version());
        let folder = path::folder(case["folder"].as_str().unwrap()).unwrap();
        let range = Range {
            gt: Some(entry_key(&[folder.as_str(), "/"].concat())),
            lt: Some(entry_key(&[folder.as_str(), "0"].concat())),
            ..Range::default()
        };
        let mut cursor = DiffCursor::new(&range);
        let mut found = Vec::new();
        while let Some(difference) =
            cursor.next(&mut view, (blocks.version(), case["version"].as_u64().unwrap())).unwrap()
        {
            let side = |side: &Option<_>| side.as_ref().map_or(Value::Null, entry_json);
            found.push(json!({ "left": side(&difference.left), "right": side(&difference.right) }));
        }
        assert_eq!(Value::from(found), case["entries"], "{case}");
    }
    for case in entries(&vectors, "checkouts") {
        let mut view = View::new(&blocks, &mut cache, case["version"].as_u64().unwrap());
        let mut cursor = Listing::new("/").unwrap();
        let mut keys = Vec::new();
        while let Some(entry) = cursor.next(&mut view).unwrap() {
            keys.push(json!(path_of(&entry.key).unwrap()));
        }
        assert_eq!(Value::from(keys), case["keys"]);
    }
    for case in entries(&vectors, "blobsLengthAt") {
        let mut view = View::new(&blocks, &mut cache, case["version"].as_u64().unwrap());
        let mut cursor = RangeCursor::new(Range::default());
        let mut length = 0;
        while let Some(entry) = cursor.next(&mut view).unwrap() {
            let blob = Entry::from_json(&entry.value.unwrap()).unwrap().blob;
            length = length.max(blob.map_or(0, |blob| blob.block_end()));
        }
        assert_eq!(json!(length), case["length"]);
    }
}

#[test]
fn paths_mean_the_same() {
    let vectors = load("hyperdrive-basic");
    for case in entries(&vectors, "normalize") {
        let found = path::file(case["input"].as_str().unwrap());
        match case["error"].as_str() {
            Some(error) => assert_eq!(found.unwrap_err().to_string(), error, "{case}"),
            None => assert_eq!(found.unwrap(), case["output"].as_str().unwrap(), "{case}"),
        }
    }
    for case in entries(&vectors, "symlinkResolution") {
        let found = resolve(case["from"].as_str().unwrap(), case["to"].as_str().unwrap());
        assert_eq!(found.unwrap(), case["result"].as_str().unwrap(), "{case}");
    }
    assert!(resolve("a", "b").is_err());
}

#[test]
fn ranges_of_files_are_the_same() {
    let vectors = load("hyperdrive-basic");
    let mut drive = Drive::new();
    entries(&vectors, "ops").iter().for_each(|op| drive.apply(op));

    for case in entries(&vectors, "reads") {
        let found = drive.read(case["path"].as_str().unwrap(), &case["options"]);
        assert_eq!(found, hex(&case["data"]), "{case}");
    }
}

#[test]
fn blobs_and_their_ranges_are_the_same() {
    let vectors = load("hyperdrive-blobs");
    let mut drive = Drive { block_size: 16, ..Drive::new() };
    let mut ids = Vec::new();

    for blob in entries(&vectors, "blobs") {
        let id = if blob["blockMap"] == true {
            let mut map = Vec::new();
            for chunk in entries(blob, "chunks") {
                let chunk = Bytes::from(chunk.as_str().unwrap().to_owned());
                map.push(block_map::MappedBlock {
                    index: drive.blobs.len() as u64,
                    byte_length: chunk.len() as u64,
                });
                drive.blobs.push(chunk);
            }
            drive.append_blob(block_map::encode(&map), true)
        } else {
            drive.put_blob(&content(blob))
        };
        let expected: Value = blob["id"].clone();
        assert_eq!(blob_json(&id), expected, "{blob}");
        ids.push(id);
    }

    let expected: Vec<_> = entries(&vectors, "blocks").iter().map(hex).collect();
    assert_eq!(drive.blobs, expected);
    for case in entries(&vectors, "reads") {
        let id = ids[usize::try_from(case["blob"].as_u64().unwrap()).unwrap()];
        assert_eq!(drive.read_blob(&id, &case["options"]), hex(&case["data"]), "{case}");
    }
}

/// Both cores of a drive, in memory.
struct Drive {
    db: Blocks,
    blobs: Vec<Bytes>,
    block_size: usize,
}

impl Drive {
    fn new() -> Self {
        Self { db: Blocks::of(&[]), blobs: Vec::new(), block_size: BLOCK_SIZE }
    }

    fn version(&self) -> u64 {
        self.db.version()
    }

    fn apply(&mut self, op: &Value) {
        match op["op"].as_str().unwrap() {
            "batch" => {
                let mut batch = self.batch();
                for op in entries(op, "ops") {
                    self.apply_to(&mut batch, op);
                }
                self.db.append(batch.finish());
            }
            _ => {
                let mut batch = self.batch();
                self.apply_to(&mut batch, op);
                self.db.append(batch.finish());
            }
        }
    }

    fn apply_to(&mut self, batch: &mut BatchWriter, op: &Value) {
        let path = path::file(op["path"].as_str().unwrap()).unwrap();
        let metadata = op.get("metadata").map(stringify);
        let executable = op["executable"] == true;
        let entry = match op["op"].as_str().unwrap() {
            "put" => Entry { blob: Some(self.put_blob(&content(op))), executable, metadata, linkname: None },
            "symlink" => Entry {
                linkname: Some(op["linkname"].as_str().unwrap().to_owned()),
                metadata,
                ..Entry::default()
            },
            "putEntry" => self.entry(op["entryOf"].as_str().unwrap()).unwrap(),
            "writeStream" => {
                let blob = self.write(&path, op);
                Entry { blob: Some(blob), executable, metadata, linkname: None }
            }
            "del" => {
                batch.delete(&self.db, &mut BlockCache::default(), entry_key(&path)).unwrap();
                return;
            }
            other => panic!("{other}"),
        };
        let value = Bytes::from(entry.to_json());
        batch.put(&self.db, &mut BlockCache::default(), entry_key(&path), Some(value)).unwrap();
    }

    fn put_entry(&mut self, path: &str, entry: &Entry) {
        let mut batch = self.batch();
        batch
            .put(&self.db, &mut BlockCache::default(), entry_key(path), Some(entry.to_json().into()))
            .unwrap();
        self.db.append(batch.finish());
    }

    fn batch(&mut self) -> BatchWriter {
        if self.db.len() == 0 {
            self.db.append([header_block(Some(Metadata::default()))]);
        }
        BatchWriter::new(self.version(), true)
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        let mut cache = BlockCache::default();
        let mut view = View::new(&self.db, &mut cache, self.version());
        let found = view.get(&entry_key(path)).unwrap()?;
        Some(Entry::from_json(&found.value.unwrap()).unwrap())
    }

    fn entries(&self, version: u64) -> Vec<Value> {
        let mut cache = BlockCache::default();
        let mut view = View::new(&self.db, &mut cache, version);
        let mut listing = Listing::new("/").unwrap();
        let mut all = Vec::new();
        while let Some(entry) = listing.next(&mut view).unwrap() {
            all.push(entry_json(&entry));
        }
        all
    }

    fn put_blob(&mut self, content: &[u8]) -> BlobId {
        let blocks: Vec<_> = content.chunks(self.block_size).map(Bytes::copy_from_slice).collect();
        self.append_blob(blocks, false)
    }

    fn append_blob(&mut self, blocks: Vec<Bytes>, block_map: bool) -> BlobId {
        let byte_offset = self.blobs.iter().map(|block| block.len() as u64).sum();
        let id = BlobId {
            block_offset: self.blobs.len() as u64,
            byte_offset,
            block_length: blocks.len() as u64,
            byte_length: blocks.iter().map(|block| block.len() as u64).sum(),
            block_map,
        };
        self.blobs.extend(blocks);
        id
    }

    fn write(&mut self, path: &str, op: &Value) -> BlobId {
        let chunks =
            entries(op, "chunks").iter().map(|chunk| Bytes::from(chunk.as_str().unwrap().to_owned()));
        if op["dedup"] != true {
            return self.append_blob(chunks.collect(), false);
        }
        let mut dedup = Dedup::default();
        if let Some(blob) = self.entry(path).and_then(|entry| entry.blob) {
            for mapped in self.map(&blob) {
                dedup.known(&self.blobs[mapped.index as usize], mapped);
            }
        }
        let mut fresh: Vec<Bytes> = Vec::new();
        for chunk in chunks {
            if dedup.write(&chunk, (self.blobs.len() + fresh.len()) as u64) {
                fresh.push(chunk);
            }
            assert!(fresh.len() < APPEND_BLOCKS);
        }
        self.blobs.extend(fresh);
        self.append_blob(block_map::encode(&dedup.finish()), true)
    }

    fn map(&self, blob: &BlobId) -> Vec<block_map::MappedBlock> {
        let blocks = &self.blobs[blob.block_offset as usize..blob.block_end() as usize];
        block_map::decode(blocks.iter().map(|block| &block[..])).unwrap()
    }

    fn read(&self, path: &str, options: &Value) -> Vec<u8> {
        self.read_blob(&self.entry(path).unwrap().blob.unwrap(), options)
    }

    fn read_blob(&self, id: &BlobId, options: &Value) -> Vec<u8> {
        let number = |name: &str| options[name].as_u64();
        let range = ByteRange { start: number("start"), end: number("end"), length: number("length") };
        if id.block_map {
            let map = self.map(id);
            let part = block_map::locate(&map, &range.window(block_map::byte_length(&map)));
            let blocks =
                map[part.first..part.end].iter().map(|mapped| &self.blobs[mapped.index as usize][..]);
            let mut bytes = blocks.collect::<Vec<_>>().concat();
            bytes.truncate(bytes.len() - part.drop as usize);
            return bytes.split_off(part.skip as usize);
        }
        let window = range.window(id.byte_length);
        let seeks = window.seeks(id);
        let blocks = window.blocks(
            id,
            seeks.start.map(|byte| self.seek(byte)),
            seeks.last.map(|byte| self.seek(byte)),
        );
        let bytes = self.blobs[blocks.start as usize..blocks.end as usize].concat();
        bytes[blocks.skip as usize..][..(window.end - window.start) as usize].to_vec()
    }

    fn seek(&self, byte: u64) -> (u64, u64) {
        let mut before = 0;
        for (index, block) in (0..).zip(&self.blobs) {
            if byte < before + block.len() as u64 {
                return (index, byte - before);
            }
            before += block.len() as u64;
        }
        panic!("no byte {byte}");
    }

    fn check_blobs(&self, expected: &[Value]) {
        assert_eq!(self.blobs.len(), expected.len());
        for (index, (found, expected)) in self.blobs.iter().zip(expected).enumerate() {
            assert!(is_block(found, expected), "{index}");
        }
    }
}

/// Returns the text that JavaScript makes of metadata: with the members as they were written, where serde sorts them.
fn stringify(metadata: &Value) -> String {
    let written = r#"{"mtime":123,"tags":["x","y"],"nested":{"a":null}}"#;
    let is_written = serde_json::from_str::<Value>(written).unwrap() == *metadata;
    if is_written { written.to_owned() } else { metadata.to_string() }
}

fn is_block(found: &[u8], expected: &Value) -> bool {
    match expected.get("hex") {
        Some(expected) => found == hex(expected),
        None => {
            json!(found.len()) == expected["length"] && blake2b_256(&[found]) == hex_fixed(&expected["hash"])
        }
    }
}

fn content(op: &Value) -> Vec<u8> {
    match op["utf8"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let number = |i: usize| op["pattern"][i].as_u64().unwrap();
            (0..number(0)).map(|i| (i * 7 + (i >> 8) * 13 + number(1)) as u8).collect()
        }
    }
}

fn entry_json(entry: &hypertab_core::hyperbee::Entry) -> Value {
    let value = entry.value.as_deref().unwrap();
    assert_eq!(Entry::from_json(value).unwrap().to_json(), value);
    let value: Value = serde_json::from_slice(value).unwrap();
    json!({ "seq": entry.seq, "key": path_of(&entry.key).unwrap(), "value": value })
}

fn blob_json(id: &BlobId) -> Value {
    let entry = Entry { blob: Some(*id), ..Entry::default() };
    serde_json::from_slice::<Value>(&entry.to_json()).unwrap()["blob"].clone()
}
