//! Times as text by a template: PostgreSQL's `to_char(t, 'YYYY-MM-DD')`, and `date_format(t, 'yyyy-MM-dd')` with the letters
//! of Java, as Flink has it.
//!
//! 1. A template is read once for a batch: [`Template::postgres`] or [`Template::java`] make [`Piece`]s of it.
//! 2. [`Template::write`] writes one time.
//!
//! What has another meaning elsewhere, or none here, is refused where the template is read.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Weekday};

use crate::error::{Error, Result, SqlState};

/// A template that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    /// As it stands.
    Text(String),
    /// A number of at least so many digits.
    Number(Number, usize),
    /// The last so many digits of a number.
    Last(Number, usize),
    /// So many digits of the fraction of a second.
    Fraction(u32),
    /// A name, filled up with blanks to so many letters.
    Name(Name, Case, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Year,
    IsoYear,
    Century,
    Quarter,
    Month,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Day,
    DayOfYear,
    /// Sunday is 1.
    Weekday,
    /// Monday is 1.
    IsoWeekday,
    JulianDay,
    Hour,
    /// 1 to 12.
    Hour12,
    /// 0 to 11.
    HourOfHalf,
    Minute,
    Second,
    SecondOfDay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Month,
    ShortMonth,
    Weekday,
    ShortWeekday,
    Half,
    /// With full stops: a.m.
    DottedHalf,
    /// Before or after Christ.
    Era,
    DottedEra,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Upper,
    Lower,
    /// The first letter alone is a capital.
    Capital,
}

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

/// Letters of the longest name of a month, and of a day.
const LONGEST_NAME: usize = 9;

/// PostgreSQL's words for numbers; any of them may be written in small letters.
const NUMBERS: &[(&str, Number, usize)] = &[
    ("IYYY", Number::IsoYear, 4),
    ("YYYY", Number::Year, 4),
    ("IDDD", Number::DayOfYear, 0),
    ("DDD", Number::DayOfYear, 3),
    ("DD", Number::Day, 2),
    ("ID", Number::IsoWeekday, 1),
    ("IW", Number::IsoWeek, 2),
    ("D", Number::Weekday, 1),
    ("HH24", Number::Hour, 2),
    ("HH12", Number::Hour12, 2),
    ("HH", Number::Hour12, 2),
    ("MI", Number::Minute, 2),
    ("MM", Number::Month, 2),
    ("SSSSS", Number::SecondOfDay, 1),
    ("SSSS", Number::SecondOfDay, 1),
    ("SS", Number::Second, 2),
    ("WW", Number::WeekOfYear, 2),
    ("W", Number::WeekOfMonth, 1),
    ("CC", Number::Century, 2),
    ("J", Number::JulianDay, 1),
    ("Q", Number::Quarter, 1),
];

/// The last digits of a year.
const SHORT_YEARS: &[(&str, Number, usize)] = &[
    ("IYY", Number::IsoYear, 3),
    ("IY", Number::IsoYear, 2),
    ("I", Number::IsoYear, 1),
    ("YYY", Number::Year, 3),
    ("YY", Number::Year, 2),
    ("Y", Number::Year, 1),
];

const FRACTIONS: &[(&str, u32)] =
    &[("FF1", 1), ("FF2", 2), ("FF3", 3), ("FF4", 4), ("FF5", 5), ("FF6", 6), ("MS", 3), ("US", 6)];

