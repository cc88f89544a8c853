//! The ways in which a script is run. Whatever the way, the answers must be the same.

use std::fmt;

/// How statements reach the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    InProcess,
    /// PostgreSQL's protocol over TCP, its simple query flow.
    Wire,
}

/// Where ticks are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuts {
    /// As production does: when nothing more is at hand.
    Natural,
    /// After every row.
    Small,
    /// After a few bytes, how many depends on the seed.
    Odd(u64),
}

/// What keeps state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Memory,
    /// Encodes and evicts everything at every tick.
    Evicting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    pub way: Way,
    pub parallelism: usize,
    pub cuts: Cuts,
    pub backend: Backend,
    /// Pipelines end every few ticks, and go on from what was written down, at another parallelism: parallelism and backend are
    /// those of the first life.
    pub rehearsed: Option<u64>,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::InProcess => "in process",
            Way::Wire => "over the wire",
        };
        let backend = match self.backend {
            Backend::Memory => "state in memory",
            Backend::Evicting => "state evicted at every tick",
        };
        let cuts = match self.cuts {
            Cuts::Natural => "natural cuts".to_string(),
            Cuts::Small => "small cuts".to_string(),
            Cuts::Odd(seed) => format!("odd cuts {seed}"),
        };
        let rehearsed =
            self.rehearsed.map_or_else(String::new, |seed| format!(", frozen and restored now and then {seed}"));
        write!(f, "{way}, parallelism {}, {cuts}, {backend}{rehearsed}", self.parallelism)
    }
}

/// Every way there is.
pub fn all(seed: u64) -> Vec<Variant> {
    let mut variants = Vec::new();
    for way in [Way::InProcess, Way::Wire] {
        for parallelism in [1, 3] {
            for cuts in [Cuts::Natural, Cuts::Small, Cuts::Odd(seed)] {
                for backend in [Backend::Memory, Backend::Evicting] {
                    variants.push(Variant { way, parallelism, cuts, backend, rehearsed: None });
                }
            }
        }
    }
    for cuts in [Cuts::Natural, Cuts::Small, Cuts::Odd(seed)] {
        let (way, backend) = (Way::InProcess, Backend::Memory);
        variants.push(Variant { way, parallelism: 3, cuts, backend, rehearsed: Some(seed) });
    }
    variants
}

/// Few ways that among them have each way, parallelism, cut and backend, and rehearsed recovery, at least once. One has several shards and natural
/// cuts: only ticks of many rows show whether rows got to the right shard.
pub fn sample(seed: u64) -> Vec<Variant> {
    let mut rng = Rng(seed);
    let mut candidates = all(seed);
    let exchanging = |v: &Variant| v.parallelism > 1 && v.cuts == Cuts::Natural && v.rehearsed.is_none();
    let first: Vec<Variant> = candidates.iter().copied().filter(exchanging).collect();
    let mut chosen: Vec<Variant> = first.get(rng.below(first.len())).copied().into_iter().collect();
    while !candidates.is_empty() {
        let index = rng.below(candidates.len());
        let v = candidates.swap_remove(index);
        let new = |seen: fn(&Variant, &Variant) -> bool| !chosen.iter().any(|c| seen(c, &v));
        let adds = new(|a, b| a.way == b.way)
            || new(|a, b| a.parallelism == b.parallelism)
            || new(|a, b| a.cuts == b.cuts)
            || new(|a, b| a.backend == b.backend)
            || new(|a, b| a.rehearsed == b.rehearsed);
        if adds {
            chosen.push(v);
        }
    }
    chosen
}

/// A seed nobody has seen before.
#[expect(clippy::disallowed_methods, reason = "a sample differs from run to run; its seed is printed")]
pub fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |d| u64::from(d.subsec_nanos()) ^ d.as_secs())
}

/// splitmix64: small, and the same on every machine.
pub struct Rng(pub u64);

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }
}
