//! One input of an append-only join: its rows of the tick, and what is kept of it.

use std::ops::Range;
use std::task::Poll;

use super::lists::RowLists;
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::operator::join::KEYS_AT_ONCE;
use crate::operator::join::side::KeyColumns;
use crate::operator::row_store::NOWHERE;
use crate::state::{KeyIndex, KeyedTable, NO_SLOT};

pub struct Side {
    keys: KeyColumns,
    pub table: KeyedTable<RowLists>,
    /// For each row of the tick the slot of its key among the tick's.
    tick_slots: Vec<u32>,
    /// The number of the tick's first row.
    tick_from: u32,
    tick_bytes: usize,
    /// For each of the tick's keys where it is in `table`.
    slots: Vec<u32>,
    /// For each of the tick's keys its newest row before the tick, and whether the tick brings some.
    before: Vec<u32>,
    brings: Vec<bool>,
}

impl Side {
    pub fn new(keys: KeyColumns, table: KeyedTable<RowLists>) -> Self {
        Side {
            keys,
            table,
            tick_slots: Vec::new(),
            tick_from: 0,
            tick_bytes: 0,
            slots: Vec::new(),
            before: Vec::new(),
            brings: Vec::new(),
        }
    }

    pub fn stride(&self) -> Option<usize> {
        self.keys.stride()
    }

    /// Takes the rows of a batch that can have a partner; gives those that cannot.
    pub fn take(&mut self, batch: &ChangeBatch, index: &mut KeyIndex) -> Result<Option<ChangeBatch>> {
        let (rows, partnerless) = self.keys.split(batch)?;
        let lists = self.table.update(&[]);
        if self.tick_slots.is_empty() {
            self.tick_from = lists.store().len();
        }
        lists.push(&rows)?;
        self.tick_bytes += rows.bytes();
        self.tick_slots.extend(self.keys.slots(&rows, index)?);
        Ok(partnerless)
    }

    /// Looks up the tick's keys; false while state is being fetched.
    pub fn look_up(&mut self, index: &KeyIndex) -> Result<bool> {
        let keys = index.slots() as u32;
        let mut some = Vec::new();
        while (self.slots.len() as u32) < keys {
            let from = self.slots.len() as u32;
            if self.table.probe(index, from..(from + KEYS_AT_ONCE).min(keys), &mut some)? == Poll::Pending {
                return Ok(false);
            }
            self.slots.append(&mut some);
        }
        Ok(true)
    }

    /// Puts the tick's rows into their lists.
    pub fn link(&mut self, index: &KeyIndex) -> Result<()> {
        let lists = self.table.values();
        self.before.extend(self.slots.iter().map(|slot| lists.newest(*slot)));
        self.brings.resize(self.slots.len(), false);
        let mut rows = Vec::with_capacity(self.tick_slots.len());
        for key in &self.tick_slots {
            let at = *key as usize;
            let (Some(slot), Some(brings)) = (self.slots.get_mut(at), self.brings.get_mut(at)) else {
                return Err(Error::internal("a join's key was not looked up"));
            };
            if *slot == NO_SLOT {
                *slot = self.table.put(index.hash(*key), index.key(*key))?;
            }
            *brings = true;
            rows.push(*slot);
        }
        let lists = self.table.update(&rows);
        rows.iter().zip(self.tick_from..).for_each(|(slot, row)| lists.link(*slot, row));
        Ok(())
    }

    /// The numbers of the tick's rows from the `from`th on, each with its key among the tick's.
    pub fn new_rows(&self, from: usize) -> impl Iterator<Item = (u32, usize)> {
        let keys = self.tick_slots.get(from..).unwrap_or_default();
        (self.tick_from + from as u32..).zip(keys.iter().map(|key| *key as usize))
    }

    /// The newest row of one of the tick's keys.
    pub fn newest(&self, key: usize) -> u32 {
        self.slots.get(key).map_or(NOWHERE, |slot| self.table.values().newest(*slot))
    }

    /// The newest row that one of the tick's keys had before the tick.
    pub fn newest_before(&self, key: usize) -> u32 {
        self.before.get(key).copied().unwrap_or(NOWHERE)
    }

    /// Whether one of the tick's keys had rows before the tick, and has some behind it.
    pub fn there(&self, key: usize) -> (bool, bool) {
        let had = self.newest_before(key) != NOWHERE;
        (had, had || self.brings.get(key).copied().unwrap_or_default())
    }

    /// The tick's keys from `from` on.
    pub fn keys(&self, from: usize) -> Range<usize> {
        from..self.slots.len()
    }

    /// Bytes held for the tick, those of its rows included, which the table has not accounted for yet.
    pub fn tick_bytes(&self) -> usize {
        let numbers = self.tick_slots.capacity() + self.slots.capacity() + self.before.capacity();
        self.tick_bytes + 4 * numbers + self.brings.capacity()
    }

    pub fn end_tick(&mut self) {
        self.tick_slots.clear();
        self.tick_bytes = 0;
        self.slots.clear();
        self.before.clear();
        self.brings.clear();
    }
}
