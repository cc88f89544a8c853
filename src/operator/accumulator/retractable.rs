//! MIN and MAX with retraction: an ordered multiset of all values.

use std::any::Any;

use arrow::array::ArrayRef;

use super::column::{Accumulated, Kind};
use super::domain::Domain;
use super::extremum::Extremum;
use super::{Input, Sign};
use crate::change::bytes::{Reader, put_varint};
use crate::error::{Error, Result};
use crate::operator::multiset::Multiset;

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

    fn unmerge(&self, cell: &mut Self::Cell, other: &Self::Cell) -> Result<()> {
        other.values.iter().for_each(|(value, count)| add::<D>(cell, D::lend(value), count.wrapping_neg()));
        Ok(())
    }

    /// Of an accumulator for append-only input there is one value to add or to take out: its best.
    fn absorb(&self, cell: &mut Self::Cell, other: &dyn Any, from: u32, sign: Sign) -> Result<()> {
        if let Some(other) = other.downcast_ref::<Accumulated<Extremum<D>>>() {
            if let Some(Some(best)) = other.cell(from) {
                add::<D>(cell, D::lend(best), if sign == Sign::Add { 1 } else { -1 });
            }
            return Ok(());
        }
        let Some(other) = other.downcast_ref::<Accumulated<Self>>().and_then(|other| other.cell(from)) else {
            return Err(Error::internal("accumulators of different kinds cannot be merged"));
        };
        if sign == Sign::Add { self.merge(cell, other) } else { self.unmerge(cell, other) }
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
        cell.values.bytes() + cell.owned_bytes
    }
}
