//! Values with weights, in order: what MIN and MAX with retraction, joins and Top-N keep for one key.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Distinct values up to which a sorted list is smaller and faster than a tree.
const FEW: usize = 32;

/// How often each value was added, less how often it was retracted. A count may be negative for a while: within a tick a
/// retraction may come before what it retracts.
pub enum Multiset<T> {
    Few(Vec<(T, i64)>),
    Many(BTreeMap<T, i64>),
}

impl<T> Default for Multiset<T> {
    fn default() -> Self {
        Multiset::Few(Vec::new())
    }
}

impl<T: Ord> Multiset<T> {
    /// `compare`: how a kept value compares with the one that is added; `keep` makes that one, if it is new. Gives how
    /// often the value is there now.
    pub fn add(&mut self, weight: i64, compare: impl Fn(&T) -> Ordering, keep: impl FnOnce() -> T) -> i64 {
        let mut now = weight;
        match self {
            Multiset::Few(values) => match values.binary_search_by(|(value, _)| compare(value)) {
                Ok(at) => {
                    if let Some((_, count)) = values.get_mut(at) {
                        *count = count.wrapping_add(weight);
                        now = *count;
                        if now == 0 {
                            values.remove(at);
                        }
                    }
                }
                Err(at) => {
                    values.insert(at, (keep(), weight));
                    if values.len() > FEW {
                        *self = Multiset::Many(std::mem::take(values).into_iter().collect());
                    }
                }
            },
            Multiset::Many(values) => {
                let value = keep();
                match values.get_mut(&value) {
                    Some(count) => {
                        *count = count.wrapping_add(weight);
                        now = *count;
                        if now == 0 {
                            values.remove(&value);
                        }
                    }
                    None => {
                        values.insert(value, weight);
                    }
                }
                if values.len() <= FEW / 2 {
                    *self = Multiset::Few(std::mem::take(values).into_iter().collect());
                }
            }
        }
        now
    }

    /// Values in ascending order, with their counts.
    pub fn iter(&self) -> Box<dyn DoubleEndedIterator<Item = (&T, i64)> + '_> {
        match self {
            Multiset::Few(values) => Box::new(values.iter().map(|(value, count)| (value, *count))),
            Multiset::Many(values) => Box::new(values.iter().map(|(value, count)| (value, *count))),
        }
    }

    /// The greatest value.
    pub fn last(&self) -> Option<&T> {
        match self {
            Multiset::Few(values) => values.last().map(|(value, _)| value),
            Multiset::Many(values) => values.last_key_value().map(|(value, _)| value),
        }
    }

    /// Takes the greatest value out, however often it is there.
    pub fn pop_last(&mut self) -> Option<T> {
        match self {
            Multiset::Few(values) => values.pop().map(|(value, _)| value),
            Multiset::Many(values) => {
                let popped = values.pop_last().map(|(value, _)| value);
                if values.len() <= FEW / 2 {
                    *self = Multiset::Few(std::mem::take(values).into_iter().collect());
                }
                popped
            }
        }
    }

    /// How often a value is there.
    pub fn count<Q: Ord + ?Sized>(&self, wanted: &Q) -> i64
    where
        T: Borrow<Q>,
    {
        match self {
            Multiset::Few(values) => {
                let found = values.binary_search_by(|(value, _)| value.borrow().cmp(wanted)).ok();
                found.and_then(|at| values.get(at)).map_or(0, |(_, count)| *count)
            }
            Multiset::Many(values) => values.get(wanted).copied().unwrap_or_default(),
        }
    }

    /// Distinct values whose count is not zero.
    pub fn len(&self) -> usize {
        match self {
            Multiset::Few(values) => values.len(),
            Multiset::Many(values) => values.len(),
        }
    }

    /// The least or greatest value that is there.
    pub fn extremum(&self, max: bool) -> Option<&T> {
        let mut there = self.iter().filter(|(_, count)| *count > 0).map(|(value, _)| value);
        if max { there.next_back() } else { there.next() }
    }

    /// Values from `from` on, with their counts, up to the first for which `behind` is true.
    pub fn range<'a: 'b, 'b, Q: Ord + ?Sized>(
        &'a self,
        from: &Q,
        behind: impl Fn(&T) -> bool + 'b,
    ) -> Box<dyn Iterator<Item = (&'a T, i64)> + 'b>
    where
        T: Borrow<Q>,
    {
        match self {
            Multiset::Few(values) => {
                let first = values.partition_point(|(value, _)| value.borrow() < from);
                let found = values.get(first..).unwrap_or_default().iter();
                Box::new(found.take_while(move |(value, _)| !behind(value)).map(|(value, count)| (value, *count)))
            }
            Multiset::Many(values) => {
                let found = values.range((Bound::Included(from), Bound::Unbounded));
                Box::new(found.take_while(move |(value, _)| !behind(value)).map(|(value, count)| (value, *count)))
            }
        }
    }

    /// Bytes that the places of values take, without what values own elsewhere.
    pub fn bytes(&self) -> usize {
        let one = size_of::<(T, i64)>();
        match self {
            Multiset::Few(values) => values.capacity() * one,
            // Nodes of a B-tree are about two thirds full.
            Multiset::Many(values) => values.len() * one * 3 / 2,
        }
    }
}
