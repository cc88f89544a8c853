//! An accumulator as a column of cells, one for each slot.

use std::any::Any;
use std::ops::Range;

use arrow::array::ArrayRef;

use super::{Accumulator, Input, Sign};
use crate::change::bytes::Reader;
use crate::error::{Error, Result};

/// What an aggregate function does with one slot's cell.
pub trait Kind: Send + Sync + 'static {
    /// What is kept; the default has seen no rows.
    type Cell: Default + Send + Sync + 'static;

    /// The argument's column, ready to be read by row.
    type View<'a>;

    /// Whether cells own memory elsewhere.
    const OWNS_HEAP: bool = false;

    fn view<'a>(&self, input: &Input<'a>) -> Result<Self::View<'a>>;

    /// Adds a row's value.
    fn add(&self, cell: &mut Self::Cell, view: &Self::View<'_>, row: usize, weight: i64) -> Result<()>;

    fn merge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()>;

    /// Takes out what `other`, which was merged before, has seen.
    fn unmerge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()>;

    /// Adds or takes out slot `from` of another accumulator of the same call.
    fn absorb(&self, cell: &mut Self::Cell, other: &dyn Any, from: u32, sign: Sign) -> Result<()>
    where
        Self: Sized,
    {
        let other = other.downcast_ref::<Accumulated<Self>>().and_then(|other| other.cell(from));
        match (other, sign) {
            (Some(other), Sign::Add) => self.merge(cell, other),
            (Some(other), Sign::TakeOut) => self.unmerge(cell, other),
            (None, _) => Err(Error::internal("accumulators of different kinds cannot be merged")),
        }
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a Self::Cell>) -> Result<ArrayRef>;

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>);

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Self::Cell>;

    /// Bytes that the cell owns elsewhere.
    fn heap_bytes(&self, _cell: &Self::Cell) -> usize {
        0
    }
}

pub struct Accumulated<K: Kind> {
    kind: K,
    cells: Vec<K::Cell>,
    /// What cells own elsewhere, all together.
    heap_bytes: usize,
}

impl<K: Kind> Accumulated<K> {
    pub fn boxed(kind: K) -> Box<dyn Accumulator> {
        Box::new(Accumulated { kind, cells: Vec::new(), heap_bytes: 0 })
    }

    /// What a slot holds.
    pub fn cell(&self, slot: u32) -> Option<&K::Cell> {
        self.cells.get(slot as usize)
    }

    /// Changes a cell and keeps count of what it owns.
    #[inline]
    fn change(&mut self, slot: u32, change: impl FnOnce(&K, &mut K::Cell) -> Result<()>) -> Result<()> {
        let Some(cell) = self.cells.get_mut(slot as usize) else {
            return Err(Error::internal("an accumulator was asked for a slot it does not have"));
        };
        if !K::OWNS_HEAP {
            return change(&self.kind, cell);
        }
        let before = self.kind.heap_bytes(cell);
        let changed = change(&self.kind, cell);
        self.heap_bytes = (self.heap_bytes + self.kind.heap_bytes(cell)).saturating_sub(before);
        changed
    }
}

impl<K: Kind> Accumulator for Accumulated<K> {
    fn grow(&mut self, slots: usize) {
        if self.cells.len() < slots {
            self.cells.resize_with(slots, K::Cell::default);
        }
    }

    fn reset(&mut self, slot: u32) {
        // Only a slot that is not there can fail, and then there is nothing to reset.
        let _ = self.change(slot, |_, cell| {
            *cell = K::Cell::default();
            Ok(())
        });
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.heap_bytes = 0;
    }

    fn update(&mut self, slots: &[u32], input: &Input<'_>) -> Result<()> {
        let view = self.kind.view(input)?;
        input
            .try_for_each(slots, |row, slot, weight| self.change(slot, |kind, cell| kind.add(cell, &view, row, weight)))
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: Range<u32>) -> Result<()> {
        let other: &dyn Any = other;
        let Some(other) = other.downcast_ref::<Self>() else {
            return Err(Error::internal("accumulators of different kinds cannot be merged"));
        };
        let cells = other.cells.get(from.start as usize..from.end as usize).unwrap_or_default();
        into.iter().zip(cells).try_for_each(|(slot, cell)| self.change(*slot, |kind, own| kind.merge(own, cell)))
    }

    fn absorb(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32], sign: Sign) -> Result<()> {
        let other: &dyn Any = other;
        let mut pairs = into.iter().zip(from);
        pairs.try_for_each(|(slot, from)| self.change(*slot, |kind, own| kind.absorb(own, other, *from, sign)))
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.kind.finish(slots.iter().filter_map(|slot| self.cells.get(*slot as usize)))
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        if let Some(cell) = self.cells.get(slot as usize) {
            self.kind.encode(cell, out);
        }
    }

    fn decode(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<()> {
        self.change(slot, |kind, cell| {
            *cell = kind.decode(reader)?;
            Ok(())
        })
    }

    fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<K::Cell>() + self.heap_bytes
    }
}
