//! Decimal numbers of any length as bytes in their order.
//!
//! One byte says whether the number is negative (1), zero (2) or positive (3). Zero has no more. Others are 0.ddd... times a
//! power of ten, the first and the last digit not 0: the exponent (i32, big-endian, sign bit flipped), then two digits a
//! byte, plus one, closed by 0. All that follows the first byte is flipped in negative numbers.

use std::fmt::Write;

use crate::types::put;

const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;

const EXPONENT_BYTES: usize = 4;

/// PostgreSQL's limits of numeric: digits in front of the point and behind it.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// Appends a number written as JSON writes it. `None`: beyond what numeric holds.
pub fn encode(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b.wrapping_sub(b'0')).collect();
    let Some(first) = digits.iter().position(|d| *d != 0) else {
        out.push(ZERO);
        return Some(());
    };
    let last = digits.iter().rposition(|d| *d != 0)?;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(i64::try_from(whole.len()).ok()?)?;
    let exponent = exponent.checked_sub(i64::try_from(first).ok()?)?;
    let digits = digits.get(first..=last)?;
    let behind = i64::try_from(digits.len()).ok()?.checked_sub(exponent)?;
    if exponent > MAX_WHOLE_DIGITS || behind > MAX_FRACTION_DIGITS {
        return None;
    }
    out.push(if negative { NEGATIVE } else { POSITIVE });
    let from = out.len();
    out.extend_from_slice(&(i32::try_from(exponent).ok()? ^ i32::MIN).to_be_bytes());
    out.extend(digits.chunks(2).map(|pair| match pair {
        [tens, ones] => tens * 10 + ones + 1,
        [tens, ..] => tens * 10 + 1,
        [] => 1,
    }));
    out.push(0);
    if negative {
        out.iter_mut().skip(from).for_each(|byte| *byte = !*byte);
    }
    Some(())
}

/// What stands behind a number.
pub fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let (sign, rest) = bytes.split_first()?;
    let end = match *sign {
        ZERO => return Some(rest),
        POSITIVE => 0,
        NEGATIVE => 0xff,
        _ => return None,
    };
    let digits = rest.get(EXPONENT_BYTES..)?;
    digits.get(digits.iter().position(|b| *b == end)? + 1..)
}

/// As numeric is printed: no exponent. Damaged bytes give 0.
pub fn text(bytes: &[u8], out: &mut impl Write) {
    let Some((negative, digits, exponent)) = parts(bytes) else { return put(out, "0") };
    if negative {
        put(out, "-");
    }
    let whole = usize::try_from(exponent).unwrap_or(0);
    let (before, after) = digits.split_at_checked(whole).unwrap_or((&digits, ""));
    put(out, if before.is_empty() { "0" } else { before });
    (before.len()..whole).for_each(|_| put(out, "0"));
    if !after.is_empty() {
        put(out, ".");
        (exponent..0).for_each(|_| put(out, "0"));
        put(out, after);
    }
}

/// Sign, digits, and exponent of a number that is not zero.
fn parts(bytes: &[u8]) -> Option<(bool, String, i32)> {
    let (sign, rest) = bytes.split_first()?;
    let flip = match *sign {
        POSITIVE => 0,
        NEGATIVE => 0xff,
        _ => return None,
    };
    let (exponent, rest) = rest.split_first_chunk::<EXPONENT_BYTES>()?;
    let exponent = i32::from_be_bytes(exponent.map(|b| b ^ flip)) ^ i32::MIN;
    let mut digits = String::with_capacity(2 * rest.len());
    for pair in rest.iter().map(|b| b ^ flip).take_while(|b| *b != 0) {
        let _ = write!(digits, "{:02}", pair - 1);
    }
    if digits.ends_with('0') {
        digits.pop();
    }
    (i64::from(exponent) <= MAX_WHOLE_DIGITS).then_some((flip != 0, digits, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out).unwrap();
        assert_eq!(skip(&out), Some(&[][..]), "{text}");
        out
    }

    #[test]
    fn bytes_order_as_numbers_do() {
        let ascending = [
            "-1e131071",
            "-100",
            "-12.5",
            "-12",
            "-10.01",
            "-1",
            "-0.11",
            "-0.1",
            "-1e-9",
            "0",
            "1e-9",
            "0.1",
            "0.11",
            "0.111",
            "1",
            "1.05",
            "1.1",
            "9.99",
            "10",
            "10.5",
            "11",
            "99",
            "100",
            "101",
            "1e20",
            "1e131071",
        ];
        for pair in ascending.windows(2) {
            assert!(encoded(pair[0]) < encoded(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn numbers_come_back_without_needless_zeros() {
        for (text, expected) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("100", "100"),
            ("-12.034", "-12.034"),
            ("0.001", "0.001"),
            ("1e3", "1000"),
            ("12.5E-4", "0.00125"),
            ("1e+2", "100"),
            ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        ] {
            let mut out = String::new();
            super::text(&encoded(text), &mut out);
            assert_eq!(out, expected, "{text}");
        }
        assert_eq!(encoded("1.0"), encoded("10e-1"));
        assert_eq!(encode("1e131073", &mut Vec::new()), None);
        assert_eq!(encode("1e-16384", &mut Vec::new()), None);
        assert_eq!(encode("1e99999999999999999999", &mut Vec::new()), None);
    }
}
