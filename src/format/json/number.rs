//! Numbers: JSON's into SQL's, exactly, and back.

use super::failure::{Failure, Scan, excerpt};
use crate::error::SqlState;
use crate::types::SqlType;

/// 10^0 .. 10^38, as far as NUMERIC reaches.
const POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

fn power_of_ten(exponent: usize) -> Option<i128> {
    POWERS_OF_TEN.get(exponent).copied()
}

/// A number's text, known to follow JSON's grammar.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    pub text: &'a [u8],
    /// Its value, if it is a plain integer of at most [`Number::SMALL_DIGITS`] digits.
    pub small: Option<i64>,
}

/// Where the digits of a number stand: the value is the digits read as an integer, times 10^exponent.
struct Digits<'a> {
    negative: bool,
    /// Digits with at most one '.', which counts for nothing here.
    mantissa: &'a [u8],
    exponent: i64,
}

impl<'a> Number<'a> {
    pub(super) const SMALL_DIGITS: usize = 18;

    /// # Errors
    /// `22P02` if there is a fraction, `22003` if it is beyond T. 1.0 and 1e3 are integers.
    pub(super) fn integer<T: TryFrom<i128>>(self, ty: &SqlType) -> Scan<T> {
        let value = match self.small {
            Some(small) => i128::from(small),
            None => match self.decimal(0) {
                Some((value, true)) => value,
                Some((_, false)) => return Err(self.malformed(ty)),
                None => return Err(self.out_of_range(ty)),
            },
        };
        T::try_from(value).map_err(|_| self.out_of_range(ty))
    }

    /// The unscaled value of a NUMERIC(precision, scale); what does not fit the scale is rounded half away from zero, as
    /// PostgreSQL does.
    pub(super) fn numeric(self, precision: u8, scale: i8, ty: &SqlType) -> Scan<i128> {
        let small = match (self.small, usize::try_from(scale).ok().and_then(power_of_ten)) {
            (Some(small), Some(factor)) => i128::from(small).checked_mul(factor),
            _ => None,
        };
        let value = small.or_else(|| self.decimal(i64::from(scale)).map(|(value, _)| value));
        let limit = power_of_ten(usize::from(precision)).unwrap_or(i128::MAX);
        value.filter(|v| -limit < *v && *v < limit).ok_or_else(|| self.out_of_range(ty))
    }

    /// # Errors
    /// `22003` if the nearest double is infinite, or is zero though the number is not (as PostgreSQL).
    pub(super) fn double(self, ty: &SqlType) -> Scan<f64> {
        /// Up to here every integer is a double.
        const EXACT: i64 = 1 << 53;
        match self.small {
            Some(small) if small != 0 && (-EXACT..=EXACT).contains(&small) => Ok(small as f64),
            _ => self.float::<f64>(ty, f64::is_finite, |v| v == 0.0),
        }
    }

    pub(super) fn real(self, ty: &SqlType) -> Scan<f32> {
        self.float::<f32>(ty, f32::is_finite, |v| v == 0.0)
    }

    fn float<T: std::str::FromStr + Copy>(
        self,
        ty: &SqlType,
        finite: impl Fn(T) -> bool,
        zero: impl Fn(T) -> bool,
    ) -> Scan<T> {
        let text = std::str::from_utf8(self.text).unwrap_or_default();
        let value = text.parse::<T>().map_err(|_| self.malformed(ty))?;
        let lost = zero(value) && self.digits().mantissa.iter().any(|d| matches!(d, b'1'..=b'9'));
        if finite(value) && !lost { Ok(value) } else { Err(self.out_of_range(ty)) }
    }

