//! Intervals: months, days and time, each of its own sign. How they are read, and how they compare.
//!
//! As in PostgreSQL a month counts for 30 days and a day for 24 hours where intervals are compared, so that `1 mon` equals
//! `30 days`.

use arrow::datatypes::IntervalMonthDayNano;

use crate::clock::MICROS_PER_SECOND;

const DAYS_PER_MONTH: i128 = 30;
const NANOS_PER_DAY: i128 = 86_400_000_000_000;
const MICROS_PER_DAY: i128 = 86_400_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// The length that an interval is compared by, in nanoseconds.
pub fn length(value: IntervalMonthDayNano) -> i128 {
    let days = DAYS_PER_MONTH * i128::from(value.months) + i128::from(value.days);
    days * NANOS_PER_DAY + i128::from(value.nanoseconds)
}

/// The one interval that stands for all of a length: with as many months, then days, as there is time for.
pub fn of_length(nanoseconds: i128) -> IntervalMonthDayNano {
    let limit = |n: i128| n.clamp(i128::from(i32::MIN), i128::from(i32::MAX));
    let months = limit(nanoseconds / (DAYS_PER_MONTH * NANOS_PER_DAY));
    let days = limit((nanoseconds - months * DAYS_PER_MONTH * NANOS_PER_DAY) / NANOS_PER_DAY);
    let rest = nanoseconds - (DAYS_PER_MONTH * months + days) * NANOS_PER_DAY;
    // No interval is longer than its own months, days and nanoseconds, so the rest of what an interval's length was fits.
    IntervalMonthDayNano::new(months as i32, days as i32, rest as i64)
}

/// What a text adds up to, before it is cut to an interval's fields.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

/// A decimal number: `unscaled` / 10^`scale`.
#[derive(Debug, Clone, Copy)]
struct Quantity {
    unscaled: i128,
    scale: u32,
}

/// Digits that a number in an interval may have, on both sides of the point.
const MAX_DIGITS: usize = 15;

impl Quantity {
    fn parse(text: &str) -> Option<Quantity> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_digits = |part: &str| part.len() <= MAX_DIGITS && part.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = u32::try_from(fraction.len()).ok()?;
        Some(Quantity { unscaled: if negative { -unscaled } else { unscaled }, scale })
    }

    /// Times `factor`: what is whole of it, and the rest in `unit`-ths, rounded.
    fn split(self, factor: i128, unit: i128) -> Option<(i128, i128)> {
        let power = 10_i128.checked_pow(self.scale)?;
        let product = self.unscaled.checked_mul(factor)?;
        Some((product / power, rounded((product % power).checked_mul(unit)?, power)))
    }
}

fn rounded(dividend: i128, divisor: i128) -> i128 {
    let half = if dividend < 0 { -divisor / 2 } else { divisor / 2 };
    (dividend + half) / divisor
}

impl Sum {
    /// Adds so many of a unit; what is less than a whole one of a month or a day goes to the fields below, as in PostgreSQL.
    fn add(&mut self, quantity: Quantity, unit: &str) -> Option<()> {
        let mut years = |each: i128| -> Option<()> {
            let (months, rest) = quantity.split(each * 12, 1)?;
            self.months += months + rest;
            Some(())
        };
        match unit {
            "y" | "yr" | "yrs" | "year" | "years" => years(1)?,
            "dec" | "decs" | "decade" | "decades" => years(10)?,
            "c" | "cent" | "century" | "centuries" => years(100)?,
            "mil" | "mils" | "millennium" | "millennia" => years(1000)?,
            "mon" | "mons" | "month" | "months" => {
                let (months, micros) = quantity.split(1, DAYS_PER_MONTH * MICROS_PER_DAY)?;
                self.months += months;
                self.days += micros / MICROS_PER_DAY;
                self.micros += micros % MICROS_PER_DAY;
            }
            "w" | "week" | "weeks" => self.add_days(quantity, 7)?,
            "d" | "day" | "days" => self.add_days(quantity, 1)?,
            _ => {
                let (whole, rest) = quantity.split(micros_of(unit)?, 1)?;
                self.micros += whole + rest;
            }
        }
        Some(())
    }

    fn add_days(&mut self, quantity: Quantity, each: i128) -> Option<()> {
        let (days, micros) = quantity.split(each, MICROS_PER_DAY)?;
        self.days += days;
        self.micros += micros;
        Some(())
    }

    fn finish(self, negative: bool) -> Option<IntervalMonthDayNano> {
        let sign = if negative { -1 } else { 1 };
        let nanos = i64::try_from(sign * self.micros).ok()?.checked_mul(NANOS_PER_MICRO)?;
        let (months, days) = (i32::try_from(sign * self.months).ok()?, i32::try_from(sign * self.days).ok()?);
        Some(IntervalMonthDayNano::new(months, days, nanos))
    }
}

