//! Clients, a relay and DHT nodes in one simulated network: both machines of the relay protocol against each other.
#![cfg(feature = "dht")]

use hypertab_core::crypto::KeyPair;
use hypertab_core::dht::Event;
use hypertab_core::dht_relay::{ClientEvent, Failure, Limits, Quotas, StreamError};
use hypertab_core::time::Duration;

use crate::support::relay::{World, assert_same, exchange, pair, pattern};

#[test]
fn dialled_peer_has_the_same_keys_and_gets_the_same_bytes() {
    let (mut world, tab, stream, connection) = World::connected(2);

    let session = world.tabs[tab].opened(stream);
    let (_, remote, native) = world.native_connected();
    assert_eq!(remote, pair(1).public_key);
    assert_same(&session, &native);
    exchange(&mut world, tab, stream, connection, 3_000_000);

    world.tabs[tab].client.end(stream);
    world.native(|endpoint, now| endpoint.end(connection, now).unwrap());
    world.run(Duration::from_secs(5));
    assert!(world.tabs[tab].closed(stream, None));
    assert!(world.tabs[tab].events.iter().any(|event| matches!(event, ClientEvent::End { .. })));
}

#[test]
fn server_of_a_client_is_reached_and_asks_about_peers() {
    let mut world = World::new(3, Limits::default());
    let tab = world.add_tab();
    let (own, friend, stranger) = (pair(1), pair(2), pair(3));

    let server = world.tabs[tab].client.listen(&own, true);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[tab].is_listening(server));

    world.tabs[tab].friends.push(friend.public_key);
    let denied = world.native_connect(&stranger, own.public_key);
    let accepted = world.native_connect(&friend, own.public_key);
    world.run(Duration::from_secs(3));

    let (stream, session) = world.tabs[tab].connection(server);
    assert_eq!(session.remote_public_key, Some(friend.public_key));
    let (connection, _, native) = world.native_connected();
    assert_eq!(connection, accepted);
    assert_same(&session, &native);
    exchange(&mut world, tab, stream, connection, 1_000_000);
    world.run(Duration::from_secs(20));
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Failed { connection, .. } if *connection == denied))
    );

    world.tabs[tab].client.close_server(server);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[tab].has_lost(server));
    // The open stream stays.
    exchange(&mut world, tab, stream, connection, 1000);
}

#[test]
fn peer_that_resets_fails_the_stream_in_words() {
    let (mut world, tab, stream, connection) = World::connected(4);

    world.native(|endpoint, now| endpoint.destroy(connection, now));
    world.run(Duration::from_secs(3));

    let error = StreamError::Remote("ECONNRESET: connection reset by peer".into());
    assert!(world.tabs[tab].closed(stream, Some(error)));
}

#[test]
fn unknown_peer_fails_the_dial_in_words() {
    let mut world = World::new(5, Limits::default());
    let tab = world.add_tab();

    let now = world.now;
    let stream = world.tabs[tab].client.connect(pair(9).public_key, &pair(1), now);
    world.run(Duration::from_secs(30));

    let error = StreamError::Remote("PEER_NOT_FOUND: Peer not found".into());
    assert!(world.tabs[tab].closed(stream, Some(error)));
}

#[test]
fn dial_that_is_given_up_leaves_no_open_stream_at_the_other_end() {
    let mut world = World::new(7, Limits::default());
    let (caller, called) = (world.add_tab(), world.add_tab());
    world.tabs[called].client.listen(&pair(1), false);
    world.run(Duration::from_secs(5));

    let mut accepted = 0;
    for pause in 0..400 {
        let now = world.now;
        let stream = world.tabs[caller].client.connect(pair(1).public_key, &pair(2), now);
        world.run(Duration::from_millis(pause));
        let is_open =
            world.tabs[caller].events.iter().any(|event| matches!(event, ClientEvent::Opened { .. }));
        world.tabs[caller].client.destroy(stream, None);
        let told = world.tabs[caller].events.len();
        world.run(Duration::from_secs(1));

        assert_eq!(world.tabs[caller].events.len(), told, "after {pause} ms");
        let events = &world.tabs[called].events;
        let closed = events.iter().filter(|event| matches!(event, ClientEvent::Closed { .. })).count();
        assert_eq!(closed, world.tabs[called].connections(), "after {pause} ms");
        accepted += usize::from(!is_open && closed > accepted);
        if is_open {
            break;
        }
    }
    assert!(accepted > 0);
}

#[test]
fn stream_that_both_have_ended_brings_its_last_bytes_without_its_client() {
    let (mut world, tab, stream, connection) = World::connected(8);
    let bytes = pattern(200_000, 3);
    world.received.clear();
    world.native(|endpoint, now| endpoint.end(connection, now).unwrap());
    world.run(Duration::from_secs(1));

    world.tabs[tab].client.write(stream, bytes.clone().into()).unwrap();
    world.tabs[tab].client.end(stream);
    // As long as the relay takes to hear it.
    world.run(Duration::from_millis(5));
    world.cut(tab);
    world.run(Duration::from_secs(10));

    assert!(world.received[&connection] == bytes);
    assert!(world.events.iter().any(|event| matches!(event, Event::Closed { error: None, .. })));
}

