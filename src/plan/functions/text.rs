//! Functions that make texts: of times, and of parts of other texts. They fail where their arguments make no sense, so they
//! are none of those that a condition may evaluate for every row.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, Date32Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    TimestampMicrosecondType,
};
use chrono_tz::Tz;

use super::calendar::is_infinite;
use super::define::{Call, Definition, Form, Parameter as P, at, other_arguments};
use super::number_format::{DOUBLE_DIGITS, Digits, REAL_DIGITS, Template as NumberTemplate};
use super::pattern;
use super::results::{date, text, timestamp, timestamptz};
use super::time_format::Written;
use super::time_parse::{self, Reading};
use super::time_template::Template;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result, SqlState};
use crate::types::number::double_text;
use crate::types::{SqlType, UTC, parse};

/// `text || text`
pub const JOIN: &str = "||";
/// `to_char` and `to_timestamp` with the name of the zone whose clocks count.
pub const TO_CHAR_IN_ZONE: &str = "to_char_in_zone";
pub const TO_TIMESTAMP_IN_ZONE: &str = "to_timestamp_in_zone";
pub const TO_CHAR: &str = "to_char";
pub const TO_TIMESTAMP: &str = "to_timestamp";

pub const DEFINITIONS: &[Definition] = &[
    Definition { name: JOIN, forms: &[Form::new(&[P::Text, P::Text], text, joined)] },
    Definition {
        name: TO_CHAR,
        forms: &[
            Form::new(&[P::Timestamp, P::Text], text, time_to_char),
            Form::new(&[P::TimestampTz, P::Text], text, |call| zoned_to_char(call, None)),
            Form::new(&[P::Interval, P::Text], text, interval_to_char),
            Form::new(&[P::Integer, P::Text], text, |call| exact_to_char::<Int32Type>(call, 0)),
            Form::new(&[P::BigInt, P::Text], text, |call| exact_to_char::<Int64Type>(call, 0)),
            Form::new(&[P::Numeric, P::Text], text, numeric_to_char),
            Form::new(&[P::Real, P::Text], text, |call| float_to_char::<Float32Type>(call, REAL_DIGITS)),
            Form::new(&[P::Double, P::Text], text, |call| float_to_char::<Float64Type>(call, DOUBLE_DIGITS)),
        ],
    },
    Definition {
        name: TO_CHAR_IN_ZONE,
        forms: &[Form::new(&[P::TimestampTz, P::Text, P::Text], text, |call| {
            let zones = call.texts(2)?;
            zoned_to_char(call, Some(zones))
        })],
    },
    Definition {
        name: TO_TIMESTAMP,
        forms: &[
            Form::new(&[P::Text], timestamp, read_timestamp),
            Form::new(&[P::Double], timestamptz, epoch_to_timestamp),
            Form::new(&[P::Text, P::Text], timestamptz, |call| to_timestamp(call, None)),
        ],
    },
    Definition {
        name: TO_TIMESTAMP_IN_ZONE,
        forms: &[Form::new(&[P::Text, P::Text, P::Text], timestamptz, |call| {
            let zones = call.texts(2)?;
            to_timestamp(call, Some(zones))
        })],
    },
    Definition {
        name: "to_date",
        forms: &[Form::new(&[P::Text], date, read_date), Form::new(&[P::Text, P::Text], date, to_date)],
    },
    Definition { name: "date_format", forms: &[Form::new(&[P::Timestamp, P::Text], text, date_format)] },
    Definition {
        name: "regexp_substr",
        forms: &[
            Form::new(&[P::Text, P::Text], text, pattern::regexp_substr),
            Form::new(&[P::Text, P::Text, P::Integer], text, pattern::regexp_substr),
            Form::new(&[P::Text, P::Text, P::Integer, P::Integer], text, pattern::regexp_substr),
            Form::new(&[P::Text, P::Text, P::Integer, P::Integer, P::Text], text, pattern::regexp_substr),
            Form::new(&[P::Text, P::Text, P::Integer, P::Integer, P::Text, P::Integer], text, pattern::regexp_substr),
        ],
    },
    Definition {
        name: "regexp_extract",
        forms: &[
            Form::new(&[P::Text, P::Text], text, pattern::regexp_extract),
            Form::new(&[P::Text, P::Text, P::Integer], text, pattern::regexp_extract),
        ],
    },
    Definition {
        name: "split_index",
        forms: &[Form::new(&[P::Text, P::Text, P::Integer], text, pattern::split_index)],
    },
];

