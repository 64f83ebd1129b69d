//! Which of the blocks that another's search touched are nodes.
//!
//! A peer that runs upstream names all blocks that its search read, in order: in each node those of the two to four keys
//! that it compared with, then the child. Only the nodes and the last key are needed, and which blocks they are is not
//! said. Three things tell:
//!
//! - No node is younger than its parent, and no key is younger than its node. So only a block that nothing younger
//!   follows can be a node.
//! - How often a binary search compares in a node of four to eight keys, and how many nodes there are on the way.
//! - Where keys were put in their order, or in the reverse of it, the compared keys close in on the one that is looked
//!   for in the order of their blocks too, and a node is younger than the key behind it: it was written last when it was
//!   split off, after that key had gone up.
//!
//! None of it is certain, so what comes out is a chance for each block. A block that is missed costs a round trip, one
//! that is asked for in vain costs a block.

use alloc::vec::Vec;

use crate::hyperbee::MAX_DEPTH;

/// What a peer's search touched, and how much of it is accounted for.
#[derive(Clone, Copy)]
pub(super) struct Steps<'s> {
    touched: &'s [u64],
    next: usize,
    /// Nodes below the root on the way so far.
    depth: usize,
}

impl<'s> Steps<'s> {
    /// Begins after the root, which a search touches first.
    pub(super) fn after_root(touched: &'s [u64]) -> Self {
        Self { touched, next: 1, depth: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next >= self.touched.len()
    }

    /// Goes past a block that is read, which counts only once; `None` when another was.
    pub(super) fn touch(self, seq: u64) -> Option<Self> {
        if self.touched.iter().take(self.next).any(|touched| *touched == seq) {
            return Some(self);
        }
        (self.touched.get(self.next) == Some(&seq)).then_some(Self { next: self.next + 1, ..self })
    }

    /// Goes on into a child; `None` when that is deeper than a tree can be. Levels of one block may name each other in a circle.
    pub(super) fn descend(self) -> Option<Self> {
        (self.depth < MAX_DEPTH).then_some(Self { depth: self.depth + 1, ..self })
    }

    /// Returns whether these account for more than others.
    pub(super) fn are_after(&self, other: &Self) -> bool {
        self.next > other.next
    }

    /// Returns the blocks that are worth asking for once a search got to node `parent`, above `below` more.
    ///
    /// With `room` that many are asked for at most, the unlikely ones and the keys beside the last one among them; without,
    /// only those that probably are needed.
    pub(super) fn likely(&self, parent: u64, below: usize, room: usize) -> Vec<u64> {
        let (known, rest) = self.touched.split_at(self.next.min(self.touched.len()));
        let Some(last) = rest.last() else { return Vec::new() };
        let mut bounds = Bounds { low: 0, high: parent.saturating_add(1), key: *last };
        for seq in known.iter().skip(1).filter(|seq| **seq < parent) {
            bounds.narrow(*seq);
        }
        let places = Places::of(rest, parent, &mut bounds);
        let chances = places.chances(below.min(MAX_DEPTH));

        let mut likely = alloc::vec![*last];
        let mut nodes: Vec<usize> = (0..rest.len() - 1).filter(|i| places.leads[*i]).collect();
        nodes.sort_by(|a, b| chances[*b].total_cmp(&chances[*a]));
        for i in nodes {
            if chances[i] >= PROBABLE || (chances[i] > POSSIBLE && likely.len() < room) {
                likely.push(rest[i]);
            }
        }
        // A key that is not there is shown by the two beside its place; the last one is one of them.
        let beside: Vec<u64> = if places.in_order > PROBABLE {
            [bounds.high, bounds.low].into_iter().filter(|seq| self.touched.contains(seq)).collect()
        } else {
            rest.iter().rev().filter(|seq| !likely.contains(seq)).take(BESIDE).copied().collect()
        };
        // In order, next to nothing is asked for in vain.
        let room = room + usize::from(room > 0 && places.in_order > PROBABLE);
        likely.extend(beside.into_iter().take(room.saturating_sub(likely.len())));
        likely
    }
}

/// The youngest block of a smaller key and the oldest of a larger one, as far as blocks are in the order of keys.
struct Bounds {
    low: u64,
    high: u64,
    /// Where the search ended.
    key: u64,
}

impl Bounds {
    fn narrow(&mut self, seq: u64) {
        if seq > self.key {
            self.high = self.high.min(seq);
        } else if seq < self.key {
            self.low = self.low.max(seq);
        }
    }
}

/// What is known of each block that a search touched.
struct Places {
    /// Whether nothing younger follows.
    leads: Vec<bool>,
    /// Whether it is younger than the bounds at its time. Younger ones than that are no keys where keys are in order.
    is_above: Vec<bool>,
    /// How likely keys are in the order of their blocks.
    in_order: f64,
}

impl Places {
    fn of(rest: &[u64], parent: u64, bounds: &mut Bounds) -> Self {
        let mut leads = alloc::vec![false; rest.len()];
        let mut youngest = 0;
        for (leads, seq) in leads.iter_mut().zip(rest).rev() {
            *leads = *seq >= youngest;
            youngest = youngest.max(*seq);
        }
        let mut is_above = Vec::with_capacity(rest.len());
        let mut odds = ODDS_OF_ORDER;
        for (seq, leads) in rest.iter().zip(&leads) {
            let is_inside = (bounds.low..bounds.high).contains(seq);
            is_above.push(*seq >= bounds.high && *seq != bounds.key);
            if is_inside && *seq != bounds.key {
                let width = bounds.high - bounds.low;
                odds *= (ratio(parent) / ratio(width.max(1))).clamp(1.0, MAX_SIGN);
            } else if !leads {
                odds /= MAX_SIGN;
            }
            odds = odds.clamp(1.0 / MAX_ODDS, MAX_ODDS);
            bounds.narrow(*seq);
        }
        Self { leads, is_above, in_order: odds / (1.0 + odds) }
    }

