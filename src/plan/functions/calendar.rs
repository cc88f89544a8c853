//! Parts of dates, times and intervals, as PostgreSQL's EXTRACT, `age` and their like have them. Times with time zone are
//! taken in UTC.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, IntervalMonthDayNanoArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::define::{Call, Definition, Form, Parameter as P, at, other_arguments};
use super::results::{date, interval, time, timestamp, timestamptz, whole};
use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::type_name;
use crate::types::datetime::{civil, days_from_civil};

/// A field that is a whole number, and one with digits of a second.
pub const EXTRACT_WHOLE: &str = "extract_whole";
pub const EXTRACT_PART: &str = "extract_part";

const NANOS_PER_MICRO: i64 = 1_000;
const MILLION: i128 = 1_000_000;

fn part(_: &[DataType]) -> DataType {
    DataType::Decimal128(38, 6)
}

pub const DEFINITIONS: &[Definition] = &[
    Definition {
        name: EXTRACT_WHOLE,
        forms: &[
            Form::new(&[P::Text, P::Date], whole, |call| extract(call, 0)),
            Form::new(&[P::Text, P::Timestamp], whole, |call| extract(call, 0)),
            Form::new(&[P::Text, P::TimestampTz], whole, |call| extract(call, 0)),
            Form::new(&[P::Text, P::Time], whole, |call| extract(call, 0)),
            Form::new(&[P::Text, P::Interval], whole, |call| extract(call, 0)),
        ],
    },
    Definition {
        name: EXTRACT_PART,
        forms: &[
            Form::new(&[P::Text, P::Date], part, |call| extract(call, 6)),
            Form::new(&[P::Text, P::Timestamp], part, |call| extract(call, 6)),
            Form::new(&[P::Text, P::TimestampTz], part, |call| extract(call, 6)),
            Form::new(&[P::Text, P::Time], part, |call| extract(call, 6)),
            Form::new(&[P::Text, P::Interval], part, |call| extract(call, 6)),
        ],
    },
    Definition {
        name: "age",
        forms: &[
            Form::new(&[P::Timestamp, P::Timestamp], interval, age),
            Form::new(&[P::TimestampTz, P::TimestampTz], interval, age),
        ],
    },
    Definition {
        name: "justify_hours",
        forms: &[Form::new(&[P::Interval], interval, |call| justify(call, justify_hours))],
    },
    Definition {
        name: "justify_days",
        forms: &[Form::new(&[P::Interval], interval, |call| justify(call, justify_days))],
    },
    Definition {
        name: "justify_interval",
        forms: &[Form::new(&[P::Interval], interval, |call| justify(call, justify_all))],
    },
    Definition { name: "make_date", forms: &[Form::new(&[P::Integer, P::Integer, P::Integer], date, make_date)] },
    Definition {
        name: "date_bin",
        forms: &[
            Form::new(&[P::Interval, P::Timestamp], timestamp, date_bin),
            Form::new(&[P::Interval, P::TimestampTz], timestamptz, date_bin),
            Form::new(&[P::Interval, P::Timestamp, P::Timestamp], timestamp, date_bin),
            Form::new(&[P::Interval, P::TimestampTz, P::TimestampTz], timestamptz, date_bin),
        ],
    },
    Definition { name: "make_time", forms: &[Form::new(&[P::Integer, P::Integer, P::Double], time, make_time)] },
    Definition {
        name: "make_timestamp",
        forms: &[Form::new(
            &[P::Integer, P::Integer, P::Integer, P::Integer, P::Integer, P::Double],
            timestamp,
            make_timestamp,
        )],
    },
];

/// Whether EXTRACT knows the field, and how many digits it has behind the point.
pub fn digits_of(field: &str) -> Option<i8> {
    Some(match field {
        "second" | "seconds" | "epoch" => 6,
        "millisecond" | "milliseconds" => 3,
        "microsecond" | "microseconds" | "minute" | "hour" | "day" | "dow" | "isodow" | "doy" | "week" | "month"
        | "quarter" | "year" | "isoyear" | "decade" | "century" | "millennium" => 0,
        _ => return None,
    })
}

