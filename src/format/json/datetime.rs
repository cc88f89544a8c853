//! Dates and timestamps as JSON text. Days and microseconds count from 1970-01-01; the calendar is the proleptic
//! Gregorian one (Howard Hinnant's days_from_civil and civil_from_days).

use super::TimestampFormat;
use super::failure::{Failure, excerpt};
use super::number::{two_digits, write_padded};
use crate::clock::MICROS_PER_SECOND;
use crate::error::SqlState;
use crate::types::SqlType;

const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Syntax,
    /// There is no such date or time: month 13, 24:00.
    Range,
    /// A zone other than UTC in a type that has none.
    Zone,
}

impl Trouble {
    #[cold]
    pub(super) fn into_failure(self, ty: &SqlType, text: &[u8]) -> Box<Failure> {
        let text = excerpt(text);
        match self {
            Trouble::Syntax => {
                let what = format!("invalid input syntax for type {ty}: \"{text}\"");
                Failure::new(SqlState::InvalidTextRepresentation, what).with_hint(match ty {
                    SqlType::Date => "Dates are written 'yyyy-MM-dd'.",
                    _ => "Timestamps are written 'yyyy-MM-dd HH:mm:ss.fff' or 'yyyy-MM-ddTHH:mm:ss.fffZ'.",
                })
            }
            Trouble::Range => {
                let what = format!("date/time field value out of range: \"{text}\"");
                Failure::new(SqlState::DatetimeFieldOverflow, what)
            }
            Trouble::Zone => {
                let what = format!("time zone in a value of type {ty}: \"{text}\"");
                Failure::new(SqlState::InvalidTextRepresentation, what)
                    .with_hint("Declare the column as timestamp with time zone.")
            }
        }
    }
}

/// 'yyyy-MM-dd' in days.
pub(super) fn date(text: &[u8]) -> Result<i32, Trouble> {
    <&[u8; 10]>::try_from(text).map_err(|_| Trouble::Syntax).and_then(days_of)
}

/// The date that the last timestamp began with: most begin with the same.
pub(super) struct RecentDate {
    text: [u8; 10],
    days: i32,
}

impl Default for RecentDate {
    fn default() -> Self {
        RecentDate { text: *b"1970-01-01", days: 0 }
    }
}

impl RecentDate {
    /// `yyyy-MM-dd HH:mm[:ss[.f...]][zone]` or with 'T', in microseconds UTC, rounded half up to `precision` digits of a
    /// second (at most nine are looked at).
    pub(super) fn timestamp(&mut self, text: &[u8], precision: u8, zoned: bool) -> Result<i64, Trouble> {
        let (date, rest) = text.split_first_chunk().ok_or(Trouble::Syntax)?;
        if *date != self.text {
            self.days = days_of(date)?;
            self.text = *date;
        }
        Ok(i64::from(self.days) * MICROS_PER_DAY + time(rest, precision, zoned)?)
    }
}

/// What follows the date, in microseconds since its midnight UTC.
fn time(text: &[u8], precision: u8, zoned: bool) -> Result<i64, Trouble> {
    let [b' ' | b'T', h1, h2, b':', m1, m2, rest @ ..] = text else {
        return Err(Trouble::Syntax);
    };
    let (hour, minute) = (number([*h1, *h2])?, number([*m1, *m2])?);
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (number([*s1, *s2])?, rest),
        rest => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Trouble::Range);
    }
    let (micros, rest) = match rest {
        [b'.', a, b, c] if precision >= 3 => (i64::from(number([*a, *b, *c])?) * 1000, &[][..]),
        [b'.', rest @ ..] => fraction(rest, precision)?,
        rest => (0, rest),
    };
    let offset = match rest {
        [] | [b'Z'] => 0,
        zone => zone_seconds(zone)?,
    };
    if offset != 0 && !zoned {
        return Err(Trouble::Zone);
    }
    Ok((i64::from(hour * 3600 + minute * 60 + second) - offset) * MICROS_PER_SECOND + micros)
}

fn days_of(date: &[u8; 10]) -> Result<i32, Trouble> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return Err(Trouble::Syntax);
    };
    let (year, month, day) = (number([*y1, *y2, *y3, *y4])?, number([*m1, *m2])?, number([*d1, *d2])?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(Trouble::Range);
    }
    Ok(days_from_civil(year as i32, month, day))
}

fn number<const N: usize>(digits: [u8; N]) -> Result<u32, Trouble> {
    let mut value = 0;
    let mut worst = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        worst = worst.max(digit);
        value = value * 10 + u32::from(digit);
    }
    if worst > 9 { Err(Trouble::Syntax) } else { Ok(value) }
}

/// Digits of a second as microseconds, rounded half up to `precision` digits, and what follows them.
fn fraction(text: &[u8], precision: u8) -> Result<(i64, &[u8]), Trouble> {
    let digits = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    if digits == 0 {
        return Err(Trouble::Syntax);
    }
    let (digits, rest) = text.split_at_checked(digits).ok_or(Trouble::Syntax)?;
    let mut unit = NANOS_PER_SECOND;
    let mut nanos = 0;
    for digit in digits.iter().take(9) {
        unit /= 10;
        nanos += u64::from(digit - b'0') * unit;
    }
    let unit = 10_u64.pow(9 - u32::from(precision.min(6)));
    let rounded = (nanos + unit / 2) / unit * unit;
    Ok(((rounded / 1000) as i64, rest))
}