    fn digits(&self) -> Digits<'a> {
        let negative = self.text.first() == Some(&b'-');
        let unsigned = self.text.get(usize::from(negative)..).unwrap_or_default();
        let end = unsigned.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(unsigned.len());
        let (mantissa, exponent) = unsigned.split_at_checked(end).unwrap_or((unsigned, &[]));
        let fraction = mantissa.iter().position(|b| *b == b'.').map_or(0, |dot| mantissa.len() - dot - 1);
        Digits { negative, mantissa, exponent: parse_exponent(exponent) - fraction as i64 }
    }

    /// The number times 10^scale, rounded half away from zero, and whether it was exact. `None`: beyond 38 digits.
    fn decimal(&self, scale: i64) -> Option<(i128, bool)> {
        let Digits { negative, mantissa, exponent } = self.digits();
        let mut digits = mantissa.iter().filter(|b| **b != b'.').map(|b| i128::from(b - b'0')).skip_while(|d| *d == 0);
        let significant = digits.clone().count() as i64;
        if significant == 0 {
            return Some((0, true));
        }
        // So many digits stand in front of the unit's place; the rest decide the rounding.
        let kept = significant + exponent + scale;
        if kept > 38 {
            return None;
        }
        let mut value = 0_i128;
        for _ in 0..kept {
            value = value * 10 + digits.next().unwrap_or(0);
        }
        let next = if kept < 0 { 0 } else { digits.next().unwrap_or(0) };
        let exact = kept >= 0 && next == 0 && digits.all(|d| d == 0);
        value += i128::from(next >= 5);
        Some((if negative { -value } else { value }, exact))
    }

    #[cold]
    fn out_of_range(&self, ty: &SqlType) -> Box<Failure> {
        let what = format!("value {} is out of range for type {ty}", excerpt(self.text));
        Failure::new(SqlState::NumericValueOutOfRange, what)
    }

    #[cold]
    fn malformed(&self, ty: &SqlType) -> Box<Failure> {
        let what = format!("expected {ty}, found number {}", excerpt(self.text));
        Failure::new(SqlState::InvalidTextRepresentation, what)
    }
}

/// What follows an 'e' (which is the first byte, if there is any): bounded, far beyond what any type holds.
fn parse_exponent(text: &[u8]) -> i64 {
    const BOUND: i64 = 1_000_000_000;
    let digits = text.iter().filter(|b| b.is_ascii_digit());
    let value = digits.fold(0, |value, b| (value * 10 + i64::from(b - b'0')).min(BOUND));
    if text.contains(&b'-') { -value } else { value }
}

