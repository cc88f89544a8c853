//! sum and avg of real and double precision: exact sums, rounded once.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array};
use arrow::datatypes::DataType;

use super::column::{Accumulated, Kind};
use super::exact::ExactSum;
use super::numbers::FloatView;
use super::{Accumulator, Input};
use crate::change::bytes::Reader;
use crate::error::Result;
use crate::plan::functions::scalar::overflow;

struct Floats {
    average: bool,
    result: DataType,
}

pub fn create(average: bool, argument: &DataType, result: &DataType) -> Option<Box<dyn Accumulator>> {
    let float = |t: &DataType| matches!(t, DataType::Float32 | DataType::Float64);
    (float(argument) && float(result)).then(|| Accumulated::boxed(Floats { average, result: result.clone() }))
}

#[derive(Default)]
struct FloatCell {
    sum: ExactSum,
    count: i64,
}

impl Floats {
    /// Null without values; an error if finite values overflow.
    fn answer(&self, cell: &FloatCell) -> Result<Option<f64>> {
        if cell.count == 0 {
            return Ok(None);
        }
        let sum = cell.sum.value();
        let value = if self.average { sum / cell.count as f64 } else { sum };
        let overflows = value.is_infinite() || self.result == DataType::Float32 && (value as f32).is_infinite();
        if overflows && !cell.sum.has_odd_values() {
            return Err(overflow());
        }
        Ok(Some(value))
    }
}

impl Kind for Floats {
    type Cell = FloatCell;
    type View<'a> = FloatView<'a>;
    const OWNS_HEAP: bool = true;

    fn view<'a>(&self, input: &Input<'a>) -> Result<FloatView<'a>> {
        FloatView::of(input.argument()?)
    }

    #[inline]
    fn add(&self, cell: &mut FloatCell, view: &FloatView<'_>, row: usize, weight: i64) -> Result<()> {
        cell.sum.add(view.get(row), weight);
        cell.count = cell.count.wrapping_add(weight);
        Ok(())
    }

    fn merge(&self, cell: &mut FloatCell, other: &FloatCell) -> Result<()> {
        cell.sum.merge(&other.sum);
        cell.count = cell.count.wrapping_add(other.count);
        Ok(())
    }

    fn unmerge(&self, cell: &mut FloatCell, other: &FloatCell) -> Result<()> {
        cell.sum.unmerge(&other.sum);
        cell.count = cell.count.wrapping_sub(other.count);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a FloatCell>) -> Result<ArrayRef> {
        let answers = cells.map(|c| self.answer(c));
        Ok(match self.result {
            DataType::Float32 => Arc::new(answers.map(|a| Ok(a?.map(|v| v as f32))).collect::<Result<Float32Array>>()?),
            _ => Arc::new(answers.collect::<Result<Float64Array>>()?),
        })
    }

    fn encode(&self, cell: &FloatCell, out: &mut Vec<u8>) {
        cell.sum.encode(out);
        out.extend_from_slice(&cell.count.to_le_bytes());
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<FloatCell> {
        Ok(FloatCell { sum: ExactSum::decode(reader)?, count: reader.i64()? })
    }

    fn heap_bytes(&self, cell: &FloatCell) -> usize {
        cell.sum.heap_bytes()
    }
}
