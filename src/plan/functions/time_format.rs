//! Times, and intervals, as text by a [`Template`]: PostgreSQL's `to_char(t, 'YYYY-MM-DD')`, Flink's
//! `date_format(t, 'yyyy-MM-dd')`.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Weekday};
use chrono_tz::{OffsetName, Tz};

use super::time_template::{Field, FieldPiece, Name, Number, Piece, Template, Zone};
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result, SqlState};

pub const MONTHS: [&str; 12] = [
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

pub const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Letters of the longest name of a month, and of a day.
const LONGEST_NAME: usize = 9;
/// And of a month's number.
const LONGEST_ROMAN: usize = 4;

const NANOS_PER_MICRO: i64 = 1_000;

/// What can be written.
#[derive(Debug)]
pub enum Written {
    /// What clocks and calendars show, and in which zone, if they are those of one.
    Moment { local: NaiveDateTime, zone: Option<ShownZone> },
    /// Years, months and days as they stand, the time as hours, minutes and seconds.
    Interval { months: i64, days: i64, micros: i64 },
}

#[derive(Debug)]
pub struct ShownZone {
    abbreviation: String,
    /// Seconds east of Greenwich.
    offset: i32,
}

impl Written {
    /// A time in microseconds since 1970.
    ///
    /// # Errors
    /// 22008 if the calendar does not reach so far.
    pub fn moment(micros: Micros) -> Result<Self> {
        Ok(Written::Moment { local: utc(micros)?, zone: None })
    }

    /// The same, by the clocks of a zone.
    pub fn in_zone(micros: Micros, zone: Tz) -> Result<Self> {
        let utc = utc(micros)?;
        let offset = zone.offset_from_utc_datetime(&utc);
        let seconds = offset.fix().local_minus_utc();
        let local = utc.checked_add_signed(TimeDelta::seconds(seconds.into())).ok_or_else(out_of_range)?;
        let abbreviation = offset.abbreviation().unwrap_or_default().to_string();
        Ok(Written::Moment { local, zone: Some(ShownZone { abbreviation, offset: seconds }) })
    }

    pub fn interval(value: IntervalMonthDayNano) -> Self {
        let (months, days) = (i64::from(value.months), i64::from(value.days));
        Written::Interval { months, days, micros: value.nanoseconds / NANOS_PER_MICRO }
    }
}

fn utc(micros: Micros) -> Result<NaiveDateTime> {
    Ok(DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?.naive_utc())
}

fn out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range")
}

impl Template {
    /// Appends the text of a time or an interval.
    ///
    /// # Errors
    /// 22007 for what an interval has not.
    pub fn write(&self, value: &Written, out: &mut String) -> Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Quoted(text) => out.push_str(text),
                Piece::Plain(character) => out.push(*character),
                Piece::Field(field) => match value {
                    Written::Moment { local, zone } => put_field(field, *local, zone.as_ref(), out),
                    Written::Interval { months, days, micros } => put_part(field, *months, *days, *micros, out)?,
                },
            }
        }
        Ok(())
    }
}

// Writing into a string cannot fail.
fn put_number(piece: &FieldPiece, number: i64, digits: usize, out: &mut String) {
    let start = out.len();
    // As in C, a minus takes the place of none of the digits.
    let width = if piece.filled { digits + usize::from(number < 0) } else { 0 };
    let _ = write!(out, "{number:0width$}");
    if let Some(case) = piece.ordinal {
        let written = out.get(start..).unwrap_or_default().as_bytes();
        let suffix = match written {
            [.., b'1', _] => "th",
            [.., b'1'] => "st",
            [.., b'2'] => "nd",
            [.., b'3'] => "rd",
            _ => "th",
        };
        out.push_str(&case.of(suffix));
    }
}

fn put_name(piece: &FieldPiece, name: String, width: usize, out: &mut String) {
    let width = if piece.filled { width } else { 0 };
    let _ = write!(out, "{name:width$}");
}

