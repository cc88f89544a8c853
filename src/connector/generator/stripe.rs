//! Which events of a stream a partition makes: its blocks are dealt out in turn, so that every partition's event time
//! advances in step.
//!
//! Within a partition events are numbered without gaps (*local* numbers); the stream's own numbers are *global*.

/// The events of one of `partitions` partitions.
///
/// Invariants: `index < partitions`, `block > 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripe {
    pub index: u64,
    pub partitions: u64,
    /// Events dealt out together.
    pub block: u64,
}

impl Stripe {
    /// How many of this partition's events have a global number below `global`; in other words the local number of the
    /// first that has not.
    pub fn local(&self, global: u64) -> u64 {
        let (block, within) = (global / self.block, global % self.block);
        let before = block.saturating_add(self.partitions - 1 - self.index) / self.partitions;
        let mine = block % self.partitions == self.index;
        before.saturating_mul(self.block).saturating_add(if mine { within } else { 0 })
    }

    /// The global number of this partition's event `local`.
    pub fn global(&self, local: u64) -> u64 {
        let (block, within) = (local / self.block, local % self.block);
        block
            .saturating_mul(self.partitions)
            .saturating_add(self.index)
            .saturating_mul(self.block)
            .saturating_add(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_belongs_to_one_partition() {
        for (partitions, block) in [(1, 1), (1, 50), (3, 1), (3, 50), (7, 4)] {
            let stripes: Vec<Stripe> = (0..partitions).map(|index| Stripe { index, partitions, block }).collect();
            let mut next = vec![0; stripes.len()];
            for global in 0..2_000 {
                let owners: Vec<&Stripe> = stripes.iter().filter(|s| s.global(s.local(global)) == global).collect();
                let [owner] = owners[..] else { panic!("{global} has owners {owners:?}") };
                let local = owner.local(global);
                assert_eq!(local, next[owner.index as usize], "no gaps");
                next[owner.index as usize] += 1;
            }
            for stripe in &stripes {
                assert_eq!(stripe.local(2_000), next[stripe.index as usize]);
                assert!(stripe.global(stripe.local(2_000)) >= 2_000);
            }
        }
    }
}