/// In each way that they can be written.
const NAMES: &[(&str, Name, Case)] = &[
    ("MONTH", Name::Month, Case::Upper),
    ("Month", Name::Month, Case::Capital),
    ("month", Name::Month, Case::Lower),
    ("MON", Name::ShortMonth, Case::Upper),
    ("Mon", Name::ShortMonth, Case::Capital),
    ("mon", Name::ShortMonth, Case::Lower),
    ("DAY", Name::Weekday, Case::Upper),
    ("Day", Name::Weekday, Case::Capital),
    ("day", Name::Weekday, Case::Lower),
    ("DY", Name::ShortWeekday, Case::Upper),
    ("Dy", Name::ShortWeekday, Case::Capital),
    ("dy", Name::ShortWeekday, Case::Lower),
    ("A.M.", Name::DottedHalf, Case::Upper),
    ("P.M.", Name::DottedHalf, Case::Upper),
    ("a.m.", Name::DottedHalf, Case::Lower),
    ("p.m.", Name::DottedHalf, Case::Lower),
    ("AM", Name::Half, Case::Upper),
    ("PM", Name::Half, Case::Upper),
    ("am", Name::Half, Case::Lower),
    ("pm", Name::Half, Case::Lower),
    ("A.D.", Name::DottedEra, Case::Upper),
    ("B.C.", Name::DottedEra, Case::Upper),
    ("a.d.", Name::DottedEra, Case::Lower),
    ("b.c.", Name::DottedEra, Case::Lower),
    ("AD", Name::Era, Case::Upper),
    ("BC", Name::Era, Case::Upper),
    ("ad", Name::Era, Case::Lower),
    ("bc", Name::Era, Case::Lower),
];

/// What PostgreSQL has besides.
const UNSUPPORTED: &[&str] = &["Y,YYY", "TZH", "TZM", "TZ", "OF", "RM", "TM", "FX", "IDDD"];

impl Template {
    /// PostgreSQL's: words such as YYYY, HH24, Mon; `"text"` as it stands; FM in front of a word: without filling.
    ///
    /// # Errors
    /// 0A000 for words that PostgreSQL has and this has not.
    pub fn postgres(template: &str) -> Result<Template> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if first == '"' {
                let quoted = rest.get(1..).unwrap_or_default();
                let (text, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
                push_text(&mut pieces, text);
                rest = behind;
                continue;
            }
            if let Some(word) = UNSUPPORTED.iter().find(|word| begins(rest, word).is_some()) {
                let hint = "Numbers of a date and a time, names of months and days, AM and AD are supported.";
                return Err(Error::unsupported(format!("\"{word}\" in a template of to_char is not supported"), hint));
            }
            let plain = begins(rest, "FM");
            match word(plain.unwrap_or(rest), plain.is_some()) {
                Some((piece, behind)) => {
                    let ordinal = ["TH", "th"].iter().find(|suffix| behind.starts_with(**suffix));
                    if let (Some(suffix), Piece::Number(..) | Piece::Last(..)) = (ordinal, &piece) {
                        let what = format!("\"{suffix}\" behind a number in a template of to_char is not supported");
                        return Err(Error::unsupported(what, "Leave it out, or append it with ||."));
                    }
                    pieces.push(piece);
                    rest = behind;
                }
                None => {
                    let escaped = if first == '\\' { rest.chars().nth(1) } else { None };
                    let shown = escaped.unwrap_or(first);
                    push_text(&mut pieces, shown.encode_utf8(&mut [0; 4]));
                    let width = shown.len_utf8() + if escaped.is_some() { first.len_utf8() } else { 0 };
                    rest = rest.get(width..).unwrap_or_default();
                }
            }
        }
        Ok(Template(pieces))
    }

    /// Java's (DateTimeFormatter): runs of letters such as yyyy, MM, HH; `'text'` as it stands.
    ///
    /// # Errors
    /// 22023 for a letter that Java does not have; 0A000 for one that it has and this has not.
    pub fn java(template: &str) -> Result<Template> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('\'') {
                // Two quotes are one, within quotes and outside.
                let (text, behind) = match quoted.strip_prefix('\'') {
                    Some(behind) => ("'".to_string(), behind),
                    None => quoted_text(quoted)?,
                };
                push_text(&mut pieces, &text);
                rest = behind;
                continue;
            }
            let run = rest.find(|c| c != first).unwrap_or(rest.len());
            let (letters, behind) = rest.split_at(run);
            rest = behind;
            if first.is_ascii_alphabetic() {
                pieces.push(java_letters(first, letters.len())?);
            } else {
                push_text(&mut pieces, letters);
            }
        }
        Ok(Template(pieces))
    }

    /// Appends the text of a time, which is in microseconds since 1970.
    ///
    /// # Errors
    /// 22008 if the calendar does not reach so far.
    pub fn write(&self, micros: i64, out: &mut String) -> Result<()> {
        let moment = DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range"))?
            .naive_utc();
        for piece in &self.0 {
            // Writing into a string cannot fail.
            let _ = match piece {
                Piece::Text(text) => out.write_str(text),
                Piece::Number(number, digits) => write!(out, "{:0digits$}", number.of(moment), digits = *digits),
                Piece::Last(number, digits) => {
                    let modulus = 10_i64.pow(u32::try_from(*digits).unwrap_or(4));
                    write!(out, "{:0digits$}", number.of(moment).rem_euclid(modulus), digits = *digits)
                }
                Piece::Fraction(digits) => {
                    let digits = (*digits).min(9);
                    let fraction = moment.nanosecond() % 1_000_000_000 / 10_u32.pow(9 - digits);
                    write!(out, "{fraction:0digits$}", digits = digits as usize)
                }
                Piece::Name(name, case, width) => {
                    let name = case.of(name.of(moment));
                    write!(out, "{name:width$}", width = *width)
                }
            };
        }
        Ok(())
    }
}

