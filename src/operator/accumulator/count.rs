//! count(*) and count(x).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use super::column::{Accumulated, Kind};
use super::{Accumulator, Input};
use crate::change::bytes::Reader;
use crate::error::Result;

struct Count;

pub fn create() -> Box<dyn Accumulator> {
    Accumulated::boxed(Count)
}

impl Kind for Count {
    type Cell = i64;
    type View<'a> = ();

    fn view<'a>(&self, _: &Input<'a>) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn add(&self, cell: &mut i64, (): &(), _: usize, weight: i64) -> Result<()> {
        self.merge(cell, &weight)
    }

    #[inline]
    fn merge(&self, cell: &mut i64, other: &i64) -> Result<()> {
        *cell = cell.checked_add(*other).ok_or_else(|| super::sum::out_of_range("bigint"))?;
        Ok(())
    }

    fn unmerge(&self, cell: &mut i64, other: &i64) -> Result<()> {
        self.merge(cell, &other.wrapping_neg())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a i64>) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(cells.copied())))
    }

    fn encode(&self, cell: &i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&cell.to_le_bytes());
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<i64> {
        reader.i64()
    }
}
