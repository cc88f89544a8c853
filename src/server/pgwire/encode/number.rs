//! Numbers as PostgreSQL prints and packs them.

use std::io::Write;

use bytes::{BufMut, BytesMut};

/// `double precision`: the shortest digits that read back as the same value, with an exponent outside 1e-4 .. 1e15.
pub fn double_text(value: f64, out: &mut BytesMut) {
    float_text(value, format_args!("{value:e}"), 15, out);
}

/// `real`: as [`double_text`], with an exponent from 1e6.
pub fn real_text(value: f32, out: &mut BytesMut) {
    float_text(f64::from(value), format_args!("{value:e}"), 6, out);
}

/// `scientific`: the shortest digits as Rust prints them, `d.ddde-7`.
fn float_text(value: f64, scientific: std::fmt::Arguments<'_>, digits: i32, out: &mut BytesMut) {
    if value.is_nan() {
        return out.put_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.put_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let text = scientific.to_string();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    out.put_slice(sign.as_bytes());
    if exponent < -4 || exponent >= digits {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(out.writer(), "{mantissa}e{exponent_sign}{:02}", exponent.abs());
        return;
    }
    let all: String = mantissa.chars().filter(|c| *c != '.').collect();
    match usize::try_from(exponent) {
        Err(_) => {
            out.put_slice(b"0.");
            out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
            out.put_slice(all.as_bytes());
        }
        Ok(e) if all.len() <= e + 1 => {
            out.put_slice(all.as_bytes());
            out.put_bytes(b'0', e + 1 - all.len());
        }
        Ok(e) => {
            let (whole, fraction) = all.split_at(e + 1);
            out.put_slice(whole.as_bytes());
            out.put_u8(b'.');
            out.put_slice(fraction.as_bytes());
        }
    }
}

/// `numeric`: `unscaled` / 10^scale, with all of the scale's digits.
pub fn numeric_text(unscaled: i128, scale: i8, out: &mut BytesMut) {
    if unscaled < 0 {
        out.put_u8(b'-');
    }
    let digits = unscaled.unsigned_abs().to_string();
    let Ok(scale) = usize::try_from(scale) else {
        out.put_slice(digits.as_bytes());
        return if unscaled != 0 {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()))
        };
    };
    if scale == 0 {
        return out.put_slice(digits.as_bytes());
    }
    let whole = digits.len().saturating_sub(scale);
    let (before, after) = digits.split_at(whole);
    out.put_slice(if before.is_empty() { b"0" } else { before.as_bytes() });
    out.put_u8(b'.');
    out.put_bytes(b'0', scale - after.len());
    out.put_slice(after.as_bytes());
}

/// `numeric` in binary: groups of four decimal digits around the point, as `numeric_send` writes them.
pub fn numeric_binary(unscaled: i128, scale: i8, out: &mut BytesMut) {
    const BASE: u128 = 10_000;
    let mut magnitude = unscaled.unsigned_abs();
    let display_scale = u16::from(u8::try_from(scale).unwrap_or(0));
    // Bring the scale to a multiple of four. More than 38 digits cannot come of it, except at the very edge, where the
    // low group is cut off separately.
    let padding = (4 - i32::from(scale).rem_euclid(4)) % 4;
    let mut groups: Vec<u16> = Vec::with_capacity(12);
    if padding != 0 {
        let low_digits = 10u128.pow((4 - padding) as u32);
        groups.push(((magnitude % low_digits) * 10u128.pow(padding as u32)) as u16);
        magnitude /= low_digits;
    }
    while magnitude > 0 {
        groups.push((magnitude % BASE) as u16);
        magnitude /= BASE;
    }
    let fraction_groups = (i32::from(scale) + padding) / 4;
    let mut weight = groups.len() as i32 - 1 - fraction_groups;
    while groups.last() == Some(&0) {
        groups.pop();
        weight -= 1;
    }
    let trailing = groups.iter().take_while(|g| **g == 0).count();
    groups.drain(..trailing);
    if groups.is_empty() {
        weight = 0;
    }
    out.put_u16(groups.len() as u16);
    out.put_i16(weight as i16);
    out.put_u16(if unscaled < 0 { 0x4000 } else { 0 });
    out.put_u16(display_scale);
    groups.iter().rev().for_each(|g| out.put_u16(*g));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(put: impl Fn(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
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

    /// Bytes of PostgreSQL 15's `numeric_send`.
    #[test]
    fn numerics_in_binary() {
        let table: [(i128, i8, &[u16]); 9] = [
            (0, 0, &[0, 0, 0, 0]),
            (0, 2, &[0, 0, 0, 2]),
            (1, 0, &[1, 0, 0, 0, 1]),
            (-12345678, 0, &[2, 1, 0x4000, 0, 1234, 5678]),
            (12345, 2, &[2, 0, 0, 2, 123, 4500]),
            (5, 2, &[1, 0xffff, 0, 2, 500]),
            (1, 8, &[1, 0xfffe, 0, 8, 1]),
            (10_000, 0, &[1, 1, 0, 0, 1]),
            (7, -5, &[1, 1, 0, 0, 70]),
        ];
        for (value, scale, expected) in table {
            let mut out = BytesMut::new();
            numeric_binary(value, scale, &mut out);
            let words: Vec<u16> = out.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
            assert_eq!(words, expected, "{value} scale {scale}");
        }
    }
}