/// '+hh', '+hhmm' or '+hh:mm' in seconds east of UTC.
fn zone_seconds(zone: &[u8]) -> Result<i64, Trouble> {
    let (sign, h1, h2, minutes) = match zone {
        [sign @ (b'+' | b'-'), h1, h2] => (*sign, *h1, *h2, 0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (*sign, *h1, *h2, number([*m1, *m2])?)
        }
        _ => return Err(Trouble::Syntax),
    };
    let hours = number([h1, h2])?;
    if hours > 15 || minutes > 59 {
        return Err(Trouble::Range);
    }
    let seconds = i64::from(hours * 3600 + minutes * 60);
    Ok(if sign == b'-' { -seconds } else { seconds })
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    let year = year - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month as i32 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month, day. The year of far days has more than four digits, or a sign.
fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u64, day as u64)
}

pub(in crate::format) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        out.push(b'-');
    }
    let year = year.unsigned_abs();
    if year < 10_000 {
        out.extend_from_slice(&two_digits(year / 100));
        out.extend_from_slice(&two_digits(year % 100));
    } else {
        write_padded(year, 4, out);
    }
    let ([m1, m2], [d1, d2]) = (two_digits(month), two_digits(day));
    out.extend_from_slice(&[b'-', m1, m2, b'-', d1, d2]);
}

/// With as many digits of a second as `precision` says.
pub(in crate::format) fn write_timestamp(
    micros: i64,
    precision: u8,
    zoned: bool,
    format: TimestampFormat,
    out: &mut Vec<u8>,
) {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND) as u64;
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u64;
    let [h1, h2] = two_digits(second_of_day / 3600);
    let [m1, m2] = two_digits(second_of_day / 60 % 60);
    let [s1, s2] = two_digits(second_of_day % 60);
    let separator = if format == TimestampFormat::Iso8601 { b'T' } else { b' ' };
    out.extend_from_slice(&[separator, h1, h2, b':', m1, m2, b':', s1, s2]);
    match precision {
        0 => {}
        3 => {
            let [a, b] = two_digits(fraction / 10_000);
            out.extend_from_slice(&[b'.', a, b, b'0' + (fraction / 1000 % 10) as u8]);
        }
        _ => {
            let digits = usize::from(precision.min(6));
            out.push(b'.');
            write_padded(fraction / 10_u64.pow(6 - digits as u32), digits, out);
        }
    }
    if zoned {
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_both_ways() {
        let mut expected = (1599, 12, 31);
        for days in -135_140..=11_016_i64 + 100_000 {
            let (year, month, day) = civil_from_days(days);
            let next = match expected {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == u64::from(days_in_month(y as u32, m as u32)) => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((year, month, day), next);
            assert_eq!(i64::from(days_from_civil(year as i32, month as u32, day as u32)), days);
            expected = next;
        }
    }

    #[track_caller]
    fn check(text: &str, precision: u8, zoned: bool, expected: Result<&str, Trouble>) {
        let found = RecentDate::default().timestamp(text.as_bytes(), precision, zoned).map(|micros| {
            let mut out = Vec::new();
            write_timestamp(micros, 6, false, TimestampFormat::Sql, &mut out);
            String::from_utf8(out).unwrap()
        });
        assert_eq!(found.as_deref(), expected.as_ref().copied(), "{text}");
    }

    #[test]
    fn timestamps() {
        use Trouble::{Range, Syntax, Zone};
        check("2024-02-29 23:59:59.999", 3, false, Ok("2024-02-29 23:59:59.999000"));
        check("2024-02-29T23:59:59.999Z", 3, false, Ok("2024-02-29 23:59:59.999000"));
        check("2024-02-29 23:59", 3, false, Ok("2024-02-29 23:59:00.000000"));
        check("1969-12-31 23:59:59.5", 6, false, Ok("1969-12-31 23:59:59.500000"));
        check("0001-01-01 00:00:00", 6, false, Ok("0001-01-01 00:00:00.000000"));
        check("9999-12-31 23:59:59.999999999", 6, false, Ok("10000-01-01 00:00:00.000000"));
        check("2024-01-01 00:00:00.0005", 3, false, Ok("2024-01-01 00:00:00.001000"));
        check("2024-01-01 00:00:00.00049999999", 3, false, Ok("2024-01-01 00:00:00.000000"));
        check("2024-01-01 00:00:59.5", 0, false, Ok("2024-01-01 00:01:00.000000"));
        check("2024-01-01T00:00:00+02:00", 3, true, Ok("2023-12-31 22:00:00.000000"));
        check("2024-01-01T00:00:00-0530", 3, true, Ok("2024-01-01 05:30:00.000000"));
        check("2024-01-01 00:00:00+02", 3, true, Ok("2023-12-31 22:00:00.000000"));
        check("2024-01-01 00:00:00+02", 3, false, Err(Zone));
        check("2024-01-01 00:00:00+00", 3, false, Ok("2024-01-01 00:00:00.000000"));
        check("2023-02-29 00:00:00", 3, false, Err(Range));
        check("2024-13-01 00:00:00", 3, false, Err(Range));
        check("0000-01-01 00:00:00", 3, false, Err(Range));
        check("2024-01-01 24:00:00", 3, false, Err(Range));
        check("2024-01-01 00:60:00", 3, false, Err(Range));
        for text in [
            "",
            "2024-01-01",
            "2024-01-01 ",
            "2024-1-1 00:00:00",
            "2024-01-01 00:00:00.",
            "2024-01-01 00:00:00 Z",
            "2024-01-01 00:00:0x",
            "2024-01-01t00:00:00",
            "20240101000000",
            "2024-01-01 00:00:00.000ZZ",
            "２024-01-01 00:00:00",
        ] {
            check(text, 3, true, Err(Syntax));
        }
    }
}
