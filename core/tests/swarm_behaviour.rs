//! The swarm as its owner sees it: rounds, dials, retries, flushes, and carriers that come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hypertab_core::hyperswarm::{
    Admission, Command, ConnectionId, DestroyReason, Established, JoinOptions, QueryId, Swarm, SwarmEvent,
    SwarmOptions,
};
use hypertab_core::time::{Duration, Instant};

const OWN: [u8; 32] = [0x77; 32];
const TOPIC: [u8; 32] = [1; 32];

#[test]
fn server_listens_before_it_announces_and_clears_once() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, server(), owner.now);

    assert_eq!(owner.commands(), [Command::Listen]);
    owner.swarm.handle_listening(owner.now);
    let [Command::Announce { query, topic: TOPIC, clear: true }] = owner.commands()[..] else { panic!() };
    owner.swarm.handle_finished(query, true, owner.now);

    owner.wait(Duration::from_secs(13 * 60));
    assert!(matches!(owner.commands()[..], [Command::Announce { topic: TOPIC, clear: false, .. }]));
}

#[test]
fn client_looks_again_every_ten_to_twelve_minutes() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, client(), owner.now);
    for _ in 0..20 {
        let query = owner.lookup();
        owner.swarm.handle_finished(query, true, owner.now);
        let due = owner.swarm.poll_timeout().unwrap().duration_since(owner.now);
        assert!(due >= Duration::from_secs(600) && due <= Duration::from_secs(720), "{due:?}");
        owner.wait(due);
    }
}

#[test]
fn machine_that_slept_looks_again_at_some_time_within_two_minutes() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, client(), owner.now);
    let query = owner.lookup();
    owner.swarm.handle_finished(query, true, owner.now);

    owner.now += Duration::from_secs(3600);
    owner.swarm.handle_timeout(owner.now);

    assert_eq!(owner.commands(), []);
    let due = owner.swarm.poll_timeout().unwrap().duration_since(owner.now);
    assert!(due <= Duration::from_secs(120));
    owner.wait(due);
    owner.lookup();
}

#[test]
fn modes_of_all_sessions_are_one_query() {
    let mut owner = Owner::new();
    let one = owner.swarm.join(TOPIC, client(), owner.now);
    let first = owner.lookup();

    let two = owner.swarm.join(TOPIC, server(), owner.now);
    assert_eq!(owner.commands(), [Command::Cancel { query: first }, Command::Listen]);
    owner.swarm.handle_listening(owner.now);
    let [Command::Announce { query, .. }] = owner.commands()[..] else { panic!() };
    owner.swarm.handle_finished(query, true, owner.now);

    owner.swarm.end_session(two, owner.now);
    let [Command::Unannounce { query, topic: TOPIC }] = owner.commands()[..] else { panic!() };
    owner.swarm.handle_finished(query, true, owner.now);
    assert!(owner.swarm.status(&TOPIC).unwrap().is_client);
    owner.swarm.end_session(one, owner.now);
    assert_eq!(owner.commands(), []);
    assert_eq!(owner.swarm.status(&TOPIC), None);
}

#[test]
fn topic_left_is_unannounced_and_joined_again_after_that() {
    let mut owner = Owner::new();
    owner.announce();

    owner.swarm.leave(&TOPIC, owner.now);
    let [Command::Unannounce { query, .. }] = owner.commands()[..] else { panic!() };
    assert_eq!(owner.swarm.topics().count(), 0);
    owner.swarm.join(TOPIC, server(), owner.now);
    assert_eq!(owner.commands(), []);
    owner.swarm.handle_finished(query, true, owner.now);

    assert!(matches!(owner.commands()[..], [Command::Announce { clear: true, .. }]));
}

#[test]
fn three_peers_are_dialled_at_once() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, client(), owner.now);
    let query = owner.lookup();
    owner.find(query, 0..10);

    let dials = owner.dials();
    assert_eq!((dials.len(), owner.swarm.connecting()), (3, 3));
    owner.swarm.handle_opened(dials[0].0, owner.now);
    assert_eq!(owner.dials().len(), 1);
    owner.swarm.handle_closed(dials[1].0, owner.now);
    assert_eq!(owner.dials().len(), 1);
}

#[test]
fn limit_of_a_topic_bounds_new_peers() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, JoinOptions { limit: Some(2), ..client() }, owner.now);
    let query = owner.lookup();

    owner.find(query, 0..10);
    let dials = owner.dials();
    assert_eq!(dials.len(), 2);
    for (id, _) in dials {
        owner.swarm.handle_opened(id, owner.now);
    }
    owner.swarm.handle_finished(query, true, owner.now);

    owner.wait(Duration::from_secs(720));
    let query = owner.lookup();
    owner.find(query, 0..10);
    assert_eq!(owner.dials().len(), 0, "two that the round before found are connected");
}

