//! Slots by the time that their key starts with.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Slots of each time, and where in its time's list each slot stands.
///
/// Whoever scans a list goes from its back to its front and may remove what was scanned on the way: the last takes the
/// removed one's place, and the last was scanned already.
#[derive(Default)]
pub struct SlotsByTime {
    lists: BTreeMap<i64, Vec<u32>>,
    positions: Vec<u32>,
}

impl SlotsByTime {
    pub fn insert(&mut self, time: i64, slot: u32) {
        let list = self.lists.entry(time).or_default();
        if self.positions.len() <= slot as usize {
            self.positions.resize(slot as usize + 1, 0);
        }
        if let Some(position) = self.positions.get_mut(slot as usize) {
            *position = list.len() as u32;
        }
        list.push(slot);
    }

    pub fn remove(&mut self, time: i64, slot: u32) {
        let Some(list) = self.lists.get_mut(&time) else { return };
        let position = self.positions.get(slot as usize).copied().unwrap_or_default() as usize;
        if list.get(position) != Some(&slot) {
            return;
        }
        list.swap_remove(position);
        if let Some(moved) = list.get(position)
            && let Some(place) = self.positions.get_mut(*moved as usize)
        {
            *place = position as u32;
        }
        if list.is_empty() {
            self.lists.remove(&time);
        }
    }

    /// The first time greater than `after`.
    pub fn next(&self, after: Option<i64>) -> Option<i64> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.lists.range((from, Bound::Unbounded)).next().map(|(time, _)| *time)
    }

    pub fn at(&self, time: i64) -> &[u32] {
        self.lists.get(&time).map_or(&[], Vec::as_slice)
    }

    pub fn clear(&mut self) {
        self.lists.clear();
        self.positions.clear();
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> usize {
        let lists: usize = self.lists.values().map(|l| 4 * l.capacity() + size_of::<(i64, Vec<u32>)>()).sum();
        lists + 4 * self.positions.capacity()
    }
}
