//! What a client asks the network through a relay, and writes there: announces, values, questions to nodes.
#![cfg(feature = "dht")]

use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use bytes::Bytes;
use hypertab_core::crypto::blake2b_256;
use hypertab_core::dht::messages::{MutablePut, Peer, encode_seq};
use hypertab_core::dht::{Event, Finished, command, error, signing};
use hypertab_core::dht_relay::messages::Message;
use hypertab_core::dht_relay::queries::{AnnounceTerms, Question, WriteEnd};
use hypertab_core::dht_relay::{Client, ClientEvent, Limits, QueryError, Quotas};
use hypertab_core::time::{Duration, Instant};

use crate::support::relay::{NODES, World, pair};

#[test]
fn announce_is_signed_by_the_client_and_found_by_all() {
    let mut world = World::new(1, Limits::default());
    let (one, two) = (world.add_tab(), world.add_tab());
    let (pair, topic) = (pair(1), [7; 32]);

    let now = world.now;
    let query = world.tabs[one].client.announce(topic, &pair, AnnounceTerms::default(), now);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[one].is_finished(query));

    let now = world.now;
    let query = world.tabs[two].client.lookup(topic, now);
    let native = world.native(|endpoint, now| endpoint.lookup(topic, now));
    world.run(Duration::from_secs(5));

    assert!(world.tabs[two].is_finished(query));
    let found = world.tabs[two].events.iter().filter_map(|event| match event {
        ClientEvent::Result { result, .. } => Some(result.peers[0].public_key),
        _ => None,
    });
    // The native peer stores as well.
    assert_eq!(found.collect::<Vec<_>>(), [pair.public_key; NODES + 1]);
    assert_eq!(world.found_by_native(native), [pair.public_key; NODES]);

    let now = world.now;
    let query = world.tabs[one].client.unannounce(topic, &pair, now);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[one].is_finished(query));
    let native = world.native(|endpoint, now| endpoint.lookup(topic, now));
    world.run(Duration::from_secs(5));
    assert!(world.found_by_native(native).is_empty());
}

#[test]
fn announces_have_terms_and_servers_say_through_whom_they_are_reached() {
    let mut world = World::new(4, Limits::default());
    let tab = world.add_tab();
    let (pair, topic) = (pair(1), [7; 32]);
    let at = |last, port| SocketAddrV4::new([10, 0, 0, last].into(), port);
    let announce = |world: &mut World, terms: AnnounceTerms| {
        let now = world.now;
        let query = world.tabs[tab].client.announce(topic, &pair, terms, now);
        world.run(Duration::from_secs(5));
        assert!(world.tabs[tab].is_finished(query));
        let lookup = world.native(|endpoint, now| endpoint.lookup(topic, now));
        world.run(Duration::from_secs(5));
        let records = world.events.iter().filter_map(|event| match event {
            Event::Found { operation, reply } if *operation == lookup => Some(reply),
            _ => None,
        });
        let peers = records.flat_map(|reply| {
            let addresses =
                |peer: &Peer| peer.relay_addresses.iter().copied().map(SocketAddrV4::from).collect();
            reply.peers.iter().map(move |peer| (addresses(peer), reply.bump))
        });
        peers.collect::<BTreeSet<(Vec<_>, u64)>>().into_iter().collect::<Vec<_>>()
    };

    let terms = AnnounceTerms { bump: 5, relay_addresses: vec![at(1, 1), at(2, 2)], clears: false };
    assert_eq!(announce(&mut world, terms), [(vec![at(1, 1), at(2, 2)], 5)]);
    let terms = AnnounceTerms { clears: true, ..AnnounceTerms::default() };
    assert_eq!(announce(&mut world, terms), [(Vec::new(), 5)], "bumps stay, records do not");

    // A key that is listened on at the relay has its nodes, unless others are named.
    world.tabs[tab].client.listen(&pair, false);
    world.run(Duration::from_secs(5));
    let nodes = world.tabs[tab].events.iter().find_map(|event| match event {
        ClientEvent::Listening { nodes, .. } => Some(nodes.clone()),
        _ => None,
    });
    let nodes = nodes.expect("it is listened on");
    assert!(!nodes.is_empty());
    // Nodes keep the first record of a key: what it says anew is told after it is taken back.
    let clear = AnnounceTerms { clears: true, ..AnnounceTerms::default() };
    assert_eq!(announce(&mut world, clear.clone()), [(nodes, 5)]);
    let terms = AnnounceTerms { relay_addresses: vec![at(3, 3)], ..clear };
    assert_eq!(announce(&mut world, terms), [(vec![at(3, 3)], 5)]);
}

