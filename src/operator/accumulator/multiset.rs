//! MIN and MAX with retraction: an ordered multiset of all values.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use super::Input;
use super::column::Kind;
use super::domain::Domain;
use crate::change::bytes::{Reader, put_varint};
use crate::error::Result;

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
    /// `compare`: how a kept value compares with the one that is added; `keep` makes that one, if it is new.
    fn add(&mut self, weight: i64, compare: impl Fn(&T) -> Ordering, keep: impl FnOnce() -> T) {
        match self {
            Multiset::Few(values) => match values.binary_search_by(|(value, _)| compare(value)) {
                Ok(at) => {
                    if let Some((_, count)) = values.get_mut(at) {
                        *count = count.wrapping_add(weight);
                        if *count == 0 {
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
                        if *count == 0 {
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
    }

    fn iter(&self) -> Box<dyn DoubleEndedIterator<Item = (&T, i64)> + '_> {
        match self {
            Multiset::Few(values) => Box::new(values.iter().map(|(value, count)| (value, *count))),
            Multiset::Many(values) => Box::new(values.iter().map(|(value, count)| (value, *count))),
        }
    }

    fn len(&self) -> usize {
        match self {
            Multiset::Few(values) => values.len(),
            Multiset::Many(values) => values.len(),
        }
    }

    fn extremum(&self, max: bool) -> Option<&T> {
        let mut there = self.iter().filter(|(_, count)| *count > 0).map(|(value, _)| value);
        if max { there.next_back() } else { there.next() }
    }
}

pub struct RetractableExtremum<D> {
    pub domain: D,
    pub max: bool,
}

/// The values, and what they own elsewhere.
pub struct MultisetCell<T> {
    values: Multiset<T>,
    owned_bytes: usize,
}

impl<T> Default for MultisetCell<T> {
    fn default() -> Self {
        MultisetCell { values: Multiset::default(), owned_bytes: 0 }
    }
}

fn add<D: Domain>(cell: &mut MultisetCell<D::Value>, value: D::Ref<'_>, weight: i64) {
    let before = cell.values.len();
    let mut bytes = 0;
    cell.values.add(
        weight,
        |kept| D::compare(kept, value),
        || {
            let kept = D::keep(value);
            bytes = D::heap_bytes(&kept);
            kept
        },
    );
    if cell.values.len() > before {
        cell.owned_bytes += bytes;
    } else if cell.values.len() < before {
        cell.owned_bytes = cell.owned_bytes.saturating_sub(D::heap_bytes(&D::keep(value)));
    }
}

impl<D: Domain> Kind for RetractableExtremum<D> {
    type Cell = MultisetCell<D::Value>;
    type View<'a> = D::View<'a>;
    const OWNS_HEAP: bool = true;

    fn view<'a>(&self, input: &Input<'a>) -> Result<D::View<'a>> {
        self.domain.view(input.argument()?)
    }

    fn add(&self, cell: &mut Self::Cell, view: &D::View<'_>, row: usize, weight: i64) -> Result<()> {
        if let Some(value) = D::get(view, row) {
            add::<D>(cell, value, weight);
        }
        Ok(())
    }

    fn merge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        other.values.iter().for_each(|(value, count)| add::<D>(cell, D::lend(value), count));
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a Self::Cell>) -> Result<ArrayRef> {
        self.domain.column(cells.map(|c| c.values.extremum(self.max)))
    }

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>) {
        put_varint(out, cell.values.len() as u64);
        for (value, count) in cell.values.iter() {
            D::encode(value, out);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Self::Cell> {
        let mut cell = MultisetCell::default();
        for _ in 0..reader.length()? {
            let value = D::decode(reader)?;
            add::<D>(&mut cell, D::lend(&value), reader.i64()?);
        }
        Ok(cell)
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        let one = size_of::<(D::Value, i64)>();
        let values = match &cell.values {
            Multiset::Few(values) => values.capacity() * one,
            // Nodes of a B-tree are about two thirds full.
            Multiset::Many(values) => values.len() * one * 3 / 2,
        };
        values + cell.owned_bytes
    }
}
