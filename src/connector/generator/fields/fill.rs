//! A rule makes a column for a run of rows.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryBuilder, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewBuilder,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute;
use arrow::datatypes::IntervalMonthDayNano;

use super::literal;
use super::rule::{Rule, Values, list_length};
use crate::connector::generator::random::{Draw, below, unit};
use crate::error::{Error, Result, SqlState};
use crate::types::{SqlType, UTC, uuid};

/// Bits of a row that decide on nulls and on the past are drawn apart from its value's.
const NULLS: u64 = 1 << 62;
const PAST: u64 = 1 << 61;

impl Rule {
    /// The values of `rows` (by their numbers).
    ///
    /// # Errors
    /// 22003 if a sequence has left the range of its type.
    pub fn fill(&self, rows: &[u64]) -> Result<ArrayRef> {
        let values: ArrayRef = match &self.values {
            Values::Sequence { .. } | Values::Range { .. } => self.whole(rows)?,
            Values::RealSequence { start, step } => self.reals(rows, |n| start + n as f64 * step),
            Values::RealRange { min, max } => self.reals(rows, |n| min + unit(self.draw.at(n)) * (max - min)),
            Values::Boolean => {
                Arc::new(rows.iter().map(|n| Some(self.draw.at(*n) >> 63 == 1)).collect::<BooleanArray>())
            }
            Values::Letters { length } => self.letters(rows, *length)?,
            Values::Numbered { prefix, numbers } => self.numbered(rows, prefix, numbers)?,
            Values::List { values, random } => {
                let length = list_length(values);
                let index = |n: &u64| if *random { below(self.draw.at(*n), length) } else { n % length };
                compute::take(values, &UInt64Array::from_iter_values(rows.iter().map(index)), None)?
            }
        };
        self.with_nulls(values, rows)
    }

    fn with_nulls(&self, values: ArrayRef, rows: &[u64]) -> Result<ArrayRef> {
        if self.nulls == 0 {
            return Ok(values);
        }
        let is_null = |n: &u64| Some(self.draw.at(n ^ NULLS) >> 32 < self.nulls);
        Ok(compute::nullif(&values, &rows.iter().map(is_null).collect::<BooleanArray>())?)
    }

    /// Row `n`'s whole number, in the column's unit.
    fn number(&self, values: &Values, n: u64) -> Option<i128> {
        let number = match values {
            Values::Sequence { start, step } => i128::from(n).checked_mul(*step)?.checked_add(*start)?,
            Values::Range { min, max } => in_range(self.draw, n, *min, *max),
            _ => return None,
        };
        let past = if self.max_past == 0 { 0 } else { in_range(self.draw, n ^ PAST, 0, self.max_past) };
        number.checked_sub(past)
    }

