//! One operator's keyed table in one shard: an index, value columns, and what lies beneath.

use std::ops::Range;
use std::task::Poll;

use super::backend::{Backend, EachChange, Page, TableId};
use super::frozen::{Changes, Mark};
use super::index::KeyIndex;
use super::times::SlotsByTime;
use super::{StateContext, StateTable, Values};
use crate::change::key::{Keys, TIME_WIDTH, hash, key_group, leading_time};
use crate::error::{Error, Result};
use crate::memory::Account;

/// Keys to values, in memory over a backend.
///
/// A *timed* table's keys start with a time; such a table can be scanned in time order, and its key groups are those of
/// what follows the time, so that all times of a key lie in one shard.
pub struct KeyedTable<V> {
    id: TableId,
    index: KeyIndex,
    values: V,
    times: Option<SlotsByTime>,
    /// Bytes in front of a key that do not decide about its key group.
    lead: usize,
    changes: Changes,
    backend: Box<dyn Backend>,
    account: Account,
    /// Keys of a lookup that must be asked for beneath, and their positions in it.
    missing: Keys,
    missing_at: Vec<u32>,
}

/// A scan under way: the entries of times up to a bound, in time order.
#[derive(Debug, Clone)]
pub struct Scan {
    upto: i64,
    /// All entries of times up to this one were given out.
    done: Option<i64>,
    stage: ScanStage,
}

#[derive(Debug, Clone)]
enum ScanStage {
    NextTime,
    /// In memory, these many of the time's list are still to be given out: its front.
    Memory {
        time: i64,
        left: usize,
    },
    /// Beneath, what comes behind this state key is still to be given out.
    Beneath {
        time: i64,
        after: Vec<u8>,
    },
}

impl Scan {
    /// Entries whose time is in `(after, upto]`.
    pub fn new(after: Option<i64>, upto: i64) -> Self {
        Scan { upto, done: after, stage: ScanStage::NextTime }
    }
}

/// Where a lookup or a probe found nothing (yet). No key ever gets this slot.
pub const NO_SLOT: u32 = u32::MAX;

impl<V: Values> KeyedTable<V> {
    /// `stride`: bytes of every key, if they are all alike (of a timed table, its time included).
    pub fn open(context: &StateContext, id: TableId, stride: Option<usize>, timed: bool, values: V) -> Self {
        let backend = context.open(id);
        let changes = Changes { tracked: context.tracked || backend.is_written(), ..Changes::default() };
        KeyedTable {
            id,
            index: KeyIndex::new(stride),
            values,
            times: timed.then(SlotsByTime::default),
            lead: if timed { TIME_WIDTH } else { 0 },
            changes,
            backend,
            account: context.budget.account(),
            missing: Keys::new(None),
            missing_at: Vec::new(),
        }
    }

    /// Has `bytes` in front of each key (its time included) not decide about its key group: keys that start with more
    /// than one time lie where their columns do.
    pub fn with_lead(mut self, bytes: usize) -> Self {
        self.lead = bytes;
        self
    }

    /// The slots of keys `range` of `keys` (which are distinct), in that order, into `slots`. A key that is not there
    /// gets a slot with the initial value. `Pending`: nothing happened; ask again.
    pub fn lookup(&mut self, keys: &KeyIndex, range: Range<u32>, slots: &mut Vec<u32>) -> Result<Poll<()>> {
        if self.find(keys, &range, slots)?.is_pending() {
            return Ok(Poll::Pending);
        }
        let missing = std::mem::take(&mut self.missing_at);
        self.give_slots(keys, &range, &missing, slots)?;
        self.missing_at = missing;
        // A removed entry that is asked for again starts anew: its value was reset when it was removed.
        for slot in slots.iter() {
            if self.changes.mark(*slot).has(Mark::REMOVED) {
                self.revive(*slot)?;
            }
        }
        Ok(Poll::Ready(()))
    }

    /// As [`KeyedTable::lookup`], but a key that is not there gets [`NO_SLOT`] and leaves no trace.
    pub fn probe(&mut self, keys: &KeyIndex, range: Range<u32>, slots: &mut Vec<u32>) -> Result<Poll<()>> {
        if self.index.is_empty() && self.backend.is_empty() {
            slots.clear();
            slots.resize(range.len(), NO_SLOT);
            return Ok(Poll::Ready(()));
        }
        if self.find(keys, &range, slots)?.is_pending() {
            return Ok(Poll::Pending);
        }
        for slot in slots.iter_mut() {
            if self.changes.mark(*slot).has(Mark::REMOVED) {
                *slot = NO_SLOT;
            }
        }
        Ok(Poll::Ready(()))
    }

