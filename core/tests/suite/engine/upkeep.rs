//! Marks and sweeps, and the audit of what is stored.

use bytes::Bytes;
use hypertab_core::engine::*;
use hypertab_core::hypercore::proof::{ProofRequest, UpgradeRequest};
use hypertab_core::storage::keys::DataKeys;
use hypertab_core::storage::{Batch, MemoryStore, Op};

use crate::support::sim::{Host, block};

#[test]
fn blocks_without_marks_are_found_also_after_a_restart() {
    let (mut host, core) = log(70_000);
    let store = *host.disks.keys().next().unwrap();
    for (start, end) in [(3, 5), (5, 6), (40_000, 40_001)] {
        let request = host.engine.core(core).unwrap().mark(start, end);
        assert_eq!(host.settled(request), Ok(Response::Done));
    }
    let clear = host.engine.core(core).unwrap().clear(0, 2);
    assert_eq!(host.settled(clear), Ok(Response::Done));

    let mut again = Host::new(2);
    let store = again.store(host.disks.remove(&store).unwrap().data);
    let core = again.open(store, OpenCore::default());
    let request = again.engine.core(core).unwrap().unmarked(0);
    let ranges = vec![(2, 3), (6, 40_000), (40_001, 70_000)];
    assert_eq!(again.settled(request), Ok(Response::Unmarked { ranges, next: None }));

    let clear = again.engine.core(core).unwrap().clear_marks();
    assert_eq!(again.settled(clear), Ok(Response::Done));
    let request = again.engine.core(core).unwrap().unmarked(69_999);
    let ranges = vec![(69_999, 70_000)];
    assert_eq!(again.settled(request), Ok(Response::Unmarked { ranges, next: None }));
}

#[test]
fn audit_counts_what_fits_and_drops_what_does_not() {
    let (mut host, core) = log(150);
    let all = audit(&mut host, core, false);
    assert_eq!((all.blocks, all.bits, all.nodes), (150, 150, 2 * 150 - 4));
    assert_eq!((all.dropped_nodes, all.dropped_blocks, all.dropped_bits), (0, 0, 0));

    let keys = DataKeys { data: 0 };
    let ops = vec![
        Op::Put { key: keys.block(7), value: Bytes::from_static(b"wrong") },
        Op::Delete { key: keys.block(100) },
        Op::Put { key: keys.block(149), value: Bytes::from_static(b"also wrong") },
    ];
    let disk = host.disks.values_mut().next().unwrap();
    disk.data.apply(Batch { ops });
    let dry = audit(&mut host, core, true);
    assert_eq!((dry.dropped_blocks, dry.dropped_bits), (2, 1));
    assert!(host.engine.core(core).unwrap().has(0, 150));

    let found = audit(&mut host, core, false);
    assert_eq!((found.blocks, found.dropped_blocks), (147, 2));
    let handle = host.engine.core(core).unwrap();
    assert!(!handle.has(7, 8) && !handle.has(100, 101) && !handle.has(149, 150) && handle.has(8, 100));
    assert_eq!(handle.contiguous_length(), 7);
    let again = audit(&mut host, core, false);
    assert_eq!((again.blocks, again.bits, again.dropped_blocks, again.dropped_bits), (147, 147, 0, 0));
}

#[test]
fn lost_roots_are_taken_from_a_proof_before_anything_is_written() {
    let (mut host, core) = log(5);
    let upgrade = Some(UpgradeRequest { start: 0, length: 5 });
    let request = host.engine.core(core).unwrap().proof(ProofRequest { upgrade, ..ProofRequest::default() });
    let Ok(Response::Proof(proof)) = host.settled(request) else { panic!("no proof") };
    let hash = host.tree_hash(core);
    let store = *host.disks.keys().next().unwrap();
    let mut data = host.disks.remove(&store).unwrap().data;
    let ops = vec![Op::Delete { key: DataKeys { data: 0 }.node(3) }];
    data.apply(Batch { ops });

    let mut again = Host::new(2);
    let store = again.store(data);
    let core = again.open(store, OpenCore::default());
    let handle = again.engine.core(core).unwrap();
    assert!(handle.is_lost());
    assert_eq!((handle.length(), handle.contiguous_length()), (5, 5));
    let append =
        again.engine.core(core).unwrap().append(vec![Bytes::from_static(b"x")], AppendOptions::default());
    assert!(matches!(again.settled(append), Err(Error::InvalidOperation(_))));

    let mut forged = (*proof).clone();
    forged.upgrade.as_mut().unwrap().nodes[0].hash = [0; 32];
    let request = again.engine.core(core).unwrap().repair(forged);
    assert_eq!(again.settled(request), Ok(Response::Applied(false)));
    let request = again.engine.core(core).unwrap().repair(*proof);
    assert_eq!(again.settled(request), Ok(Response::Applied(true)));

    assert!(!again.engine.core(core).unwrap().is_lost());
    assert_eq!(again.tree_hash(core), hash);
    let append =
        again.engine.core(core).unwrap().append(vec![Bytes::from_static(b"x")], AppendOptions::default());
    assert!(matches!(again.settled(append), Ok(Response::Appended { length: 6, .. })));
}

fn log(blocks: u64) -> (Host, CoreId) {
    let mut host = Host::new(1);
    let store = host.store(MemoryStore::new());
    let core = host.open(store, OpenCore::default());
    let blocks = (0..blocks).map(|index| block(index, 8)).collect();
    host.engine.core(core).unwrap().append(blocks, AppendOptions::default());
    host.settle();
    (host, core)
}

fn audit(host: &mut Host, core: CoreId, dry_run: bool) -> Audited {
    let mut total = Audited::default();
    let mut start = 0;
    loop {
        let options = AuditOptions { start, tree: true, blocks: true, bitfield: true, dry_run };
        let request = host.engine.core(core).unwrap().audit(options);
        let Ok(Response::Audited(part)) = host.settled(request) else { panic!("no audit") };
        total.nodes += part.nodes;
        total.blocks += part.blocks;
        total.bits += part.bits;
        total.dropped_nodes += part.dropped_nodes;
        total.dropped_blocks += part.dropped_blocks;
        total.dropped_bits += part.dropped_bits;
        match part.next {
            Some(next) => start = next,
            None => return total,
        }
    }
}