fn put_field(piece: &FieldPiece, t: NaiveDateTime, zone: Option<&ShownZone>, out: &mut String) {
    match piece.field {
        Field::Number(number, digits) => put_number(piece, number.of(t), digits, out),
        Field::Last(number, digits) => put_number(piece, last_digits(number.of(t), digits), digits, out),
        Field::YearInGroups => put_groups(Number::Year.of(t), out),
        Field::Fraction(digits) => {
            let digits = digits.min(9);
            let fraction = t.nanosecond() % 1_000_000_000 / 10_u32.pow(9 - digits);
            let _ = write!(out, "{fraction:0digits$}", digits = digits as usize);
        }
        Field::Name(name, case) => {
            let width = if matches!(name, Name::Month | Name::Weekday) { LONGEST_NAME } else { 0 };
            put_name(piece, case.of(name.of(t)), width, out);
        }
        Field::RomanMonth(case) => {
            let month = ROMAN_MONTHS.get(t.month0() as usize).copied().unwrap_or_default();
            put_name(piece, case.of(month), LONGEST_ROMAN, out);
        }
        Field::Zone(form) => put_zone(form, zone, out),
    }
}

fn last_digits(number: i64, digits: usize) -> i64 {
    number % 10_i64.pow(u32::try_from(digits).unwrap_or(4))
}

fn put_groups(year: i64, out: &mut String) {
    let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
}

/// A time without zone has no name of one, and no offset.
fn put_zone(form: Zone, zone: Option<&ShownZone>, out: &mut String) {
    let offset = zone.map_or(0, |zone| zone.offset);
    let (sign, hours, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 3600, offset.abs() / 60 % 60);
    let _ = match form {
        Zone::Abbreviation(case) => write!(out, "{}", case.of(zone.map_or("", |zone| &zone.abbreviation))),
        Zone::Offset if minutes == 0 => write!(out, "{sign}{hours:02}"),
        Zone::Offset => write!(out, "{sign}{hours:02}:{minutes:02}"),
        Zone::OffsetHours => write!(out, "{sign}{hours:02}"),
        Zone::OffsetMinutes => write!(out, "{minutes:02}"),
    };
}

/// A part of an interval.
fn put_part(piece: &FieldPiece, months: i64, days: i64, micros: i64, out: &mut String) -> Result<()> {
    let (years, months) = (months / 12, months % 12);
    let seconds = micros / MICROS_PER_SECOND;
    let (hours, minutes, seconds_left) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let days_in_all = (years * 12 + months) * 30 + days;
    let (number, digits) = match piece.field {
        Field::Number(Number::Year | Number::IsoYear, digits) => (years, digits),
        Field::Last(Number::Year | Number::IsoYear, digits) => (last_digits(years, digits), digits),
        Field::YearInGroups => {
            put_groups(years, out);
            return Ok(());
        }
        Field::Number(Number::Century, digits) => (years / 100, digits),
        Field::Number(Number::Quarter, _) if months == 0 => return Ok(()),
        Field::Number(Number::Quarter, digits) => ((months - 1) / 3 + 1, digits),
        Field::Number(Number::Month, digits) => (months, digits),
        Field::Number(Number::WeekOfMonth, digits) => ((days - 1) / 7 + 1, digits),
        Field::Number(Number::WeekOfYear, digits) => ((days_in_all - 1) / 7 + 1, digits),
        // A minus takes the place of one of their digits.
        Field::Number(Number::Day, digits) => (days, digits - usize::from(days < 0)),
        Field::Number(Number::DayOfYear, digits) => (days_in_all, digits - usize::from(days_in_all < 0)),
        Field::Number(Number::Hour, digits) => (hours, digits),
        Field::Number(Number::Hour12, digits) => (if hours % 12 == 0 { 12 } else { hours % 12 }, digits),
        Field::Number(Number::Minute, digits) => (minutes, digits),
        Field::Number(Number::Second, digits) => (seconds_left, digits),
        Field::Number(Number::SecondOfDay, digits) => (seconds, digits),
        Field::Fraction(digits) => {
            let fraction = micros % MICROS_PER_SECOND / 10_i64.pow(6 - digits.min(6));
            let _ = write!(out, "{fraction:0digits$}", digits = digits as usize);
            return Ok(());
        }
        Field::Name(name @ (Name::Half | Name::DottedHalf), case) => {
            out.push_str(&case.of(name.half(hours.rem_euclid(24) < 12)));
            return Ok(());
        }
        _ => {
            let message = "invalid format specification for an interval value";
            let error = Error::new(SqlState::InvalidDatetimeFormat, message);
            return Err(error.with_hint("Intervals are not tied to specific calendar dates."));
        }
    };
    put_number(piece, number, digits, out);
    Ok(())
}