    /// A slot with the initial value for a key that a probe did not find.
    pub fn put(&mut self, hash: u64, key: &[u8]) -> Result<u32> {
        match self.index.find(hash, key) {
            Some(slot) => {
                self.revive(slot)?;
                Ok(slot)
            }
            None => self.insert(hash, key),
        }
    }

    /// The slots of the keys that are there, removed ones included; the positions of the others into `missing_at`.
    fn find(&mut self, keys: &KeyIndex, range: &Range<u32>, slots: &mut Vec<u32>) -> Result<Poll<()>> {
        slots.clear();
        self.missing_at.clear();
        for (position, at) in range.clone().enumerate() {
            let slot = self.index.find(keys.hash(at), keys.key(at));
            slots.push(slot.unwrap_or(NO_SLOT));
            if slot.is_none() {
                self.missing_at.push(position as u32);
            }
        }
        if self.missing_at.is_empty() || self.backend.is_empty() {
            return Ok(Poll::Ready(()));
        }
        self.missing.clear();
        let missing = std::mem::take(&mut self.missing_at);
        for position in &missing {
            self.missing.push(&self.state_key(keys.key(range.start + position)));
        }
        // The answer comes as bytes; slots are given once it is there.
        let mut answers = Vec::new();
        let mut note = |at: usize, value: &[u8]| {
            answers.push((at, value.to_vec()));
            Ok(())
        };
        if self.backend.get(&self.missing, &mut note)?.is_pending() {
            slots.clear();
            return Ok(Poll::Pending);
        }
        for (at, value) in answers {
            let Some(position) = missing.get(at) else { continue };
            let key = range.start + position;
            let slot = self.insert(keys.hash(key), keys.key(key))?;
            self.values.decode(slot, &value)?;
            if let Some(place) = slots.get_mut(*position as usize) {
                *place = slot;
            }
        }
        self.missing_at = missing;
        self.missing_at.retain(|position| slots.get(*position as usize) == Some(&NO_SLOT));
        Ok(Poll::Ready(()))
    }

