//! Dates, timestamps and intervals as PostgreSQL prints and packs them (DateStyle ISO, IntervalStyle postgres).

use std::io::Write;

use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND, Micros};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's binary dates begin.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;

/// Year (astronomical: 0 is 1 BC), month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
/// Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, u32, u32) {
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

/// Writes the day and says whether " BC" must follow.
fn put_day(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let shown = if before_christ { 1 - year } else { year };
    let _ = write!(out.writer(), "{shown:04}-{month:02}-{day:02}");
    before_christ
}

fn put_time(micros_of_day: i64, out: &mut BytesMut) {
    let seconds = micros_of_day / MICROS_PER_SECOND;
    let _ = write!(out.writer(), "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    put_fraction(micros_of_day % MICROS_PER_SECOND, out);
}

/// Only as many digits as needed.
fn put_fraction(micros: i64, out: &mut BytesMut) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.put_u8(b'.');
        out.put_slice(digits.trim_end_matches('0').as_bytes());
    }
}

pub fn date_text(days: i32, out: &mut BytesMut) {
    match days {
        i32::MAX => out.put_slice(b"infinity"),
        i32::MIN => out.put_slice(b"-infinity"),
        _ => {
            if put_day(i64::from(days), out) {
                out.put_slice(b" BC");
            }
        }
    }
}

pub fn timestamp_text(micros: Micros, out: &mut BytesMut) {
    match micros {
        i64::MAX => out.put_slice(b"infinity"),
        i64::MIN => out.put_slice(b"-infinity"),
        _ => {
            let before_christ = put_day(micros.div_euclid(MICROS_PER_DAY), out);
            out.put_u8(b' ');
            put_time(micros.rem_euclid(MICROS_PER_DAY), out);
            if before_christ {
                out.put_slice(b" BC");
            }
        }
    }
}

/// In the session's time zone, with its offset at that instant.
pub fn timestamptz_text(micros: Micros, zone: Tz, out: &mut BytesMut) {
    if micros == i64::MAX || micros == i64::MIN {
        return timestamp_text(micros, out);
    }
    // Beyond what chrono can tell apart, zones have no rules either.
    let offset = DateTime::from_timestamp_micros(micros)
        .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc());
    let local = micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND);
    let before_christ = put_day(local.div_euclid(MICROS_PER_DAY), out);
    out.put_u8(b' ');
    put_time(local.rem_euclid(MICROS_PER_DAY), out);
    let (sign, distance) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let _ = write!(out.writer(), "{sign}{:02}", distance / 3600);
    if distance % 3600 != 0 {
        let _ = write!(out.writer(), ":{:02}", distance / 60 % 60);
    }
    if distance % 60 != 0 {
        let _ = write!(out.writer(), ":{:02}", distance % 60);
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

pub fn date_binary(days: i32, out: &mut BytesMut) {
    out.put_i32(match days {
        i32::MAX | i32::MIN => days,
        _ => days.saturating_sub(POSTGRES_EPOCH_DAYS),
    });
}

pub fn timestamp_binary(micros: Micros, out: &mut BytesMut) {
    out.put_i64(match micros {
        i64::MAX | i64::MIN => micros,
        _ => micros.saturating_sub(i64::from(POSTGRES_EPOCH_DAYS) * MICROS_PER_DAY),
    });
}

/// The inverse of [`date_binary`].
pub fn date_from_binary(days: i32) -> i32 {
    if days == i32::MAX || days == i32::MIN { days } else { days.saturating_add(POSTGRES_EPOCH_DAYS) }
}

/// The inverse of [`timestamp_binary`].
pub fn timestamp_from_binary(micros: i64) -> Micros {
    let epoch = i64::from(POSTGRES_EPOCH_DAYS) * MICROS_PER_DAY;
    if micros == i64::MAX || micros == i64::MIN { micros } else { micros.saturating_add(epoch) }
}

pub fn interval_text(months: i32, days: i32, nanos: i64, out: &mut BytesMut) {
    let mut first = true;
    let mut before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if first { "" } else { " " };
        let plus = if before && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out.writer(), "{space}{plus}{value} {unit}{plural}");
        (first, before) = (false, value < 0);
    }
    let micros = nanos / 1_000;
    if micros == 0 && !first {
        return;
    }
    if !first {
        out.put_u8(b' ');
    }
    if micros < 0 {
        out.put_u8(b'-');
    } else if before {
        out.put_u8(b'+');
    }
    let micros = micros.unsigned_abs() as i64;
    let seconds = micros / MICROS_PER_SECOND;
    let _ = write!(out.writer(), "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    put_fraction(micros % MICROS_PER_SECOND, out);
}

pub fn interval_binary(months: i32, days: i32, nanos: i64, out: &mut BytesMut) {
    out.put_i64(nanos / 1_000);
    out.put_i32(days);
    out.put_i32(months);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl Fn(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn civil_dates_round_trip() {
        use crate::format::postgres::days_from_civil;
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

    #[test]
    fn binary_epochs() {
        let mut out = BytesMut::new();
        date_binary(10_957, &mut out);
        date_binary(i32::MAX, &mut out);
        timestamp_binary(946_684_800_000_001, &mut out);
        timestamp_binary(i64::MIN, &mut out);
        assert_eq!(&out[..8], &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(&out[8..16], &1i64.to_be_bytes());
        assert_eq!(&out[16..], &i64::MIN.to_be_bytes());
        assert_eq!(timestamp_from_binary(1), 946_684_800_000_001);
        assert_eq!(date_from_binary(0), 10_957);
    }
}
