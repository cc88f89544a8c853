//! The values that MIN, MAX and DISTINCT compare: every comparable type, brought to one of three domains.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, LargeBinaryArray,
    PrimitiveArray, StringViewArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};

use super::Accumulator;
use super::column::Accumulated;
use super::distinct::Distinct;
use super::extremum::Extremum;
use super::retractable::RetractableExtremum;
use crate::change::bytes::{Reader, corrupt, put_bytes};
use crate::error::{Error, Result};
use crate::plan::Changelog;
use crate::types::{interval, uuid};

/// MIN or (`max`) MAX of this type, if its values can be compared. Input that only grows takes the cheap form.
pub fn create_extremum(max: bool, data_type: &DataType, changelog: Changelog) -> Option<Box<dyn Accumulator>> {
    by_domain(data_type, MakeExtremum { max, changelog })
}

/// DISTINCT values of this type in front of `each_once`, if they can be compared.
pub fn create_distinct(data_type: &DataType, each_once: Box<dyn Accumulator>) -> Option<Box<dyn Accumulator>> {
    by_domain(data_type, MakeDistinct { each_once })
}

/// An accumulator over any domain.
trait Make {
    fn over<D: Domain>(self, domain: D) -> Box<dyn Accumulator>;
}

struct MakeExtremum {
    max: bool,
    changelog: Changelog,
}

impl Make for MakeExtremum {
    fn over<D: Domain>(self, domain: D) -> Box<dyn Accumulator> {
        let max = self.max;
        match self.changelog {
            Changelog::AppendOnly => Accumulated::boxed(Extremum { domain, max }),
            Changelog::Changing | Changelog::Upsert => Accumulated::boxed(RetractableExtremum { domain, max }),
        }
    }
}

struct MakeDistinct {
    each_once: Box<dyn Accumulator>,
}

impl Make for MakeDistinct {
    fn over<D: Domain>(self, domain: D) -> Box<dyn Accumulator> {
        Distinct::boxed(domain, self.each_once)
    }
}

fn by_domain(data_type: &DataType, make: impl Make) -> Option<Box<dyn Accumulator>> {
    let of = data_type.clone();
    match data_type {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Float32
        | DataType::Float64
        | DataType::Time64(TimeUnit::Microsecond)
        | DataType::Timestamp(TimeUnit::Microsecond, _) => Some(make.over(Ordinals(of))),
        DataType::Decimal128(..) => Some(make.over(Numerics(of))),
        DataType::Interval(IntervalUnit::MonthDayNano) => Some(make.over(Intervals)),
        DataType::Utf8View | DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(uuid::BYTES) => {
            Some(make.over(Strings(of)))
        }
        _ => None,
    }
}

/// Values of certain types as one ordered type.
pub trait Domain: Send + Sync + 'static {
    /// A value as it is kept.
    type Value: Ord + Clone + Send + Sync + 'static;
    /// A value as it lies in a column or a cell.
    type Ref<'a>: Copy;
    type View<'a>;

    fn view<'a>(&self, column: &'a ArrayRef) -> Result<Self::View<'a>>;
    fn get<'a>(view: &'a Self::View<'_>, row: usize) -> Option<Self::Ref<'a>>;
    fn keep(value: Self::Ref<'_>) -> Self::Value;
    fn lend(value: &Self::Value) -> Self::Ref<'_>;
    fn compare(kept: &Self::Value, value: Self::Ref<'_>) -> Ordering;
    /// The value that stands for all that SQL's `=` takes for equal.
    fn representative<'a>(&self, value: Self::Ref<'a>) -> Self::Ref<'a> {
        value
    }
    /// The column of these values.
    fn column<'a>(&self, values: impl Iterator<Item = Option<&'a Self::Value>>) -> Result<ArrayRef>;
    fn encode(value: &Self::Value, out: &mut Vec<u8>);
    fn decode(reader: &mut Reader<'_>) -> Result<Self::Value>;
    /// Bytes that a value owns elsewhere.
    fn heap_bytes(_value: &Self::Value) -> usize {
        0
    }
}

fn changed_type() -> Error {
    Error::internal("an extremum's argument changed its type")
}

/// Whatever fits into 64 bits, as a number in the same order.
pub struct Ordinals(DataType);

/// A double as an integer of the same order: NaN greatest, -0 below 0.
fn ordinal_of(value: f64) -> i64 {
    let bits = if value.is_nan() { f64::NAN.to_bits() as i64 & i64::MAX } else { value.to_bits() as i64 };
    bits ^ ((bits >> 63) & i64::MAX)
}

fn float_of(ordinal: i64) -> f64 {
    f64::from_bits((ordinal ^ ((ordinal >> 63) & i64::MAX)) as u64)
}

pub enum OrdinalView<'a> {
    /// 64-bit columns as they lie.
    Plain(&'a [i64]),
    /// Others, converted.
    Converted(Vec<i64>),
}

impl Domain for Ordinals {
    type Value = i64;
    type Ref<'a> = i64;
    type View<'a> = OrdinalView<'a>;

