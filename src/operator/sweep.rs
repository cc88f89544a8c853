//! A tick's combined rows laid out window by window, for windows that are kept as groups of their own: each slice is
//! merged into every window that holds it, one window at a time, so that what is laid out is no more than a tick's keys.

use super::combine::Combiner;
use super::group::{Calls, Groups};
use super::slices::Slices;
use crate::change::key::{TIME_WIDTH, encode_time, hash, leading_time};
use crate::error::Result;
use crate::operator::accumulator::Sign;
use crate::state::{KeyIndex, Values};

/// Keys of what is combined are `first | last | key`; those of the window that is laid out are `end | key`.
pub struct Sweep {
    slices: Slices,
    /// What is combined, by its first window; those in front of `next` are entered.
    order: Vec<(i64, u32)>,
    next: usize,
    /// What the last window held and the next one may hold: last window, and slot.
    open: Vec<(i64, u32)>,
    end: Option<i64>,
    pub index: KeyIndex,
    pub groups: Groups,
}

impl Sweep {
    pub fn new(slices: Slices, stride: Option<usize>, calls: &Calls) -> Result<Self> {
        let (index, groups) = (KeyIndex::new(stride), Groups::new(calls)?);
        Ok(Sweep { slices, order: Vec::new(), next: 0, open: Vec::new(), end: None, index, groups })
    }

    /// Starts with what a tick has combined.
    pub fn begin(&mut self, combined: &Combiner) -> Result<()> {
        let index = combined.index();
        let order = (0..combined.len()).map(|slot| Ok((leading_time(index.key(slot))?, slot)));
        self.order = order.collect::<Result<_>>()?;
        self.order.sort_unstable();
        (self.next, self.end) = (0, None);
        self.open.clear();
        self.clear();
        Ok(())
    }

    /// Lays out the next window that changed; false if there is none.
    pub fn advance(&mut self, combined: &Combiner) -> Result<bool> {
        self.clear();
        let end = match self.end.filter(|_| !self.open.is_empty()) {
            Some(end) => self.slices.end_behind(end)?,
            None => match self.order.get(self.next) {
                Some((first, _)) => *first,
                None => return Ok(false),
            },
        };
        self.end = Some(end);
        while let Some((first, slot)) = self.order.get(self.next)
            && *first <= end
        {
            let key = combined.index().key(*slot);
            self.open.push((leading_time(key.get(TIME_WIDTH..).unwrap_or_default())?, *slot));
            self.next += 1;
        }
        let mut key = Vec::new();
        let (mut into, mut from) = (Vec::with_capacity(self.open.len()), Vec::with_capacity(self.open.len()));
        for (_, slot) in &self.open {
            key.clear();
            key.extend_from_slice(&encode_time(end));
            key.extend_from_slice(combined.index().key(*slot).get(2 * TIME_WIDTH..).unwrap_or_default());
            into.push(self.index.find_or_insert(hash(&key), &key));
            from.push(*slot);
        }
        self.groups.grow(self.index.slots());
        self.groups.absorb(&into, combined.groups(), &from, Sign::Add)?;
        self.open.retain(|(last, _)| *last > end);
        Ok(true)
    }

    fn clear(&mut self) {
        self.index.clear(super::CHUNK_ROWS);
        self.groups.clear();
    }
}
