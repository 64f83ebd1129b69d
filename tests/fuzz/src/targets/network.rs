//! What arrives from a network, below the channels of a core and beside them.

use bytes::Bytes;
use hypertab_core::compact_encoding::{Decode, Encode};
use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::blind_relay::{Pair, Unpair};
use hypertab_core::dht::messages as dht_messages;
use hypertab_core::dht::rpc;
use hypertab_core::dht_relay::queries::{Greeting, QueryMessage};
use hypertab_core::dht_relay::resume::{Claim, Ticket, decode_ack, decode_count, encode_ack};
use hypertab_core::dht_relay::{Credit, messages as relay};
use hypertab_core::noise::Role;
use hypertab_core::protomux::{Mux, MuxEvent, OpenChannel};
use hypertab_core::secret_stream::{Entropy, Event, Options, Outgoing, SecretStream};
use hypertab_core::time::Instant;
use hypertab_core::udx::{Datagram, packet::Packet};

use super::{pieces, take};

/// Messages of the DHT.
pub fn dht(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    match rpc::Message::decode(&bytes) {
        Ok(rpc::Message::Request(request)) => drop(request.encode()),
        Ok(rpc::Message::Reply(reply)) => drop(reply.encode()),
        Err(_) => {}
    }
    let _ = dht_messages::Peer::decode(data).map(|peer| peer.encode());
    let _ = dht_messages::decode_lookup(data);
    let _ = dht_messages::decode_seq(data);
    let _ = dht_messages::Announce::decode(data).map(|message| message.encode());
    let _ = dht_messages::MutablePut::decode(data).map(|message| message.encode());
    let _ = dht_messages::MutableGet::decode(data).map(|message| message.encode());
    let _ = dht_messages::PluginRequest::decode(data).map(|message| message.encode());
    let _ = dht_messages::Handshake::decode(&bytes).map(|message| message.encode());
    let _ = dht_messages::Holepunch::decode(&bytes).map(|message| message.encode());
    let _ = dht_messages::HolepunchPayload::decode(data).map(|message| message.encode());
    let _ = dht_messages::NoisePayload::decode(data).map(|message| message.encode());
    if let Ok(pair) = Pair::decode(data) {
        assert_eq!(Pair::decode(&pair.to_vec()), Ok(pair));
    }
    let _ = Unpair::decode(data);
}

/// Packets of UDX.
pub fn udx(data: &[u8]) {
    let _ = Datagram::classify(data);
    let _ = Packet::peek_id(data);
    if let Some(packet) = Packet::decode(data) {
        assert!(packet.ranges().count() <= data.len() / 8);
    }
}

/// Messages of the protocol between tab and relay.
pub fn dht_relay(mut data: &[u8]) {
    let message_type = u64::from(take(&mut data) % 28);
    if let Ok(Some(message)) = relay::Message::decode(message_type, &Bytes::copy_from_slice(data)) {
        assert_eq!(message.to_vec().len(), message.encoded_len());
        let again = relay::Message::decode(message_type, &message.to_vec().into());
        assert!(matches!(again, Ok(Some(_))), "what was encoded decodes");
    }
    if let Ok(Some(message)) = QueryMessage::decode(message_type, &Bytes::copy_from_slice(data)) {
        assert_eq!(message.to_vec().len(), message.encoded_len());
        let again = QueryMessage::decode(message_type, &message.to_vec().into());
        assert_eq!(again, Ok(Some(message)), "what was encoded decodes");
    }
    if let Ok(result) = relay::LookupResult::from_slice(data) {
        relay::LookupResult::from_slice(&result.to_vec()).expect("what was encoded decodes");
    }
    if let Ok(Some(greeting)) = Greeting::decode(data) {
        assert_eq!(Greeting::decode(&greeting.encode()), Ok(Some(greeting)));
    }
    if let Ok(credit) = Credit::decode(data) {
        assert_eq!(Credit::decode(&credit.to_vec()), Ok(credit));
    }
    if let Ok(ticket) = Ticket::decode(data) {
        assert_eq!(Ticket::decode(&ticket.to_vec()), Ok(ticket));
    }
    if let Ok(Some(claim)) = Claim::decode(data) {
        assert_eq!(Claim::decode(&claim.to_vec()), Ok(Some(claim)));
    }
    if let Ok(Some(count)) = decode_ack(data) {
        assert_eq!(decode_ack(&encode_ack(count)), Ok(Some(count)));
    }
    let _ = decode_count(data);
}

/// Frames of channels, of which one is open.
pub fn protomux(data: &[u8]) {
    let mut mux = Mux::new();
    mux.open(&OpenChannel { protocol: "hypercore/alpha", key: &[1; 32], ..OpenChannel::default() });
    for piece in pieces(data) {
        if !mux.is_ready() {
            break;
        }
        mux.handle_message(Bytes::copy_from_slice(piece));
        loop {
            match mux.poll_event() {
                Ok(Some(MuxEvent::RemoteOpen { open, .. })) if piece.len() % 2 == 0 => mux.reject(open),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        while mux.poll_transmit().is_some() {}
    }
}

/// A stream whose other end never was one.
pub fn secret_stream(mut data: &[u8]) {
    let role = if take(&mut data) & 1 == 0 { Role::Initiator } else { Role::Responder };
    let mut stream = new_stream(role, 1);
    for piece in pieces(data).into_iter().chain([data]) {
        stream.handle_bytes(Bytes::copy_from_slice(piece), NOW);
        match stream.poll_event() {
            Ok(Some(event)) => panic!("{event:?} from nobody"),
            Ok(None) => {}
            Err(_) => return,
        }
        while stream.poll_transmit().is_some() {}
    }
}

/// A true frame that was changed under way never arrives as another message.
pub fn sealed(mut data: &[u8]) {
    let (mut a, mut b) = (new_stream(Role::Initiator, 1), new_stream(Role::Responder, 2));
    for _ in 0..3 {
        exchange(&mut a, &mut b);
        exchange(&mut b, &mut a);
    }
    let mut message = Outgoing::with_capacity(24);
    message.writer().raw(b"a message of this stream");
    assert!(a.send(message, NOW), "the stream is open");
    let mut bytes = Vec::new();
    while let Some(piece) = a.poll_transmit() {
        bytes.extend_from_slice(&piece);
    }
    while data.len() >= 2 {
        let at = usize::from(take(&mut data)) % bytes.len();
        bytes[at] ^= take(&mut data);
    }
    b.handle_bytes(bytes.into(), NOW);
    while let Ok(Some(event)) = b.poll_event() {
        assert_eq!(event, Event::Message(Bytes::from_static(b"a message of this stream")));
    }
}

fn exchange(from: &mut SecretStream, to: &mut SecretStream) {
    while let Some(bytes) = from.poll_transmit() {
        to.handle_bytes(bytes, NOW);
        while let Ok(Some(_)) = to.poll_event() {}
    }
}

fn new_stream(role: Role, seed: u8) -> SecretStream {
    SecretStream::new(
        role,
        &KeyPair::from_seed(&[seed; 32]),
        Options::default(),
        Entropy::from_seed(&[seed; 32]),
        NOW,
    )
}

const NOW: Instant = Instant::EPOCH;
