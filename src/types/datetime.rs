//! Dates, times, timestamps and intervals as PostgreSQL prints them (DateStyle ISO, IntervalStyle postgres), and the
//! calendar behind them: the proleptic Gregorian one.

use std::fmt::Write;

use chrono::{DateTime, MappedLocalTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

use super::put;
use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND, Micros};

/// Year (astronomical: 0 is 1 BC), month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// Howard Hinnant's `civil_from_days`.
pub fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// Days from 1970-01-01; the inverse of [`civil`].
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Writes the day and says whether " BC" must follow.
fn put_day(days: i64, out: &mut impl Write) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let shown = if before_christ { 1 - year } else { year };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    before_christ
}

/// A time of day; 24:00:00 is one.
pub fn time_text(micros_of_day: i64, out: &mut impl Write) {
    let seconds = micros_of_day / MICROS_PER_SECOND;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    put_fraction(micros_of_day % MICROS_PER_SECOND, out);
}

/// Only as many digits as needed.
fn put_fraction(micros: i64, out: &mut impl Write) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        put(out, ".");
        put(out, digits.trim_end_matches('0'));
    }
}

pub fn date_text(days: i32, out: &mut impl Write) {
    match days {
        i32::MAX => put(out, "infinity"),
        i32::MIN => put(out, "-infinity"),
        _ => {
            if put_day(i64::from(days), out) {
                put(out, " BC");
            }
        }
    }
}

pub fn timestamp_text(micros: Micros, out: &mut impl Write) {
    match micros {
        i64::MAX => put(out, "infinity"),
        i64::MIN => put(out, "-infinity"),
        _ => {
            let before_christ = put_day(micros.div_euclid(MICROS_PER_DAY), out);
            put(out, " ");
            time_text(micros.rem_euclid(MICROS_PER_DAY), out);
            if before_christ {
                put(out, " BC");
            }
        }
    }
}

/// The instant at which clocks of a zone show `local`; as in PostgreSQL, of two the later one, and of a time that clocks jump
/// over the one at which they would have shown it had they not jumped. `None`: out of the calendar's range.
pub fn instant_of(local: Micros, zone: Tz) -> Option<Micros> {
    let shown = DateTime::from_timestamp_micros(local)?.naive_utc();
    let before = || {
        let eve = shown.checked_sub_signed(TimeDelta::days(1))?;
        let offset = zone.from_local_datetime(&eve).earliest()?.offset().fix().local_minus_utc();
        local.checked_sub(i64::from(offset) * MICROS_PER_SECOND)
    };
    match zone.from_local_datetime(&shown) {
        MappedLocalTime::Single(time) => Some(time.timestamp_micros()),
        MappedLocalTime::Ambiguous(first, second) => Some(first.timestamp_micros().max(second.timestamp_micros())),
        MappedLocalTime::None => before(),
    }
}

/// In the session's time zone, with its offset at that instant.
pub fn timestamptz_text(micros: Micros, zone: Tz, out: &mut impl Write) {
    if micros == i64::MAX || micros == i64::MIN {
        return timestamp_text(micros, out);
    }
    // Beyond what chrono can tell apart, zones have no rules either.
    let offset = DateTime::from_timestamp_micros(micros)
        .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
    let local = micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND);
    let before_christ = put_day(local.div_euclid(MICROS_PER_DAY), out);
    put(out, " ");
    time_text(local.rem_euclid(MICROS_PER_DAY), out);
    let (sign, distance) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let _ = write!(out, "{sign}{:02}", distance / 3600);
    if distance % 3600 != 0 {
        let _ = write!(out, ":{:02}", distance / 60 % 60);
    }
    if distance % 60 != 0 {
        let _ = write!(out, ":{:02}", distance % 60);
    }
    if before_christ {
        put(out, " BC");
    }
}

pub fn interval_text(months: i32, days: i32, nanos: i64, out: &mut impl Write) {
    let mut first = true;
    let mut before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if first { "" } else { " " };
        let plus = if before && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        (first, before) = (false, value < 0);
    }
    let micros = nanos / 1_000;
    if micros == 0 && !first {
        return;
    }
    if !first {
        put(out, " ");
    }
    if micros < 0 {
        put(out, "-");
    } else if before {
        put(out, "+");
    }
    let micros = micros.unsigned_abs() as i64;
    let seconds = micros / MICROS_PER_SECOND;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    put_fraction(micros % MICROS_PER_SECOND, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn civil_dates_round_trip() {
        for days in (-2_500_000..3_000_000).step_by(97) {
            let (year, month, day) = civil(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    /// Answers of PostgreSQL 15.
    #[test]
    fn dates() {
        let table = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (10_957, "2000-01-01"),
            (19_782, "2024-02-29"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-735_160, "0044-03-15 BC"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ];
        for (days, expected) in table {
            assert_eq!(text(|out| date_text(days, out)), expected);
        }
    }

    #[test]
    fn timestamps() {
        let table = [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59.999999"),
            (1_500_000, "1970-01-01 00:00:01.5"),
            (1_000, "1970-01-01 00:00:00.001"),
            (951_782_400_000_000, "2000-02-29 00:00:00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999 BC"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ];
        for (micros, expected) in table {
            assert_eq!(text(|out| timestamp_text(micros, out)), expected);
        }
    }

    #[test]
    fn timestamps_in_a_zone() {
        let table = [
            (0, "UTC", "1970-01-01 00:00:00+00"),
            (1_720_000_000_000_000, "Europe/Berlin", "2024-07-03 11:46:40+02"),
            (1_720_000_000_000_000, "America/St_Johns", "2024-07-03 07:16:40-02:30"),
            (1_720_000_000_000_000, "Asia/Kathmandu", "2024-07-03 15:31:40+05:45"),
            (-2_600_000_000_000_000, "Europe/Berlin", "1887-08-11 10:40:08+00:53:28"),
            (i64::MAX, "UTC", "infinity"),
        ];
        for (micros, zone, expected) in table {
            assert_eq!(text(|out| timestamptz_text(micros, zone.parse().unwrap(), out)), expected);
        }
    }

    #[test]
    fn intervals() {
        const SECOND: i64 = 1_000_000_000;
        let table = [
            (0, 0, 0, "00:00:00"),
            (1, 0, 0, "1 mon"),
            (14, 3, 14_706 * SECOND, "1 year 2 mons 3 days 04:05:06"),
            (0, 1, 0, "1 day"),
            (0, 0, SECOND / 2, "00:00:00.5"),
            (-14, 0, 0, "-1 years -2 mons"),
            (-1, 3, -SECOND, "-1 mons +3 days -00:00:01"),
            (0, -1, SECOND, "-1 days +00:00:01"),
            (0, 0, 360_000 * SECOND, "100:00:00"),
            (12, 0, -SECOND, "1 year -00:00:01"),
        ];
        for (months, days, nanos, expected) in table {
            assert_eq!(text(|out| interval_text(months, days, nanos, out)), expected);
        }
    }
}
