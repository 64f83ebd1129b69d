//! Links to a relay that outlive their transport, and streams that go another way than through it.

use bytes::Bytes;
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht_relay::detour::{Detour, DetourOutput, MAX_MESSAGE, ROOM};
use hypertab_core::dht_relay::queries::QUERY_PROTOCOL;
use hypertab_core::dht_relay::resume::{RESUME_PROTOCOL, encode_ack, encode_count};
use hypertab_core::dht_relay::{CREDIT_PROTOCOL, PROTOCOL};
use hypertab_core::engine::{Config, Engine, Input, Output};
use hypertab_core::protomux::{ChannelId, Mux, OpenChannel};
use hypertab_core::time::{Duration, Instant};

use super::machines::{piece, question_message, relay_message};
use super::take;

/// A relay that says what it likes of what it has and holds, over one transport after another.
pub fn relay_resume(mut data: &[u8]) {
    let data = &mut data;
    let mut now = Instant::EPOCH + Duration::from_secs(1);
    let mut engine = Engine::new(Config::default(), [take(data); 32], now);
    let pairs = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]));
    let (relay, control) = engine.open_relay(pairs[0].public_key, now);
    let mut far = Far::new(data);
    let bytes = |engine: &mut Engine, bytes: Bytes, now| {
        engine.handle_input(Input::Bytes { link: control, bytes }, now);
    };
    while !data.is_empty() {
        let op = take(data);
        match op % 16 {
            0..=4 => {
                let (channel, (message_type, payload)) = match op & 32 {
                    0 => (far.control, relay_message(data)),
                    _ => (far.asking, question_message(data)),
                };
                far.mux.send(channel, message_type, &payload);
            }
            5 | 6 => {
                let received = far.received.saturating_sub(u64::from(take(data) % 8));
                let received = if op == 255 { u64::MAX } else { received };
                bytes(&mut engine, encode_ack(received).into(), now);
            }
            7 => bytes(&mut engine, piece(data, 60).into(), now),
            8 => engine.handle_input(Input::LinkLost { link: control, reason: None }, now),
            9 => {
                engine.handle_input(Input::LinkLost { link: control, reason: None }, now);
                if engine.resume_relay(relay).is_ok() {
                    let received = far.received.saturating_sub(u64::from(take(data) % 8));
                    let mut answer = Mux::new();
                    let handshake = if op & 128 == 0 { encode_count(received) } else { piece(data, 10) };
                    let handshake = &handshake[..];
                    let protocol = RESUME_PROTOCOL;
                    answer.open(&OpenChannel { protocol, handshake, ..OpenChannel::default() });
                    while let Some(frame) = answer.poll_transmit() {
                        bytes(&mut engine, frame.into_plain(), now);
                    }
                }
            }
            10 => now += Duration::from_millis(1 << (take(data) % 17)),
            11 => match take(data) % 4 {
                0 => drop(engine.lookup(relay, [1; 32], now)),
                1 => drop(engine.listen(relay, &pairs[0], op & 32 == 0)),
                2 => drop(engine.ping_relay(relay, now)),
                _ => drop(engine.connect(relay, pairs[1].public_key, &pairs[0], now)),
            },
            12 => engine.handle_input(Input::Credit { link: control, bytes: 1 << (op >> 4) }, now),
            _ => {
                while let Some(frame) = far.mux.poll_transmit() {
                    bytes(&mut engine, frame.into_plain(), now);
                }
            }
        }
        engine.handle_input(Input::Timeout, now);
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            match engine.poll_output(now) {
                Output::Transmit { bytes, .. } => far.takes(bytes),
                // Nothing follows.
                Output::CloseLink { link, .. } if link == control => return,
                Output::Idle { .. } => break,
                _ => {}
            }
        }
    }
}

/// The relay's end.
struct Far {
    mux: Mux,
    control: ChannelId,
    asking: ChannelId,
    /// Frames that have come, whatever they were.
    received: u64,
}

impl Far {
    fn new(data: &mut &[u8]) -> Self {
        let mut mux = Mux::new();
        let kind = take(data);
        let ticket = if kind & 1 == 0 { vec![7; 34] } else { piece(data, 40) };
        let mut open = |protocol, handshake: &[u8]| {
            let channel = mux.open(&OpenChannel { protocol, handshake, ..OpenChannel::default() });
            channel.expect("it is the first of its kind")
        };
        let control = open(PROTOCOL, &[]);
        let asking = open(QUERY_PROTOCOL, &[1, 9, 9, 9, 9, 9, 9]);
        open(CREDIT_PROTOCOL, &[]);
        if kind & 2 == 0 {
            open(RESUME_PROTOCOL, &ticket);
        }
        Self { mux, control, asking, received: 0 }
    }

    fn takes(&mut self, frame: Bytes) {
        self.received += 1;
        if self.mux.is_ready() {
            self.mux.handle_message(frame);
            while let Ok(Some(_)) = self.mux.poll_event() {}
        }
    }
}

/// One end of a stream with two paths, whose other end says what it likes on both.
pub fn detour(mut data: &[u8]) {
    let data = &mut data;
    let mut now = Instant::EPOCH;
    let mut detour = Detour::default();
    // What was written, what of it or beside it waits for the relays, and what was given back.
    let (mut written, mut relayed, mut credit) = (0, 0, 0);
    while !data.is_empty() {
        let op = take(data);
        let outcome = match op % 16 {
            0..=2 => {
                let bytes = piece(data, 80);
                detour.handle_relayed(bytes.into(), now)
            }
            3 | 4 => {
                let frame =
                    [&[0, 0, 0, take(data) % 4][..], &u64::from(take(data) % 64).to_le_bytes()].concat();
                detour.handle_relayed(frame.into(), now)
            }
            5 => detour.handle_direct(piece(data, 80).into(), now),
            6 => detour.handle_direct([&[1][..], &u64::from(take(data)).to_le_bytes()].concat().into(), now),
            7 | 8 => {
                // A frame, perhaps a part of one only, or the rest of it.
                let body = piece(data, 40);
                let len = u8::try_from(body.len()).unwrap_or(u8::MAX).saturating_add(op >> 6);
                let frame = [&[len, 0, 0][..], &body].concat();
                written += frame.len() as u64;
                detour.write(frame.into(), now);
                Ok(())
            }
            9 => {
                detour.expect();
                Ok(())
            }
            10 => {
                detour.open(now);
                Ok(())
            }
            11 => {
                detour.close(now);
                Ok(())
            }
            12 => {
                let sent = relayed.min(u64::from(take(data)));
                relayed -= sent;
                detour.handle_sent(sent);
                Ok(())
            }
            13 => {
                now += Duration::from_millis(1 << (take(data) % 17));
                Ok(())
            }
            _ => {
                now = now.max(detour.poll_timeout().unwrap_or(now));
                Ok(())
            }
        };
        if outcome.is_err() {
            return;
        }
        detour.handle_timeout(now);
        for outputs in 0.. {
            assert!(outputs < MAX_OUTPUTS, "never at rest");
            match detour.poll_output() {
                Some(DetourOutput::Relay(bytes)) => relayed += bytes.len() as u64,
                Some(DetourOutput::Direct(bytes)) => assert!(bytes.len() <= MAX_MESSAGE),
                Some(DetourOutput::Credit(bytes)) => credit += bytes,
                Some(_) => {}
                None => break,
            }
        }
        assert!(credit <= written + ROOM, "each byte is given back once");
    }
}

/// More outputs than that for one input mean a machine that never comes to rest.
const MAX_OUTPUTS: usize = 100_000;