/// What follows a word that may be written in capitals or in small letters.
fn begins<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word).or_else(|| text.strip_prefix(word.to_ascii_lowercase().as_str()))
}

/// The longest word of PostgreSQL's that a text begins with, and what follows it.
fn word(text: &str, plain: bool) -> Option<(Piece, &str)> {
    let filled = |width: usize| if plain { 0 } else { width };
    let names = NAMES.iter().filter_map(|(word, name, case)| {
        let width = if matches!(name, Name::Month | Name::Weekday) { filled(LONGEST_NAME) } else { 0 };
        Some((Piece::Name(*name, *case, width), text.strip_prefix(word)?))
    });
    let numbers = NUMBERS
        .iter()
        .filter_map(|(word, number, digits)| Some((Piece::Number(*number, filled(*digits)), begins(text, word)?)));
    let years = SHORT_YEARS.iter().filter_map(|(word, number, digits)| {
        let piece = Piece::Last(*number, *digits);
        Some((piece, begins(text, word)?))
    });
    let fractions = FRACTIONS.iter().filter_map(|(word, digits)| Some((Piece::Fraction(*digits), begins(text, word)?)));
    names.chain(numbers).chain(years).chain(fractions).min_by_key(|(_, behind)| behind.len())
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_string())),
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted_text(quoted: &str) -> Result<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted;
    loop {
        let Some((before, behind)) = rest.split_once('\'') else {
            let message = "a quoted text in a template of date_format does not end";
            return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint("Write '' for a quote."));
        };
        text.push_str(before);
        match behind.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Ok((text, behind)),
        }
    }
}

fn java_letters(letter: char, count: usize) -> Result<Piece> {
    let number = |number| Piece::Number(number, if count == 1 { 0 } else { count });
    Ok(match (letter, count) {
        ('y' | 'u', 2) => Piece::Last(Number::Year, 2),
        ('y' | 'u', _) => number(Number::Year),
        ('M' | 'L', 1 | 2) => number(Number::Month),
        ('M' | 'L', 3) => Piece::Name(Name::ShortMonth, Case::Capital, 0),
        ('M' | 'L', 4) => Piece::Name(Name::Month, Case::Capital, 0),
        ('d', 1 | 2) => number(Number::Day),
        ('D', 1..=3) => number(Number::DayOfYear),
        ('E', 1..=3) => Piece::Name(Name::ShortWeekday, Case::Capital, 0),
        ('E', 4) => Piece::Name(Name::Weekday, Case::Capital, 0),
        ('H', 1 | 2) => number(Number::Hour),
        ('h', 1 | 2) => number(Number::Hour12),
        ('K', 1 | 2) => number(Number::HourOfHalf),
        ('m', 1 | 2) => number(Number::Minute),
        ('s', 1 | 2) => number(Number::Second),
        ('S', 1..=9) => Piece::Fraction(count as u32),
        ('a', 1) => Piece::Name(Name::Half, Case::Upper, 0),
        _ => {
            let letters = letter.to_string().repeat(count);
            let hint = "y, M, d, D, E, H, h, K, m, s, S and a are supported; other letters stand in quotes.";
            let message = format!("\"{letters}\" in a template of date_format is not supported");
            return Err(Error::unsupported(message, hint));
        }
    })
}

