//! Variances and standard deviations of integers and numerics, from exact sums of values and of their squares.
//!
//! With n values that is (n * sum of squares - square of sum) / (n * (n - 1)), of a whole population / (n * n). The
//! numerator is computed exactly, in 256 bits, and divided once: the answer is rounded half away from zero at its type's
//! scale. A standard deviation is the root of the fraction itself, not of the rounded variance.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};

use super::column::{Accumulated, Kind};
use super::numbers::IntegerView;
use super::sum::{fit, numeric_overflow, quotient};
use super::{Accumulator, Input};
use crate::change::bytes::Reader;
use crate::error::Result;
use crate::plan::AggregateFunction;

/// Which measure of spread is asked.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The standard deviation.
    pub root: bool,
    /// Of a sample, not of a whole population.
    pub sample: bool,
}

impl Spread {
    pub fn of(function: AggregateFunction) -> Option<Self> {
        use AggregateFunction as F;
        let (root, sample) = match function {
            F::StddevSamp => (true, true),
            F::StddevPop => (true, false),
            F::VarSamp => (false, true),
            F::VarPop => (false, false),
            _ => return None,
        };
        Some(Spread { root, sample })
    }

    /// Fewer values have no spread: null.
    pub fn fewest(self) -> i64 {
        if self.sample { 2 } else { 1 }
    }

    /// What the sum of squared distances is divided by.
    pub fn degrees(self, count: i64) -> i64 {
        if self.sample { count.saturating_sub(1) } else { count }
    }
}

/// The answers are numerics; none for arguments of other types.
pub fn create(spread: Spread, argument: &DataType, result: &DataType) -> Option<Box<dyn Accumulator>> {
    let scale = match argument {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => 0,
        DataType::Decimal128(_, scale) => *scale,
        _ => return None,
    };
    let DataType::Decimal128(_, to) = result else { return None };
    let scales = (u32::try_from(scale).ok()?, u32::try_from(*to).ok()?);
    (scales.0 <= scales.1).then(|| Accumulated::boxed(Squares { spread, scales, result: result.clone() }))
}

struct Squares {
    spread: Spread,
    /// Of argument and answer.
    scales: (u32, u32),
    result: DataType,
}

/// Squares take up to 254 bits: the sums of their halves, of 128 bits each, cannot overflow.
#[derive(Default)]
struct SquaresCell {
    count: i64,
    sum: i256,
    high_halves: i256,
    low_halves: i256,
}

