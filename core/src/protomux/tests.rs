use alloc::vec;

use super::*;

#[test]
fn frames_that_no_peer_sends_are_refused() {
    use PeerMisbehaved::{NestedBatch, OpenId, RejectId};
    let open = |id| [&[0, 1, id], &b"\x01p\x00"[..]].concat();

    assert_eq!(refusal(&[&open(0)]), OpenId { found: 0 });
    assert_eq!(refusal(&[&open(2)]), OpenId { found: 2 });
    assert_eq!(refusal(&[&open(1), &open(1)]), OpenId { found: 1 });
    assert_eq!(refusal(&[&[0, 2, 1]]), RejectId { found: 1 });
    assert_eq!(refusal(&[&[0, 0, 0, 4, 0, 1, 1, 0]]), NestedBatch);
    for cut in [
        &[0][..],
        &[0, 1],
        &[0, 1, 1, 5, b'x'],
        &[0, 0],
        &[0, 0, 1, 9, 0],
        &[0, 0, 1, 0],
        &[0, 2],
        &[0xff; 5],
    ] {
        assert!(matches!(refusal(&[cut]), PeerMisbehaved::Malformed(_)), "{cut:?}");
    }
}

#[test]
fn late_and_unknown_frames_are_ignored() {
    let mut mux = Mux::new();

    for frame in [&[][..], &[0, 9, 1], &[0, 3, 0], &[0, 3, 7], &[7, 0, 1], &[0, 0, 0], &[0, 0, 7, 1, 0]] {
        assert_eq!(receive(&mut mux, frame), Ok(vec![]), "{frame:?}");
    }
}

#[test]
fn decoding_stops_while_too_much_is_undecided_and_loses_nothing() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let options = OpenChannel { protocol: "p", ..OpenChannel::default() };
    let channel = a.open(&options).unwrap();
    a.cork();
    for i in 0..60u8 {
        a.send(channel, 0, &[i; 1000]);
    }
    a.uncork();

    let mut frames = core::iter::from_fn(|| a.poll_transmit()).map(Outgoing::into_plain);
    b.handle_message(frames.next().unwrap());
    assert!(matches!(b.poll_event(), Ok(Some(MuxEvent::RemoteOpen { .. }))));
    b.handle_message(frames.next().unwrap());
    assert_eq!(b.poll_event(), Ok(None));
    assert!(b.is_paused() && !b.is_ready());
    assert!(b.buffered < MAX_BUFFERED + 2 * (MESSAGE_COST + 1000));

    let channel = b.open(&options).unwrap();
    let mut found = core::iter::from_fn(|| b.poll_event().unwrap());
    assert_eq!(found.next(), Some(MuxEvent::Opened { channel, handshake: Bytes::new() }));
    for i in 0..60u8 {
        let payload = vec![i; 1000].into();
        assert_eq!(found.next(), Some(MuxEvent::Message { channel, message_type: 0, payload }));
    }
    assert_eq!(found.next(), None);
    assert!(b.is_ready());
    assert_eq!(b.buffered, 0);
}

#[test]
fn channel_closed_before_the_decision_opens_speaks_and_closes() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let options = OpenChannel { protocol: "p", ..OpenChannel::default() };
    let channel = a.open(&options).unwrap();
    a.send(channel, 3, b"bye");
    a.close(channel);
    carry(&mut a, &mut b);

    let channel = b.open(&options).unwrap();
    let found: Vec<_> = core::iter::from_fn(|| b.poll_event().unwrap()).collect();

    let payload = Bytes::from_static(b"bye");
    assert_eq!(
        found,
        [
            MuxEvent::Opened { channel, handshake: Bytes::new() },
            MuxEvent::Message { channel, message_type: 3, payload },
            MuxEvent::Closed { channel },
        ]
    );
    assert_eq!(carry(&mut b, &mut a), []);
    assert!(a.is_idle() && b.is_idle());
    assert_eq!((a.free.len(), b.free.len()), (1, 1));
}

