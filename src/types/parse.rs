//! Text of values as PostgreSQL reads it (DateStyle ISO). `None`: no such value.

use chrono_tz::Tz;

use super::datetime::{days_from_civil, instant_of};
use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND, Micros};

/// Any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
pub fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text == "1" || begins("true", 1) || begins("yes", 1) || text == "on" {
        Some(true)
    } else if text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        Some(false)
    } else {
        None
    }
}

/// Unscaled value and scale: `-1.50` is (-150, 2), `1e3` is (1000, 0).
pub fn numeric(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, mantissa.get(1..)?),
        b'+' => (false, mantissa.get(1..)?),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0i128;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit.to_digit(10)?))?;
    }
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < 0 && value != 0 {
        value = value.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
    }
    scale = scale.max(0);
    Some((if negative { -value } else { value }, scale))
}

/// `\x` and hexadecimal digits, or the older form with `\\` and `\ooo`.
pub fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(hex) = text.strip_prefix("\\x") else {
        return escaped_bytea(text.as_bytes());
    };
    let digits: Vec<u8> =
        hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|p| p.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn escaped_bytea(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return None,
            (byte, tail) => {
                out.push(*byte);
                tail
            }
        };
    }
    Some(out)
}

/// Days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    match text {
        "infinity" => return Some(i32::MAX),
        "-infinity" => return Some(i32::MIN),
        _ => {}
    }
    let (text, before_christ) = strip_era(text);
    // A time behind the date is read and left out, as PostgreSQL does.
    let day = text.split(['T', ' ']).next()?;
    i32::try_from(days(day, before_christ)?).ok()
}

/// Microseconds since 1970-01-01, and the offset from UTC in seconds if one was written.
pub fn timestamp(text: &str) -> Option<(Micros, Option<i64>)> {
    match text {
        "infinity" => return Some((i64::MAX, Some(0))),
        "-infinity" => return Some((i64::MIN, Some(0))),
        "epoch" => return Some((0, Some(0))),
        _ => {}
    }
    let (text, before_christ) = strip_era(text);
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let midnight = days(day, before_christ)?.checked_mul(MICROS_PER_DAY)?;
    let (time, offset) = split_offset(time.trim())?;
    Some((midnight.checked_add(if time.is_empty() { 0 } else { time_of_day(time)? })?, offset))
}

/// Without an offset, the time is `zone`'s: see [`instant_of`].
pub fn timestamptz(text: &str, zone: Tz) -> Option<Micros> {
    let (local, offset) = timestamp(text)?;
    if local == i64::MAX || local == i64::MIN {
        return Some(local);
    }
    match offset {
        Some(offset) => local.checked_sub(offset * MICROS_PER_SECOND),
        None => instant_of(local, zone),
    }
}

/// A time of day in microseconds: `HH:MM[:SS[.ffffff]]`, with AM or PM behind it perhaps. A date in front of it and an
/// offset behind it are read and left out, as PostgreSQL does.
pub fn time(text: &str) -> Option<Micros> {
    let upper = text.to_ascii_uppercase();
    let (clock, half) = match upper.strip_suffix("PM") {
        Some(clock) => (clock, Some(12)),
        None => upper.strip_suffix("AM").map_or((upper.as_str(), None), |clock| (clock, Some(0))),
    };
    let clock = clock.trim();
    let clock = match clock.split_once(['T', ' ']) {
        Some((day, clock)) => days(day, false).map(|_| clock)?,
        None => clock,
    };
    let (clock, _) = split_offset(clock)?;
    let micros = time_of_day(clock)?;
    let Some(half) = half else { return Some(micros) };
    const MICROS_PER_HOUR: Micros = 3_600 * MICROS_PER_SECOND;
    let hour = micros / MICROS_PER_HOUR;
    (1..=12).contains(&hour).then_some(micros + (half - if hour == 12 { 12 } else { 0 }) * MICROS_PER_HOUR)
}

fn strip_era(text: &str) -> (&str, bool) {
    match text.strip_suffix("BC") {
        Some(rest) => (rest.trim_end(), true),
        None => (text.strip_suffix("AD").map_or(text, str::trim_end), false),
    }
}

/// `YYYY-MM-DD`
fn days(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (digits(parts.next()?, 4, 7)?, digits(parts.next()?, 1, 2)?, digits(parts.next()?, 1, 2)?);
    if parts.next().is_some() || year == 0 {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=length).contains(&day).then(|| days_from_civil(year, month, day))
}

fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let fits = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// `HH:MM[:SS[.ffffff]]` in microseconds; digits beyond the sixth are rounded.
fn time_of_day(text: &str) -> Option<Micros> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 1, 2)?, digits(parts.next()?, 2, 2)?);
    let second = parts.next().map_or(Some(0), |s| digits(s, 2, 2))?;
    if parts.next().is_some() || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { digits(&format!("{fraction:0<9}"), 9, 9)? };
    let micros = (nanos + 500) / 1_000;
    let total = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros;
    (total <= MICROS_PER_DAY).then_some(total)
}

