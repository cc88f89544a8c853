//! The hash over encoded keys, the key groups it deals them into, and the shards that own the groups.

use std::ops::Range;

/// Key groups a pipeline's keys are dealt into, whatever its parallelism: the unit by which state moves between shards.
pub const KEY_GROUPS: usize = 256;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;
const K3: u64 = 0x5899_65cc_7537_4cc3;

/// Version 1 of the hash: after wyhash (Wang Yi), 16 bytes a step, each step one 64 x 64 -> 128 bit multiplication
/// folded. It decides which key group a stored key lies in, so it can never change without a new version.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let mut state = K0 ^ (length as u64).wrapping_mul(K3);
    let (a, b) = if length > 16 {
        let mut rest = bytes;
        while rest.len() > 16 {
            state = fold(word(rest, 0) ^ K1, word(rest, 8) ^ state);
            rest = rest.get(16..).unwrap_or_default();
        }
        (word(bytes, length - 16), word(bytes, length - 8))
    } else if length >= 8 {
        (word(bytes, 0), word(bytes, length - 8))
    } else {
        (short(bytes), 0)
    };
    fold(fold(a ^ K1, b ^ state) ^ K2, state ^ K3)
}

/// Eight bytes from `at`, little-endian.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

/// Fewer than eight bytes as one number. The length is in the state already.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// The key group of a hash. These bits are neither those that a hash table picks its buckets by nor those it tags
/// entries with, so a shard's few groups do not crowd its tables.
#[inline]
pub fn key_group(hash: u64) -> u8 {
    (hash >> 48) as u8
}

/// The group of the empty key: where a distribution by no columns at all puts everything.
pub fn single_group() -> u8 {
    key_group(hash(&[]))
}

/// The shard that owns a key group: each owns one contiguous range. `parallelism` is 1-256.
#[inline]
pub fn shard_of(group: u8, parallelism: usize) -> usize {
    usize::from(group) * parallelism / KEY_GROUPS
}

/// The key groups that `shard` owns.
pub fn groups_of(shard: usize, parallelism: usize) -> Range<usize> {
    let first = |shard: usize| (shard * KEY_GROUPS).div_ceil(parallelism.max(1)).min(KEY_GROUPS);
    first(shard)..first(shard + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it was first written. A change here is a new version, not a new fixture.
    #[test]
    fn version_1_fixtures() {
        let text = b"the quick brown fox jumps over the lazy dog";
        let hashes: Vec<String> = [0, 1, 3, 7, 8, 9, 15, 16, 17, 18, 32, 33, 43]
            .iter()
            .map(|n| format!("{:016x}", hash(&text[..*n])))
            .collect();
        assert_eq!(hashes, FIXTURES);
    }

    const FIXTURES: [&str; 13] = [
        "341ddd1c7d32b394",
        "8b7a475c07287acb",
        "665664f41faee49f",
        "5ce34cf4bb47f01a",
        "5fd6f2be719d83f2",
        "d46b23903a861178",
        "28c789197cf08605",
        "5d86c899be3d1ffa",
        "251971f0d4f326d7",
        "64efff03ddb82aa5",
        "e3937e24787a3467",
        "6da878d82806cb34",
        "30ea42c9d2eaca88",
    ];

    #[test]
    fn groups_are_dealt_evenly_and_ranges_agree_with_shards() {
        let mut counts = [0u32; KEY_GROUPS];
        for i in 0..256_000u64 {
            let mut key = [1u8; 9];
            key[1..].copy_from_slice(&(i ^ 1 << 63).to_be_bytes());
            counts[usize::from(key_group(hash(&key)))] += 1;
        }
        assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
        for parallelism in 1..=KEY_GROUPS {
            let mut seen = 0;
            for shard in 0..parallelism {
                for group in groups_of(shard, parallelism) {
                    assert_eq!(group, seen);
                    assert_eq!(shard_of(group as u8, parallelism), shard);
                    seen += 1;
                }
            }
            assert_eq!(seen, KEY_GROUPS);
        }
    }
}
