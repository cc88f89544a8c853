//! MIN and MAX with retraction: an ordered multiset of all values.

use std::any::Any;

use arrow::array::ArrayRef;

use super::column::{Accumulated, Kind};
use super::domain::Domain;
use super::extremum::Extremum;
use super::values::ValuesCell;
use super::{Input, Sign};
use crate::change::bytes::Reader;
use crate::error::{Error, Result};

pub struct RetractableExtremum<D> {
    pub domain: D,
    pub max: bool,
}

impl<D: Domain> Kind for RetractableExtremum<D> {
    type Cell = ValuesCell<D>;
    type View<'a> = D::View<'a>;
    const OWNS_HEAP: bool = true;

    fn view<'a>(&self, input: &Input<'a>) -> Result<D::View<'a>> {
        self.domain.view(input.argument()?)
    }

    fn add(&self, cell: &mut Self::Cell, view: &D::View<'_>, row: usize, weight: i64) -> Result<()> {
        if let Some(value) = D::get(view, row) {
            cell.add(value, weight);
        }
        Ok(())
    }

    fn merge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        cell.add_all(other);
        Ok(())
    }

    fn unmerge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        cell.take_all(other);
        Ok(())
    }

    /// Of an accumulator for append-only input there is one value to add or to take out: its best.
    fn absorb(&self, cell: &mut Self::Cell, other: &dyn Any, from: u32, sign: Sign) -> Result<()> {
        if let Some(other) = other.downcast_ref::<Accumulated<Extremum<D>>>() {
            if let Some(Some(best)) = other.cell(from) {
                cell.add(D::lend(best), if sign == Sign::Add { 1 } else { -1 });
            }
            return Ok(());
        }
        let Some(other) = other.downcast_ref::<Accumulated<Self>>().and_then(|other| other.cell(from)) else {
            return Err(Error::internal("accumulators of different kinds cannot be merged"));
        };
        if sign == Sign::Add { self.merge(cell, other) } else { self.unmerge(cell, other) }
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a Self::Cell>) -> Result<ArrayRef> {
        self.domain.column(cells.map(|c| c.extremum(self.max)))
    }

    fn encode(&self, cell: &Self::Cell, out: &mut Vec<u8>) {
        cell.encode(out);
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<Self::Cell> {
        ValuesCell::decode(reader)
    }

    fn heap_bytes(&self, cell: &Self::Cell) -> usize {
        cell.heap_bytes()
    }
}
