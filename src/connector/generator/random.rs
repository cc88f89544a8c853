//! Chance that depends on (seed, stream, number) alone, so that any row can be made on its own.
//!
//! The mixing is wyrand's: a counter times an odd constant, folded by a 128-bit multiplication.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const FOLD: u64 = 0xe703_7ed1_a0b4_28db;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// One stream of random numbers: 64 independent bits for each number.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    key: u64,
}

impl Draw {
    /// Streams of one seed are independent of each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        Draw { key: fold(seed ^ FOLD, stream.wrapping_add(1).wrapping_mul(GOLDEN)) }
    }

    /// The random bits of `number`.
    pub fn at(self, number: u64) -> u64 {
        let x = number.wrapping_mul(GOLDEN).wrapping_add(self.key);
        fold(x, x ^ FOLD)
    }

    /// 128 bits of `number`, where a range is wider than 64.
    pub fn wide_at(self, number: u64) -> u128 {
        u128::from(self.at(number)) << 64 | u128::from(Draw { key: self.key ^ FOLD }.at(number))
    }
}

/// A number below `bound` from the lower 32 of some random bits (Lemire's multiplication, without its rejection: the bias
/// is `bound` / 2^32).
pub fn below(bits: u64, bound: u64) -> u64 {
    ((bits & 0xffff_ffff) * bound) >> 32
}

/// The upper 32 of some random bits: independent of what [`below`] uses.
pub fn upper(bits: u64) -> u64 {
    bits >> 32
}

/// A number in [0, 1), from the upper 53 bits.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_stream_are_spread_evenly() {
        let draw = Draw::new(7, 3);
        let mut buckets = [0_u32; 10];
        let mut bits = [0_u32; 64];
        for n in 0..100_000 {
            let r = draw.at(n);
            buckets[below(r, 10) as usize] += 1;
            bits.iter_mut().enumerate().for_each(|(i, count)| *count += (r >> i & 1) as u32);
        }
        assert!(buckets.iter().all(|b| (9_600..10_400).contains(b)), "{buckets:?}");
        assert!(bits.iter().all(|b| (49_000..51_000).contains(b)), "{bits:?}");
    }

    #[test]
    fn streams_and_seeds_differ() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..20 {
            for stream in 0..20 {
                assert!(seen.insert(Draw::new(seed, stream).at(1)));
            }
        }
    }
}