    fn whole(&self, rows: &[u64]) -> Result<ArrayRef> {
        let (least, greatest) = literal::bounds(&self.ty);
        let number = |n: &u64| match self.number(&self.values, *n) {
            Some(number) if (least..=greatest).contains(&number) => Ok(number),
            _ => Err(self.out_of_range(*n)),
        };
        let numbers = rows.iter().map(number).collect::<Result<Vec<i128>>>()?;
        let small = || numbers.iter().map(|n| *n as i64);
        Ok(match &self.ty {
            SqlType::SmallInt => Arc::new(Int16Array::from_iter_values(small().map(|n| n as i16))),
            SqlType::Integer => Arc::new(Int32Array::from_iter_values(small().map(|n| n as i32))),
            SqlType::Date => Arc::new(Date32Array::from_iter_values(small().map(|n| n as i32))),
            SqlType::Numeric(precision, scale) => {
                Arc::new(Decimal128Array::from(numbers).with_precision_and_scale(*precision, *scale)?)
            }
            SqlType::Timestamp(precision) => Arc::new(times(&numbers, *precision)),
            SqlType::TimestampTz(precision) => Arc::new(times(&numbers, *precision).with_timezone(UTC)),
            SqlType::Time(precision) => Arc::new(Time64MicrosecondArray::from_iter_values(
                numbers.iter().map(|n| literal::floor_to_precision(*n, *precision) as i64),
            )),
            SqlType::Interval => {
                let interval = |micros: i64| IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000));
                Arc::new(IntervalMonthDayNanoArray::from_iter_values(small().map(interval)))
            }
            _ => Arc::new(Int64Array::from_iter_values(small())),
        })
    }

    fn out_of_range(&self, n: u64) -> Error {
        let message = format!("column \"{}\" of the generator is out of range for type {}", self.name, self.ty);
        Error::new(SqlState::NumericValueOutOfRange, message)
            .with_detail(format!("This happened in row {n}."))
            .with_hint("Give the sequence an end, or the source a 'number-of-rows'.")
    }

    fn reals(&self, rows: &[u64], value: impl Fn(u64) -> f64) -> ArrayRef {
        let values = rows.iter().map(|n| value(*n));
        match self.ty {
            SqlType::Real => Arc::new(Float32Array::from_iter_values(values.map(|x| x as f32))),
            _ => Arc::new(Float64Array::from_iter_values(values)),
        }
    }

    fn letters(&self, rows: &[u64], length: u64) -> Result<ArrayRef> {
        let mut bytes = vec![0; length as usize];
        let draw = |n: u64, into: &mut [u8], byte: fn(u64) -> u8| {
            let row = Draw::new(self.draw.at(n), 0);
            for (i, to) in into.iter_mut().enumerate() {
                *to = byte(row.at(i as u64));
            }
        };
        if self.ty == SqlType::Uuid {
            let mut values = FixedSizeBinaryBuilder::with_capacity(rows.len(), uuid::BYTES);
            for n in rows {
                let mut random = self.draw.wide_at(*n).to_be_bytes();
                // Version 4, variant 1, as RFC 9562 marks random ones.
                random[6] = random[6] & 0x0f | 0x40;
                random[8] = random[8] & 0x3f | 0x80;
                values.append_value(random)?;
            }
            return Ok(Arc::new(values.finish()));
        }
        if self.ty == SqlType::Bytea {
            let mut values = BinaryViewBuilder::with_capacity(rows.len());
            for n in rows {
                draw(*n, &mut bytes, |bits| (bits >> 56) as u8);
                values.append_value(&bytes);
            }
            return Ok(Arc::new(values.finish()));
        }
        let mut values = StringViewBuilder::with_capacity(rows.len());
        for n in rows {
            draw(*n, &mut bytes, |bits| b'a' + below(bits, 26) as u8);
            values.append_value(str::from_utf8(&bytes).unwrap_or_default());
        }
        Ok(Arc::new(values.finish()))
    }

    fn numbered(&self, rows: &[u64], prefix: &str, numbers: &Values) -> Result<ArrayRef> {
        let mut text = Vec::with_capacity(prefix.len() + 20);
        let mut values = StringViewBuilder::with_capacity(rows.len());
        for n in rows {
            let number = self.number(numbers, *n).ok_or_else(|| self.out_of_range(*n))?;
            text.clear();
            write!(text, "{prefix}{number}")?;
            values.append_value(str::from_utf8(&text).unwrap_or_default());
        }
        Ok(Arc::new(values.finish()))
    }
}

fn times(micros: &[i128], precision: u8) -> TimestampMicrosecondArray {
    let floored = micros.iter().map(|m| literal::floor_to_precision(*m, precision) as i64);
    TimestampMicrosecondArray::from_iter_values(floored)
}

/// A whole number of min..=max, where `min <= max`.
fn in_range(draw: Draw, n: u64, min: i128, max: i128) -> i128 {
    let span = max.wrapping_sub(min) as u128;
    let offset = match u64::try_from(span) {
        Ok(span) => (u128::from(draw.at(n)) * (u128::from(span) + 1)) >> 64,
        Err(_) => draw.wide_at(n) % (span + 1),
    };
    min.wrapping_add(offset as i128)
}