#[test]
fn stream_without_its_client_counts_for_it_and_has_its_time() {
    let mut quotas = Quotas::default();
    quotas.address.streams = Some(1);
    let mut world = World::with_quotas(9, Limits::default(), quotas);
    let peer = pair(2);
    world.native_listen(&peer);
    world.reads = false;
    let dial = |world: &mut World| {
        let (tab, now) = (world.add_tab(), world.now);
        let stream = world.tabs[tab].client.connect(peer.public_key, &pair(1), now);
        world.run(Duration::from_secs(3));
        (tab, stream)
    };
    let (tab, stream) = dial(&mut world);
    let (connection, ..) = world.native_connected();
    world.native(|endpoint, now| {
        endpoint.set_receive_limit(connection, 65536).unwrap();
        endpoint.end(connection, now).unwrap();
    });
    world.tabs[tab].client.write(stream, vec![1; 400_000].into()).unwrap();
    world.tabs[tab].client.end(stream);
    world.run(Duration::from_secs(1));
    world.cut(tab);

    let (tab, stream) = dial(&mut world);
    let error = StreamError::Remote("RELAY_BUSY: Too many streams or requests on this relay".into());
    assert!(world.tabs[tab].closed(stream, Some(error)), "{:?}", world.tabs[tab].events);
    assert!(!world.events.iter().any(|event| matches!(event, Event::Closed { .. })));

    world.run(Duration::from_secs(60));
    assert!(world.events.iter().any(|event| matches!(event, Event::Closed { error: Some(_), .. })));
    let (tab, stream) = dial(&mut world);
    world.tabs[tab].opened(stream);
}

#[test]
fn key_goes_to_whoever_proves_it_last() {
    let mut world = World::new(6, Limits::default());
    let (old, new, native) = (world.add_tab(), world.add_tab(), pair(2));
    let own = pair(1);
    let first = world.tabs[old].client.listen(&own, false);
    world.run(Duration::from_secs(5));

    let second = world.tabs[new].client.listen(&own, false);
    world.run(Duration::from_secs(5));

    assert!(world.tabs[old].has_lost(first));
    assert!(world.tabs[new].is_listening(second));
    world.native_connect(&native, own.public_key);
    world.run(Duration::from_secs(3));
    world.tabs[new].connection(second);

    // A thief knows the public key, and signs with another.
    let thief = world.add_tab();
    let stolen = KeyPair { public_key: own.public_key, secret_key: pair(66).secret_key };
    let third = world.tabs[thief].client.listen(&stolen, false);
    world.run(Duration::from_secs(15));
    assert!(world.tabs[thief].has_lost(third));
    world.native_connect(&pair(3), own.public_key);
    world.run(Duration::from_secs(3));
    assert_eq!(world.tabs[new].connections(), 2);
}

#[test]
fn lost_link_ends_everything_on_both_sides() {
    let (mut world, tab, stream, connection) = World::connected(7);
    let own = pair(1);
    let server = world.tabs[tab].client.listen(&own, false);
    world.run(Duration::from_secs(3));
    let now = world.now;
    let query = world.tabs[tab].client.lookup([1; 32], now);

    world.cut(tab);
    world.run(Duration::from_secs(3));

    let tab = &world.tabs[tab];
    assert!(tab.is_finished(query));
    assert!(tab.closed(stream, Some(StreamError::LinkClosed)));
    assert!(tab.has_lost(server));
    assert!(matches!(tab.events.last(), Some(ClientEvent::Failed(Failure::LinkClosed))));
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Closed { connection: id, .. } if *id == connection))
    );
    assert_eq!(world.bridge.links(), 0);
    // The key is free at once.
    let next = world.add_tab();
    let server = world.tabs[next].client.listen(&own, false);
    world.run(Duration::from_secs(5));
    assert!(world.tabs[next].is_listening(server));
}

#[test]
fn peer_waits_for_a_client_that_does_not_read() {
    let (mut world, tab, stream, connection) = World::connected(9);

    world.tabs[tab].is_deaf = true;
    let total = 8_000_000;
    world.native(|endpoint, now| endpoint.write(connection, vec![1; total].into(), now).unwrap());
    world.run(Duration::from_secs(20));
    let waiting = world.native(|endpoint, _| endpoint.queued(connection));
    assert!(waiting > total - 1_500_000, "{waiting}");

    world.tabs[tab].is_deaf = false;
    world.run(Duration::from_secs(20));
    assert_eq!(world.tabs[tab].received(stream).len(), total);
}

#[test]
fn client_waits_for_a_peer_that_does_not_read_and_then_loses_it() {
    let (mut world, tab, stream, _) = World::connected(10);
    world.reads = false;

    for _ in 0..30 {
        world.tabs[tab].client.write(stream, vec![1; 1_000_000].into()).unwrap();
        world.run(Duration::from_millis(100));
    }
    let link = world.tabs[tab].link;
    assert!(world.bridge.is_paused(link));
    world.run(Duration::from_secs(40));

    assert!(!world.bridge.is_paused(link));
    let error = StreamError::Remote("ETIMEDOUT: connection timed out".into());
    assert!(world.tabs[tab].closed(stream, Some(error)));
}

#[test]
fn same_seed_gives_the_same_history() {
    let history = |seed| {
        let (mut world, tab, stream, connection) = World::connected(seed);
        exchange(&mut world, tab, stream, connection, 100_000);
        (world.datagrams, world.frames)
    };

    assert_eq!(history(12), history(12));
    assert!(history(12).0 > 100);
}