enum View<'a> {
    Integer(IntegerView<'a>),
    Numeric(&'a [i128]),
}

impl Squares {
    fn answer(&self, cell: &SquaresCell) -> Result<Option<i128>> {
        if cell.count < self.spread.fewest() {
            return Ok(None);
        }
        let wide = |n: i64| i256::from_i128(i128::from(n));
        let squares = cell.high_halves.checked_mul(i256::from_parts(0, 1)).and_then(|h| h.checked_add(cell.low_halves));
        let scaled = squares.and_then(|squares| squares.checked_mul(wide(cell.count)));
        let numerator = scaled.zip(cell.sum.checked_mul(cell.sum)).and_then(|(a, b)| a.checked_sub(b));
        let numerator = numerator.ok_or_else(numeric_overflow)?;
        let divisor = wide(cell.count).wrapping_mul(wide(self.spread.degrees(cell.count)));
        let (from, to) = self.scales;
        let answer = match self.spread.root {
            true => root(numerator, divisor, to - from)?,
            false if to >= 2 * from => quotient(numerator, to - 2 * from, divisor)?,
            false => quotient(numerator, 0, times_ten(divisor, 2 * from - to).ok_or_else(numeric_overflow)?)?,
        };
        fit(answer, &self.result).map(Some)
    }
}

fn times_ten(value: i256, power: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(power).and_then(|ten| value.checked_mul(ten))
}

/// The root of `numerator / divisor`, times 10^`raise`, half away from zero. Where so many digits do not fit into 256 bits
/// on the way, the last of them are zero: 25 significant ones are always left.
fn root(numerator: i256, divisor: i256, raise: u32) -> Result<i128> {
    let most = (0..=raise).rev().find_map(|digits| Some((digits, times_ten(numerator, 2 * digits)?)));
    let (digits, scaled) = most.ok_or_else(numeric_overflow)?;
    let divided = scaled.checked_div(divisor).zip(scaled.checked_rem(divisor));
    let (whole, rest) = divided.ok_or_else(numeric_overflow)?;
    let root = whole_root(whole);
    // Rounded up from (root + 1/2)^2 = root^2 + root + 1/4 on.
    let above = whole.wrapping_sub(root.wrapping_mul(root)).wrapping_sub(root);
    let four = i256::from_i128(4);
    let up = above > i256::ZERO || above == i256::ZERO && rest.checked_mul(four).is_none_or(|rest| rest >= divisor);
    let rounded = if up { root.wrapping_add(i256::ONE) } else { root };
    times_ten(rounded, raise - digits).and_then(|root| root.to_i128()).ok_or_else(numeric_overflow)
}

/// The greatest integer whose square is not greater, by Newton's iteration from above.
fn whole_root(value: i256) -> i256 {
    let (low, high) = value.to_parts();
    let bits = if high > 0 { 256 - high.leading_zeros() } else { 128 - low.leading_zeros() };
    if value <= i256::ZERO {
        return i256::ZERO;
    }
    let mut root = i256::from_i128(2).wrapping_pow(bits.div_ceil(2));
    loop {
        let Some(quotient) = value.checked_div(root) else { return root };
        let next = root.wrapping_add(quotient) >> 1;
        if next >= root {
            return root;
        }
        root = next;
    }
}

impl Kind for Squares {
    type Cell = SquaresCell;
    type View<'a> = View<'a>;

    fn view<'a>(&self, input: &Input<'a>) -> Result<View<'a>> {
        let argument = input.argument()?;
        Ok(match argument.as_primitive_opt::<Decimal128Type>() {
            Some(numerics) => View::Numeric(numerics.values()),
            None => View::Integer(IntegerView::of(argument)?),
        })
    }

    fn add(&self, cell: &mut SquaresCell, view: &View<'_>, row: usize, weight: i64) -> Result<()> {
        let value = i256::from_i128(match view {
            View::Integer(values) => i128::from(values.get(row)),
            View::Numeric(values) => values.get(row).copied().unwrap_or_default(),
        });
        let (low, high) = value.wrapping_mul(value).to_parts();
        let weighted = |part: i256| part.wrapping_mul(i256::from_i128(i128::from(weight)));
        let added = SquaresCell {
            count: weight,
            sum: weighted(value),
            high_halves: weighted(i256::from_i128(high)),
            low_halves: weighted(i256::from_parts(low, 0)),
        };
        self.merge(cell, &added)
    }

    fn merge(&self, cell: &mut SquaresCell, other: &SquaresCell) -> Result<()> {
        cell.count = cell.count.wrapping_add(other.count);
        cell.sum = cell.sum.wrapping_add(other.sum);
        cell.high_halves = cell.high_halves.wrapping_add(other.high_halves);
        cell.low_halves = cell.low_halves.wrapping_add(other.low_halves);
        Ok(())
    }

    fn unmerge(&self, cell: &mut SquaresCell, other: &SquaresCell) -> Result<()> {
        cell.count = cell.count.wrapping_sub(other.count);
        cell.sum = cell.sum.wrapping_sub(other.sum);
        cell.high_halves = cell.high_halves.wrapping_sub(other.high_halves);
        cell.low_halves = cell.low_halves.wrapping_sub(other.low_halves);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a SquaresCell>) -> Result<ArrayRef> {
        let column = cells.map(|cell| self.answer(cell)).collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(column.with_data_type(self.result.clone())))
    }

    fn encode(&self, cell: &SquaresCell, out: &mut Vec<u8>) {
        out.extend_from_slice(&cell.count.to_le_bytes());
        for part in [cell.sum, cell.high_halves, cell.low_halves] {
            out.extend_from_slice(&part.to_le_bytes());
        }
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<SquaresCell> {
        let count = reader.i64()?;
        let mut part = || -> Result<i256> { Ok(i256::from_le_bytes(reader.array()?)) };
        Ok(SquaresCell { count, sum: part()?, high_halves: part()?, low_halves: part()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_rounded_half_away_from_zero() {
        let wide = |n: i128| i256::from_i128(n);
        for n in (0..2000).chain([i128::MAX, i128::MAX - 1, 1 << 126, (1 << 126) - 1]) {
            let root = whole_root(wide(n));
            let above = root.wrapping_add(i256::ONE);
            assert!(root.wrapping_mul(root) <= wide(n) && above.wrapping_mul(above) > wide(n), "{n}");
        }
        for (numerator, divisor, raise, want) in [
            (2, 1, 4, 14142),
            (3, 1, 4, 17321),
            (9, 4, 0, 2),
            (25, 4, 0, 3),
            (25, 4, 1, 25),
            (0, 7, 16, 0),
            (1, 4, 0, 1),
            (24, 100, 0, 0),
        ] {
            assert_eq!(root(wide(numerator), wide(divisor), raise).unwrap(), want, "{numerator} / {divisor}");
        }
        let large = i256::MAX;
        assert!(root(large, wide(1 << 80), 4).unwrap() > 1 << 87);
    }
}
