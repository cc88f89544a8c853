//! The protocol, simulated: lives of one pipeline, at once and one after the other, over a store and two sinks, in
//! whatever order a seed gives. Requests fail, take effect late, lose their answers; lives crash, sleep and wake up.
//!
//! 1. [`world`]: the store, the sinks, and what must always be true of them.
//! 2. [`life`]: a process: the protocol, the requests that it has under way, and a small pipeline.
//! 3. [`run`]: one seed from chaos to quiet, and what must be true in the end.
//! 4. [`tests`]: seeds, every crash point, damage, and rules that are taken away.

mod life;
mod run;
mod tests;
mod world;

/// Numbers that look random (splitmix64: Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// What a shell could do wrong, planted to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A commit replaces what is there.
    CreateReplaces,
    /// A commit's name holds its generation.
    GenerationInTheName,
    /// The files of an epoch are said to be written before they are.
    CommitBeforeItsFiles,
    /// What was read is not held against its digest.
    HashesAreNotChecked,
}
