//! Base64 as RFC 4648, section 4: the standard alphabet, padded, nothing in between.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let letter = |bits: u32| ALPHABET.get(bits as usize & 63).copied().unwrap_or(b'=');
    for group in bytes.chunks(3) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let mut quad = [letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)];
        if group.len() < 3 {
            quad[3] = b'=';
        }
        if group.len() < 2 {
            quad[2] = b'=';
        }
        out.extend_from_slice(&quad);
    }
}

/// Appends the bytes that `text` stands for; `None` if it is not base64 (`out` may then hold a part).
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (quads, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    for (i, quad) in quads.iter().enumerate() {
        let padding = if i + 1 == quads.len() { quad.iter().rev().take_while(|b| **b == b'=').count() } else { 0 };
        if padding > 2 {
            return None;
        }
        let mut bits = 0_u32;
        for letter in quad.iter().take(4 - padding) {
            bits = bits << 6 | value(*letter)?;
        }
        bits <<= 6 * padding;
        let [_, a, b, c] = bits.to_be_bytes();
        let unused_bits = match padding {
            0 => 0,
            1 => c,
            _ => b | c,
        };
        if unused_bits != 0 {
            return None;
        }
        out.extend([a, b, c].iter().take(3 - padding));
    }
    Some(())
}

fn value(letter: u8) -> Option<u32> {
    Some(match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_test_vectors_both_ways() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), coded);
            let mut out = Vec::new();
            assert_eq!(decode(coded.as_bytes(), &mut out), Some(()));
            assert_eq!(out, plain.as_bytes());
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg=a", "=", "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9", "Zm9-", "Z\n=="] {
            assert_eq!(decode(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
    }
}