#[test]
fn failed_peer_is_tried_three_times_more_at_growing_pauses() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, client(), owner.now);
    let query = owner.lookup();
    owner.find(query, 0..1);
    owner.swarm.handle_finished(query, true, owner.now);
    let start = owner.now;

    let mut tries = Vec::new();
    for _ in 0..4 {
        let dials = owner.dials();
        assert_eq!(dials.len(), 1);
        tries.push(owner.now.duration_since(start).as_secs());
        owner.swarm.handle_closed(dials[0].0, owner.now);
        for _ in 0..40 {
            owner.wait(Duration::from_millis(500));
            if owner.has_dial() {
                break;
            }
        }
    }

    assert!((5..=7).contains(&tries[1]), "{tries:?}");
    assert!((20..=26).contains(&tries[2]), "{tries:?}");
    assert!((35..=45).contains(&tries[3]), "{tries:?}");
    owner.wait(Duration::from_secs(300));
    assert_eq!(owner.dials().len(), 0);
    assert!(owner.swarm.peer(&key(0)).is_none(), "given up peers are forgotten");
}

#[test]
fn peer_of_a_topic_that_was_left_is_not_tried_again() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, client(), owner.now);
    let query = owner.lookup();
    owner.find(query, 0..1);
    let dials = owner.dials();
    owner.swarm.handle_opened(dials[0].0, owner.now);
    owner.swarm.leave(&TOPIC, owner.now);
    owner.commands();

    owner.swarm.handle_closed(dials[0].0, owner.now);
    owner.wait(Duration::from_secs(60));

    assert_eq!(owner.commands(), []);
}

#[test]
fn explicit_peer_is_tried_for_ever() {
    let mut owner = Owner::new();
    owner.swarm.join_peer(key(5), owner.now);
    let mut tries = 0;
    for _ in 0..4000 {
        for (id, _) in owner.dials() {
            tries += 1;
            owner.swarm.handle_closed(id, owner.now);
        }
        owner.wait(Duration::from_secs(1));
    }

    assert!((8..14).contains(&tries), "{tries}");
    owner.swarm.leave_peer(&key(5));
    owner.wait(Duration::from_secs(1000));
    assert!(owner.dials().is_empty() && owner.swarm.peer(&key(5)).is_none());
}

#[test]
fn banned_peers_and_we_ourselves_are_not_welcome() {
    let mut owner = Owner::new();
    owner.swarm.ban(key(3), true);
    owner.swarm.join(TOPIC, client(), owner.now);
    let query = owner.lookup();
    owner.find(query, 3..4);
    owner.swarm.handle_found(query, OWN, Vec::new(), owner.now);

    assert!(owner.dials().is_empty());
    assert!(!owner.swarm.is_welcome(&key(3)) && !owner.swarm.is_welcome(&OWN));
    let refused = Admission::Refused(DestroyReason::Stopped);
    assert_eq!(owner.swarm.handle_incoming(key(3), |_| Established::default()), refused);
    owner.swarm.ban(key(3), false);
    assert!(owner.swarm.is_welcome(&key(3)));
}

#[test]
fn replaced_connection_closes_before_the_new_one_is_told() {
    let mut owner = Owner::new();
    let peer = [0xff; 32];
    let Admission::Taken(old) = owner.swarm.handle_incoming(peer, |_| Established::default()) else {
        panic!()
    };
    owner.events();

    let Admission::Replaces(new) = owner.swarm.handle_incoming(peer, |_| Established::default()) else {
        panic!()
    };
    assert_eq!(owner.events(), []);
    assert_eq!(owner.swarm.connection(&peer), Some(old));
    owner.swarm.handle_closed(old, owner.now);

    let expected = SwarmEvent::Connection { connection: new, public_key: peer, is_client: false };
    assert!(owner.events().contains(&expected));
    assert_eq!(owner.swarm.connection(&peer), Some(new));
}

