//! Replays recorded UDX datagrams of libudx: same stimulus, same reaction.
#![cfg(feature = "dht")]

use hypertab_core::time::{Duration, Instant};
use hypertab_core::udx::packet::{Header, Kind, MAX_PAYLOAD, Packet, encode_range};
use hypertab_core::udx::{
    Address, Close, Event, Options, Remote, SocketId, StreamEvent, StreamId, StreamOptions, Udx,
};
use serde_json::Value;

const SOCKET: SocketId = SocketId(0);
const PEER: Address = Address::new([127, 0, 0, 1], 4000);
const ID: StreamId = StreamId(1);

#[test]
fn decoded_fields_agree() {
    for event in scenarios().iter().flat_map(|scenario| scenario["events"].as_array().unwrap()) {
        let (Some(bytes), Some(fields)) = (event["bytes"].as_str(), event.get("decoded")) else { continue };
        let bytes = unhex(bytes);
        let packet = Packet::decode(&bytes).unwrap();

        let expected = Header {
            kind: Kind(fields["type"].as_u64().unwrap() as u8),
            id: fields["id"].as_u64().unwrap() as u32,
            window: fields["rwnd"].as_u64().unwrap() as u32,
            seq: fields["seq"].as_u64().unwrap() as u32,
            ack: fields["ack"].as_u64().unwrap() as u32,
        };
        assert_eq!(packet.header, expected);
        assert_eq!(packet.payload, unhex(fields["payload"].as_str().unwrap()));
        let ranges: Vec<_> = packet.ranges().collect();
        let expected_ranges: Vec<_> = fields["sacks"].as_array().into_iter().flatten().map(pair).collect();
        assert_eq!(ranges, expected_ranges);

        let mut encoded = Vec::new();
        packet.header.encode(&mut encoded);
        ranges.iter().for_each(|&(start, end)| encode_range(start, end, &mut encoded));
        encoded.extend_from_slice(packet.payload);
        assert_eq!(encoded, bytes);
    }
}

#[test]
fn write_acknowledgement_end() {
    let mut run = Run::new("write, acknowledgement, end");

    run.write(b"hello");
    run.sends();
    run.receives();
    run.udx.end(ID).unwrap();
    run.sends();
    run.receives();
    run.tells(StreamEvent::End, "end");
    run.tells(StreamEvent::Closed(Close::Finished), "close");
    run.sends();
    run.ends();
}

#[test]
fn writes_share_and_fill_packets() {
    let mut run = Run::new("two writes in one tick share a packet; a large write is cut at 1152 bytes");

    run.write(b"one");
    run.write(b"two");
    run.sends();
    run.receives();
    run.write(&[7; 2500]);
    run.sends();
    run.sends();
    run.sends();
    run.receives();
    run.destroys();
}

#[test]
fn receiving_in_order() {
    let mut run = Run::new("receiving in order");

    for _ in 0..2 {
        run.receives();
        run.reads(1);
        run.sends();
    }
    run.receives();
    run.sends();
    run.receives();
    run.reads(1);
    run.tells(StreamEvent::End, "end");
    run.sends();
    run.destroys();
}

#[test]
fn receiving_out_of_order() {
    let mut run = Run::new("receiving out of order: selective acknowledgements");

    // libudx looks at one missing position per packet it holds, and so misses this range at first.
    run.receives();
    let bytes = run.take_sent();
    assert_eq!(Packet::decode(&bytes).unwrap().ranges().collect::<Vec<_>>(), [(2, 3)]);
    run.next_event();
    for (read, held) in [(0, 2), (0, 3), (1, 3), (3, 1), (2, 0)] {
        run.receives();
        run.reads(read);
        run.sends_holding(held);
    }
    run.destroys();
}

#[test]
fn padding_is_skipped() {
    let mut run = Run::new("padding named by the data offset is skipped");

    run.receives();
    run.reads(1);
    run.sends();
    run.receives();
    run.is_quiet();
    run.receives();
    run.reads(1);
    run.sends();
    run.destroys();
}