impl Number {
    fn of(self, t: NaiveDateTime) -> i64 {
        // Years before 1 are counted from 1 BC on.
        let shown = |year: i32| i64::from(if year > 0 { year } else { 1 - year });
        match self {
            Number::Year => shown(t.year()),
            Number::IsoYear => shown(t.iso_week().year()),
            Number::Century if t.year() > 0 => (i64::from(t.year()) + 99) / 100,
            // There is no century 0.
            Number::Century => i64::from(t.year()) / 100 - 1,
            Number::Quarter => i64::from(t.month0() / 3 + 1),
            Number::Month => i64::from(t.month()),
            Number::WeekOfMonth => i64::from(t.day0() / 7 + 1),
            Number::WeekOfYear => i64::from(t.ordinal0() / 7 + 1),
            Number::IsoWeek => i64::from(t.iso_week().week()),
            Number::Day => i64::from(t.day()),
            Number::DayOfYear => i64::from(t.ordinal()),
            Number::IsoDayOfYear => i64::from(t.iso_week().week0()) * 7 + i64::from(t.weekday().number_from_monday()),
            Number::Weekday => i64::from(t.weekday().number_from_sunday()),
            Number::IsoWeekday => i64::from(t.weekday().number_from_monday()),
            // 1721425 is the first of January of year 1.
            Number::JulianDay => i64::from(t.num_days_from_ce()) + 1_721_425,
            Number::Hour => i64::from(t.hour()),
            Number::Hour12 => i64::from(t.hour12().1),
            Number::HourOfHalf => i64::from(t.hour() % 12),
            Number::Minute => i64::from(t.minute()),
            Number::Second => i64::from(t.second()),
            Number::SecondOfDay => i64::from(t.num_seconds_from_midnight()),
        }
    }
}