    fn view<'a>(&self, column: &'a ArrayRef) -> Result<OrdinalView<'a>> {
        if *column.data_type() != self.0 {
            return Err(changed_type());
        }
        let converted = match &self.0 {
            DataType::Int64 => return Ok(OrdinalView::Plain(column.as_primitive::<Int64Type>().values())),
            DataType::Timestamp(..) => {
                return Ok(OrdinalView::Plain(column.as_primitive::<TimestampMicrosecondType>().values()));
            }
            DataType::Time64(_) => {
                return Ok(OrdinalView::Plain(column.as_primitive::<Time64MicrosecondType>().values()));
            }
            DataType::Boolean => column.as_boolean().values().iter().map(i64::from).collect(),
            DataType::Int16 => column.as_primitive::<Int16Type>().values().iter().map(|v| i64::from(*v)).collect(),
            DataType::Int32 => column.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)).collect(),
            DataType::Date32 => column.as_primitive::<Date32Type>().values().iter().map(|v| i64::from(*v)).collect(),
            DataType::Float32 => {
                column.as_primitive::<Float32Type>().values().iter().map(|v| ordinal_of(f64::from(*v))).collect()
            }
            DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().map(|v| ordinal_of(*v)).collect(),
            _ => return Err(changed_type()),
        };
        Ok(OrdinalView::Converted(converted))
    }

    #[inline]
    fn get(view: &OrdinalView<'_>, row: usize) -> Option<i64> {
        match view {
            OrdinalView::Plain(values) => values.get(row).copied(),
            OrdinalView::Converted(values) => values.get(row).copied(),
        }
    }

    fn keep(value: i64) -> i64 {
        value
    }

    fn lend(value: &i64) -> i64 {
        *value
    }

    #[inline]
    fn compare(kept: &i64, value: i64) -> Ordering {
        kept.cmp(&value)
    }

    fn representative<'a>(&self, value: Self::Ref<'a>) -> Self::Ref<'a> {
        match self.0 {
            DataType::Float32 | DataType::Float64 if value == ordinal_of(-0.0) => ordinal_of(0.0),
            _ => value,
        }
    }

    fn column<'a>(&self, values: impl Iterator<Item = Option<&'a i64>>) -> Result<ArrayRef> {
        let values = values.map(|v| v.copied());
        // What comes back went in through `view`, so it fits.
        fn primitive<T: ArrowPrimitiveType>(
            values: impl Iterator<Item = Option<T::Native>>,
            of: &DataType,
        ) -> ArrayRef {
            Arc::new(values.collect::<PrimitiveArray<T>>().with_data_type(of.clone()))
        }
        let of = &self.0;
        Ok(match of {
            DataType::Boolean => Arc::new(values.map(|v| v.map(|v| v != 0)).collect::<BooleanArray>()),
            DataType::Int16 => primitive::<Int16Type>(values.map(|v| v.map(|v| v as i16)), of),
            DataType::Int32 => primitive::<Int32Type>(values.map(|v| v.map(|v| v as i32)), of),
            DataType::Int64 => primitive::<Int64Type>(values, of),
            DataType::Date32 => primitive::<Date32Type>(values.map(|v| v.map(|v| v as i32)), of),
            DataType::Timestamp(..) => primitive::<TimestampMicrosecondType>(values, of),
            DataType::Time64(_) => primitive::<Time64MicrosecondType>(values, of),
            DataType::Float32 => primitive::<Float32Type>(values.map(|v| v.map(|v| float_of(v) as f32)), of),
            DataType::Float64 => primitive::<Float64Type>(values.map(|v| v.map(float_of)), of),
            _ => return Err(changed_type()),
        })
    }

    fn encode(value: &i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<i64> {
        reader.i64()
    }
}

/// Numerics of one scale.
pub struct Numerics(DataType);

impl Domain for Numerics {
    type Value = i128;
    type Ref<'a> = i128;
    type View<'a> = &'a [i128];

    fn view<'a>(&self, column: &'a ArrayRef) -> Result<&'a [i128]> {
        column.as_primitive_opt::<Decimal128Type>().map(|a| a.values().as_ref()).ok_or_else(changed_type)
    }

    fn get(view: &&[i128], row: usize) -> Option<i128> {
        view.get(row).copied()
    }

    fn keep(value: i128) -> i128 {
        value
    }

    fn lend(value: &i128) -> i128 {
        *value
    }

    #[inline]
    fn compare(kept: &i128, value: i128) -> Ordering {
        kept.cmp(&value)
    }

    fn column<'a>(&self, values: impl Iterator<Item = Option<&'a i128>>) -> Result<ArrayRef> {
        Ok(Arc::new(values.map(|v| v.copied()).collect::<Decimal128Array>().with_data_type(self.0.clone())))
    }

    fn encode(value: &i128, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<i128> {
        reader.i128()
    }
}

/// Intervals, as PostgreSQL compares them: a month is 30 days, a day 24 hours. Equal ones of different parts are told apart
/// by their parts, so that the answer does not depend on order.
pub struct Intervals;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderedInterval {
    nanoseconds_in_all: i128,
    parts: (i32, i32, i64),
}

