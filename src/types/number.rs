//! Numbers as PostgreSQL prints them.

use std::fmt::Write;

use super::put;

/// `double precision`: the shortest digits that read back as the same value, with an exponent outside 1e-4 .. 1e15.
pub fn double_text(value: f64, out: &mut impl Write) {
    float_text(value, format_args!("{value:e}"), 15, out);
}

/// `real`: as [`double_text`], with an exponent from 1e6.
pub fn real_text(value: f32, out: &mut impl Write) {
    float_text(f64::from(value), format_args!("{value:e}"), 6, out);
}

/// `scientific`: the shortest digits as Rust prints them, `d.ddde-7`.
fn float_text(value: f64, scientific: std::fmt::Arguments<'_>, digits: i32, out: &mut impl Write) {
    if value.is_nan() {
        return put(out, "NaN");
    }
    if value.is_infinite() {
        return put(out, if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let text = scientific.to_string();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    put(out, sign);
    if exponent < -4 || exponent >= digits {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out, "{mantissa}e{exponent_sign}{:02}", exponent.abs());
        return;
    }
    let all: String = mantissa.chars().filter(|c| *c != '.').collect();
    match usize::try_from(exponent) {
        Err(_) => {
            put(out, "0.");
            put_zeros(out, exponent.unsigned_abs() as usize - 1);
            put(out, &all);
        }
        Ok(e) if all.len() <= e + 1 => {
            put(out, &all);
            put_zeros(out, e + 1 - all.len());
        }
        Ok(e) => {
            let (whole, fraction) = all.split_at(e + 1);
            put(out, whole);
            put(out, ".");
            put(out, fraction);
        }
    }
}

/// `numeric`: `unscaled` / 10^scale, with all of the scale's digits.
pub fn numeric_text(unscaled: i128, scale: i8, out: &mut impl Write) {
    if unscaled < 0 {
        put(out, "-");
    }
    let digits = unscaled.unsigned_abs().to_string();
    let Ok(scale) = usize::try_from(scale) else {
        put(out, &digits);
        return if unscaled != 0 {
            put_zeros(out, usize::from(scale.unsigned_abs()))
        };
    };
    if scale == 0 {
        return put(out, &digits);
    }
    let whole = digits.len().saturating_sub(scale);
    let (before, after) = digits.split_at(whole);
    put(out, if before.is_empty() { "0" } else { before });
    put(out, ".");
    put_zeros(out, scale - after.len());
    put(out, after);
}

fn put_zeros(out: &mut impl Write, count: usize) {
    (0..count).for_each(|_| put(out, "0"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    /// Answers of PostgreSQL 15.
    #[test]
    fn doubles() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.3, "0.3"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (999999999999999.9, "999999999999999.9"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e100, "1e+100"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            (100.0, "100"),
            (12345.678, "12345.678"),
        ];
        for (value, expected) in table {
            assert_eq!(text(|out| double_text(value, out)), expected);
        }
    }

    #[test]
    fn reals() {
        let table = [
            (0.1f32, "0.1"),
            (1e5, "100000"),
            (1e6, "1e+06"),
            (123456.7, "123456.7"),
            (1234567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (16777216.0, "1.6777216e+07"),
            (3.4028235e38, "3.4028235e+38"),
            (-2.5, "-2.5"),
        ];
        for (value, expected) in table {
            assert_eq!(text(|out| real_text(value, out)), expected);
        }
    }

    #[test]
    fn numerics() {
        let table = [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (12345, 2, "123.45"),
            (-100, 0, "-100"),
            (7, -3, "7000"),
            (0, -3, "0"),
            (i128::MAX, 0, "170141183460469231731687303715884105727"),
            (i128::MIN, 38, "-1.70141183460469231731687303715884105728"),
        ];
        for (value, scale, expected) in table {
            assert_eq!(text(|out| numeric_text(value, scale, out)), expected);
        }
    }
}