/// Microseconds in a unit of time.
fn micros_of(unit: &str) -> Option<i128> {
    Some(match unit {
        "us" | "usec" | "usecs" | "useconds" | "microsecond" | "microseconds" => 1,
        "ms" | "msec" | "msecs" | "mseconds" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000_000,
        _ => return None,
    })
}

/// A field of an interval, as it may stand behind the literal: `INTERVAL '1:30' MINUTE TO SECOND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl Field {
    pub fn unit(self) -> &'static str {
        match self {
            Field::Year => "year",
            Field::Month => "month",
            Field::Day => "day",
            Field::Hour => "hour",
            Field::Minute => "minute",
            Field::Second => "second",
        }
    }

    /// Whether nothing of an interval is less than one of this.
    pub fn holds(self, value: IntervalMonthDayNano) -> bool {
        let whole = |unit: &str| micros_of(unit).is_none_or(|each| i128::from(value.nanoseconds) % (each * 1_000) == 0);
        match self {
            Field::Year => value.months % 12 == 0 && value.days == 0 && value.nanoseconds == 0,
            Field::Month => value.days == 0 && value.nanoseconds == 0,
            Field::Day => value.nanoseconds == 0,
            Field::Hour | Field::Minute => whole(self.unit()),
            Field::Second => true,
        }
    }
}

/// As PostgreSQL reads one: `1 year 2 mons -3 days 04:05:06.7`, `1-2`, `3 4:05`, `2 weeks ago`, `P1Y2M3DT4H5M6S`.
pub fn parse(text: &str) -> Option<IntervalMonthDayNano> {
    parse_fields(text, Field::Day, Field::Second)
}

/// The same with fields behind it: a number without a unit counts the last of them, and of MINUTE TO SECOND `1:30` is no hours.
pub fn parse_fields(text: &str, first: Field, last: Field) -> Option<IntervalMonthDayNano> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(designated) = text.strip_prefix('p') {
        return iso(designated);
    }
    let mut tokens: Vec<&str> = tokens(&text)?;
    let ago = tokens.pop_if(|last| *last == "ago").is_some();
    let mut sum = Sum::default();
    let mut rest = tokens.as_slice();
    if rest.is_empty() {
        return None;
    }
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        if token.contains(':') {
            sum.micros += clock(token, first == Field::Minute)?;
        } else if let Some((years, months)) = year_month(token) {
            sum.months += years * 12 + months;
        } else {
            let quantity = Quantity::parse(token)?;
            match after.split_first() {
                // A number in front of a clock time counts days, the last one the last field: seconds.
                Some((clock, _)) if clock.contains(':') => sum.add_days(quantity, 1)?,
                None => sum.add(quantity, last.unit())?,
                Some((unit, behind)) => {
                    sum.add(quantity, unit)?;
                    rest = behind;
                }
            }
        }
    }
    sum.finish(ago)
}

/// Words and numbers; a number ends where a word begins, blanks or none between them.
fn tokens(text: &str) -> Option<Vec<&str>> {
    let mut all = Vec::new();
    for part in text.split(|c: char| c.is_ascii_whitespace()).filter(|part| !part.is_empty() && *part != "@") {
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            let is_word = first.is_ascii_alphabetic();
            let end = rest.find(|c: char| c.is_ascii_alphabetic() != is_word).unwrap_or(rest.len());
            let (token, behind) = rest.split_at_checked(end)?;
            all.push(token);
            rest = behind;
        }
    }
    Some(all)
}

/// `[-]hh:mm[:ss[.ffffff]]`, or `mm:ss.ffffff`, in microseconds; `mm:ss` if there are no hours.
fn clock(text: &str, no_hours: bool) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parts: Vec<&str> = text.split(':').collect();
    let whole = |part: &str| -> Option<i128> {
        let digits = !part.is_empty() && part.len() <= MAX_DIGITS && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse().ok() } else { None }
    };
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if no_hours || seconds.contains('.') => (0, whole(minutes)?, *seconds),
        [hours, minutes] => (whole(hours)?, whole(minutes)?, "0"),
        [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, *seconds),
        _ => return None,
    };
    let quantity = Quantity::parse(seconds).filter(|_| seconds.starts_with(|c: char| c.is_ascii_digit()))?;
    let (micros, rest) = quantity.split(i128::from(MICROS_PER_SECOND), 1)?;
    if minutes > 59 || micros > 60_000_000 {
        return None;
    }
    let all = (hours * 60 + minutes) * 60_000_000 + micros + rest;
    Some(if negative { -all } else { all })
}

/// SQL's `1-2`: a year and two months.
fn year_month(text: &str) -> Option<(i128, i128)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (years, months) = text.split_once('-')?;
    let (years, months): (u32, u32) = (years.parse().ok()?, months.parse().ok().filter(|m| *m < 12)?);
    let sign = if negative { -1 } else { 1 };
    Some((sign * i128::from(years), sign * i128::from(months)))
}