impl From<IntervalMonthDayNano> for OrderedInterval {
    fn from(value: IntervalMonthDayNano) -> Self {
        let IntervalMonthDayNano { months, days, nanoseconds } = value;
        OrderedInterval { nanoseconds_in_all: interval::length(value), parts: (months, days, nanoseconds) }
    }
}

impl Domain for Intervals {
    type Value = OrderedInterval;
    type Ref<'a> = OrderedInterval;
    type View<'a> = &'a [IntervalMonthDayNano];

    fn view<'a>(&self, column: &'a ArrayRef) -> Result<&'a [IntervalMonthDayNano]> {
        column.as_primitive_opt::<IntervalMonthDayNanoType>().map(|a| a.values().as_ref()).ok_or_else(changed_type)
    }

    fn get(view: &&[IntervalMonthDayNano], row: usize) -> Option<OrderedInterval> {
        view.get(row).map(|v| OrderedInterval::from(*v))
    }

    fn keep(value: OrderedInterval) -> OrderedInterval {
        value
    }

    fn lend(value: &OrderedInterval) -> OrderedInterval {
        *value
    }

    fn compare(kept: &OrderedInterval, value: OrderedInterval) -> Ordering {
        kept.cmp(&value)
    }

    fn representative<'a>(&self, value: Self::Ref<'a>) -> Self::Ref<'a> {
        interval::of_length(value.nanoseconds_in_all).into()
    }

    fn column<'a>(&self, values: impl Iterator<Item = Option<&'a OrderedInterval>>) -> Result<ArrayRef> {
        let values = values.map(|v| {
            v.map(|OrderedInterval { parts: (months, days, nanos), .. }| {
                IntervalMonthDayNano::new(*months, *days, *nanos)
            })
        });
        Ok(Arc::new(values.collect::<PrimitiveArray<IntervalMonthDayNanoType>>()))
    }

    fn encode(value: &OrderedInterval, out: &mut Vec<u8>) {
        let (months, days, nanoseconds) = value.parts;
        out.extend_from_slice(&months.to_le_bytes());
        out.extend_from_slice(&days.to_le_bytes());
        out.extend_from_slice(&nanoseconds.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<OrderedInterval> {
        Ok(IntervalMonthDayNano::new(reader.i32()?, reader.i32()?, reader.i64()?).into())
    }
}

/// Text, bytea, uuid and jsonb, ordered by their bytes.
pub struct Strings(DataType);

pub enum StringsView<'a> {
    Text(&'a StringViewArray),
    Bytes(&'a BinaryViewArray),
    Jsonb(&'a LargeBinaryArray),
    Uuid(&'a FixedSizeBinaryArray),
}

impl Domain for Strings {
    type Value = Box<[u8]>;
    type Ref<'a> = &'a [u8];
    type View<'a> = StringsView<'a>;

    fn view<'a>(&self, column: &'a ArrayRef) -> Result<StringsView<'a>> {
        match column.data_type() {
            DataType::Utf8View => Ok(StringsView::Text(column.as_string_view())),
            DataType::BinaryView => Ok(StringsView::Bytes(column.as_binary_view())),
            DataType::LargeBinary => Ok(StringsView::Jsonb(column.as_binary())),
            DataType::FixedSizeBinary(uuid::BYTES) => Ok(StringsView::Uuid(column.as_fixed_size_binary())),
            _ => Err(changed_type()),
        }
    }

    fn get<'a>(view: &'a StringsView<'_>, row: usize) -> Option<&'a [u8]> {
        match view {
            StringsView::Text(a) => (row < a.len()).then(|| a.value(row).as_bytes()),
            StringsView::Bytes(a) => (row < a.len()).then(|| a.value(row)),
            StringsView::Jsonb(a) => (row < a.len()).then(|| a.value(row)),
            StringsView::Uuid(a) => (row < a.len()).then(|| a.value(row)),
        }
    }

    fn keep(value: &[u8]) -> Box<[u8]> {
        value.into()
    }

    fn lend(value: &Box<[u8]>) -> &[u8] {
        value
    }

    fn compare(kept: &Box<[u8]>, value: &[u8]) -> Ordering {
        (**kept).cmp(value)
    }

    fn column<'a>(&self, values: impl Iterator<Item = Option<&'a Box<[u8]>>>) -> Result<ArrayRef> {
        let values = values.map(|v| v.map(|v| &**v));
        match self.0 {
            DataType::BinaryView => return Ok(Arc::new(values.collect::<BinaryViewArray>())),
            DataType::LargeBinary => return Ok(Arc::new(values.collect::<LargeBinaryArray>())),
            DataType::FixedSizeBinary(width) => {
                let values = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, width)?;
                return Ok(Arc::new(values));
            }
            _ => {}
        }
        let text = values.map(|v| v.map(|v| std::str::from_utf8(v).map_err(|_| corrupt())).transpose());
        Ok(Arc::new(text.collect::<Result<StringViewArray>>()?))
    }

    fn encode(value: &Box<[u8]>, out: &mut Vec<u8>) {
        put_bytes(out, value);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Box<[u8]>> {
        Ok(reader.bytes()?.into())
    }

    fn heap_bytes(value: &Box<[u8]>) -> usize {
        value.len()
    }
}