/// The template that was read last: most often there is only one.
#[derive(Default)]
struct Known(Option<(String, Template)>);

impl Known {
    fn get(&mut self, text: &str, read: impl FnOnce(&str) -> Result<Template>) -> Result<&Template> {
        let entry = match self.0.take().filter(|(known, _)| known == text) {
            Some(entry) => entry,
            None => (text.to_string(), read(text)?),
        };
        Ok(&self.0.insert(entry).1)
    }
}

/// Each row's value by the row's template.
fn formatted(
    call: Call<'_>,
    read: fn(&str) -> Result<Template>,
    value: impl Fn(usize) -> Result<Option<Written>>,
) -> Result<ArrayRef> {
    let templates = call.texts(1)?;
    let mut known = Known::default();
    call.text_of_each(|row| {
        let (Some(template), Some(value)) = (at(templates, row), value(row)?) else { return Ok(None) };
        let mut text = String::new();
        known.get(template, read)?.write(&value, &mut text)?;
        Ok(Some(text))
    })
}

fn joined(call: Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.texts(0)?, call.texts(1)?);
    call.text_of_each(|row| Ok(at(left, row).zip(at(right, row)).map(|(left, right)| [left, right].concat())))
}

/// As PostgreSQL, nothing of a time that is infinite, or by a template that is empty.
fn to_char(call: Call<'_>, value: impl Fn(usize) -> Result<Option<Written>>) -> Result<ArrayRef> {
    let templates = call.texts(1)?;
    let read = |template: &str| Ok(Template::postgres(template));
    formatted(call, read, |row| if at(templates, row) == Some("") { Ok(None) } else { value(row) })
}

fn time_to_char(call: Call<'_>) -> Result<ArrayRef> {
    let times = call.primitive::<TimestampMicrosecondType>(0)?;
    to_char(call, |row| at(times, row).filter(|micros| !is_infinite(*micros)).map(Written::moment).transpose())
}

fn interval_to_char(call: Call<'_>) -> Result<ArrayRef> {
    let values = call.primitive::<IntervalMonthDayNanoType>(0)?;
    to_char(call, |row| Ok(at(values, row).map(Written::interval)))
}

fn date_format(call: Call<'_>) -> Result<ArrayRef> {
    let times = call.primitive::<TimestampMicrosecondType>(0)?;
    formatted(call, Template::java, |row| at(times, row).map(Written::moment).transpose())
}

/// By the clocks of a zone, those of UTC if none is named.
fn zoned_to_char(call: Call<'_>, zones: Option<&StringViewArray>) -> Result<ArrayRef> {
    let times = call.primitive::<TimestampMicrosecondType>(0)?;
    to_char(call, |row| {
        let Some(zone) = zone_at(zones, row)? else { return Ok(None) };
        let finite = at(times, row).filter(|micros| !is_infinite(*micros));
        finite.map(|micros| Written::in_zone(micros, zone)).transpose()
    })
}

fn zone_at(zones: Option<&StringViewArray>, row: usize) -> Result<Option<Tz>> {
    let Some(zones) = zones else { return Ok(Some(Tz::UTC)) };
    let unknown = |name| Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized"));
    at(zones, row).map(|name| name.parse::<Tz>().map_err(|_| unknown(name))).transpose()
}

/// Each row's number, as the digits that a template with so many digits behind the point shows.
fn number_to_char(call: Call<'_>, digits: impl Fn(usize, usize) -> Option<Digits>) -> Result<ArrayRef> {
    let templates = call.texts(1)?;
    let mut last: Option<(String, NumberTemplate)> = None;
    call.text_of_each(|row| {
        let Some(text) = at(templates, row) else { return Ok(None) };
        let known = last.take().filter(|(known, _)| known == text);
        let (_, template) = last.insert(match known {
            Some(known) => known,
            None => (text.to_string(), NumberTemplate::read(text)?),
        });
        let mut out = String::new();
        Ok(digits(row, template.behind).map(|digits| {
            template.write(&digits, &mut out);
            out
        }))
    })
}