    /// Returns how likely each block is a node, from all ways to tell nodes and keys apart, each as likely as it is.
    fn chances(&self, below: usize) -> Vec<f64> {
        let mut before = Vec::with_capacity(self.leads.len() + 1);
        let mut states = States::start(below);
        for i in 0..self.leads.len() {
            let next = states.forward(|below| self.odds_of_node(i, below));
            before.push(core::mem::replace(&mut states, next));
        }
        let mut after = States::ends(below);
        let mut chances = alloc::vec![0.0; self.leads.len()];
        for (i, states) in before.iter().enumerate().rev() {
            let (earlier, chance) = after.backward(states, |below| self.odds_of_node(i, below));
            chances[i] = chance;
            after = earlier;
        }
        chances
    }

    /// Returns how much likelier a block is where it is as a node above `below` more than as a key.
    fn odds_of_node(&self, i: usize, below: usize) -> f64 {
        if !self.leads[i] {
            return 0.0;
        }
        // Out of order, a key is younger than everything below the next node once in as many times as there are keys.
        let scattered = KEYS_BELOW[below.min(KEYS_BELOW.len() - 1)];
        let ordered = if self.is_above[i] { ABOVE } else { INSIDE };
        self.in_order * ordered + (1.0 - self.in_order) * scattered
    }
}

/// How likely a search is where: by the nodes that are still below, and the keys that were compared with in this one.
struct States(Vec<[f64; MAX_COMPARED + 1]>);

impl States {
    fn start(below: usize) -> Self {
        let mut states = Self(alloc::vec![[0.0; MAX_COMPARED + 1]; below + 1]);
        states.0[below][0] = 1.0;
        states.skip();
        states
    }

    /// How likely a search ends from each: mostly in a leaf, seldom with a key further up.
    fn ends(below: usize) -> Self {
        let end = |below: usize| {
            let chance = FOUND[below.min(FOUND.len() - 1)];
            let mut end = [chance; MAX_COMPARED + 1];
            end[0] = chance / 50.0;
            end
        };
        let mut states = Self((0..=below).map(end).collect());
        states.skip_back();
        states
    }

    /// Goes past a block, which is a key or a node.
    fn forward(&self, odds_of_node: impl Fn(usize) -> f64) -> Self {
        let mut next = Self(alloc::vec![[0.0; MAX_COMPARED + 1]; self.0.len()]);
        for (below, compared) in self.0.iter().enumerate() {
            for (k, chance) in compared.iter().enumerate().take(MAX_COMPARED) {
                next.0[below][k + 1] += chance * (1.0 - STOP[k]);
                if below > 0 {
                    next.0[below - 1][0] += chance * STOP[k] * (1.0 - SAME_BLOCK) * odds_of_node(below - 1);
                }
            }
        }
        next.skip();
        next.scale();
        next
    }

    /// Goes back over a block. Returns how likely the rest is from before it, and how likely it is a node.
    fn backward(&self, before: &Self, odds_of_node: impl Fn(usize) -> f64) -> (Self, f64) {
        let mut earlier = Self(alloc::vec![[0.0; MAX_COMPARED + 1]; self.0.len()]);
        let (mut all, mut nodes) = (0.0, 0.0);
        for (below, compared) in earlier.0.iter_mut().enumerate() {
            for (k, chance) in compared.iter_mut().enumerate().take(MAX_COMPARED) {
                let as_key = (1.0 - STOP[k]) * self.0[below][k + 1];
                let as_node = match below.checked_sub(1) {
                    Some(child) => STOP[k] * (1.0 - SAME_BLOCK) * odds_of_node(child) * self.0[child][0],
                    None => 0.0,
                };
                *chance = as_key + as_node;
                all += before.0[below][k] * *chance;
                nodes += before.0[below][k] * as_node;
            }
        }
        earlier.skip_back();
        earlier.scale();
        (earlier, if all > 0.0 { nodes / all } else { 0.0 })
    }