#[test]
fn flush_waits_for_lookups_and_for_the_peers_they_found() {
    let mut owner = Owner::new();
    owner.swarm.join(TOPIC, client(), owner.now);
    let query = owner.lookup();
    let flush = owner.swarm.flush();
    owner.find(query, 0..4);
    assert!(!owner.is_flushed(flush));

    owner.swarm.handle_finished(query, true, owner.now);
    assert!(!owner.is_flushed(flush));
    let mut dials = owner.dials();
    // Wanted since, so not waited for.
    owner.swarm.join_peer(key(50), owner.now);
    for _ in 0..4 {
        assert!(!owner.is_flushed(flush));
        let (id, peer) = dials.remove(0);
        assert_ne!(peer, key(50));
        owner.swarm.handle_closed(id, owner.now);
        dials.extend(owner.dials().into_iter().filter(|(_, peer)| *peer != key(50)));
    }

    assert!(owner.is_flushed(flush));
    let flush = owner.swarm.flush();
    assert!(!owner.is_flushed(flush));
    let id = owner.swarm.connection(&key(50)).unwrap();
    owner.swarm.handle_opened(id, owner.now);
    let flush = owner.swarm.flush();
    assert!(owner.is_flushed(flush), "nothing to wait for");
}

#[test]
fn carrier_that_comes_back_gets_everything_again() {
    let mut owner = Owner::new();
    owner.announce();
    owner.swarm.join([2; 32], client(), owner.now);
    owner.lookup();

    owner.swarm.set_online(false, owner.now);
    assert_eq!(owner.commands(), []);
    owner.swarm.set_online(true, owner.now);

    let commands = owner.commands();
    assert!(commands.contains(&Command::Listen));
    assert!(
        commands.iter().any(|command| matches!(command, Command::Lookup { topic, .. } if *topic == [2; 32]))
    );
    owner.swarm.handle_listening(owner.now);
    assert!(matches!(owner.commands()[..], [Command::Announce { topic: TOPIC, .. }]));
}

#[test]
fn suspended_swarm_does_nothing_until_it_is_resumed() {
    let mut owner = Owner::new();
    owner.announce();
    let Admission::Taken(id) = owner.swarm.handle_incoming(key(1), |_| Established::default()) else {
        panic!()
    };

    owner.swarm.suspend();
    let reason = DestroyReason::Stopped;
    assert_eq!(owner.commands(), [Command::CloseServer, Command::Destroy { connection: id, reason }]);
    owner.swarm.handle_closed(id, owner.now);
    owner.wait(Duration::from_secs(3600));
    assert_eq!(owner.commands(), []);
    assert!(!owner.swarm.is_welcome(&key(1)));

    owner.swarm.resume(owner.now);
    assert_eq!(owner.commands(), [Command::Listen]);
}

#[test]
fn random_histories_keep_the_books() {
    for seed in 0..40u8 {
        let mut random = Random(0x5851_f42d_4c95_7f2d ^ u64::from(seed) << 8);
        let options = SwarmOptions { max_peers: 6, ..SwarmOptions::new(OWN) };
        let mut owner = Owner::with(options, seed);
        let (mut open, mut dialling) = (BTreeMap::new(), BTreeMap::new());
        let (mut queries, mut sessions) = (BTreeSet::new(), Vec::new());
        for _ in 0..600 {
            match random.below(14) {
                0 => {
                    let options = JoinOptions {
                        server: random.below(2) == 0,
                        client: random.below(2) == 0,
                        limit: (random.below(3) == 0).then_some(2),
                    };
                    sessions.push(owner.swarm.join([random.below(4) as u8; 32], options, owner.now));
                }
                1 if !sessions.is_empty() => {
                    let index = random.below(sessions.len() as u64) as usize;
                    owner.swarm.end_session(sessions.swap_remove(index), owner.now);
                }
                2 => owner.swarm.leave(&[random.below(4) as u8; 32], owner.now),
                3 => owner.swarm.join_peer(key(random.below(12)), owner.now),
                4 => owner.swarm.leave_peer(&key(random.below(12))),
                5 | 6 => {
                    if let Some(query) = pick(&queries, &mut random) {
                        owner.find(query, 0..random.below(12));
                    }
                }
                7 => {
                    if let Some(query) = pick(&queries, &mut random) {
                        queries.remove(&query);
                        owner.swarm.handle_finished(query, random.below(4) != 0, owner.now);
                    }
                }
                8 => {
                    if let Some(id) = pick(&dialling.keys().copied().collect(), &mut random) {
                        open.insert(id, dialling.remove(&id).unwrap());
                        owner.swarm.handle_opened(id, owner.now);
                    }
                }
                9 => {
                    let all = open.keys().chain(dialling.keys()).copied().collect();
                    if let Some(id) = pick(&all, &mut random) {
                        open.remove(&id);
                        dialling.remove(&id);
                        owner.swarm.handle_closed(id, owner.now);
                    }
                }
                10 => {
                    let peer = key(random.below(12));
                    let seen = Established { has_read: random.below(2) == 0, has_written: true };
                    match owner.swarm.handle_incoming(peer, |_| seen) {
                        Admission::Taken(id) | Admission::Replaces(id) => {
                            open.insert(id, peer);
                        }
                        Admission::Refused(_) => {}
                    }
                }
                11 => owner.swarm.handle_listening(owner.now),
                12 if random.below(5) == 0 => {
                    let is_online = random.below(2) == 0;
                    owner.swarm.set_online(is_online, owner.now);
                    if !is_online {
                        queries.clear();
                    }
                }
                _ => owner.wait(Duration::from_millis(random.below(400_000))),
            }
            let mut commands = VecDeque::from(owner.commands());
            while let Some(command) = commands.pop_front() {
                match command {
                    Command::Lookup { query, .. }
                    | Command::Announce { query, .. }
                    | Command::Unannounce { query, .. } => {
                        assert!(queries.insert(query));
                    }
                    Command::Cancel { query } => assert!(queries.remove(&query)),
                    Command::Dial { connection, public_key, .. } => {
                        assert!(!open.values().chain(dialling.values()).any(|peer| *peer == public_key));
                        dialling.insert(connection, public_key);
                    }
                    Command::Destroy { connection, .. } => {
                        open.remove(&connection);
                        dialling.remove(&connection);
                        owner.swarm.handle_closed(connection, owner.now);
                        commands.extend(owner.commands());
                    }
                    Command::Listen | Command::CloseServer | Command::KeepAlive { .. } => {}
                }
            }
            for (id, peer) in dialling.iter() {
                assert_eq!(owner.swarm.connection(peer), Some(*id), "seed {seed}");
            }
            assert!(owner.swarm.connecting() == dialling.len() && dialling.len() <= 3, "seed {seed}");
        }
    }
}

