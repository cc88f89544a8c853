//! Values within options, as whole numbers in the column's own unit: an integer as it is, a numeric without its point, a
//! date in days, a timestamp or an interval in microseconds.

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime};

use crate::clock::Micros;
use crate::connector::options::OptionValue;
use crate::types::{SqlType, parse};

/// Days from year 1 to 1970.
const EPOCH_DAYS: i32 = 719_163;

const MICROS_PER_DAY: i128 = 86_400_000_000;

/// Least and greatest whole number that a column of type `ty` can hold.
pub fn bounds(ty: &SqlType) -> (i128, i128) {
    match ty {
        SqlType::SmallInt => (i128::from(i16::MIN), i128::from(i16::MAX)),
        SqlType::Time(_) => (0, MICROS_PER_DAY),
        SqlType::Integer | SqlType::Date => (i128::from(i32::MIN), i128::from(i32::MAX)),
        SqlType::Numeric(precision, _) => {
            let limit = 10_i128.pow(u32::from((*precision).min(38))) - 1;
            (-limit, limit)
        }
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    }
}

/// What a value of type `ty` is called where one is expected.
pub fn expected(ty: &SqlType) -> String {
    match ty {
        SqlType::Date => "a date such as '2026-01-31'".into(),
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) => NaiveDateTime::EXPECTED.into(),
        SqlType::Time(_) => "a time such as '12:30:00'".into(),
        SqlType::Interval => Duration::EXPECTED.into(),
        SqlType::Text | SqlType::Varchar(_) => "an integer".into(),
        other => format!("a value of type {other}"),
    }
}

/// A value of type `ty`; of texts, the number behind their prefix.
pub fn value(ty: &SqlType, text: &str) -> Option<i128> {
    let number = match ty {
        SqlType::Numeric(_, scale) => decimal(text, *scale)?,
        SqlType::Date => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            i128::from(chrono::Datelike::num_days_from_ce(&date) - EPOCH_DAYS)
        }
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) => {
            i128::from(NaiveDateTime::parse(text)?.and_utc().timestamp_micros())
        }
        SqlType::Time(_) => i128::from(parse::time(text)?),
        SqlType::Interval => i128::try_from(Duration::parse(text)?.as_micros()).ok()?,
        _ => text.parse().ok()?,
    };
    let (least, greatest) = bounds(ty);
    (least..=greatest).contains(&number).then_some(number)
}

/// The distance between two values of type `ty`.
pub fn step(ty: &SqlType, text: &str) -> Option<i128> {
    match ty {
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) | SqlType::Time(_) => value(&SqlType::Interval, text),
        SqlType::Date => {
            let micros = value(&SqlType::Interval, text)?;
            (micros % MICROS_PER_DAY == 0).then_some(micros / MICROS_PER_DAY)
        }
        _ => value(ty, text),
    }
}

/// What a step of type `ty` is called where one is expected.
pub fn expected_step(ty: &SqlType) -> String {
    match ty {
        SqlType::Timestamp(_) | SqlType::TimestampTz(_) | SqlType::Time(_) => expected(&SqlType::Interval),
        SqlType::Date => "a number of days such as '1 day'".into(),
        _ => expected(ty),
    }
}

/// `text` times ten to the power of `scale`; `None` if that is not whole.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let missing = usize::try_from(scale).ok()?.checked_sub(fraction.len())?;
    if !all_digits || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let unscaled: i128 = format!("{whole}{fraction}{}", "0".repeat(missing)).parse().ok()?;
    Some(if negative { -unscaled } else { unscaled })
}

/// Microseconds as whole numbers of a timestamp with `precision` digits: floored.
pub fn floor_to_precision(micros: i128, precision: u8) -> i128 {
    let unit = 10_i128.pow(6 - u32::from(precision.min(6)));
    micros.div_euclid(unit) * unit
}

/// One `rate`-th of a second, if that is at least a microsecond.
pub fn step_of_rate(rate: u64) -> Micros {
    (1_000_000 / rate.max(1)).max(1) as Micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_whole_numbers_of_their_type() {
        let check = |ty: SqlType, text: &str, expected: Option<i128>| assert_eq!(value(&ty, text), expected, "{text}");
        check(SqlType::SmallInt, "-32768", Some(-32_768));
        check(SqlType::SmallInt, "32768", None);
        check(SqlType::Numeric(5, 2), "-1.5", Some(-150));
        check(SqlType::Numeric(5, 2), ".07", Some(7));
        check(SqlType::Numeric(5, 2), "999.99", Some(99_999));
        check(SqlType::Numeric(5, 2), "1000", None);
        check(SqlType::Numeric(5, 2), "1.005", None);
        check(SqlType::Numeric(5, 2), ".", None);
        check(SqlType::Numeric(5, 2), "--1", None);
        check(SqlType::Date, "1970-01-02", Some(1));
        check(SqlType::Date, "1969-12-31", Some(-1));
        check(SqlType::Timestamp(3), "1970-01-01 00:00:01.5", Some(1_500_000));
        check(SqlType::TimestampTz(6), "1970-01-02", Some(86_400_000_000));
        check(SqlType::Interval, "1 min", Some(60_000_000));
        check(SqlType::BigInt, "ten", None);
    }

    #[test]
    fn steps() {
        assert_eq!(step(&SqlType::Date, "2 days"), Some(2));
        assert_eq!(step(&SqlType::Date, "1 hour"), None);
        assert_eq!(step(&SqlType::Timestamp(3), "10 ms"), Some(10_000));
        assert_eq!(step(&SqlType::BigInt, "-1"), Some(-1));
        assert_eq!(floor_to_precision(-1, 3), -1_000);
        assert_eq!(floor_to_precision(1_999, 3), 1_000);
    }
}
