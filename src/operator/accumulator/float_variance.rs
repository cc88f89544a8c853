//! Variances and standard deviations of real and double precision, from exact sums of values and of their squares: neither
//! the order of rows nor what was retracted leaves a trace, and close values far from zero do not cancel out.
//!
//! A square is added as two doubles, its rounded value and what rounding left, so it is exact too unless it is below
//! 2^-969, where digits fall off the end of what a double can be.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;

use super::column::{Accumulated, Kind};
use super::exact::ExactSum;
use super::numbers::FloatView;
use super::variance::Spread;
use super::{Accumulator, Input};
use crate::change::bytes::Reader;
use crate::error::Result;
use crate::plan::functions::scalar::overflow;

/// Sums of squares beyond, and the scale that makes them small enough to be multiplied.
const LARGE: f64 = 1e270;
const LARGE_SCALE: f64 = 1.0 / (1u128 << 100) as f64;

pub fn create(spread: Spread, argument: &DataType, result: &DataType) -> Option<Box<dyn Accumulator>> {
    let float = matches!(argument, DataType::Float32 | DataType::Float64) && *result == DataType::Float64;
    float.then(|| Accumulated::boxed(FloatSquares { spread }))
}

struct FloatSquares {
    spread: Spread,
}

#[derive(Default)]
struct FloatSquaresCell {
    count: i64,
    sum: ExactSum,
    squares: ExactSum,
}

/// `a * b`, and what rounding it left.
fn product(a: f64, b: f64) -> [f64; 2] {
    let rounded = a * b;
    [rounded, a.mul_add(b, -rounded)]
}

impl FloatSquares {
    fn answer(&self, cell: &FloatSquaresCell) -> Result<Option<f64>> {
        let Spread { root, .. } = self.spread;
        if cell.count < self.spread.fewest() {
            return Ok(None);
        }
        if cell.sum.has_odd_values() {
            return Ok(Some(f64::NAN));
        }
        if cell.squares.has_odd_values() {
            return Err(overflow());
        }
        let (sum, squares) = (cell.sum.terms(), cell.squares.terms());
        let scale = if squares.first().is_some_and(|first| *first > LARGE) { LARGE_SCALE } else { 1.0 };
        // n * sum of squares - square of sum
        let mut numerator = ExactSum::default();
        squares.iter().for_each(|term| numerator.add(term * scale * scale, cell.count));
        for a in &sum {
            for b in &sum {
                product(a * scale, b * scale).into_iter().for_each(|part| numerator.add(part, -1));
            }
        }
        let divisor = cell.count as f64 * self.spread.degrees(cell.count) as f64;
        let variance = numerator.value().max(0.0) / divisor;
        let answer = if root { variance.sqrt() / scale } else { variance / scale / scale };
        if answer.is_infinite() { Err(overflow()) } else { Ok(Some(answer)) }
    }
}

impl Kind for FloatSquares {
    type Cell = FloatSquaresCell;
    type View<'a> = FloatView<'a>;
    const OWNS_HEAP: bool = true;

    fn view<'a>(&self, input: &Input<'a>) -> Result<FloatView<'a>> {
        FloatView::of(input.argument()?)
    }

    fn add(&self, cell: &mut FloatSquaresCell, view: &FloatView<'_>, row: usize, weight: i64) -> Result<()> {
        let value = view.get(row);
        cell.count = cell.count.wrapping_add(weight);
        cell.sum.add(value, weight);
        if value.is_finite() {
            let [square, rest] = product(value, value);
            cell.squares.add(square, weight);
            // Of a square that is too large, counted as infinite, nothing is left.
            if square.is_finite() {
                cell.squares.add(rest, weight);
            }
        }
        Ok(())
    }

    fn merge(&self, cell: &mut FloatSquaresCell, other: &FloatSquaresCell) -> Result<()> {
        cell.count = cell.count.wrapping_add(other.count);
        cell.sum.merge(&other.sum);
        cell.squares.merge(&other.squares);
        Ok(())
    }

    fn unmerge(&self, cell: &mut FloatSquaresCell, other: &FloatSquaresCell) -> Result<()> {
        cell.count = cell.count.wrapping_sub(other.count);
        cell.sum.unmerge(&other.sum);
        cell.squares.unmerge(&other.squares);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a FloatSquaresCell>) -> Result<ArrayRef> {
        Ok(Arc::new(cells.map(|cell| self.answer(cell)).collect::<Result<Float64Array>>()?))
    }

    fn encode(&self, cell: &FloatSquaresCell, out: &mut Vec<u8>) {
        out.extend_from_slice(&cell.count.to_le_bytes());
        cell.sum.encode(out);
        cell.squares.encode(out);
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<FloatSquaresCell> {
        let count = reader.i64()?;
        Ok(FloatSquaresCell { count, sum: ExactSum::decode(reader)?, squares: ExactSum::decode(reader)? })
    }

    fn heap_bytes(&self, cell: &FloatSquaresCell) -> usize {
        cell.sum.heap_bytes() + cell.squares.heap_bytes()
    }
}
