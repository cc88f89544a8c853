//! sum and avg of integers and numerics. Sums are kept wider than any answer, so that only the answer can overflow, not
//! what rows add up to on the way: retracting a row brings an answer back.
//!
//! sum(smallint | integer) is bigint, sum(bigint) numeric(38,0), sum(numeric(p,s)) numeric(38,s); avg is numeric, rounded
//! half away from zero at its type's scale, as PostgreSQL rounds.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};

use super::column::{Accumulated, Kind};
use super::numbers::IntegerView;
use super::{Accumulator, Input};
use crate::change::bytes::Reader;
use crate::error::{Error, Result, SqlState};

/// Decimal digits of the widest numeric.
const MAX_PRECISION: u32 = 38;

pub fn create_sum(argument: &DataType, result: &DataType) -> Option<Box<dyn Accumulator>> {
    match (argument, result) {
        (DataType::Int16 | DataType::Int32, DataType::Int64)
        | (DataType::Int64, DataType::Int64 | DataType::Decimal128(_, 0)) => {
            Some(Accumulated::boxed(Integers { answer: Answer::Sum(result.clone()) }))
        }
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) if from == to => {
            Some(Accumulated::boxed(Numerics { answer: Answer::Sum(result.clone()) }))
        }
        _ => None,
    }
}

pub fn create_avg(argument: &DataType, result: &DataType) -> Option<Box<dyn Accumulator>> {
    let scale_of = |t: &DataType| match t {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(0),
        DataType::Decimal128(_, scale) => Some(*scale),
        _ => None,
    };
    let DataType::Decimal128(_, to) = result else { return None };
    // The quotient is computed at the answer's scale, which holds all digits of the sum.
    let raise = u32::try_from(to - scale_of(argument)?).ok()?;
    let answer = Answer::Avg { result: result.clone(), raise };
    Some(match argument {
        DataType::Decimal128(..) => Accumulated::boxed(Numerics { answer }),
        _ => Accumulated::boxed(Integers { answer }),
    })
}

pub fn out_of_range(type_name: &str) -> Error {
    Error::new(SqlState::NumericValueOutOfRange, format!("{type_name} out of range"))
}

pub fn numeric_overflow() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "numeric field overflow")
        .with_detail("An aggregate's answer needs more digits than its type has.")
}

/// What is asked of a sum and a count.
enum Answer {
    Sum(DataType),
    /// `raise`: digits by which the answer's scale exceeds the argument's.
    Avg {
        result: DataType,
        raise: u32,
    },
}

impl Answer {
    /// `cells`: sum and number of values. No values: null.
    fn column(&self, cells: impl Iterator<Item = (i256, i64)>) -> Result<ArrayRef> {
        let (result, raise) = match self {
            Answer::Sum(result) => (result, None),
            Answer::Avg { result, raise } => (result, Some(*raise)),
        };
        let values = cells.map(|(sum, count)| match (count, raise) {
            (0, _) => Ok(None),
            (_, None) => sum.to_i128().map(Some).ok_or_else(|| overflow_of(result)),
            (_, Some(raise)) => quotient(sum, raise, i256::from_i128(i128::from(count))).map(Some),
        });
        Ok(match result {
            DataType::Int64 => {
                let narrow = |v: i128| i64::try_from(v).map_err(|_| overflow_of(result));
                Arc::new(values.map(|v| v?.map(narrow).transpose()).collect::<Result<Int64Array>>()?)
            }
            _ => {
                let column =
                    values.map(|v| v?.map(|v| fit(v, result)).transpose()).collect::<Result<Decimal128Array>>()?;
                Arc::new(column.with_data_type(result.clone()))
            }
        })
    }
}

fn overflow_of(result: &DataType) -> Error {
    if *result == DataType::Int64 { out_of_range("bigint") } else { numeric_overflow() }
}

/// An answer that has no more digits than its type.
pub fn fit(answer: i128, result: &DataType) -> Result<i128> {
    let precision = match result {
        DataType::Decimal128(precision, _) => u32::from(*precision),
        _ => MAX_PRECISION,
    };
    let limit = 10u128.saturating_pow(precision.min(MAX_PRECISION));
    if answer.unsigned_abs() < limit { Ok(answer) } else { Err(numeric_overflow()) }
}

