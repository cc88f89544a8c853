//! bool_and and bool_or: how many values are true, and how many false.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;

use super::column::{Accumulated, Kind};
use super::{Accumulator, Input};
use crate::change::bytes::Reader;
use crate::error::{Error, Result};

struct Booleans {
    and: bool,
}

pub fn create(and: bool) -> Box<dyn Accumulator> {
    Accumulated::boxed(Booleans { and })
}

#[derive(Default)]
struct BooleanCell {
    trues: i64,
    falses: i64,
}

impl Kind for Booleans {
    type Cell = BooleanCell;
    type View<'a> = &'a BooleanBuffer;

    fn view<'a>(&self, input: &Input<'a>) -> Result<&'a BooleanBuffer> {
        let values = input.argument()?.as_boolean_opt().map(|a| a.values());
        values.ok_or_else(|| Error::internal("an aggregate's argument changed its type"))
    }

    #[inline]
    fn add(&self, cell: &mut BooleanCell, view: &&BooleanBuffer, row: usize, weight: i64) -> Result<()> {
        let is_true = row < view.len() && view.value(row);
        let count = if is_true { &mut cell.trues } else { &mut cell.falses };
        *count = count.wrapping_add(weight);
        Ok(())
    }

    fn merge(&self, cell: &mut BooleanCell, other: &BooleanCell) -> Result<()> {
        cell.trues = cell.trues.wrapping_add(other.trues);
        cell.falses = cell.falses.wrapping_add(other.falses);
        Ok(())
    }

    fn unmerge(&self, cell: &mut BooleanCell, other: &BooleanCell) -> Result<()> {
        cell.trues = cell.trues.wrapping_sub(other.trues);
        cell.falses = cell.falses.wrapping_sub(other.falses);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a BooleanCell>) -> Result<ArrayRef> {
        let answers = cells.map(|cell| match (cell.trues, cell.falses) {
            (0, 0) => None,
            (trues, falses) => Some(if self.and { falses == 0 } else { trues != 0 }),
        });
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    }

    fn encode(&self, cell: &BooleanCell, out: &mut Vec<u8>) {
        out.extend_from_slice(&cell.trues.to_le_bytes());
        out.extend_from_slice(&cell.falses.to_le_bytes());
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<BooleanCell> {
        Ok(BooleanCell { trues: reader.i64()?, falses: reader.i64()? })
    }
}