fn pick<T: Copy + Ord>(set: &BTreeSet<T>, random: &mut Random) -> Option<T> {
    let index = random.below(set.len().max(1) as u64) as usize;
    set.iter().nth(index).copied()
}

struct Owner {
    swarm: Swarm,
    now: Instant,
    waiting: Vec<Command>,
    flushed: BTreeMap<u64, bool>,
}

impl Owner {
    fn new() -> Self {
        Self::with(SwarmOptions::new(OWN), 1)
    }

    fn with(options: SwarmOptions, seed: u8) -> Self {
        let now = Instant::EPOCH + Duration::from_secs(10);
        let mut swarm = Swarm::new(options, [seed; 32]);
        swarm.set_online(true, now);
        Self { swarm, now, waiting: Vec::new(), flushed: BTreeMap::new() }
    }

    fn commands(&mut self) -> Vec<Command> {
        let mut commands = std::mem::take(&mut self.waiting);
        commands.extend(std::iter::from_fn(|| self.swarm.poll_command()));
        commands
    }

    fn events(&mut self) -> Vec<SwarmEvent> {
        std::iter::from_fn(|| self.swarm.poll_event()).collect()
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.swarm.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.swarm.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn announce(&mut self) {
        self.swarm.join(TOPIC, server(), self.now);
        assert_eq!(self.commands(), [Command::Listen]);
        self.swarm.handle_listening(self.now);
        let [Command::Announce { query, .. }] = self.commands()[..] else { panic!() };
        self.swarm.handle_finished(query, true, self.now);
    }

    fn lookup(&mut self) -> QueryId {
        let commands = self.commands();
        let [Command::Lookup { query, .. }] = commands[..] else { panic!("{commands:?}") };
        query
    }

    fn find(&mut self, query: QueryId, peers: std::ops::Range<u64>) {
        for peer in peers {
            self.swarm.handle_found(query, key(peer), Vec::new(), self.now);
        }
    }

    fn has_dial(&mut self) -> bool {
        self.waiting.extend(std::iter::from_fn(|| self.swarm.poll_command()));
        self.waiting.iter().any(|command| matches!(command, Command::Dial { .. }))
    }

    fn dials(&mut self) -> Vec<(ConnectionId, [u8; 32])> {
        let dials = self.commands().into_iter().filter_map(|command| match command {
            Command::Dial { connection, public_key, .. } => Some((connection, public_key)),
            _ => None,
        });
        dials.collect()
    }

    fn is_flushed(&mut self, id: hypertab_core::hyperswarm::FlushId) -> bool {
        for event in self.events() {
            if let SwarmEvent::Flushed { flush, is_complete } = event {
                self.flushed.insert(flush.0, is_complete);
            }
        }
        self.flushed.get(&id.0) == Some(&true)
    }
}

fn client() -> JoinOptions {
    JoinOptions { server: false, client: true, limit: None }
}

fn server() -> JoinOptions {
    JoinOptions { server: true, client: false, limit: None }
}

fn key(index: u64) -> [u8; 32] {
    let mut key = [9; 32];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
