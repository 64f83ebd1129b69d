//! What a link says and takes, two of them against each other.

use alloc::vec;

use super::*;
use crate::crypto::KeyPair;
use crate::protomux::MuxEvent;
use crate::protomux::OpenChannel;
use crate::secret_stream::SecretStreamError;

#[test]
fn ends_prove_themselves_and_exchange_messages() {
    let mut pair = Pair::new();
    pair.run();
    let Some(LinkOutput::Opened { public_key, remote_public_key, handshake_hash }) = pair.outputs[0].first()
    else {
        panic!("not opened: {:?}", pair.outputs)
    };
    assert_eq!(
        (*public_key, Some(*remote_public_key)),
        (pair.links[0].public_key(), pair.links[0].remote_public_key())
    );
    assert_eq!(pair.links[1].handshake_hash(), Some(*handshake_hash));
    assert_eq!(pair.links[1].public_key(), *remote_public_key);

    assert!(pair.links[0].send(b"held back", Instant::EPOCH));
    pair.run();
    assert_eq!(pair.outputs[1].len(), 1);
    pair.links[1].read_messages();
    pair.run();

    assert_eq!(pair.outputs[1][1], LinkOutput::Message(Bytes::from_static(b"held back")));
}

#[test]
fn channels_hear_what_was_sent_before_they_started() {
    let mut pair = Pair::new();
    let options = OpenChannel { protocol: "p", ..OpenChannel::default() };
    let channel = pair.links[0].mux_mut().open(&options).unwrap();
    pair.links[0].mux_mut().send(channel, 1, b"early");
    pair.run();

    let channel = pair.links[1].mux_mut().open(&options).unwrap();
    pair.run();

    let payload = Bytes::from_static(b"early");
    assert_eq!(
        pair.outputs[1][1..],
        [
            LinkOutput::Channel(MuxEvent::Opened { channel, handshake: Bytes::new() }),
            LinkOutput::Channel(MuxEvent::Message { channel, message_type: 1, payload }),
        ]
    );
}

#[test]
fn no_more_leaves_than_the_credit_and_one_frame() {
    let mut pair = Pair::new();
    pair.run();
    pair.links[1].read_messages();
    let link = &mut pair.links[0];
    let spent = INITIAL_CREDIT - link.credit;
    let message = vec![7; 20000];
    while link.is_writable() {
        link.send(&message, Instant::EPOCH);
        link.collect(Instant::EPOCH);
    }
    for _ in 0..10 {
        link.send(&message, Instant::EPOCH);
    }

    let mut left = 0;
    while let Some(output) = link.poll_output(Instant::EPOCH) {
        let LinkOutput::Transmit(bytes) = output else { panic!("{output:?}") };
        left += bytes.len() as i64;
    }
    assert!((INITIAL_CREDIT - spent..INITIAL_CREDIT - spent + 20020).contains(&left));
    link.handle_credit(100_000);
    let mut outputs = Vec::new();
    while let Some(output) = link.poll_output(Instant::EPOCH) {
        outputs.push(output);
    }
    assert!(!outputs.contains(&LinkOutput::Writable));
    link.handle_credit(1_000_000);
    while let Some(output) = link.poll_output(Instant::EPOCH) {
        outputs.push(output);
    }
    assert_eq!(outputs.iter().filter(|output| **output == LinkOutput::Writable).count(), 1);
    assert_eq!(outputs.last(), Some(&LinkOutput::Writable));
}

#[test]
fn small_frames_leave_together_on_a_stream() {
    let mut pair = Pair::new();
    pair.run();
    pair.links[1].read_messages();
    for i in 0..50u8 {
        pair.links[0].send(&[i; 100], Instant::EPOCH);
    }

    let written = pair.writes;
    pair.run();

    assert_eq!(pair.writes - written, 1);
    assert_eq!(pair.outputs[1].len(), 51);
}

#[test]
fn altered_bytes_close_the_link_once() {
    let mut pair = Pair::new();
    pair.run();
    pair.links[1].read_messages();

    pair.links[1].handle_bytes(
        Bytes::from_static(&[17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7]),
        Instant::EPOCH,
    );

    let reason = CloseReason::SecretStream(SecretStreamError::Forged);
    assert_eq!(pair.links[1].poll_output(Instant::EPOCH), Some(LinkOutput::Closed { reason }));
    assert_eq!(pair.links[1].poll_output(Instant::EPOCH), None);
    assert!(!pair.links[1].send(b"", Instant::EPOCH));
}

#[test]
fn closing_sends_what_was_written_and_then_stops() {
    let mut pair = Pair::new();
    pair.run();
    pair.links[1].read_messages();
    pair.links[0].send(b"last words", Instant::EPOCH);
    pair.links[0].close();

    pair.run();

    assert_eq!(pair.outputs[0].last(), Some(&LinkOutput::Closed { reason: CloseReason::Local }));
    assert_eq!(pair.outputs[1].last(), Some(&LinkOutput::Message(Bytes::from_static(b"last words"))));
}

