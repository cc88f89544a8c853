//! Entries that lie in memory.

use super::Cursor;
use crate::error::Result;

/// Entries to be walked over once.
#[derive(Debug, Default)]
pub struct SortedEntries {
    entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The present entry's index, plus one.
    next: usize,
}

impl SortedEntries {
    /// Sorts entries by their keys; of several with the same key the last one counts.
    pub fn sort(mut entries: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> SortedEntries {
        // Of equal keys the last comes first, and is the one that stays.
        entries.reverse();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|later, first| later.0 == first.0);
        SortedEntries { entries, next: 0 }
    }

    fn present(&self) -> Option<&(Vec<u8>, Option<Vec<u8>>)> {
        self.entries.get(self.next.checked_sub(1)?)
    }
}

impl Cursor for SortedEntries {
    fn advance(&mut self) -> Result<bool> {
        self.next += 1;
        Ok(self.next <= self.entries.len())
    }

    fn key(&self) -> &[u8] {
        self.present().map_or(&[], |(key, _)| key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.present()?.1.as_deref()
    }
}

/// Some consecutive entries, none of them gone, in one piece of memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Entries {
    bytes: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl Entries {
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, value_end)| {
            let key = self.bytes.get(start..key_end).unwrap_or_default();
            let value = self.bytes.get(key_end..value_end).unwrap_or_default();
            start = value_end;
            (key, value)
        })
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