/// Whether values of a type have a field that EXTRACT knows.
pub fn has_field(ty: &DataType, field: &str) -> bool {
    let found = match ty {
        DataType::Date32 => of_day(field, 0),
        DataType::Timestamp(..) => of_time(field, 0).or_else(|| of_day(field, 0)),
        DataType::Time64(_) => of_time(field, 0).or((field == "epoch").then_some(0)),
        DataType::Interval(_) => of_interval(field, IntervalMonthDayNano::ZERO),
        _ => None,
    };
    found.is_some()
}

/// A column as what fields are taken of.
enum Moments<'a> {
    Dates(&'a [i32]),
    Timestamps(&'a [i64]),
    Times(&'a [i64]),
    Intervals(&'a [IntervalMonthDayNano]),
}

impl<'a> Moments<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Date32 => Moments::Dates(column.as_primitive::<Date32Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Moments::Timestamps(column.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                Moments::Times(column.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                Moments::Intervals(column.as_primitive::<IntervalMonthDayNanoType>().values())
            }
            _ => return Err(other_arguments()),
        })
    }

    /// In millionths.
    fn field(&self, field: &str, row: usize) -> Option<i128> {
        match self {
            Moments::Dates(days) => of_day(field, i64::from(*days.get(row)?)),
            Moments::Timestamps(micros) => {
                let micros = *micros.get(row)?;
                match field {
                    "epoch" => Some(i128::from(micros)),
                    _ => of_time(field, micros.rem_euclid(MICROS_PER_DAY))
                        .or_else(|| of_day(field, micros.div_euclid(MICROS_PER_DAY))),
                }
            }
            Moments::Times(micros) => match field {
                "epoch" => Some(i128::from(*micros.get(row)?)),
                _ => of_time(field, *micros.get(row)?),
            },
            Moments::Intervals(values) => of_interval(field, *values.get(row)?),
        }
    }
}

fn extract(call: Call<'_>, digits: i8) -> Result<ArrayRef> {
    let (fields, moments) = (call.texts(0)?, call.column(1)?);
    let values = Moments::of(moments)?;
    let field = |row: usize| {
        if fields.is_null(row) || moments.is_null(row) {
            return Ok(None);
        }
        let name = fields.value(row);
        let unsupported = || {
            let message = format!("unit \"{name}\" not supported for type {}", type_name(moments.data_type()));
            Error::unsupported(message, "Take a field that values of the type have.")
        };
        let millionths = values.field(name, row).ok_or_else(unsupported)?;
        Ok(Some(if digits == 0 { millionths / MILLION } else { millionths }))
    };
    let extracted = (0..call.rows).map(field).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(extracted.with_precision_and_scale(38, digits)?))
}

/// Fields of a time of day, in millionths.
fn of_time(field: &str, micros: Micros) -> Option<i128> {
    let (seconds, minute) = (micros % (60 * MICROS_PER_SECOND), micros / (60 * MICROS_PER_SECOND));
    Some(match field {
        "second" | "seconds" => i128::from(seconds),
        "millisecond" | "milliseconds" => i128::from(seconds) * 1_000,
        "microsecond" | "microseconds" => i128::from(seconds) * MILLION,
        "minute" => i128::from(minute % 60) * MILLION,
        "hour" => i128::from(minute / 60) * MILLION,
        _ => return None,
    })
}