#[test]
fn orderly_end_is_told_to_an_owner_that_takes_nothing_unless_messages_wait() {
    let over = Some(&LinkOutput::Closed { reason: CloseReason::Remote(None) });
    for messages in 0..3u8 {
        let mut pair = Pair::with(|options| options.keep_alive = Some(Duration::from_secs(5)));
        pair.run();
        for message in 0..messages {
            pair.links[0].send(&[message], Instant::EPOCH);
        }
        pair.links[0].send_keep_alive(Instant::EPOCH);
        pair.run();
        pair.links[1].handle_closed(None);
        pair.run();

        assert_eq!(pair.outputs[1].last() == over, messages == 0);
        pair.links[1].read_messages();
        pair.run();

        let message = |message: u8| LinkOutput::Message(Bytes::from(vec![message]));
        assert_eq!(pair.outputs[1][1..=messages.into()], (0..messages).map(message).collect::<Vec<_>>());
        assert_eq!(pair.outputs[1].last(), over);
        assert_eq!(pair.outputs[1].len(), 2 + usize::from(messages));
    }
}

#[test]
fn what_came_before_the_transport_broke_is_read() {
    let now = Instant::EPOCH;
    let mut pair = Pair::new();
    pair.run();
    pair.links[1].read_messages();
    pair.links[0].send(b"last words", now);
    while let Some(LinkOutput::Transmit(bytes)) = pair.links[0].poll_output(now) {
        pair.links[1].handle_bytes(bytes, now);
    }

    pair.links[1].handle_closed(Some("gone".into()));
    pair.run();

    let reason = CloseReason::Remote(Some("gone".into()));
    let message = LinkOutput::Message(Bytes::from_static(b"last words"));
    assert_eq!(pair.outputs[1][1..], [message, LinkOutput::Closed { reason }]);
}

#[test]
fn one_end_finishes_and_reads_on() {
    let now = Instant::EPOCH;
    let message = |text: &'static str| LinkOutput::Message(Bytes::from_static(text.as_bytes()));
    let mut pair = Pair::with(|options| options.keep_alive = Some(Duration::from_secs(5)));
    pair.run();
    pair.links[0].read_messages();
    pair.links[0].send(b"question", now);
    pair.links[0].finish(now);
    pair.run();
    assert_eq!(pair.outputs[0].last(), Some(&LinkOutput::Finished));
    assert!(!pair.links[0].send(b"more", now));
    assert_eq!(pair.links[0].poll_timeout(), None);

    // The question comes before its end, and only to an owner that takes it.
    pair.links[1].handle_end();
    pair.run();
    assert_eq!(pair.outputs[1].len(), 1);
    pair.links[1].read_messages();
    pair.run();
    assert_eq!(pair.outputs[1][1..], [message("question"), LinkOutput::Ended]);

    for text in [&b"answer"[..], b"rest"] {
        assert!(pair.links[1].send(text, now));
    }
    pair.run();
    assert_eq!(pair.outputs[0][2..], [message("answer"), message("rest")]);

    pair.links[1].send(b"last", now);
    pair.links[1].finish(now);
    pair.run();
    assert_eq!(pair.outputs[1].last(), Some(&LinkOutput::Closed { reason: CloseReason::Local }));
    // What came before the end is read, also when the transport is gone already.
    pair.links[0].handle_end();
    pair.links[0].handle_closed(None);
    pair.run();
    let over = LinkOutput::Closed { reason: CloseReason::Remote(None) };
    assert_eq!(pair.outputs[0][4..], [message("last"), over]);
}

#[test]
fn channels_end_both_ways_at_once() {
    for starts_late in [false, true] {
        let mut pair = Pair::new();
        pair.run();
        if starts_late {
            pair.links[1].handle_end();
            pair.run();
            assert_eq!(pair.outputs[1].last(), Some(&LinkOutput::Ended));
        }
        pair.links[1].mux_mut();
        pair.links[1].handle_end();
        pair.run();
        let over = LinkOutput::Closed { reason: CloseReason::Remote(None) };
        assert_eq!(pair.outputs[1].last(), Some(&over));

        pair.links[0].mux_mut();
        pair.links[0].finish(Instant::EPOCH);
        pair.run();
        assert_eq!(pair.outputs[0].last(), Some(&LinkOutput::Closed { reason: CloseReason::Local }));
    }
}

#[test]
fn owner_that_stops_pauses_the_transport_with_the_next_message() {
    let mut pair = Pair::new();
    pair.run();
    assert!(!pair.links[1].is_paused());
    for message in 0..3 {
        pair.links[0].send(&[message], Instant::EPOCH);
    }
    pair.run();
    assert!(pair.links[1].is_paused());

    pair.links[1].read_messages();
    pair.links[1].stop_messages(true);
    pair.run();
    assert_eq!(pair.outputs[1].len(), 1);
    pair.links[1].stop_messages(false);
    pair.run();

    assert!(!pair.links[1].is_paused());
    assert_eq!(pair.outputs[1].len(), 4);
}