#[test]
fn heartbeat_is_answered() {
    let mut run = Run::new("heartbeat is answered with the current state");

    run.receives();
    run.reads(1);
    run.sends();
    run.receives();
    run.sends();
    run.destroys();
}

#[test]
fn unordered_messages() {
    let mut run = Run::new("unordered messages");

    assert!(run.udx.send_message(ID, b"unordered".as_slice().into()).unwrap());
    run.sends();
    for text in ["hi", ""] {
        run.receives();
        assert_eq!(run.next_event()["event"], "message");
        assert_eq!(run.take_event(), Some(StreamEvent::Message(text.into())));
    }
    run.destroys();
}

#[test]
fn local_destroy() {
    let mut run = Run::new("local destroy");

    run.write(b"x");
    run.sends();
    run.destroys();
}

#[test]
fn remote_destroy() {
    let mut run = Run::new("remote destroy");

    run.receives();
    assert_eq!(run.next_event()["message"], "connection reset by peer");
    run.tells(StreamEvent::Closed(Close::Reset), "close");
    run.is_quiet();
    run.ends();
}

#[test]
fn strange_datagrams_are_ignored() {
    let mut run = Run::new("ignored datagrams");

    for _ in 0..4 {
        let event = run.next_event();
        let bytes = unhex(event["bytes"].as_str().unwrap());
        assert!(!run.udx.handle_datagram(SOCKET, PEER, &bytes, run.now));
        assert_eq!(run.next_event()["event"], "datagram not belonging to a stream");
    }
    run.receives();
    run.reads(1);
    run.is_quiet();
    run.receives();
    run.sends();
    run.destroys();
}

#[test]
fn selective_acknowledgement_triggers_retransmission() {
    let mut run = Run::new("retransmission after a selective acknowledgement");

    for byte in b"abcde" {
        run.write(&[*byte]);
        run.sends();
        run.now += Duration::from_millis(5);
    }
    run.receives();
    run.sends();
    run.receives();
    run.is_quiet();
    run.destroys();
}

#[test]
fn closed_window_is_probed() {
    let mut run = Run::new("closed window: a probe, then data when it opens");

    run.write(b"first");
    run.sends();
    run.receives();
    run.write(b"blocked");
    run.sends();
    run.receives();
    run.sends();
    run.receives();
    run.destroys();
}

#[test]
fn data_before_connect_waits_for_a_verdict() {
    let mut run = Run::unconnected(
        "data before connect: the firewall hook decides, the acknowledgement follows the connect",
    );

    run.receives();
    let incoming = Event::Incoming { socket: SOCKET, from: PEER };
    assert_eq!(run.udx.poll_event(run.now), Some((ID, incoming)));
    run.udx.accept(ID, SOCKET, PEER, run.now).unwrap();
    run.reads(1);
    assert_eq!(run.next_event()["times"], 1);
    run.is_quiet();
    run.connect();
    run.sends();
    run.destroys();
}

/// One scenario, walked through event by event.
struct Run {
    udx: Udx,
    events: std::vec::IntoIter<Value>,
    now: Instant,
    sent: std::collections::VecDeque<Vec<u8>>,
}

impl Run {
    fn new(name: &str) -> Self {
        let mut run = Self::unconnected(name);
        run.connect();
        run
    }

    fn unconnected(name: &str) -> Self {
        let scenarios = scenarios();
        let scenario = scenarios.iter().find(|scenario| scenario["name"] == name).unwrap();
        let mut udx = Udx::new(Options::default(), [1; 32]);
        let now = Instant::from_micros(1_000_000);
        udx.open_as(ID, StreamOptions::default(), now).unwrap();
        let events = scenario["events"].as_array().unwrap().clone().into_iter();
        Self { udx, events, now, sent: Default::default() }
    }

