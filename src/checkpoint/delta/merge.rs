//! Runs laid over each other.

use super::Cursor;
use crate::error::Result;

/// Several cursors as one. Of entries with the same key the newest cursor's counts.
pub struct Merged {
    /// Oldest first.
    cursors: Vec<Box<dyn Cursor>>,
    /// A heap of those that stand at an entry: the one with the least key on top, of equal keys the newest.
    heap: Vec<usize>,
    has_begun: bool,
    /// The key that all cursors are to leave behind.
    passed: Vec<u8>,
}

impl Merged {
    /// `cursors`: the oldest first.
    pub fn new(cursors: Vec<Box<dyn Cursor>>) -> Merged {
        Merged { cursors, heap: Vec::new(), has_begun: false, passed: Vec::new() }
    }

    fn begin(&mut self) -> Result<()> {
        self.has_begun = true;
        for (index, cursor) in self.cursors.iter_mut().enumerate() {
            if cursor.advance()? {
                self.heap.push(index);
            }
        }
        (0..self.heap.len() / 2).rev().for_each(|at| self.sift_down(at));
        Ok(())
    }

    fn top(&self) -> Option<&dyn Cursor> {
        Some(self.cursors.get(*self.heap.first()?)?.as_ref())
    }

    /// Moves the cursor on top to its next entry.
    fn advance_top(&mut self) -> Result<()> {
        let Some(cursor) = self.heap.first().and_then(|index| self.cursors.get_mut(*index)) else { return Ok(()) };
        if !cursor.advance()? {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let first = (2 * at + 1..2 * at + 3).filter(|child| *child < self.heap.len());
            let Some(child) = first.reduce(|a, b| if self.is_before(b, a) { b } else { a }) else { return };
            if !self.is_before(child, at) {
                return;
            }
            self.heap.swap(child, at);
            at = child;
        }
    }

    /// Whether the entry at that place of the heap comes out before the one at `other`.
    fn is_before(&self, place: usize, other: usize) -> bool {
        let at = |place: usize| {
            let index = *self.heap.get(place)?;
            Some((self.cursors.get(index)?.key(), std::cmp::Reverse(index)))
        };
        at(place) < at(other)
    }
}

impl Cursor for Merged {
    fn advance(&mut self) -> Result<bool> {
        if !self.has_begun {
            self.begin()?;
            return Ok(!self.heap.is_empty());
        }
        let mut passed = std::mem::take(&mut self.passed);
        passed.clear();
        passed.extend_from_slice(self.key());
        while self.top().is_some_and(|top| top.key() == passed) {
            self.advance_top()?;
        }
        self.passed = passed;
        Ok(!self.heap.is_empty())
    }

    fn key(&self) -> &[u8] {
        self.top().map_or(&[], |top| top.key())
    }

    fn value(&self) -> Option<&[u8]> {
        self.top()?.value()
    }
}

/// A cursor's entries but those that say that a key is gone: for what nothing older lies beneath.
pub struct WithoutGone<C>(pub C);

impl<C: Cursor> Cursor for WithoutGone<C> {
    fn advance(&mut self) -> Result<bool> {
        while self.0.advance()? {
            if self.0.value().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn key(&self) -> &[u8] {
        self.0.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.0.value()
    }
}

impl Cursor for Box<dyn Cursor> {
    fn advance(&mut self) -> Result<bool> {
        self.as_mut().advance()
    }

    fn key(&self) -> &[u8] {
        self.as_ref().key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.as_ref().value()
    }
}