    /// Takes what is not named into account: a key or a child that is in the node's own block.
    fn skip(&mut self) {
        for below in (0..self.0.len()).rev() {
            for (k, stop) in STOP.iter().enumerate().take(MAX_COMPARED) {
                let chance = self.0[below][k];
                self.0[below][k + 1] += chance * (1.0 - stop) * own_key(below);
                if below > 0 {
                    self.0[below - 1][0] += chance * stop * SAME_BLOCK;
                }
            }
        }
    }

    fn skip_back(&mut self) {
        for below in 0..self.0.len() {
            for k in (0..MAX_COMPARED).rev() {
                self.0[below][k] += self.0[below][k + 1] * (1.0 - STOP[k]) * own_key(below);
                if below > 0 {
                    self.0[below][k] += self.0[below - 1][0] * STOP[k] * SAME_BLOCK;
                }
            }
        }
    }

    fn scale(&mut self) {
        let sum: f64 = self.0.iter().flatten().sum();
        if sum > 0.0 {
            self.0.iter_mut().flatten().for_each(|chance| *chance /= sum);
        }
    }
}

/// How likely a key that is compared with is in the block of its node: a leaf is written with each of its keys.
fn own_key(below: usize) -> f64 {
    if below == 0 { 0.17 } else { 0.02 }
}

/// A number of blocks, as good as it gets.
fn ratio(blocks: u64) -> f64 {
    f64::from(u32::try_from(blocks).unwrap_or(u32::MAX))
}

/// Most keys that a search compares with in one node.
const MAX_COMPARED: usize = 5;

/// How likely a search goes on into a child after so many keys of a node, for the sizes that nodes have.
const STOP: [f64; MAX_COMPARED + 1] = [0.001, 0.01, 0.335, 0.979, 1.0, 1.0];

/// How likely a child is in the block of its node: as often as its part was written last.
const SAME_BLOCK: f64 = 0.15;

/// How likely a search ends in a node, with none, one and more below.
const FOUND: [f64; 3] = [1.0, 0.1, 0.02];

/// Keys below a node and in it, with none, one and more below.
const KEYS_BELOW: [f64; 4] = [7.0, 37.0, 217.0, 1000.0];

/// Where keys are in order, how much likelier a block that is younger than its bounds is a node, and one that is not.
const ABOVE: f64 = 50.0;
const INSIDE: f64 = 0.15;

/// The odds that keys are in order, before anything is seen, and how far one block and all of them can change that.
const ODDS_OF_ORDER: f64 = 0.1;
const MAX_SIGN: f64 = 20.0;
const MAX_ODDS: f64 = 1000.0;

/// What is asked for in any case, and what only where there is room.
const PROBABLE: f64 = 0.5;
const POSSIBLE: f64 = 0.08;

/// Keys compared with before the last one that are asked for where there is room.
const BESIDE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_keys_in_order_only_the_nodes_are_asked_for() {
        // Of 20,000 keys in order: root, three keys, node, and so on, to the first key.
        let touched = [
            20000, 9375, 6250, 3125, 6249, 1875, 1250, 625, 1249, 375, 250, 125, 249, 75, 50, 25, 49, 15, 10,
            5, 9, 3, 2, 1,
        ];
        let steps = Steps { touched: &touched, next: 5, depth: 0 };

        let mut likely = steps.likely(6249, 4, 0);

        likely.sort_unstable();
        assert_eq!(likely, [1, 9, 49, 249, 1249]);
    }

    #[test]
    fn of_keys_out_of_order_only_the_young_blocks_are_asked_for() {
        let touched = [
            1_000_000, 135_548, 9870, 999_997, 275_748, 634_723, 104_002, 999_939, 5190, 84_737, 172_741,
            999_840, 2188, 14_090, 13_560, 999_042, 209, 60_613, 52_400, 994_340, 17_049, 575_700, 314_050,
            554_768, 209_390, 157_060, 104_730,
        ];
        let steps = Steps { touched: &touched, next: 4, depth: 0 };

        let likely = steps.likely(999_997, 6, 0);

        for node in [999_939, 999_840, 999_042, 994_340, 554_768, 104_730] {
            assert!(likely.contains(&node), "{node} {likely:?}");
        }
        assert!(likely.len() <= 8, "{likely:?}");
    }

    #[test]
    fn nonsense_asks_for_no_more_than_it_names() {
        for touched in
            [&[][..], &[7], &[7, 7, 7, 7], &[0, u64::MAX, 0, u64::MAX, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9]]
        {
            for next in 0..touched.len() + 2 {
                for below in [0, 1, MAX_DEPTH, usize::MAX] {
                    let likely = Steps { touched, next, depth: 0 }.likely(u64::MAX, below, 9);
                    assert!(likely.len() <= touched.len() && likely.iter().all(|seq| touched.contains(seq)));
                }
            }
        }
    }
}
