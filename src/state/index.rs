//! Encoded keys to slots: an open-addressed table of (tag, slot) over one buffer of keys, indexed by slot. A probe reads
//! eight bytes of the table, and the key only if 32 bits of its hash agree.

use hashbrown::HashTable;

use crate::change::key::Keys;

#[derive(Clone, Copy)]
struct Entry {
    /// The hash's upper half.
    tag: u32,
    slot: u32,
}

/// Keys are short: comparing them by words in place is faster than calling memcmp.
#[inline]
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    a.len() == b.len()
        && a_words.iter().zip(b_words).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

/// Keys, each at its slot, found by hash. Slots are dealt from 0; removed ones are dealt again, last removed first.
pub struct KeyIndex {
    table: HashTable<Entry>,
    keys: Keys,
    hashes: Vec<u64>,
    free: Vec<u32>,
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl KeyIndex {
    /// `stride`: bytes of every key, if they are all alike.
    pub fn new(stride: Option<usize>) -> Self {
        KeyIndex { table: HashTable::new(), keys: Keys::new(stride), hashes: Vec::new(), free: Vec::new() }
    }

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Slots dealt so far, removed ones included.
    pub fn slots(&self) -> usize {
        self.hashes.len()
    }

    /// The key at a slot.
    #[inline]
    pub fn key(&self, slot: u32) -> &[u8] {
        self.keys.get(slot as usize)
    }

    /// The hash of the key at a slot.
    pub fn hash(&self, slot: u32) -> u64 {
        self.hashes.get(slot as usize).copied().unwrap_or_default()
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let keys = &self.keys;
        let same = |entry: &Entry| entry.tag == tag(hash) && same_bytes(keys.get(entry.slot as usize), key);
        self.table.find(hash, same).map(|entry| entry.slot)
    }

    /// The slot of a key; a new one if it is not there.
    #[inline]
    pub fn find_or_insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        match self.find(hash, key) {
            Some(slot) => slot,
            None => self.insert(hash, key),
        }
    }

    /// The slot of a key that is not there yet.
    pub fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.keys.replace(slot as usize, key);
                if let Some(place) = self.hashes.get_mut(slot as usize) {
                    *place = hash;
                }
                slot
            }
            None => {
                self.keys.push(key);
                self.hashes.push(hash);
                (self.hashes.len() - 1) as u32
            }
        };
        let hashes = &self.hashes;
        let rehash = |entry: &Entry| hashes.get(entry.slot as usize).copied().unwrap_or_default();
        self.table.insert_unique(hash, Entry { tag: tag(hash), slot }, rehash);
        slot
    }

    /// Takes the key at a slot out; the slot will be dealt again.
    pub fn remove(&mut self, slot: u32) {
        if let Ok(entry) = self.table.find_entry(self.hash(slot), |entry| entry.slot == slot) {
            entry.remove();
            self.keys.remove(slot as usize);
            self.free.push(slot);
        }
    }

    /// Takes all keys out and deals slots from 0 again. Capacity for `keep` keys remains.
    pub fn clear(&mut self, keep: usize) {
        if self.table.capacity() > 2 * keep {
            *self = KeyIndex { keys: self.keys.emptied(), ..KeyIndex::new(None) };
            return;
        }
        self.table.clear();
        self.keys.clear();
        self.hashes.clear();
        self.free.clear();
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size() + self.keys.bytes() + 8 * self.hashes.capacity() + 4 * self.free.capacity()
    }
}