    /// Gives new slots to the keys at positions `missing` of `range`.
    fn give_slots(&mut self, keys: &KeyIndex, range: &Range<u32>, missing: &[u32], slots: &mut [u32]) -> Result<()> {
        for position in missing {
            let at = range.start + position;
            let slot = self.insert_key(keys.hash(at), keys.key(at))?;
            if let Some(place) = slots.get_mut(*position as usize) {
                *place = slot;
            }
        }
        self.grow();
        Ok(())
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> Result<u32> {
        let slot = self.insert_key(hash, key)?;
        self.grow();
        Ok(slot)
    }

    /// Makes room for the values of all slots.
    fn grow(&mut self) {
        let slots = self.index.slots();
        self.values.grow(slots);
        if self.changes.marks.len() < slots {
            self.changes.marks.resize(slots, Mark::default());
        }
    }

    /// A slot, for which [`KeyedTable::grow`] must make room.
    fn insert_key(&mut self, hash: u64, key: &[u8]) -> Result<u32> {
        let slot = self.index.insert(hash, key);
        if let Some(times) = &mut self.times {
            times.insert(leading_time(key)?, slot);
        }
        Ok(slot)
    }

    /// The values, to be changed at these slots (and nowhere else).
    pub fn update(&mut self, slots: &[u32]) -> &mut V {
        if self.changes.tracked {
            slots.iter().for_each(|slot| self.touch(*slot));
        }
        &mut self.values
    }

    pub fn values(&self) -> &V {
        &self.values
    }

    /// The encoded key at a slot.
    pub fn key(&self, slot: u32) -> &[u8] {
        self.index.key(slot)
    }

    /// Takes entries out.
    pub fn remove(&mut self, slots: &[u32]) -> Result<()> {
        for slot in slots {
            if let Some(times) = &mut self.times {
                times.remove(leading_time(self.index.key(*slot))?, *slot);
            }
            if self.changes.tracked {
                self.touch(*slot);
                self.changes.set(*slot, Mark::REMOVED);
                self.values.reset(*slot);
            } else {
                self.forget(*slot);
            }
        }
        Ok(())
    }

    /// The next entries of a scan, at most `limit`, into `slots`; none when it has ended. What was given out may be
    /// removed before the next call; entries that come to be while it is under way may or may not be given out.
    pub fn scan(&mut self, scan: &mut Scan, limit: usize, slots: &mut Vec<u32>) -> Result<Poll<()>> {
        slots.clear();
        while slots.len() < limit {
            match &scan.stage {
                ScanStage::NextTime => {
                    let beneath = match self.backend.is_empty() {
                        true => None,
                        false => match self.backend.next_time(scan.done)? {
                            Poll::Ready(time) => time,
                            // What was gathered goes out first: a pending scan has given out nothing.
                            Poll::Pending if slots.is_empty() => return Ok(Poll::Pending),
                            Poll::Pending => break,
                        },
                    };
                    let in_memory = self.times.as_ref().and_then(|times| times.next(scan.done));
                    match [beneath, in_memory].into_iter().flatten().min().filter(|time| *time <= scan.upto) {
                        Some(time) => {
                            let left = self.times.as_ref().map_or(0, |times| times.at(time).len());
                            scan.stage = ScanStage::Memory { time, left };
                        }
                        None => break,
                    }
                }
                ScanStage::Memory { time, left: 0 } if self.backend.is_empty() => {
                    scan.done = Some(*time);
                    scan.stage = ScanStage::NextTime;
                }
                ScanStage::Memory { time, left: 0 } => {
                    scan.stage = ScanStage::Beneath { time: *time, after: Vec::new() };
                }
                ScanStage::Memory { time, left } => {
                    let (time, left) = (*time, *left);
                    let list = self.times.as_ref().map_or(&[][..], |times| times.at(time));
                    let from = left.saturating_sub(limit - slots.len());
                    slots.extend(list.get(from..left.min(list.len())).unwrap_or_default().iter().rev());
                    scan.stage = ScanStage::Memory { time, left: from };
                }
                ScanStage::Beneath { time, after } => {
                    let (time, after) = (*time, after.clone());
                    match self.load(time, after, limit - slots.len(), slots)? {
                        Poll::Pending if slots.is_empty() => return Ok(Poll::Pending),
                        Poll::Pending => break,
                        Poll::Ready(Some(after)) => scan.stage = ScanStage::Beneath { time, after },
                        Poll::Ready(None) => {
                            scan.done = Some(time);
                            scan.stage = ScanStage::NextTime;
                        }
                    }
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Brings entries of a time into memory that are only beneath; those in memory (removed ones, too) are newer and were
    /// given out. Answers where to go on, if there may be more.
    fn load(&mut self, time: i64, after: Vec<u8>, limit: usize, slots: &mut Vec<u32>) -> Result<Poll<Option<Vec<u8>>>> {
        let mut page: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut note = |key: &[u8], value: &[u8]| {
            page.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        let Poll::Ready(more) = self.backend.scan_time(time, &after, limit, &mut note)? else {
            return Ok(Poll::Pending);
        };
        for (state_key, value) in &page {
            let (_, key) = TableId::split(state_key)?;
            let hash = hash(key);
            if self.index.find(hash, key).is_none() {
                let slot = self.insert(hash, key)?;
                self.values.decode(slot, value)?;
                slots.push(slot);
            }
        }
        Ok(Poll::Ready(match (more, page.pop()) {
            (Page::More, Some((last, _))) => Some(last),
            _ => None,
        }))
    }

    /// `key group | operator | table | key`.
    fn state_key(&self, key: &[u8]) -> Vec<u8> {
        let dealt_by = key.get(self.lead..).unwrap_or_default();
        let mut state_key = self.id.prefix(key_group(hash(dealt_by))).to_vec();
        state_key.extend_from_slice(key);
        state_key
    }

    /// Before a change: the entry becomes dirty, and is copied if it is frozen.
    fn touch(&mut self, slot: u32) {
        let mark = self.changes.mark(slot);
        if mark.has(Mark::FROZEN) {
            let value = (!mark.has(Mark::REMOVED)).then(|| self.encoded(slot));
            let state_key = self.state_key(self.index.key(slot));
            self.changes.copies.push(&state_key, value);
            self.changes.unset(slot, Mark::FROZEN);
        }
        if !mark.has(Mark::DIRTY) {
            self.changes.set(slot, Mark::DIRTY);
            self.changes.dirty.push(slot);
        }
    }

    /// A removed entry is asked for again.
    fn revive(&mut self, slot: u32) -> Result<()> {
        self.touch(slot);
        self.changes.unset(slot, Mark::REMOVED);
        if let Some(times) = &mut self.times {
            times.insert(leading_time(self.index.key(slot))?, slot);
        }
        Ok(())
    }

    fn encoded(&self, slot: u32) -> Vec<u8> {
        let mut value = Vec::new();
        self.values.encode(slot, &mut value);
        value
    }

    /// The slot is free again.
    fn forget(&mut self, slot: u32) {
        self.index.remove(slot);
        self.values.reset(slot);
        if let Some(mark) = self.changes.marks.get_mut(slot as usize) {
            *mark = Mark::default();
        }
    }

    /// Everything leaves memory: all of it is written beneath.
    fn evict(&mut self) {
        self.index.clear(0);
        self.values.clear();
        self.changes.marks.clear();
        if let Some(times) = &mut self.times {
            times.clear();
        }
    }

    /// All that changed is written beneath, and leaves memory.
    fn write_beneath(&mut self) -> Result<()> {
        self.swap()?;
        // The backend is set aside while the table hands its entries out.
        let mut backend = std::mem::replace(&mut self.backend, Box::new(super::memory::Memory));
        let written = self.drain_swapped(usize::MAX, &mut |key, value| backend.write(key, value));
        self.backend = backend;
        self.evict();
        written.map(|_| ())
    }

    /// What changed since the last swap is frozen.
    fn swap(&mut self) -> Result<()> {
        if !self.changes.nothing_frozen() {
            return Err(Error::internal("state was frozen again before the last frozen set was written"));
        }
        self.changes.frozen = std::mem::take(&mut self.changes.dirty);
        for slot in &self.changes.frozen {
            if let Some(mark) = self.changes.marks.get_mut(*slot as usize) {
                mark.unset(Mark::DIRTY);
                mark.set(Mark::FROZEN);
            }
        }
        Ok(())
    }

    fn drain_swapped(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool> {
        let mut out = 0;
        while out < limit_bytes
            && let Some((key, value)) = self.changes.copies.take_next()
        {
            out += key.len() + value.as_ref().map_or(0, Vec::len);
            each(key, value.as_deref())?;
        }
        while out < limit_bytes {
            let Some(slot) = self.changes.frozen.pop() else { break };
            let mark = self.changes.mark(slot);
            if !mark.has(Mark::FROZEN) {
                continue;
            }
            let state_key = self.state_key(self.index.key(slot));
            self.changes.unset(slot, Mark::FROZEN);
            out += state_key.len();
            if mark.has(Mark::REMOVED) {
                each(&state_key, None)?;
                self.forget(slot);
            } else {
                let value = self.encoded(slot);
                out += value.len();
                each(&state_key, Some(&value))?;
            }
        }
        Ok(self.changes.nothing_frozen())
    }
}

impl<V: Values> StateTable for KeyedTable<V> {
    fn id(&self) -> TableId {
        self.id
    }

    fn entries(&self) -> usize {
        self.index.len()
    }

    fn bytes(&self) -> usize {
        let times = self.times.as_ref().map_or(0, SlotsByTime::bytes);
        self.index.bytes() + self.values.bytes() + times + self.changes.bytes() + self.backend.bytes()
    }

    fn end_tick(&mut self) -> Result<()> {
        if self.backend.evicts_every_tick() {
            self.write_beneath()?;
        }
        self.account.set(self.bytes());
        Ok(())
    }

    fn freeze(&mut self) -> Result<()> {
        if !self.backend.evicts_every_tick() {
            return self.swap();
        }
        self.write_beneath()?;
        self.backend.freeze();
        Ok(())
    }

    fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool> {
        if self.backend.evicts_every_tick() {
            return self.backend.drain_frozen(limit_bytes, each);
        }
        self.drain_swapped(limit_bytes, each)
    }

    fn restore(&mut self, state_key: &[u8], value: &[u8]) -> Result<()> {
        if self.backend.evicts_every_tick() {
            return self.backend.restore(state_key, value);
        }
        let (_, key) = TableId::split(state_key)?;
        let hash = hash(key);
        let slot = match self.index.find(hash, key) {
            Some(slot) => {
                self.values.reset(slot);
                slot
            }
            None => self.insert(hash, key)?,
        };
        self.values.decode(slot, value)
    }
}
