//! DISTINCT, in front of any other accumulator: that one sees a value when it first comes and, taken back, when its last
//! row is retracted.

use std::any::Any;
use std::ops::Range;

use arrow::array::ArrayRef;

use super::domain::Domain;
use super::values::ValuesCell;
use super::{Accumulator, Input, Sign};
use crate::change::bytes::Reader;
use crate::error::{Error, Result};

pub struct Distinct<D: Domain> {
    domain: D,
    cells: Vec<ValuesCell<D>>,
    /// What cells own elsewhere, all together.
    heap_bytes: usize,
    /// Has seen each value of a slot whose count is positive once.
    each_once: Box<dyn Accumulator>,
}

/// Values that have come (weight 1) or gone (-1), by slot.
struct Turned<D: Domain> {
    values: Vec<D::Value>,
    slots: Vec<u32>,
    weights: Vec<i64>,
}

impl<D: Domain> Distinct<D> {
    pub fn boxed(domain: D, each_once: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(Distinct { domain, cells: Vec::new(), heap_bytes: 0, each_once })
    }

    fn add(&mut self, slot: u32, value: D::Ref<'_>, weight: i64, turned: &mut Turned<D>) -> Result<()> {
        let Some(cell) = self.cells.get_mut(slot as usize) else { return Err(no_such_slot()) };
        let before = cell.heap_bytes();
        let now = cell.add(value, weight);
        self.heap_bytes = (self.heap_bytes + cell.heap_bytes()).saturating_sub(before);
        let was_there = now.wrapping_sub(weight) > 0;
        if (now > 0) != was_there {
            turned.values.push(D::keep(value));
            turned.slots.push(slot);
            turned.weights.push(if was_there { -1 } else { 1 });
        }
        Ok(())
    }

    fn pass_on(&mut self, turned: &Turned<D>) -> Result<()> {
        if turned.values.is_empty() {
            return Ok(());
        }
        let column = self.domain.column(turned.values.iter().map(Some))?;
        self.each_once.update(&turned.slots, &Input::weighted(&column, &turned.weights))
    }

    fn take_in(
        &mut self,
        into: &[u32],
        other: &dyn Accumulator,
        from: impl Iterator<Item = u32>,
        sign: Sign,
    ) -> Result<()> {
        let other: &dyn Any = other;
        let Some(other) = other.downcast_ref::<Self>() else {
            return Err(Error::internal("accumulators of different kinds cannot be merged"));
        };
        let mut turned = Turned::default();
        for (slot, from) in into.iter().zip(from) {
            let Some(cell) = other.cells.get(from as usize) else { return Err(no_such_slot()) };
            for (value, count) in cell.iter() {
                let weight = if sign == Sign::Add { count } else { count.wrapping_neg() };
                self.add(*slot, D::lend(value), weight, &mut turned)?;
            }
        }
        self.pass_on(&turned)
    }
}

fn no_such_slot() -> Error {
    Error::internal("an accumulator was asked for a slot it does not have")
}

impl<D: Domain> Default for Turned<D> {
    fn default() -> Self {
        Turned { values: Vec::new(), slots: Vec::new(), weights: Vec::new() }
    }
}

impl<D: Domain> Accumulator for Distinct<D> {
    fn grow(&mut self, slots: usize) {
        if self.cells.len() < slots {
            self.cells.resize_with(slots, ValuesCell::default);
        }
        self.each_once.grow(slots);
    }

    fn reset(&mut self, slot: u32) {
        if let Some(cell) = self.cells.get_mut(slot as usize) {
            self.heap_bytes = self.heap_bytes.saturating_sub(cell.heap_bytes());
            *cell = ValuesCell::default();
        }
        self.each_once.reset(slot);
    }

    fn clear(&mut self) {
        self.cells.clear();
        self.heap_bytes = 0;
        self.each_once.clear();
    }

    fn update(&mut self, slots: &[u32], input: &Input<'_>) -> Result<()> {
        let view = self.domain.view(input.argument()?)?;
        let mut turned = Turned::default();
        input.try_for_each(slots, |row, slot, weight| match D::get(&view, row) {
            Some(value) => self.add(slot, self.domain.representative(value), weight, &mut turned),
            None => Ok(()),
        })?;
        self.pass_on(&turned)
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: Range<u32>) -> Result<()> {
        self.take_in(into, other, from, Sign::Add)
    }

    fn absorb(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32], sign: Sign) -> Result<()> {
        self.take_in(into, other, from.iter().copied(), sign)
    }

    fn finish(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.each_once.finish(slots)
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        if let Some(cell) = self.cells.get(slot as usize) {
            cell.encode(out);
        }
    }

    fn decode(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<()> {
        let cell: ValuesCell<D> = ValuesCell::decode(reader)?;
        let mut turned = Turned::default();
        cell.iter().try_for_each(|(value, count)| self.add(slot, D::lend(value), count, &mut turned))?;
        self.pass_on(&turned)
    }

    fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<ValuesCell<D>>() + self.heap_bytes + self.each_once.bytes()
    }
}