/// Fields of a day, in millionths.
fn of_day(field: &str, days: i64) -> Option<i128> {
    let (year, month, day) = civil(days);
    // There is no year 0: 1 BC is -1.
    let shown = if year > 0 { year } else { year - 1 };
    let parts_of = |unit: i64| if shown > 0 { (shown + unit - 1) / unit } else { -((unit - 1 - shown) / unit) };
    let weekday = (days + 3).rem_euclid(7);
    let day_of_year = |days: i64| days - days_from_civil(civil(days).0, 1, 1);
    // A week belongs to the year that its Thursday is in.
    let thursday = days - weekday + 3;
    let value = match field {
        "day" => i64::from(day),
        "month" => i64::from(month),
        "quarter" => i64::from((month - 1) / 3 + 1),
        "year" => shown,
        "decade" => year.div_euclid(10),
        "century" => parts_of(100),
        "millennium" => parts_of(1000),
        "dow" => (weekday + 1) % 7,
        "isodow" => weekday + 1,
        "doy" => day_of_year(days) + 1,
        "week" => day_of_year(thursday) / 7 + 1,
        "isoyear" => civil(thursday).0,
        "epoch" => days * (MICROS_PER_DAY / MICROS_PER_SECOND),
        _ => return None,
    };
    Some(i128::from(value) * MILLION)
}

/// Fields of an interval, in millionths. A year of its epoch has 365.25 days, a month 30.
fn of_interval(field: &str, value: IntervalMonthDayNano) -> Option<i128> {
    let micros = value.nanoseconds / NANOS_PER_MICRO;
    let (years, months) = (i128::from(value.months / 12), i128::from(value.months % 12));
    Some(match field {
        "hour" => i128::from(micros / (3_600 * MICROS_PER_SECOND)) * MILLION,
        "day" => i128::from(value.days) * MILLION,
        "month" => months * MILLION,
        "quarter" => (months / 3 + 1) * MILLION,
        "year" => years * MILLION,
        "decade" => years / 10 * MILLION,
        "century" => years / 100 * MILLION,
        "millennium" => years / 1000 * MILLION,
        "epoch" => {
            const SECONDS_PER_DAY: i128 = 86_400;
            let seconds =
                years * (SECONDS_PER_DAY * 1461 / 4) + (months * 30 + i128::from(value.days)) * SECONDS_PER_DAY;
            seconds * MILLION + i128::from(micros)
        }
        _ => return of_time(field, micros),
    })
}

/// Timestamps before and behind all others.
pub(super) fn is_infinite(micros: Micros) -> bool {
    micros == Micros::MAX || micros == Micros::MIN
}

pub(super) fn interval_out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "interval out of range")
}