/// ISO 8601 with designators, behind its P.
fn iso(text: &str) -> Option<IntervalMonthDayNano> {
    let (date, time) = match text.split_once('t') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut sum = Sum::default();
    let parts = [(Some(date), [("y", "years"), ("m", "months"), ("w", "weeks"), ("d", "days")].as_slice())];
    let times = [(time, [("h", "hours"), ("m", "minutes"), ("s", "seconds")].as_slice())];
    let mut seen = false;
    for (part, units) in parts.into_iter().chain(times) {
        let tokens = tokens(part.unwrap_or_default())?;
        let (pairs, rest) = tokens.as_chunks::<2>();
        for [number, designator] in pairs {
            let (_, unit) = units.iter().find(|(letter, _)| letter == designator)?;
            sum.add(Quantity::parse(number)?, unit)?;
            seen = true;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    if seen { sum.finish(false) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::datetime::interval_text;

    /// Answers of PostgreSQL 17.
    #[test]
    fn as_postgresql_reads_them() {
        let check = |text: &str, expected: Option<&str>| {
            let found = parse(text).map(|value| {
                let mut out = String::new();
                interval_text(value.months, value.days, value.nanoseconds, &mut out);
                out
            });
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("1 day", Some("1 day"));
        check("1 year 2 mons 3 days 04:05:06.7", Some("1 year 2 mons 3 days 04:05:06.7"));
        check("1-2", Some("1 year 2 mons"));
        check("-1-2", Some("-1 years -2 mons"));
        check("3 4:05:06", Some("3 days 04:05:06"));
        check("3 -4:05", Some("3 days -04:05:00"));
        check("2 weeks ago", Some("-14 days"));
        check("@ 1 minute", Some("00:01:00"));
        check("1.5 months", Some("1 mon 15 days"));
        check("1.5 years", Some("1 year 6 mons"));
        check("1.5 days", Some("1 day 12:00:00"));
        check("1.5 weeks", Some("10 days 12:00:00"));
        check("-1.5 months", Some("-1 mons -15 days"));
        check("90", Some("00:01:30"));
        check("1h30m", Some("01:30:00"));
        check("100:00:00", Some("100:00:00"));
        check("04:05", Some("04:05:00"));
        check("04:05.5", Some("00:04:05.5"));
        check("1 century", Some("100 years"));
        check("0.0000005 s", Some("00:00:00.000001"));
        check("P1Y2M3DT4H5M6S", Some("1 year 2 mons 3 days 04:05:06"));
        check("P2W", Some("14 days"));
        check("PT0.5S", Some("00:00:00.5"));
        for bad in ["", "day", "1 dax", "P", "P1H", "1 2 3", "04:60", "::", "x", "1 day 2", "3000000000 days"] {
            let expected = if bad == "1 day 2" { Some("1 day 00:00:02") } else { None };
            check(bad, expected);
        }
    }

    /// Answers of PostgreSQL 17, which cuts off what is less than the last field.
    #[test]
    fn fields_stand_behind_a_literal() {
        use Field::*;
        let check = |text: &str, (first, last): (Field, Field), expected: Option<(&str, bool)>| {
            let found = parse_fields(text, first, last).map(|value| {
                let mut out = String::new();
                interval_text(value.months, value.days, value.nanoseconds, &mut out);
                (out, last.holds(value))
            });
            assert_eq!(found, expected.map(|(text, whole)| (text.to_string(), whole)), "{text}");
        };
        check("1", (Day, Day), Some(("1 day", true)));
        check("-90", (Minute, Minute), Some(("-01:30:00", true)));
        check("14", (Month, Month), Some(("1 year 2 mons", true)));
        check("1.5", (Second, Second), Some(("00:00:01.5", true)));
        check("1-2", (Year, Month), Some(("1 year 2 mons", true)));
        check("1 2:03", (Day, Minute), Some(("1 day 02:03:00", true)));
        check("1 2", (Day, Hour), None);
        check("4:05", (Hour, Minute), Some(("04:05:00", true)));
        check("4:05", (Minute, Second), Some(("00:04:05", true)));
        check("4:05", (Hour, Second), Some(("04:05:00", true)));
        check("1.5", (Hour, Hour), Some(("01:30:00", false)));
        check("1 day 1 hour", (Day, Day), Some(("1 day 01:00:00", false)));
        check("14 months", (Year, Year), Some(("1 year 2 mons", false)));
        check("1:00:01", (Hour, Minute), Some(("01:00:01", false)));
        check("x", (Day, Day), None);
    }

    #[test]
    fn a_length_stands_for_all_intervals_of_it() {
        let interval = IntervalMonthDayNano::new;
        assert_eq!(length(interval(1, 0, 0)), length(interval(0, 30, 0)));
        assert_eq!(length(interval(0, 1, -1)), length(interval(0, 0, 86_399_999_999_999)));
        for value in [
            interval(i32::MAX, i32::MAX, i64::MAX),
            interval(i32::MIN, i32::MIN, i64::MIN),
            interval(-1, 31, 5),
            interval(0, 0, 0),
        ] {
            assert_eq!(length(of_length(length(value))), length(value), "{value:?}");
        }
    }
}
