//! What changed since the last freeze, and what was frozen and is not written yet.

use crate::change::key::Keys;

/// What is known of a slot. Plain bits: there is one for each slot of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark(u8);

impl Mark {
    /// Changed since the last freeze: stands in the list of the dirty.
    pub const DIRTY: Mark = Mark(1);
    /// Changed before the last freeze, and not written yet: stands in the list of the frozen.
    pub const FROZEN: Mark = Mark(2);
    /// Removed. The key stays, so that what lies beneath is not asked for it, until the removal is written.
    pub const REMOVED: Mark = Mark(4);

    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark.0 != 0
    }
    pub fn set(&mut self, mark: Mark) {
        self.0 |= mark.0;
    }
    pub fn unset(&mut self, mark: Mark) {
        self.0 &= !mark.0;
    }
}

/// Changes of a table, as lists of slots.
#[derive(Default)]
pub struct Changes {
    pub tracked: bool,
    pub marks: Vec<Mark>,
    pub dirty: Vec<u32>,
    pub frozen: Vec<u32>,
    pub copies: Copies,
}

impl Changes {
    pub fn mark(&self, slot: u32) -> Mark {
        self.marks.get(slot as usize).copied().unwrap_or_default()
    }

    pub fn set(&mut self, slot: u32, mark: Mark) {
        if let Some(m) = self.marks.get_mut(slot as usize) {
            m.set(mark);
        }
    }

    pub fn unset(&mut self, slot: u32, mark: Mark) {
        if let Some(m) = self.marks.get_mut(slot as usize) {
            m.unset(mark);
        }
    }

    pub fn nothing_frozen(&self) -> bool {
        self.frozen.is_empty() && self.copies.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.marks.capacity() + 4 * (self.dirty.capacity() + self.frozen.capacity()) + self.copies.bytes()
    }
}

/// Frozen entries that were touched again, as they were: state key, then value.
pub struct Copies {
    keys: Keys,
    /// `None`: the entry had been removed.
    values: Vec<Option<Vec<u8>>>,
    value_bytes: usize,
    /// These many at the front have been handed out.
    given: usize,
}

impl Default for Copies {
    fn default() -> Self {
        Copies { keys: Keys::new(None), values: Vec::new(), value_bytes: 0, given: 0 }
    }
}

impl Copies {
    pub fn push(&mut self, state_key: &[u8], value: Option<Vec<u8>>) {
        self.keys.push(state_key);
        self.value_bytes += value.as_ref().map_or(0, Vec::capacity);
        self.values.push(value);
    }

    pub fn is_empty(&self) -> bool {
        self.given == self.values.len()
    }

    /// The next one that was not handed out; once there is none, all are forgotten.
    pub fn take_next(&mut self) -> Option<(&[u8], Option<Vec<u8>>)> {
        if self.is_empty() {
            *self = Copies::default();
            return None;
        }
        let at = self.given;
        self.given += 1;
        let value = self.values.get_mut(at).and_then(Option::take);
        self.value_bytes -= value.as_ref().map_or(0, Vec::capacity);
        Some((self.keys.get(at), value))
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.value_bytes + self.values.capacity() * size_of::<Option<Vec<u8>>>()
    }
}