#[test]
fn terms_are_left_out_where_a_relay_has_no_words_for_them_and_kept_to_limits_where_it_has() {
    let mut client = Client::new([1; 32], [2; 32], Instant::EPOCH);
    client.handle_open(Instant::EPOCH);
    let terms = AnnounceTerms { bump: 5, ..AnnounceTerms::default() };
    client.announce([7; 32], &pair(1), terms.clone(), Instant::EPOCH);
    let is_announce = |message: &Message| matches!(message, Message::Announce { .. });
    let sent = |client: &mut Client| core::iter::from_fn(|| client.poll_transmit(true)).collect::<Vec<_>>();
    assert!(!sent(&mut client).iter().any(is_announce), "the relay has not said yet what it knows");
    // One that takes no questions, and an older one that takes some.
    let mut older = Client::new([1; 32], [2; 32], Instant::EPOCH);
    older.announce([7; 32], &pair(1), terms.clone(), Instant::EPOCH);
    client.handle_no_questions();
    older.handle_questions(&[]);
    for mut client in [client, older] {
        assert_eq!(sent(&mut client).iter().filter(|message| is_announce(message)).count(), 1);
        client.announce([8; 32], &pair(1), terms.clone(), Instant::EPOCH);
        assert_eq!(sent(&mut client).iter().filter(|message| is_announce(message)).count(), 1);
        assert_eq!(client.poll_question(), None);
    }

    let mut quotas = Quotas::default();
    quotas.link.topics = Some(1);
    let mut world = World::with_quotas(5, Limits::default(), quotas);
    let tab = world.add_tab();
    for (topic, refused) in [(1, None), (2, Some(QueryError::Refused))] {
        let now = world.now;
        let query = world.tabs[tab].client.announce([topic; 32], &pair(1), terms.clone(), now);
        world.run(Duration::from_secs(5));
        assert_eq!(world.tabs[tab].failed(query), refused);
        assert_eq!(world.tabs[tab].is_finished(query), refused.is_none());
    }
    assert_eq!(world.bridge.counters().announces, 1, "the second topic is one too many");
}

#[test]
fn a_client_is_ready_once_the_relay_has_said_what_it_takes() {
    let ready = |client: &mut Client| {
        core::iter::from_fn(|| client.poll_event())
            .filter_map(|event| if let ClientEvent::Ready { address } = event { Some(address) } else { None })
            .collect::<Vec<_>>()
    };
    let address = SocketAddrV4::new([10, 0, 0, 3].into(), 2);
    for (handshake, expected) in
        [(Some(&[1, 10, 0, 0, 3, 2, 0][..]), Some(address)), (Some(&[]), None), (None, None)]
    {
        let mut client = Client::new([1; 32], [2; 32], Instant::EPOCH);
        client.await_questions();
        client.handle_open(Instant::EPOCH);
        assert_eq!(ready(&mut client), []);
        match handshake {
            Some(handshake) => client.handle_questions(handshake),
            None => client.handle_no_questions(),
        }
        assert_eq!(ready(&mut client), [expected]);
    }
    let mut client = Client::new([1; 32], [2; 32], Instant::EPOCH);
    client.handle_questions(&[1, 2]);
    assert!(client.failure().is_some(), "half of an address");
}

