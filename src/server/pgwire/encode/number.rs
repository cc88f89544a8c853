//! Numbers as PostgreSQL packs them.

use bytes::{BufMut, BytesMut};

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