fn age(call: Call<'_>) -> Result<ArrayRef> {
    let (left, right) =
        (call.primitive::<TimestampMicrosecondType>(0)?, call.primitive::<TimestampMicrosecondType>(1)?);
    let between = |row: usize| match at(left, row).zip(at(right, row)) {
        Some((left, right)) if is_infinite(left) || is_infinite(right) => Err(interval_out_of_range()),
        Some((left, right)) => Ok(Some(age_between(left, right))),
        None => Ok(None),
    };
    Ok(Arc::new((0..call.rows).map(between).collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// Years, months, days and time from `earlier` to `later`, as people count them: days are those of the month that `earlier`
/// is in.
fn age_between(later: Micros, earlier: Micros) -> IntervalMonthDayNano {
    if later < earlier {
        let IntervalMonthDayNano { months, days, nanoseconds } = age_forward(earlier, later);
        return IntervalMonthDayNano::new(-months, -days, -nanoseconds);
    }
    age_forward(later, earlier)
}

fn age_forward(later: Micros, earlier: Micros) -> IntervalMonthDayNano {
    let fields = |micros: Micros| {
        let (year, month, day) = civil(micros.div_euclid(MICROS_PER_DAY));
        (year, month, i64::from(day), micros.rem_euclid(MICROS_PER_DAY))
    };
    let ((y1, m1, d1, t1), (y2, m2, d2, t2)) = (fields(later), fields(earlier));
    let mut months = (y1 - y2) * 12 + i64::from(m1) - i64::from(m2);
    let (mut days, mut time) = (d1 - d2, t1 - t2);
    if time < 0 {
        time += MICROS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        let next = if m2 == 12 { days_from_civil(y2 + 1, 1, 1) } else { days_from_civil(y2, m2 + 1, 1) };
        days += next - days_from_civil(y2, m2, 1);
        months -= 1;
    }
    IntervalMonthDayNano::new(months as i32, days as i32, time.saturating_mul(NANOS_PER_MICRO))
}

fn justify(call: Call<'_>, of: fn(IntervalMonthDayNano) -> Option<IntervalMonthDayNano>) -> Result<ArrayRef> {
    let justified = call.primitive::<IntervalMonthDayNanoType>(0)?.iter().map(|value| match value {
        Some(value) => of(value).map(Some).ok_or_else(interval_out_of_range),
        None => Ok(None),
    });
    Ok(Arc::new(justified.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

const NANOS_PER_DAY: i64 = MICROS_PER_DAY * NANOS_PER_MICRO;

/// Whole days of the time become days.
fn justify_hours(value: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let mut days = i64::from(value.days) + value.nanoseconds / NANOS_PER_DAY;
    let mut time = value.nanoseconds % NANOS_PER_DAY;
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + NANOS_PER_DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - NANOS_PER_DAY);
    }
    Some(IntervalMonthDayNano::new(value.months, i32::try_from(days).ok()?, time))
}

/// Thirty days become a month.
fn justify_days(value: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let (mut months, mut days) = (i64::from(value.months) + i64::from(value.days / 30), value.days % 30);
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    Some(IntervalMonthDayNano::new(i32::try_from(months).ok()?, days, value.nanoseconds))
}

/// Both, and all of one sign.
fn justify_all(value: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = justify_days(justify_hours(value)?)?;
    let (mut months, mut days, mut time) = (i64::from(months), i64::from(days), nanoseconds);
    if months > 0 && (days < 0 || (days == 0 && time < 0)) {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && (days > 0 || (days == 0 && time > 0)) {
        (months, days) = (months + 1, days - 30);
    }
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + NANOS_PER_DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - NANOS_PER_DAY);
    }
    Some(IntervalMonthDayNano::new(i32::try_from(months).ok()?, i32::try_from(days).ok()?, time))
}

/// Microseconds of a day.
fn clock(hour: i32, minute: i32, second: f64) -> Option<Micros> {
    let good = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    let micros = (second * 1e6).round_ties_even() as i64;
    let all = (i64::from(hour) * 60 + i64::from(minute)) * 60 * MICROS_PER_SECOND + micros;
    (good && all <= MICROS_PER_DAY).then_some(all)
}

fn out_of_range(what: &str, shown: impl std::fmt::Display) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("{what} field value out of range: {shown}"))
}

fn wrong_date(year: i32, month: i32, day: i32) -> Error {
    out_of_range("date", format!("{year}-{month:02}-{day:02}"))
}

/// The day of the calendar, counted from 1970; the year -1 is 1 BC.
fn day_of(year: i32, month: i32, day: i32) -> Result<i64> {
    let wrong = || wrong_date(year, month, day);
    let (Ok(m @ 1..=12), Ok(d)) = (u32::try_from(month), u32::try_from(day)) else { return Err(wrong()) };
    let astronomical = i64::from(year) + i64::from(year < 0);
    let days = days_from_civil(astronomical, m, d);
    if year != 0 && civil(days) == (astronomical, m, d) { Ok(days) } else { Err(wrong()) }
}

fn make_date(call: Call<'_>) -> Result<ArrayRef> {
    let (years, months, days) = (call.integers(0)?, call.integers(1)?, call.integers(2)?);
    let date = |row: usize| {
        let (Some(year), Some(month), Some(day)) = (at(years, row), at(months, row), at(days, row)) else {
            return Ok(None);
        };
        let days = day_of(year, month, day)?;
        i32::try_from(days).map(Some).map_err(|_| wrong_date(year, month, day))
    };
    Ok(Arc::new((0..call.rows).map(date).collect::<Result<Date32Array>>()?))
}

/// The last multiple of an interval, counted from an origin (1970, if none is named), that is not behind the time.
fn date_bin(call: Call<'_>) -> Result<ArrayRef> {
    let strides = call.primitive::<IntervalMonthDayNanoType>(0)?;
    let times = call.primitive::<TimestampMicrosecondType>(1)?;
    let origins = if call.count() > 2 { Some(call.primitive::<TimestampMicrosecondType>(2)?) } else { None };
    let begin = |row: usize| {
        let origin = origins.map_or(Some(0), |origins| at(origins, row));
        let (Some(stride), Some(time), Some(origin)) = (at(strides, row), at(times, row), origin) else {
            return Ok(None);
        };
        bin(stride, time, origin).map(Some)
    };
    let begins = (0..call.rows).map(begin).collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(begins.with_data_type(times.data_type().clone())))
}