fn exact_to_char<T>(call: Call<'_>, scale: i8) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = call.primitive::<T>(0)?;
    number_to_char(call, |row, behind| at(values, row).map(|value| Digits::of_exact(value.into(), scale, behind)))
}

fn numeric_to_char(call: Call<'_>) -> Result<ArrayRef> {
    match call.column(0)?.data_type() {
        DataType::Decimal128(_, scale) => exact_to_char::<Decimal128Type>(call, *scale),
        _ => Err(other_arguments()),
    }
}

fn float_to_char<T>(call: Call<'_>, significant: usize) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    let values = call.primitive::<T>(0)?;
    number_to_char(call, |row, behind| at(values, row).map(|value| Digits::of_float(value.into(), significant, behind)))
}

/// Each row's text by the row's template; `of` makes a value of what was found.
fn parsed<T>(call: Call<'_>, of: impl Fn(&Reading, &str, usize) -> Result<Option<T>>) -> Result<Vec<Option<T>>> {
    let (texts, templates) = (call.texts(0)?, call.texts(1)?);
    let mut known = Known::default();
    let read = |template: &str| {
        let template = Template::postgres(template);
        time_parse::check(&template).map(|()| template)
    };
    let value = |row: usize| {
        let Some((text, template)) = at(texts, row).zip(at(templates, row)) else { return Ok(None) };
        of(&Reading::of(known.get(template, read)?, text)?, text, row)
    };
    (0..call.rows).map(value).collect()
}

fn to_timestamp(call: Call<'_>, zones: Option<&StringViewArray>) -> Result<ArrayRef> {
    let moments =
        parsed(call, |reading, text, row| zone_at(zones, row)?.map(|zone| reading.moment(text, zone)).transpose())?;
    Ok(Arc::new(TimestampMicrosecondArray::from(moments).with_timezone(UTC)))
}

fn to_date(call: Call<'_>) -> Result<ArrayRef> {
    let days = parsed(call, |reading, text, _| {
        let out_of_range = |_| Error::new(SqlState::DatetimeFieldOverflow, format!("date out of range: \"{text}\""));
        i32::try_from(reading.day(text)?).map(Some).map_err(out_of_range)
    })?;
    Ok(Arc::new(Date32Array::from(days)))
}

/// Seconds since 1970.
fn epoch_to_timestamp(call: Call<'_>) -> Result<ArrayRef> {
    let seconds = call.primitive::<Float64Type>(0)?;
    let moment = |row: usize| at(seconds, row).map(epoch).transpose();
    let moments = (0..call.rows).map(moment).collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(moments.with_timezone(UTC)))
}

fn epoch(seconds: f64) -> Result<Micros> {
    let micros = (seconds * MICROS_PER_SECOND as f64).round_ties_even();
    match seconds {
        f64::INFINITY => Ok(Micros::MAX),
        f64::NEG_INFINITY => Ok(Micros::MIN),
        _ if seconds.is_nan() => Err(Error::new(SqlState::DatetimeFieldOverflow, "timestamp cannot be NaN")),
        _ if micros.abs() < Micros::MAX as f64 => Ok(micros as Micros),
        _ => {
            let mut shown = String::new();
            double_text(seconds, &mut shown);
            Err(Error::new(SqlState::DatetimeFieldOverflow, format!("timestamp out of range: \"{shown}\"")))
        }
    }
}

/// Flink's: a text as a cast reads it.
fn read_timestamp(call: Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let unreadable = |text: &str| Error::unreadable(text, &SqlType::Timestamp(6));
    let read = |text: &str| parse::timestamp(text.trim()).map(|(micros, _)| micros).ok_or_else(|| unreadable(text));
    let moments = (0..call.rows).map(|row| at(texts, row).map(read).transpose());
    Ok(Arc::new(moments.collect::<Result<TimestampMicrosecondArray>>()?))
}

/// Flink's as well.
fn read_date(call: Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let read = |text: &str| parse::date(text.trim()).ok_or_else(|| Error::unreadable(text, &SqlType::Date));
    let days = (0..call.rows).map(|row| at(texts, row).map(read).transpose());
    Ok(Arc::new(days.collect::<Result<Date32Array>>()?))
}
