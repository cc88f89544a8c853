//! A test's backend: an ordered map of bytes, beneath which everything goes at every tick's end. Each question is
//! answered `Pending` first. Whoever gives right answers over it encodes all of its state and resumes everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::task::Poll;

use super::backend::{Backend, EachChange, EachEntry, EachFound, Page, STATE_KEY_PREFIX};
use crate::change::key::{Keys, leading_time};
use crate::error::Result;

#[derive(Default)]
pub(super) struct Evicting {
    /// Keys written since the last freeze, if anybody will ask for them.
    changed: Option<BTreeSet<Vec<u8>>>,
    /// What was frozen and is not handed out yet.
    frozen: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
    /// The question under way was answered `Pending` before.
    asked: bool,
}

impl Evicting {
    /// `tracked`: what changes will be asked for.
    pub fn new(tracked: bool) -> Self {
        Evicting { changed: tracked.then(BTreeSet::new), ..Evicting::default() }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let old = match value {
            Some(value) => {
                self.bytes += key.len() + value.len();
                self.entries.insert(key.to_vec(), value.to_vec())
            }
            None => self.entries.remove(key),
        };
        if let Some(old) = old {
            self.bytes = self.bytes.saturating_sub(key.len() + old.len());
        }
    }

    /// True every second time.
    fn is_ready(&mut self) -> bool {
        self.asked = !self.asked;
        !self.asked
    }

    fn time_of(state_key: &[u8]) -> Result<i64> {
        leading_time(state_key.get(STATE_KEY_PREFIX..).unwrap_or_default())
    }
}

impl Backend for Evicting {
    fn is_empty(&self) -> bool {
        false
    }

    fn get(&mut self, keys: &Keys, found: &mut EachFound<'_>) -> Result<Poll<()>> {
        if !self.is_ready() {
            return Ok(Poll::Pending);
        }
        for (i, key) in keys.iter().enumerate() {
            if let Some(value) = self.entries.get(key) {
                found(i, value)?;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn next_time(&mut self, after: Option<i64>) -> Result<Poll<Option<i64>>> {
        if !self.is_ready() {
            return Ok(Poll::Pending);
        }
        let times = self.entries.keys().map(|k| Self::time_of(k)).collect::<Result<BTreeSet<i64>>>()?;
        Ok(Poll::Ready(times.into_iter().find(|t| after.is_none_or(|after| *t > after))))
    }

    fn scan_time(&mut self, time: i64, after: &[u8], limit: usize, each: &mut EachEntry<'_>) -> Result<Poll<Page>> {
        if !self.is_ready() {
            return Ok(Poll::Pending);
        }
        let mut given = 0;
        for (key, value) in self.entries.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded)) {
            if Self::time_of(key)? != time {
                continue;
            }
            if given == limit {
                return Ok(Poll::Ready(Page::More));
            }
            each(key, value)?;
            given += 1;
        }
        Ok(Poll::Ready(Page::Last))
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if let Some(changed) = &mut self.changed {
            changed.insert(key.to_vec());
        }
        self.put(key, value);
        Ok(())
    }

    fn freeze(&mut self) {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        self.frozen.extend(changed.into_iter().map(|key| {
            let value = self.entries.get(&key).cloned();
            (key, value)
        }));
    }

    fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool> {
        let mut out = 0;
        while out < limit_bytes
            && let Some((key, value)) = self.frozen.pop_first()
        {
            out += key.len() + value.as_ref().map_or(0, Vec::len);
            each(&key, value.as_deref())?;
        }
        Ok(self.frozen.is_empty())
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, Some(value));
        Ok(())
    }

    fn evicts_every_tick(&self) -> bool {
        true
    }

    fn is_written(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
