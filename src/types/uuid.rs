//! UUIDs: sixteen bytes, ordered as bytes.

use std::fmt::Write;

use super::put;

/// Bytes of a UUID.
pub const BYTES: i32 = 16;

/// As PostgreSQL reads one: 32 hexadecimal digits of either case, a hyphen behind any group of four, braces around all.
pub fn parse(text: &str) -> Option<[u8; BYTES as usize]> {
    let inner = match text.strip_prefix('{') {
        Some(braced) => braced.strip_suffix('}')?,
        None => text,
    };
    let mut bytes = [0; BYTES as usize];
    let mut digits = 0;
    let mut rest = inner.bytes().peekable();
    while let Some(byte) = rest.next() {
        let digit = char::from(byte).to_digit(16)?;
        let place = bytes.get_mut(digits / 2)?;
        *place = *place << 4 | digit as u8;
        digits += 1;
        if digits % 4 == 0 && digits < 32 {
            rest.next_if_eq(&b'-');
        }
    }
    (digits == 32).then_some(bytes)
}

/// In lower case, with hyphens where everybody writes them.
pub fn text(bytes: &[u8], out: &mut impl Write) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            put(out, "-");
        }
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_postgresql_reads() {
        let standard = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for form in [
            standard,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        ] {
            let mut out = String::new();
            text(&parse(form).unwrap(), &mut out);
            assert_eq!(out, standard, "{form}");
        }
        for bad in [
            "",
            "{}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11a",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            "a-0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee--bc999c0b4ef8bb6d6bb9bd380a11",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