impl Number {
    fn of(self, t: NaiveDateTime) -> i64 {
        // Years before 1 are counted from 1 BC on.
        let shown = |year: i32| i64::from(if year > 0 { year } else { 1 - year });
        match self {
            Number::Year => shown(t.year()),
            Number::IsoYear => shown(t.iso_week().year()),
            Number::Century => (shown(t.year()) + 99) / 100,
            Number::Quarter => i64::from(t.month0() / 3 + 1),
            Number::Month => i64::from(t.month()),
            Number::WeekOfMonth => i64::from(t.day0() / 7 + 1),
            Number::WeekOfYear => i64::from(t.ordinal0() / 7 + 1),
            Number::IsoWeek => i64::from(t.iso_week().week()),
            Number::Day => i64::from(t.day()),
            Number::DayOfYear => i64::from(t.ordinal()),
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
        let (morning, our_era) = (t.hour() < 12, t.year() > 0);
        match self {
            Name::Month => month,
            Name::ShortMonth => month.get(..3).unwrap_or(month),
            Name::Weekday => weekday,
            Name::ShortWeekday => weekday.get(..3).unwrap_or(weekday),
            Name::Half if morning => "AM",
            Name::Half => "PM",
            Name::DottedHalf if morning => "A.M.",
            Name::DottedHalf => "P.M.",
            Name::Era if our_era => "AD",
            Name::Era => "BC",
            Name::DottedEra if our_era => "A.D.",
            Name::DottedEra => "B.C.",
        }
    }
}

impl Case {
    fn of(self, name: &str) -> String {
        match self {
            Case::Upper => name.to_ascii_uppercase(),
            Case::Lower => name.to_ascii_lowercase(),
            Case::Capital => name.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-05 13:07:09.012345, a Monday.
    const MOMENT: i64 = 1_767_618_429_012_345;

    fn check(template: Result<Template>, expected: &str) {
        let mut out = String::new();
        match template.and_then(|t| t.write(MOMENT, &mut out)) {
            Ok(()) => assert_eq!(out, expected),
            Err(error) => assert_eq!(format!("{}: {}", error.state().code(), error.message()), expected),
        }
    }

    #[test]
    fn templates_of_postgresql() {
        let check = |template: &str, expected: &str| check(Template::postgres(template), expected);
        check("YYYY-MM-DD HH24:MI:SS.US", "2026-01-05 13:07:09.012345");
        check("yyyy-mm-dd hh24:mi:ss.ms", "2026-01-05 13:07:09.012");
        check("YYY YY Y", "026 26 6");
        check("HH:MI AM, HH12:MI p.m.", "01:07 PM, 01:07 p.m.");
        check("Month|MON|day|Dy|", "January  |JAN|monday   |Mon|");
        check("FMMonth FMDD, FMDay", "January 5, Monday");
        check("FMHH24:FMMI", "13:7");
        check("DDD D ID Q WW IW W CC IYYY J", "005 2 1 1 01 02 1 21 2026 2461046");
        check("SSSS FF1 FF6", "47229 0 012345");
        check("\"at \"HH24\" o'clock\"", "at 13 o'clock");
        check("\\YYYY\\\"x", "Y026\"x");
        check("am", "pm");
        check("größer YYYY", "größer 2026");
        check("", "");
        check("HH24 TZ", "0A000: \"TZ\" in a template of to_char is not supported");
        check("DDth", "0A000: \"th\" behind a number in a template of to_char is not supported");
    }

    #[test]
    fn templates_of_java() {
        let check = |template: &str, expected: &str| check(Template::java(template), expected);
        check("yyyy-MM-dd HH:mm:ss.SSS", "2026-01-05 13:07:09.012");
        check("yy-M-d H:m:s", "26-1-5 13:7:9");
        check("MMM MMMM E EEEE a hh KK", "Jan January Mon Monday PM 01 01");
        check("yyyy'T'HH'o''clock'''", "2026T13o'clock'");
        check("D SSSSSS", "5 012345");
        check("yyyy 'x", "22023: a quoted text in a template of date_format does not end");
        check("yyyy VV", "0A000: \"VV\" in a template of date_format is not supported");
    }
}