#[test]
fn second_channel_of_a_name_needs_to_be_shared() {
    let (mut a, mut b) = (Mux::new(), Mux::new());
    let shared = OpenChannel { protocol: "p", shared: true, ..OpenChannel::default() };
    let one = a.open(&shared).unwrap();
    assert_eq!(a.open(&OpenChannel { protocol: "p", ..OpenChannel::default() }), None);
    let two = a.open(&shared).unwrap();
    let (first, second) = (b.open(&shared).unwrap(), b.open(&shared).unwrap());

    assert_eq!(carry(&mut a, &mut b).len(), 2);
    assert_eq!(carry(&mut b, &mut a).len(), 2);
    a.send(two, 0, b"2");
    a.send(one, 0, b"1");

    let channels: Vec<_> = carry(&mut a, &mut b)
        .into_iter()
        .map(|event| match event {
            MuxEvent::Message { channel, .. } => channel,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(channels, [second, first]);
}

#[test]
fn batches_are_split_below_the_largest_message() {
    let mut mux = Mux::new();
    let channel = mux.open(&OpenChannel { protocol: "p", ..OpenChannel::default() }).unwrap();
    mux.poll_transmit();
    mux.cork();
    let (third, large) = (vec![0; sender::MAX_BATCH / 3], vec![0; 15 * 1024 * 1024]);
    for payload in [&third, &third, &third, &large, &third] {
        mux.send(channel, 0, payload);
    }
    mux.uncork();

    let lens: Vec<_> = core::iter::from_fn(|| mux.poll_transmit()).map(|frame| frame.len()).collect();

    assert_eq!(lens.len(), 4);
    assert!(lens.iter().all(|len| *len <= crate::secret_stream::MAX_MESSAGE));
    assert_eq!(mux.queued(), 0);
}

#[test]
fn random_ends_agree_in_the_end() {
    for seed in 1..60 {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut ends = [Mux::new(), Mux::new()];
        let mut channels = [Vec::new(), Vec::new()];
        let mut undecided = [Vec::new(), Vec::new()];
        let mut wires = [VecDeque::new(), VecDeque::new()];
        for _ in 0..400 {
            let at = next(2) as usize;
            match next(7) {
                0 | 1 => {
                    let key = [next(4) as u8];
                    let options = OpenChannel { protocol: "p", key: &key, ..OpenChannel::default() };
                    channels[at].extend(ends[at].open(&options));
                }
                2 if !channels[at].is_empty() => {
                    let index = next(channels[at].len() as u64) as usize;
                    ends[at].close(channels[at].swap_remove(index));
                }
                3 if !undecided[at].is_empty() => ends[at].reject(undecided[at].remove(0)),
                4 if !channels[at].is_empty() => {
                    let index = next(channels[at].len() as u64) as usize;
                    ends[at].send(channels[at][index], 1, b"m");
                }
                5 => ends[at].cork(),
                _ => ends[at].uncork(),
            }
            let frames = core::iter::from_fn(|| ends[at].poll_transmit());
            wires[1 - at].extend(frames.map(Outgoing::into_plain));
            while next(3) > 0 && ends[at].is_ready() {
                let Some(frame) = wires[at].pop_front() else { break };
                ends[at].handle_message(frame);
                drain(&mut ends[at], &mut channels[at], &mut undecided[at]);
            }
        }
        for _ in 0..6 {
            for at in [0, 1] {
                for _ in 0..400 {
                    ends[at].uncork();
                }
                for open in undecided[at].drain(..) {
                    ends[at].reject(open);
                }
                for channel in channels[at].drain(..) {
                    ends[at].close(channel);
                }
                let frames = core::iter::from_fn(|| ends[at].poll_transmit());
                wires[1 - at].extend(frames.map(Outgoing::into_plain));
                while let Some(frame) = wires[at].pop_front() {
                    ends[at].handle_message(frame);
                    drain(&mut ends[at], &mut channels[at], &mut undecided[at]);
                }
            }
        }

        for end in &ends {
            assert!(end.is_idle(), "seed {seed}");
            assert_eq!(end.free.len(), end.local.len(), "seed {seed}");
            assert!(end.remote.iter().all(Option::is_none), "seed {seed}");
            assert!(end.pairing.is_empty(), "seed {seed}");
            assert_eq!(end.buffered, 0, "seed {seed}");
        }
    }
}

fn drain(mux: &mut Mux, channels: &mut Vec<ChannelId>, undecided: &mut Vec<RemoteOpenId>) {
    while let Some(event) = mux.poll_event().expect("the other end is ours") {
        match event {
            MuxEvent::RemoteOpen { open, .. } => undecided.push(open),
            MuxEvent::Closed { channel } => channels.retain(|other| *other != channel),
            MuxEvent::Opened { channel, .. } | MuxEvent::Message { channel, .. } => {
                assert!(channels.contains(&channel));
            }
        }
    }
}

fn carry(from: &mut Mux, to: &mut Mux) -> Vec<MuxEvent> {
    let frames = core::iter::from_fn(|| from.poll_transmit()).map(Outgoing::into_plain);
    frames.flat_map(|frame| receive(to, &frame).expect("the other end is ours")).collect()
}

fn receive(mux: &mut Mux, frame: &[u8]) -> Result<Vec<MuxEvent>, PeerMisbehaved> {
    mux.handle_message(Bytes::copy_from_slice(frame));
    let mut events = Vec::new();
    while let Some(event) = mux.poll_event()? {
        events.push(event);
    }
    Ok(events)
}

fn refusal(frames: &[&[u8]]) -> PeerMisbehaved {
    let mut mux = Mux::new();
    let (last, first) = frames.split_last().expect("there is one");
    for frame in first {
        receive(&mut mux, frame).expect("only the last one is bad");
    }
    receive(&mut mux, last).expect_err("it is bad")
}
