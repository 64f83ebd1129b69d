//! Bitfields against upstream's pages, probes and want answers.

use hypertab_core::hypercore::bitfield::Bitfield;
use serde_json::Value;

use crate::support::log::{hex, list, number, text, unhex, vectors};

#[test]
fn pages_are_upstreams() {
    for entry in list(&vectors("core-bitfield.json")["pages"]) {
        let mut field = filled(entry);
        for page in list(&entry["pages"]) {
            let bytes = field.page(number(&page["page"]));
            assert_eq!(bytes, expand(&page["nonZero"], 4096), "{}", entry["name"]);
        }
        let dirty: Vec<u64> = field.take_dirty().iter().map(|(index, _)| *index).collect();
        let pages: Vec<u64> = list(&entry["pages"]).iter().map(|page| number(&page["page"])).collect();
        assert_eq!(dirty, pages, "{}", entry["name"]);

        let probes = &entry["probes"];
        let signed = |bit: Option<u64>| bit.map_or(-1, |bit| bit as i64);
        assert_eq!(field.first_unset(0), number(&probes["findFirstUnsetFrom0"]));
        assert_eq!(signed(field.first_set(3)), probes["findFirstSetFrom3"].as_i64().unwrap());
        assert_eq!(signed(field.last_set(40)), probes["findLastSetBefore40"].as_i64().unwrap());
        assert_eq!(field.count(0, 6000), number(&probes["countSetFirst6000"]));
    }
}

#[test]
fn wants_are_answered_as_upstream_does() {
    let file = vectors("core-bitfield.json");
    for entry in list(&file["wants"]) {
        let set = list(&file["pages"]).iter().find(|set| set["name"] == entry["set"]).unwrap();
        let field = filled(set);
        let answers: Vec<_> = field.want(number(&entry["start"]), number(&entry["length"])).collect();
        let messages = list(&entry["messages"]);
        assert_eq!(answers.len(), messages.len(), "{entry}");
        for (answer, message) in answers.iter().zip(messages) {
            assert_eq!(answer.start, number(&message["start"]), "{entry}");
            assert_eq!(answer.words.len() as u64, 4 * number(&message["words"]), "{entry}");
            let length = number(&message["encodedLength"]) as usize;
            let encoded = expand(&message["nonZero"], length);
            assert_eq!(answer.words, encoded[length - answer.words.len()..], "{entry}");
        }
    }
}

#[test]
fn messages_are_inserted_as_upstream_does() {
    let inserted = &vectors("core-bitfield.json")["inserted"];
    let words: Vec<u8> =
        list(&inserted["words"]).iter().flat_map(|word| (number(word) as u32).to_le_bytes()).collect();
    let mut field = Bitfield::bounded(1000);

    assert!(field.insert(number(&inserted["start"]), &words));
    assert!(!field.insert(33, &words));

    let bits: Vec<u64> = (0..128).filter(|&bit| field.get(bit)).collect();
    assert_eq!(bits, list(&inserted["bitsSet"]).iter().map(number).collect::<Vec<_>>());
}

fn filled(entry: &Value) -> Bitfield {
    let mut field = Bitfield::new();
    for range in list(&entry["ranges"]) {
        field.set_range(number(&range[0]), number(&range[1]), true);
    }
    field
}

fn expand(runs: &Value, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    for run in list(runs) {
        let offset = number(&run["offset"]) as usize;
        let bytes = match run["count"].as_u64() {
            Some(count) => unhex(&text(&run["repeat"]).repeat(count as usize)),
            None => hex(&run["hex"]),
        };
        out[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    out
}