/// Takes `Z`, `UTC`, `+02`, `-0530` or `+05:45:10` off the end.
fn split_offset(text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix("UTC")) {
        return Some((time.trim_end(), Some(0)));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, None));
    };
    let (time, offset) = text.split_at_checked(at)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let digits_only: String = offset.chars().filter(|c| *c != ':').collect();
    let part = |n: usize| digits_only.get(2 * n..2 * n + 2).map_or(Some(0), |d| digits(d, 2, 2));
    let seconds = match digits_only.len() {
        1 => digits(&digits_only, 1, 1)? * 3_600,
        2 | 4 | 6 => part(0)? * 3_600 + part(1)? * 60 + part(2)?,
        _ => return None,
    };
    Some((time.trim_end(), Some(if sign == "-" { -seconds } else { seconds })))
}

/// `{a,NULL,"b c"}`, one dimension.
pub fn array(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars();
    let (mut item, mut quoted, mut in_quotes) = (String::new(), false, false);
    let finish = |item: &mut String, quoted: bool| {
        let text = std::mem::take(item);
        let plain = text.trim();
        if quoted {
            Some(Some(text))
        } else if plain.is_empty() {
            None
        } else {
            Some((!plain.eq_ignore_ascii_case("null")).then(|| plain.to_string()))
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' => item.push(chars.next()?),
            '"' => {
                in_quotes = !in_quotes;
                quoted = true;
            }
            ',' if !in_quotes => {
                items.push(finish(&mut item, quoted)?);
                quoted = false;
            }
            '{' | '}' if !in_quotes => return None,
            c if quoted && !in_quotes && c.is_whitespace() => {}
            c => item.push(c),
        }
    }
    if in_quotes {
        return None;
    }
    items.push(finish(&mut item, quoted)?);
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for text in ["t", "TRUE", "tr", "y", "yes", "on", "1"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["f", "false", "n", "no", "of", "off", "0"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", "o", "2", "truee", "yess"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[test]
    fn numerics() {
        let table = [
            ("1.50", Some((150, 2))),
            ("-0.05", Some((-5, 2))),
            (".5", Some((5, 1))),
            ("5.", Some((5, 0))),
            ("1e3", Some((1000, 0))),
            ("12.5e-1", Some((125, 2))),
            ("0e99", Some((0, 0))),
            ("", None),
            (".", None),
            ("1x", None),
            ("1e999", None),
        ];
        for (text, expected) in table {
            assert_eq!(numeric(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(date("2000-01-01"), Some(10_957));
        assert_eq!(date("0044-03-15 BC"), Some(-735_160));
        assert_eq!(date("infinity"), Some(i32::MAX));
        assert_eq!(date("2023-02-29"), None);
        assert_eq!(date("2024-02-29 12:00"), Some(19_782));
        assert_eq!(timestamp("1970-01-01 00:00:01.5"), Some((1_500_000, None)));
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some((0, Some(0))));
        assert_eq!(timestamp("1970-01-01 01:00+05:45"), Some((3_600_000_000, Some(20_700))));
        assert_eq!(timestamp("1970-01-01 24:00:00"), Some((86_400_000_000, None)));
        assert_eq!(timestamp("1970-01-01 25:00"), None);
        assert_eq!(timestamp("yesterday"), None);
        let berlin = "Europe/Berlin".parse().unwrap();
        assert_eq!(timestamptz("1970-01-01 01:00:00", berlin), Some(0));
        assert_eq!(timestamptz("1970-01-01 01:00:00-01", berlin), Some(7_200_000_000));
    }

    #[test]
    fn times_of_day() {
        const SECOND: Micros = MICROS_PER_SECOND;
        for (text, expected) in [
            ("00:00", Some(0)),
            ("04:05:06.789", Some((4 * 3600 + 5 * 60 + 6) * SECOND + 789_000)),
            ("24:00:00", Some(86_400 * SECOND)),
            ("24:00:01", None),
            ("04:05 PM", Some((16 * 3600 + 5 * 60) * SECOND)),
            ("12:30am", Some(1800 * SECOND)),
            ("12:30 PM", Some((12 * 3600 + 1800) * SECOND)),
            ("13:00 PM", None),
            ("04:05+02", Some((4 * 3600 + 5 * 60) * SECOND)),
            ("2024-01-01 04:05", Some((4 * 3600 + 5 * 60) * SECOND)),
            ("4", None),
            ("", None),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn byteas() {
        assert_eq!(bytea("\\x00Ab"), Some(vec![0, 0xab]));
        assert_eq!(bytea("\\x0"), None);
        assert_eq!(bytea("a\\\\b\\001"), Some(b"a\\b\x01".to_vec()));
        assert_eq!(bytea("\\9"), None);
    }

    #[test]
    fn arrays() {
        let owned = |items: &[Option<&str>]| Some(items.iter().map(|i| i.map(str::to_string)).collect::<Vec<_>>());
        assert_eq!(array("{}"), owned(&[]));
        assert_eq!(array("{a, b ,NULL}"), owned(&[Some("a"), Some("b"), None]));
        assert_eq!(array(r#"{"a,b","NULL","",x\"y}"#), owned(&[Some("a,b"), Some("NULL"), Some(""), Some("x\"y")]));
        for bad in ["", "{", "{a", "{a,}", "{{1}}", "{\"a}"] {
            assert_eq!(array(bad), None, "{bad}");
        }
    }
}