    fn connect(&mut self) {
        self.udx.connect(ID, Remote { socket: SOCKET, address: PEER, id: 2 }, self.now).unwrap();
    }

    fn next_event(&mut self) -> Value {
        self.events.next().expect("scenario goes on")
    }

    fn write(&mut self, bytes: &[u8]) {
        assert!(self.udx.write(ID, bytes.to_vec().into()).unwrap());
    }

    /// The next stimulus.
    fn receives(&mut self) {
        self.now += Duration::from_millis(2);
        let event = self.next_event();
        assert_eq!(event["to"], "stream", "{event}");
        assert!(self.udx.handle_datagram(SOCKET, PEER, &unhex(event["bytes"].as_str().unwrap()), self.now));
    }

    fn take_sent(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(transmit) = self.udx.poll_transmit(64, &mut out, self.now) {
            assert_eq!((transmit.socket, transmit.to), (SOCKET, PEER));
            self.sent.extend(out.chunks(transmit.segment).map(<[u8]>::to_vec));
        }
        self.sent.pop_front().expect("a packet leaves")
    }

    /// The next recorded packet leaves.
    fn sends(&mut self) {
        self.sends_holding(0);
    }

    /// Same while `held` bytes wait for an earlier packet, which only our window tells.
    fn sends_holding(&mut self, held: u32) {
        let bytes = self.take_sent();
        let event = self.next_event();
        assert_eq!(event["from"], "stream", "{event}");
        let mut expected = unhex(event["bytes"].as_str().unwrap());
        expected[8..12].copy_from_slice(&(4_194_304 - held).to_le_bytes());
        assert_eq!(hex(&bytes), hex(&expected));
    }

    fn take_event(&mut self) -> Option<StreamEvent> {
        loop {
            match self.udx.poll_event(self.now)? {
                (ID, Event::Stream(StreamEvent::Connected)) => {}
                (ID, Event::Stream(event)) => return Some(event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// So many recorded data events; ours may join them.
    fn reads(&mut self, events: usize) {
        let mut expected = Vec::new();
        for _ in 0..events {
            let event = self.next_event();
            assert_eq!(event["event"], "data", "{event}");
            expected.extend(unhex(event["data"].as_str().unwrap()));
        }
        if events > 0 {
            let Some(StreamEvent::Data(bytes)) = self.take_event() else { panic!("no data") };
            assert_eq!(bytes, expected);
            self.udx.consumed(ID, bytes.len() as u64).unwrap();
        }
    }

    fn tells(&mut self, ours: StreamEvent, recorded: &str) {
        assert_eq!(self.next_event()["event"], recorded);
        assert_eq!(self.take_event(), Some(ours));
    }

    fn is_quiet(&mut self) {
        let mut out = Vec::new();
        assert_eq!(self.udx.poll_transmit(64, &mut out, self.now), None, "{}", hex(&out));
    }

    fn destroys(mut self) {
        self.udx.destroy(ID).unwrap();
        self.tells(StreamEvent::Closed(Close::Destroyed), "close");
        self.sends();
        self.ends();
    }

    fn ends(mut self) {
        self.is_quiet();
        assert_eq!(self.take_event(), None);
        assert_eq!(self.events.next(), None);
        assert!(self.udx.is_empty());
        assert_eq!(self.udx.poll_timeout(), None);
    }
}

#[test]
fn payload_limit_is_the_recorded_one() {
    let longest = scenarios()
        .iter()
        .flat_map(|scenario| scenario["events"].as_array().unwrap().clone())
        .filter_map(|event| Some(unhex(event["decoded"]["payload"].as_str()?).len()))
        .max();

    assert_eq!(longest, Some(MAX_PAYLOAD));
}

fn scenarios() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/dht-udx.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["scenarios"].as_array().unwrap().clone()
}

fn pair(value: &Value) -> (u32, u32) {
    (value[0].as_u64().unwrap() as u32, value[1].as_u64().unwrap() as u32)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