fn bin(stride: IntervalMonthDayNano, time: Micros, origin: Micros) -> Result<Micros> {
    let overflow = |what: &str| Error::new(SqlState::DatetimeFieldOverflow, format!("{what} out of range"));
    if is_infinite(time) {
        return Ok(time);
    }
    if is_infinite(origin) {
        return Err(overflow("origin"));
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::unsupported(message, "Use date_trunc('month', ...) or date_trunc('year', ...)."));
    }
    let days = i64::from(stride.days).checked_mul(MICROS_PER_DAY);
    let micros = days.and_then(|days| days.checked_add(stride.nanoseconds / NANOS_PER_MICRO));
    let micros = micros.ok_or_else(interval_out_of_range)?;
    if micros <= 0 {
        return Err(Error::new(SqlState::DatetimeFieldOverflow, "stride must be greater than zero"));
    }
    let past = time.checked_sub(origin).ok_or_else(interval_out_of_range)?.rem_euclid(micros);
    time.checked_sub(past).ok_or_else(|| overflow("timestamp"))
}

fn make_time(call: Call<'_>) -> Result<ArrayRef> {
    let (hours, minutes, seconds) = (call.integers(0)?, call.integers(1)?, call.primitive::<Float64Type>(2)?);
    let time = |row: usize| {
        if call.has_null(row) {
            return Ok(None);
        }
        let (hour, minute, second) = (hours.value(row), minutes.value(row), seconds.value(row));
        let shown = || format!("{hour}:{minute:02}:{second:02}");
        clock(hour, minute, second).map(Some).ok_or_else(|| out_of_range("time", shown()))
    };
    Ok(Arc::new((0..call.rows).map(time).collect::<Result<Time64MicrosecondArray>>()?))
}

fn make_timestamp(call: Call<'_>) -> Result<ArrayRef> {
    let parts = (0..5).map(|index| call.integers(index)).collect::<Result<Vec<_>>>()?;
    let seconds = call.primitive::<Float64Type>(5)?;
    let [years, months, days, hours, minutes] = parts.as_slice() else { return Err(other_arguments()) };
    let moment = |row: usize| {
        if call.has_null(row) {
            return Ok(None);
        }
        let (year, month, day) = (years.value(row), months.value(row), days.value(row));
        let date = day_of(year, month, day)?;
        let (hour, minute, second) = (hours.value(row), minutes.value(row), seconds.value(row));
        let shown = || format!("{hour}:{minute:02}:{second:02}");
        let time = clock(hour, minute, second).ok_or_else(|| out_of_range("time", shown()))?;
        date.checked_mul(MICROS_PER_DAY)
            .and_then(|m| m.checked_add(time))
            .map(Some)
            .ok_or_else(|| wrong_date(year, month, day))
    };
    Ok(Arc::new((0..call.rows).map(moment).collect::<Result<TimestampMicrosecondArray>>()?))
}
