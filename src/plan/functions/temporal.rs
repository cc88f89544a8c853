//! What PostgreSQL computes with times of day and intervals.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, IntervalMonthDayNanoArray, Time64MicrosecondArray};
use arrow::datatypes::{Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType};

use super::calendar::interval_out_of_range;
use super::define::{Call, Definition, Form, Parameter as P};
use super::results::{interval, time, whole};
use crate::clock::MICROS_PER_DAY;
use crate::error::Result;
use crate::types::interval::length;

/// A time of day as the interval since midnight.
pub const TIME_TO_INTERVAL: &str = "time_to_interval";
/// The time of day that an interval's time leads to from midnight; its days and months do not count.
pub const INTERVAL_TO_TIME: &str = "interval_to_time";
/// An interval's length in nanoseconds, by which intervals are compared.
pub const INTERVAL_LENGTH: &str = "interval_length";
/// An interval times a number.
pub const SCALE_INTERVAL: &str = "scale_interval";

const NANOS_PER_MICRO: i64 = 1_000;

pub const DEFINITIONS: &[Definition] = &[
    Definition { name: TIME_TO_INTERVAL, forms: &[Form::new(&[P::Time], interval, time_to_interval)] },
    Definition { name: INTERVAL_TO_TIME, forms: &[Form::new(&[P::Interval], time, interval_to_time)] },
    Definition { name: INTERVAL_LENGTH, forms: &[Form::new(&[P::Interval], whole, interval_length)] },
    Definition { name: SCALE_INTERVAL, forms: &[Form::new(&[P::Interval, P::Double], interval, scale_interval)] },
];

fn time_to_interval(call: Call<'_>) -> Result<ArrayRef> {
    let times = call.primitive::<Time64MicrosecondType>(0)?;
    let since = |micros: i64| IntervalMonthDayNano::new(0, 0, micros.saturating_mul(NANOS_PER_MICRO));
    Ok(Arc::new(times.unary::<_, IntervalMonthDayNanoType>(since)))
}

fn interval_to_time(call: Call<'_>) -> Result<ArrayRef> {
    let of = |value: IntervalMonthDayNano| (value.nanoseconds / NANOS_PER_MICRO).rem_euclid(MICROS_PER_DAY);
    let times: Time64MicrosecondArray = call.primitive::<IntervalMonthDayNanoType>(0)?.unary(of);
    Ok(Arc::new(times))
}

fn interval_length(call: Call<'_>) -> Result<ArrayRef> {
    let lengths: Decimal128Array = call.primitive::<IntervalMonthDayNanoType>(0)?.unary(length);
    Ok(Arc::new(lengths.with_precision_and_scale(38, 0)?))
}

fn scale_interval(call: Call<'_>) -> Result<ArrayRef> {
    let factors = call.primitive::<Float64Type>(1)?;
    let scaled = call.primitive::<IntervalMonthDayNanoType>(0)?.iter().zip(factors.iter()).map(|pair| match pair {
        (Some(value), Some(factor)) => match scaled(value, factor) {
            Some(scaled) => Ok(Some(scaled)),
            None => Err(interval_out_of_range()),
        },
        _ => Ok(None),
    });
    Ok(Arc::new(scaled.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// As PostgreSQL multiplies: what is less than a month becomes days (of which a month has 30), what is less than a day time.
fn scaled(value: IntervalMonthDayNano, factor: f64) -> Option<IntervalMonthDayNano> {
    const DAYS_PER_MONTH: f64 = 30.0;
    const NANOS_PER_SECOND: f64 = 1e9;
    const SECONDS_PER_DAY: f64 = 86_400.0;
    let whole = |x: f64| -> Option<i32> { (x.abs() < f64::from(i32::MAX)).then_some(x as i32) };
    // PostgreSQL rounds what floating-point multiplication adds to microseconds.
    let rounded = |x: f64| (x * 1e6).round_ties_even() / 1e6;
    let months = f64::from(value.months) * factor;
    let days = f64::from(value.days) * factor;
    let (whole_months, whole_days) = (whole(months)?, whole(days)?);
    let month_days = rounded((months - f64::from(whole_months)) * DAYS_PER_MONTH);
    let month_whole_days = whole(month_days)?;
    let mut seconds =
        rounded((days - f64::from(whole_days) + month_days - f64::from(month_whole_days)) * SECONDS_PER_DAY);
    let mut all_days = whole_days.checked_add(month_whole_days)?;
    if seconds.abs() >= SECONDS_PER_DAY {
        all_days = all_days.checked_add(whole(seconds / SECONDS_PER_DAY)?)?;
        seconds %= SECONDS_PER_DAY;
    }
    let micros = (value.nanoseconds as f64 / 1e3 * factor + seconds * NANOS_PER_SECOND / 1e3).round_ties_even();
    if micros.abs() >= i64::MAX as f64 / 1e3 {
        return None;
    }
    let nanos = (micros as i64).checked_mul(NANOS_PER_MICRO)?;
    micros.is_finite().then_some(IntervalMonthDayNano::new(whole_months, all_days, nanos))
}