impl Name {
    fn of(self, t: NaiveDateTime) -> &'static str {
        let month = MONTHS.get(t.month0() as usize).copied().unwrap_or_default();
        let weekday = match t.weekday() {
            Weekday::Mon => "Monday",
            Weekday::Tue => "Tuesday",
            Weekday::Wed => "Wednesday",
            Weekday::Thu => "Thursday",
            Weekday::Fri => "Friday",
            Weekday::Sat => "Saturday",
            Weekday::Sun => "Sunday",
        };
        let our_era = t.year() > 0;
        match self {
            Name::Month => month,
            Name::ShortMonth => month.get(..3).unwrap_or(month),
            Name::Weekday => weekday,
            Name::ShortWeekday => weekday.get(..3).unwrap_or(weekday),
            Name::Half | Name::DottedHalf => self.half(t.hour() < 12),
            Name::Era if our_era => "AD",
            Name::Era => "BC",
            Name::DottedEra if our_era => "A.D.",
            Name::DottedEra => "B.C.",
        }
    }

    fn half(self, morning: bool) -> &'static str {
        match (self, morning) {
            (Name::DottedHalf, true) => "A.M.",
            (Name::DottedHalf, false) => "P.M.",
            (_, true) => "AM",
            (_, false) => "PM",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05 13:07:09.012345, a Monday.
    const MOMENT: i64 = 1_767_618_429_012_345;

    fn written(template: Result<Template>, value: Result<Written>) -> String {
        let mut out = String::new();
        match template.and_then(|t| t.write(&value?, &mut out)) {
            Ok(()) => out,
            Err(error) => format!("{}: {}", error.state().code(), error.message()),
        }
    }

    #[test]
    fn templates_of_postgresql() {
        let check = |template: &str, expected: &str| {
            assert_eq!(written(Ok(Template::postgres(template)), Written::moment(MOMENT)), expected);
        };
        check("YYYY-MM-DD HH24:MI:SS.US", "2026-01-05 13:07:09.012345");
        check("yyyy-mm-dd hh24:mi:ss.ms", "2026-01-05 13:07:09.012");
        check("YYY YY Y Y,YYY", "026 26 6 2,026");
        check("HH:MI AM, HH12:MI p.m.", "01:07 PM, 01:07 p.m.");
        check("Month|MON|day|Dy|RM|rm|FMRM|", "January  |JAN|monday   |Mon|I   |i   |I|");
        check("FMMonth FMDDth, FMDay, TMMonth", "January 5th, Monday, January");
        check("FMHH24:FMMI", "13:7");
        check("DDD IDDD D ID Q WW IW W CC IYYY J", "005 008 2 1 1 01 02 1 21 2026 2461046");
        check("SSSS FF1 FF6", "47229 0 012345");
        check("\"at \"HH24\" o'clock\"", "at 13 o'clock");
        check("\\YYYY\\\"x", "Y026\"x");
        check("am", "pm");
        check("größer YYYY", "größer 2026");
        check("[TZ] OF TZH:TZM", "[] +00 +00:00");
        check("DDTH HH24th MIth SSTH", "05TH 13th 07th 09TH");
        check("", "");
    }

    #[test]
    fn clocks_of_a_zone() {
        let check = |zone: &str, micros: i64, expected: &str| {
            let template = Template::postgres("YYYY-MM-DD HH24:MI TZ tz OF TZH:TZM");
            assert_eq!(written(Ok(template), Written::in_zone(micros, zone.parse().unwrap())), expected);
        };
        check("UTC", MOMENT, "2026-01-05 13:07 UTC utc +00 +00:00");
        check("Europe/Berlin", MOMENT, "2026-01-05 14:07 CET cet +01 +01:00");
        check("America/St_Johns", MOMENT, "2026-01-05 09:37 NST nst -03:30 -03:30");
        // Two instants at which clocks show the same.
        check("Europe/Berlin", 1_729_989_000_000_000, "2024-10-27 02:30 CEST cest +02 +02:00");
        check("Europe/Berlin", 1_729_992_600_000_000, "2024-10-27 02:30 CET cet +01 +01:00");
    }

    #[test]
    fn intervals() {
        let check = |months: i32, days: i32, micros: i64, template: &str, expected: &str| {
            let value = Written::interval(IntervalMonthDayNano::new(months, days, micros * 1000));
            assert_eq!(written(Ok(Template::postgres(template)), Ok(value)), expected, "{template}");
        };
        const HOUR: i64 = 3_600_000_000;
        check(14, 3, 25 * HOUR + 61_500_000, "YYYY MM DD HH24:MI:SS.MS", "0001 02 03 25:01:01.500");
        check(0, 0, 15 * HOUR, "HH12 AM, SSSS", "03 PM, 54000");
        check(0, 0, 0, "HH12:MI", "12:00");
        check(-1, -2, -HOUR - 60_000_000, "MM DD HH24:MI", "-01 -2 -01:-01");
        check(14, 0, 0, "FMYYYY FMMM DDD", "1 2 420");
        check(0, 1, 0, "Month", "22007: invalid format specification for an interval value");
        check(0, 1, 0, "TZ", "22007: invalid format specification for an interval value");
    }

    #[test]
    fn templates_of_java() {
        let check = |template: &str, expected: &str| {
            assert_eq!(written(Template::java(template), Written::moment(MOMENT)), expected);
        };
        check("yyyy-MM-dd HH:mm:ss.SSS", "2026-01-05 13:07:09.012");
        check("yy-M-d H:m:s", "26-1-5 13:7:9");
        check("MMM MMMM E EEEE a hh KK", "Jan January Mon Monday PM 01 01");
        check("yyyy'T'HH'o''clock'''", "2026T13o'clock'");
        check("D SSSSSS", "5 012345");
        check("yyyy 'x", "22023: a quoted text in a template of date_format does not end");
        check("yyyy VV", "0A000: \"VV\" in a template of date_format is not supported");
    }
}
