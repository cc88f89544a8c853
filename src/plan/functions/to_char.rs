//! `to_char(timestamp, pattern)` with PostgreSQL's patterns.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};

use super::define::{Definition, Form, Parameter as P};
use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result};
use crate::types::datetime::{civil, days_from_civil};

fn text(_: &[DataType]) -> DataType {
    DataType::Utf8View
}

pub const DEFINITIONS: &[Definition] = &[Definition {
    name: "to_char",
    forms: &[
        Form { parameters: &[P::Timestamp, P::Text], variadic: false, result: text, call: to_char },
        Form { parameters: &[P::TimestampTz, P::Text], variadic: false, result: text, call: to_char },
    ],
}];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Patterns, each before those that it begins with.
const PATTERNS: [&str; 43] = [
    "A.M.", "AM", "CC", "DDD", "DD", "DAY", "DY", "Day", "Dy", "D", "HH24", "HH12", "HH", "IYYY", "ID", "IW", "MI",
    "MM", "MONTH", "MON", "MS", "Month", "Mon", "OF", "P.M.", "PM", "Q", "SSSS", "SS", "TZ", "US", "WW", "W", "YYYY",
    "YY", "a.m.", "am", "day", "dy", "month", "mon", "p.m.", "pm",
];

/// A moment's fields.
struct Moment {
    days: i64,
    year: i64,
    month: u32,
    day: u32,
    micros: Micros,
    zoned: bool,
}

fn to_char(arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let other = || Error::internal("to_char was called with other arguments than its own");
    let [times, patterns] = arguments else { return Err(other()) };
    let zoned = matches!(times.data_type(), DataType::Timestamp(TimeUnit::Microsecond, Some(_)));
    let (times, patterns) = (
        times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(other)?,
        patterns.as_string_view_opt().ok_or_else(other)?,
    );
    let mut out = StringViewBuilder::with_capacity(rows);
    let mut text = String::new();
    for row in 0..rows {
        if times.is_null(row) || patterns.is_null(row) {
            out.append_null();
            continue;
        }
        let micros = times.value(row);
        let days = micros.div_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil(days);
        let moment = Moment { days, year, month, day, micros: micros.rem_euclid(MICROS_PER_DAY), zoned };
        text.clear();
        moment.write(patterns.value(row), &mut text);
        out.append_value(&text);
    }
    Ok(Arc::new(out.finish()))
}

impl Moment {
    fn write(&self, pattern: &str, out: &mut String) {
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            // Between double quotes everything stands for itself.
            if first == '"' {
                let quoted = rest.get(1..).unwrap_or_default();
                let end = quoted.find('"').unwrap_or(quoted.len());
                out.push_str(quoted.get(..end).unwrap_or_default());
                rest = quoted.get(end + 1..).unwrap_or_default();
                continue;
            }
            let (fill, behind) = match rest.strip_prefix("FM") {
                Some(behind) => (false, behind),
                None => (true, rest),
            };
            match PATTERNS.iter().find(|pattern| behind.starts_with(**pattern)) {
                Some(pattern) => {
                    self.field(pattern, fill, out);
                    rest = behind.get(pattern.len()..).unwrap_or_default();
                }
                None if fill => {
                    out.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                }
                None => rest = behind,
            }
        }
    }

    /// `fill`: numbers with leading zeros, names with blanks behind them.
    fn field(&self, pattern: &str, fill: bool, out: &mut String) {
        let seconds = self.micros / MICROS_PER_SECOND;
        let hour = seconds / 3600;
        let weekday = (self.days + 4).rem_euclid(7);
        let new_year = days_from_civil(self.year, 1, 1);
        let thursday = self.days - (self.days + 3).rem_euclid(7) + 3;
        let iso_year = civil(thursday).0;
        let mut number = |value: i64, width: usize| {
            let _ = if fill { write!(out, "{value:0width$}") } else { write!(out, "{value}") };
        };
        match pattern {
            "YYYY" => number(self.shown_year(), 4),
            "YY" => number(self.shown_year() % 100, 2),
            "IYYY" => number(iso_year, 4),
            "CC" => number((self.shown_year() + 99) / 100, 2),
            "MM" => number(i64::from(self.month), 2),
            "DD" => number(i64::from(self.day), 2),
            "DDD" => number(self.days - new_year + 1, 3),
            "D" => number(weekday + 1, 1),
            "ID" => number((weekday + 6) % 7 + 1, 1),
            "IW" => number((thursday - days_from_civil(iso_year, 1, 1)) / 7 + 1, 2),
            "WW" => number((self.days - new_year) / 7 + 1, 2),
            "W" => number((i64::from(self.day) - 1) / 7 + 1, 1),
            "Q" => number((i64::from(self.month) - 1) / 3 + 1, 1),
            "HH24" => number(hour, 2),
            "HH" | "HH12" => number((hour + 11) % 12 + 1, 2),
            "MI" => number(seconds / 60 % 60, 2),
            "SS" => number(seconds % 60, 2),
            "SSSS" => number(seconds, 1),
            "MS" => number(self.micros % MICROS_PER_SECOND / 1000, 3),
            "US" => number(self.micros % MICROS_PER_SECOND, 6),
            "TZ" => out.push_str(if self.zoned { "UTC" } else { "" }),
            "OF" => out.push_str("+00"),
            _ => self.word(pattern, hour, weekday, fill, out),
        }
    }

    fn word(&self, pattern: &str, hour: i64, weekday: i64, fill: bool, out: &mut String) {
        let half = if hour < 12 { "AM" } else { "PM" };
        let lower = pattern.starts_with(char::is_lowercase);
        if pattern.len() == 4 && pattern.contains('.') || ["AM", "PM", "am", "pm"].contains(&pattern) {
            let half = if pattern.contains('.') { if hour < 12 { "A.M." } else { "P.M." } } else { half };
            return out.push_str(&if lower { half.to_lowercase() } else { half.to_string() });
        }
        let names: &[&str] = if pattern.to_lowercase().starts_with('m') { &MONTHS } else { &DAYS };
        let index = if names.len() == 12 { self.month as usize - 1 } else { usize::try_from(weekday).unwrap_or(0) };
        let name = names.get(index).copied().unwrap_or_default();
        let whole = ["day", "month"].contains(&pattern.to_lowercase().as_str());
        let short = if whole { name } else { name.get(..3).unwrap_or(name) };
        let upper = pattern.chars().all(char::is_uppercase);
        let cased = if upper {
            short.to_uppercase()
        } else if lower {
            short.to_lowercase()
        } else {
            short.to_string()
        };
        let width = if fill && whole { 9 } else { 0 };
        let _ = write!(out, "{cased:width$}");
    }

    /// Of years before the first the number alone.
    fn shown_year(&self) -> i64 {
        if self.year > 0 { self.year } else { 1 - self.year }
    }
}