#[test]
fn silence_closes_a_link_even_before_it_is_read() {
    let mut options = options(Role::Initiator);
    options.timeout = Some(Duration::from_secs(20));
    options.keep_alive = Some(Duration::from_secs(5));
    let mut link = Link::new(options, [1; 32], Instant::EPOCH);
    while link.poll_output(Instant::EPOCH).is_some() {}

    let (now, output) = loop {
        let now = link.poll_timeout().unwrap();
        link.handle_timeout(now);
        if let Some(output) = link.poll_output(now) {
            break (now, output);
        }
    };

    assert_eq!(now, Instant::EPOCH + Duration::from_secs(20));
    assert_eq!(output, LinkOutput::Closed { reason: CloseReason::SecretStream(SecretStreamError::TimedOut) });
    assert_eq!(link.poll_timeout(), None);
}

#[test]
fn keep_alive_is_sent_after_a_pause_and_swallowed() {
    let mut pair = Pair::with(|options| options.keep_alive = Some(Duration::from_secs(5)));
    pair.run();
    pair.links[1].read_messages();
    let now = pair.links[0].poll_timeout().unwrap();
    assert_eq!(now, Instant::EPOCH + Duration::from_secs(5));

    pair.links[0].handle_timeout(now);
    let written = pair.writes;
    pair.run();

    assert_eq!(pair.writes - written, 1);
    assert_eq!(pair.outputs[1].len(), 1);
    assert_eq!(pair.links[0].poll_timeout(), Some(now + Duration::from_secs(5)));
}

#[test]
fn flood_that_nobody_reads_closes_the_link() {
    let mut link = Link::new(
        LinkOptions { security: Security::Plain, ..options(Role::Responder) },
        [1; 32],
        Instant::EPOCH,
    );
    for _ in 0..40 {
        link.handle_bytes(vec![0; 1 << 20].into(), Instant::EPOCH);
    }

    let output = link.poll_output(Instant::EPOCH);

    assert!(matches!(output, Some(LinkOutput::Closed { reason: CloseReason::Flooded { .. } })));
}

#[test]
fn small_answers_that_nobody_takes_count_for_what_it_takes_to_keep_them() {
    let security =
        Security::External { handshake_hash: [7; 64], remote_public_key: [2; 32], public_key: [1; 32] };
    let mut link = Link::new(
        LinkOptions { transport: Transport::Framed, security, ..options(Role::Initiator) },
        [1; 32],
        Instant::EPOCH,
    );
    let channel = link.mux_mut().open(&OpenChannel { protocol: "p", ..OpenChannel::default() }).unwrap();
    link.handle_bytes(Bytes::from_static(&[0, 1, 1, 1, b'p', 0]), Instant::EPOCH);
    let mut answers = 0;
    while !link.is_paused() {
        link.handle_bytes(Bytes::from_static(&[1, 0]), Instant::EPOCH);
        while let Some(output) = link.poll_output(Instant::EPOCH) {
            if let LinkOutput::Channel(MuxEvent::Message { .. }) = output {
                answers += 1;
                link.mux_mut().send(channel, 0, &[]);
            }
        }
    }

    assert!((100_000..600_000).contains(&answers), "{answers}");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = 1u64;
    for round in 0..300 {
        let mut pair = Pair::new();
        pair.run();
        for link in &mut pair.links {
            link.mux_mut();
        }
        let bytes: Vec<u8> = (0..round)
            .map(|_| {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (random >> 56) as u8 & if round % 2 == 0 { 0xff } else { 3 }
            })
            .collect();
        pair.links[0].send(&bytes, Instant::EPOCH);
        pair.links[0].write(bytes[..].into(), Instant::EPOCH);
        pair.run();
        pair.links[0].handle_bytes(bytes.into(), Instant::EPOCH);
        pair.run();
    }
}

struct Pair {
    links: [Link; 2],
    outputs: [Vec<LinkOutput>; 2],
    writes: usize,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut LinkOptions)) -> Self {
        let links = [Role::Initiator, Role::Responder].map(|role| {
            let mut options = options(role);
            change(&mut options);
            Link::new(options, [role as u8; 32], Instant::EPOCH)
        });
        Self { links, outputs: [Vec::new(), Vec::new()], writes: 0 }
    }

    /// Carries bytes until both ends are quiet.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            for at in 0..2 {
                while let Some(output) = self.links[at].poll_output(Instant::EPOCH) {
                    moved = true;
                    if let LinkOutput::Transmit(bytes) = output {
                        self.writes += 1;
                        self.links[at].handle_credit(bytes.len() as u64);
                        self.links[1 - at].handle_bytes(bytes, Instant::EPOCH);
                    } else {
                        self.outputs[at].push(output);
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

fn options(role: Role) -> LinkOptions {
    LinkOptions {
        role,
        transport: Transport::Stream,
        security: Security::Noise { key_pair: KeyPair::from_seed(&[10 + role as u8; 32]) },
        keep_alive: None,
        timeout: None,
    }
}