/// `sum * 10^raise / count`, half away from zero.
pub fn quotient(sum: i256, raise: u32, count: i256) -> Result<i128> {
    let scaled =
        i256::from_i128(10).checked_pow(raise).and_then(|ten| sum.checked_mul(ten)).ok_or_else(numeric_overflow)?;
    let (quotient, rest) = scaled.checked_div(count).zip(scaled.checked_rem(count)).ok_or_else(numeric_overflow)?;
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    let away = if twice < count.wrapping_abs() {
        i256::ZERO
    } else if (scaled < i256::ZERO) == (count < i256::ZERO) {
        i256::ONE
    } else {
        i256::MINUS_ONE
    };
    quotient.wrapping_add(away).to_i128().ok_or_else(numeric_overflow)
}

struct Integers {
    answer: Answer,
}

#[derive(Default)]
struct IntegerCell {
    sum: i128,
    count: i64,
}

impl Kind for Integers {
    type Cell = IntegerCell;
    type View<'a> = IntegerView<'a>;

    fn view<'a>(&self, input: &Input<'a>) -> Result<IntegerView<'a>> {
        IntegerView::of(input.argument()?)
    }

    #[inline]
    fn add(&self, cell: &mut IntegerCell, view: &IntegerView<'_>, row: usize, weight: i64) -> Result<()> {
        // 128 bits hold 2^64 values of 64 bits; wrapping would come back with the same rows retracted.
        cell.sum = cell.sum.wrapping_add(i128::from(view.get(row)).wrapping_mul(i128::from(weight)));
        cell.count = cell.count.wrapping_add(weight);
        Ok(())
    }

    #[inline]
    fn merge(&self, cell: &mut IntegerCell, other: &IntegerCell) -> Result<()> {
        cell.sum = cell.sum.wrapping_add(other.sum);
        cell.count = cell.count.wrapping_add(other.count);
        Ok(())
    }

    fn unmerge(&self, cell: &mut IntegerCell, other: &IntegerCell) -> Result<()> {
        cell.sum = cell.sum.wrapping_sub(other.sum);
        cell.count = cell.count.wrapping_sub(other.count);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a IntegerCell>) -> Result<ArrayRef> {
        self.answer.column(cells.map(|c| (i256::from_i128(c.sum), c.count)))
    }

    fn encode(&self, cell: &IntegerCell, out: &mut Vec<u8>) {
        out.extend_from_slice(&cell.sum.to_le_bytes());
        out.extend_from_slice(&cell.count.to_le_bytes());
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<IntegerCell> {
        Ok(IntegerCell { sum: reader.i128()?, count: reader.i64()? })
    }
}

struct Numerics {
    answer: Answer,
}

#[derive(Default)]
struct NumericCell {
    sum: i256,
    count: i64,
}

impl Kind for Numerics {
    type Cell = NumericCell;
    type View<'a> = &'a [i128];

    fn view<'a>(&self, input: &Input<'a>) -> Result<&'a [i128]> {
        let argument = input.argument()?;
        let values = argument.as_primitive_opt::<Decimal128Type>();
        values.map(|a| a.values().as_ref()).ok_or_else(|| Error::internal("a sum's argument changed its type"))
    }

    #[inline]
    fn add(&self, cell: &mut NumericCell, view: &&[i128], row: usize, weight: i64) -> Result<()> {
        let value = i256::from_i128(view.get(row).copied().unwrap_or_default());
        let product = if weight == 1 { value } else { value.wrapping_mul(i256::from_i128(i128::from(weight))) };
        cell.sum = cell.sum.wrapping_add(product);
        cell.count = cell.count.wrapping_add(weight);
        Ok(())
    }

    fn merge(&self, cell: &mut NumericCell, other: &NumericCell) -> Result<()> {
        cell.sum = cell.sum.wrapping_add(other.sum);
        cell.count = cell.count.wrapping_add(other.count);
        Ok(())
    }

    fn unmerge(&self, cell: &mut NumericCell, other: &NumericCell) -> Result<()> {
        cell.sum = cell.sum.wrapping_sub(other.sum);
        cell.count = cell.count.wrapping_sub(other.count);
        Ok(())
    }

    fn finish<'a>(&self, cells: impl Iterator<Item = &'a NumericCell>) -> Result<ArrayRef> {
        self.answer.column(cells.map(|c| (c.sum, c.count)))
    }

    fn encode(&self, cell: &NumericCell, out: &mut Vec<u8>) {
        out.extend_from_slice(&cell.sum.to_le_bytes());
        out.extend_from_slice(&cell.count.to_le_bytes());
    }

    fn decode(&self, reader: &mut Reader<'_>) -> Result<NumericCell> {
        Ok(NumericCell { sum: i256::from_le_bytes(reader.array()?), count: reader.i64()? })
    }
}