const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < pairs.len() {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// `value` (below 100) as two digits.
pub(super) fn two_digits(value: u64) -> [u8; 2] {
    DIGIT_PAIRS.get(value as usize).copied().unwrap_or([b'?'; 2])
}

/// A buffer that is filled from its end, for numbers whose digits come out last one first.
struct Backwards<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Backwards<N> {
    fn new() -> Self {
        Backwards { bytes: [b'0'; N], at: N }
    }

    fn put(&mut self, byte: u8) {
        self.at -= 1;
        if let Some(place) = self.bytes.get_mut(self.at) {
            *place = byte;
        }
    }

    /// Digits of `value`, and zeroes in front until there are `width`.
    fn put_digits(&mut self, mut value: u64, width: usize) {
        let end = self.at;
        while value >= 100 {
            let [tens, ones] = two_digits(value % 100);
            self.put(ones);
            self.put(tens);
            value /= 100;
        }
        if value >= 10 {
            let [tens, ones] = two_digits(value);
            self.put(ones);
            self.put(tens);
        } else if value > 0 {
            self.put(b'0' + value as u8);
        }
        while end - self.at < width {
            self.put(b'0');
        }
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

pub(in crate::format) fn write_integer(value: i64, out: &mut Vec<u8>) {
    let mut text = Backwards::<20>::new();
    text.put_digits(value.unsigned_abs(), 1);
    if value < 0 {
        text.put(b'-');
    }
    out.extend_from_slice(text.written());
}

/// Digits of `value` with zeroes in front until there are `width`.
pub(super) fn write_padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut text = Backwards::<40>::new();
    text.put_digits(value, width.min(20));
    out.extend_from_slice(text.written());
}

/// Exact decimal text with all the digits of the scale: 12.50.
pub(in crate::format) fn write_numeric(unscaled: i128, scale: i8, out: &mut Vec<u8>) {
    /// The most digits that a u64 always holds.
    const STEP: usize = 19;
    let step = POWERS_OF_TEN[STEP] as u128;
    let scale = usize::try_from(scale).unwrap_or(0).min(38);
    let factor = POWERS_OF_TEN[scale] as u128;
    let magnitude = unscaled.unsigned_abs();
    let (mut whole, mut fraction) = match u64::try_from(magnitude) {
        Ok(small) if scale <= 18 => (u128::from(small / factor as u64), u128::from(small % factor as u64)),
        _ => (magnitude / factor, magnitude % factor),
    };
    // 39 digits, a sign, a point, and a zero in front of the point.
    let mut text = Backwards::<48>::new();
    if scale > 0 {
        let mut width = scale;
        while width > STEP {
            text.put_digits((fraction % step) as u64, STEP);
            fraction /= step;
            width -= STEP;
        }
        text.put_digits(fraction as u64, width);
        text.put(b'.');
    }
    while whole >= step {
        text.put_digits((whole % step) as u64, STEP);
        whole /= step;
    }
    text.put_digits(whole as u64, 1);
    if unscaled < 0 {
        text.put(b'-');
    }
    out.extend_from_slice(text.written());
}

/// The shortest text that reads back as the same value; NaN and the infinities, which JSON lacks, as strings.
pub(in crate::format) fn write_float<T>(value: T, magnitude: f64, out: &mut Vec<u8>)
where
    T: std::fmt::Display + std::fmt::LowerExp,
{
    use std::io::Write;
    // Writing into a Vec cannot fail.
    let _ = if magnitude.is_nan() {
        out.write_all(b"\"NaN\"")
    } else if magnitude.is_infinite() {
        out.write_all(if magnitude > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" })
    } else if magnitude == 0.0 || (1e-5..1e16).contains(&magnitude.abs()) {
        write!(out, "{value}")
    } else {
        write!(out, "{value:e}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::json::scan::Scanner;

    #[track_caller]
    fn numeric(text: &str, precision: u8, scale: i8, expected: Result<i128, SqlState>) {
        let ty = SqlType::Numeric(precision, scale);
        let number = Scanner::new(text.as_bytes()).number().unwrap();
        let found = number.numeric(precision, scale, &ty).map_err(|f| f.into_error().state());
        assert_eq!(found, expected, "{text} as {ty}");
    }

    #[test]
    fn numerics_are_exact_and_rounded_half_away_from_zero() {
        let range = Err(SqlState::NumericValueOutOfRange);
        numeric("0", 12, 2, Ok(0));
        numeric("-0.00", 12, 2, Ok(0));
        numeric("12.5", 12, 2, Ok(1250));
        numeric("-12.345", 12, 2, Ok(-1235));
        numeric("12.344999999999999999999999999999999999999999999", 12, 2, Ok(1234));
        numeric("0.005", 12, 2, Ok(1));
        numeric("0.0049", 12, 2, Ok(0));
        numeric("0.0005", 12, 2, Ok(0));
        numeric("1e3", 12, 2, Ok(100_000));
        numeric("1.5E-2", 12, 2, Ok(2));
        numeric("9999999999.99", 12, 2, Ok(999_999_999_999));
        numeric("9999999999.994", 12, 2, Ok(999_999_999_999));
        numeric("9999999999.995", 12, 2, range);
        numeric("10000000000", 12, 2, range);
        numeric("1e999999999999999999999", 12, 2, range);
        numeric("0e999999999999999999999", 12, 2, Ok(0));
        numeric("1e-999999999999999999999", 12, 2, Ok(0));
        numeric("99999999999999999999999999999999999999", 38, 0, Ok(10_i128.pow(38) - 1));
        numeric("-99999999999999999999999999999999999999", 38, 0, Ok(1 - 10_i128.pow(38)));
        numeric("100000000000000000000000000000000000000", 38, 0, range);
        numeric("0.99999999999999999999999999999999999999", 38, 38, Ok(10_i128.pow(38) - 1));
        numeric("123456789012345678", 38, 16, Ok(123_456_789_012_345_678 * 10_i128.pow(16)));
        numeric("123456789012345678", 38, 38, range);
    }

    #[test]
    fn written_numerics_read_back() {
        for (unscaled, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (1250, 2, "12.50"),
            (i128::from(u64::MAX), 2, "184467440737095516.15"),
            (10_i128.pow(38) - 1, 0, "99999999999999999999999999999999999999"),
            (1 - 10_i128.pow(38), 38, "-0.99999999999999999999999999999999999999"),
            (10_i128.pow(37), 19, "1000000000000000000.0000000000000000000"),
            (10_i128.pow(20) + 7, 20, "1.00000000000000000007"),
        ] {
            let mut out = Vec::new();
            write_numeric(unscaled, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn written_integers() {
        for value in [0, 1, 9, 10, 99, 100, 101, 12_345, -1, -100, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
        let mut out = Vec::new();
        write_padded(7, 3, &mut out);
        assert_eq!(out, b"007");
    }
}