#[test]
fn client_asks_nodes_and_writes_values_that_it_signs() {
    let mut world = World::new(14, Limits::default());
    let tab = world.add_tab();
    let owner = pair(1);
    let (value, target) = (Bytes::from_static(b"kept"), blake2b_256(&[b"kept"]));
    let ask =
        |command, target, value| Question { is_internal: false, may_write: true, command, target, value };

    // A value under its hash. Each node takes it once, and nothing else is passed on.
    let query = world.tabs[tab].ask(ask(command::IMMUTABLE_GET, target, None), world.now);
    world.run(Duration::from_secs(5));
    let closest = world.tabs[tab].closest(query);
    assert_eq!(closest.len(), NODES + 1);
    let replies = world.tabs[tab].replies(query);
    assert!(replies.iter().all(|reply| reply.value.is_none() && reply.token.is_some()));
    let distance = |reply: &u32| -> [u8; 32] {
        let id = replies[*reply as usize].id.unwrap();
        std::array::from_fn(|at| id[at] ^ target[at])
    };
    assert!(closest.is_sorted_by_key(distance));
    let client = &mut world.tabs[tab].client;
    for reply in &closest {
        client.write_to_reply(query, *reply, command::IMMUTABLE_PUT, value.clone());
    }
    client.write_to_reply(query, closest[0], command::IMMUTABLE_PUT, value.clone());
    client.write_to_reply(query, closest[0], command::IMMUTABLE_PUT, Bytes::from_static(b"other"));
    client.write_to_reply(query, 99, command::IMMUTABLE_PUT, value.clone());
    client.write_to_reply(query, closest[0], command::ANNOUNCE, value.clone());
    world.run(Duration::from_secs(5));
    let written = world.tabs[tab].written(query);
    assert_eq!(written.iter().filter(|end| **end == WriteEnd::Answered(0)).count(), closest.len());
    assert_eq!(written.iter().filter(|end| **end == WriteEnd::Refused).count(), 4);
    let native = world.native(|endpoint, now| endpoint.immutable_get(target, now));
    world.run(Duration::from_secs(5));
    assert!(world.events.iter().any(|event| matches!(event,
        Event::Finished { operation, result: Ok(Finished::Immutable(Some(found))) }
            if *operation == native && *found == value)));
    assert_eq!(world.bridge.figures().queries, 1);

    // A value that its owner signed, and an older version of it.
    let target = blake2b_256(&[&owner.public_key]);
    for (seq, end) in [(4, WriteEnd::Answered(0)), (3, WriteEnd::Answered(error::SEQ_TOO_LOW))] {
        let question = ask(command::MUTABLE_GET, target, Some(encode_seq(0)));
        let query = world.tabs[tab].ask(question, world.now);
        world.run(Duration::from_secs(5));
        let value = Bytes::from_static(b"mine");
        let signature = owner.sign(&signing::mutable_signable(seq, &value));
        let put = MutablePut { public_key: owner.public_key, seq, value, signature };
        let closest = world.tabs[tab].closest(query);
        let client = &mut world.tabs[tab].client;
        let forged = MutablePut { signature: [7; 64], ..put.clone() };
        client.write_to_reply(query, closest[1], command::MUTABLE_PUT, forged.encode());
        client.write_to_reply(query, closest[0], command::MUTABLE_PUT, put.encode());
        world.run(Duration::from_secs(5));
        assert_eq!(world.tabs[tab].written(query), [WriteEnd::Refused, end]);
        world.tabs[tab].client.forget_question(query);
        world.run(Duration::from_secs(1));
    }

    // Time to write is limited, and what is not carried is said so.
    world.run(Duration::from_secs(31));
    assert_eq!(world.bridge.figures().queries, 0);
    let late = world.tabs[tab].ask(ask(command::ANNOUNCE, target, None), world.now);
    let internal = Question { is_internal: true, may_write: false, ..ask(2, target, None) };
    let find = world.tabs[tab].ask(internal.clone(), world.now);
    let down_hint = world.tabs[tab].ask(Question { command: 3, ..internal }, world.now);
    world.run(Duration::from_secs(5));
    assert_eq!(world.tabs[tab].failed(late), Some(QueryError::NotSupported));
    assert_eq!(world.tabs[tab].failed(down_hint), Some(QueryError::NotSupported));
    assert_eq!(world.tabs[tab].replies(find).len(), NODES + 1);
    assert_eq!((world.bridge.counters().queries, world.bridge.counters().writes), (4, NODES as u64 + 3));
}

#[test]
fn questions_are_counted_and_end_with_the_link() {
    let limits = Limits { queries: 2, ..Limits::default() };
    let mut world = World::new(15, limits);
    let tab = world.add_tab();
    let question = |topic| Question {
        is_internal: false,
        may_write: true,
        command: command::IMMUTABLE_GET,
        target: [topic; 32],
        value: None,
    };
    let now = world.now;
    let asked: Vec<_> = (0..3).map(|topic| world.tabs[tab].ask(question(topic), now)).collect();
    world.run(Duration::from_secs(5));
    assert_eq!(world.tabs[tab].failed(asked[2]), Some(QueryError::Refused));
    assert_eq!(world.tabs[tab].closest(asked[1]).len(), NODES + 1);
    world.cut(tab);
    world.run(Duration::from_secs(1));
    assert_eq!(world.tabs[tab].failed(asked[0]), Some(QueryError::LinkClosed));
    assert_eq!(world.bridge.figures().queries, 0);
    let late = world.tabs[tab].ask(question(9), world.now);
    world.run(Duration::from_secs(1));
    assert_eq!(world.tabs[tab].failed(late), Some(QueryError::LinkClosed));
}
