//! Where a string's plain bytes end: at a quote, a backslash or a control character, looked for sixteen bytes at a time.

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// How many bytes at the beginning of `bytes` are neither a quote, nor a backslash, nor a control character.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        let found = special_bytes(block);
        if found != 0 {
            return bytes.len() - rest.len() + found.trailing_zeros() as usize;
        }
        rest = behind;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|b| !is_special(**b)).count()
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// A bit for each special byte, the first byte's lowest.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(unsafe_code, reason = "SSE2 is only known to be there as part of the architecture")]
fn special_bytes(block: &[u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let word = u128::from_le_bytes(*block);
    // SAFETY: every x86-64 has SSE2, which is all that these ask.
    unsafe {
        let bytes = _mm_set_epi64x((word >> 64) as i64, word as i64);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        // The smaller of a byte and the last control character is the byte itself only if it is one.
        let control = _mm_cmpeq_epi8(bytes, _mm_min_epu8(bytes, _mm_set1_epi8(0x1f)));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control)) as u32
    }
}

/// A bit for each special byte, the first byte's lowest.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn special_bytes(block: &[u8; BLOCK]) -> u32 {
    block.iter().enumerate().fold(0, |found, (i, byte)| found | u32::from(is_special(*byte)) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_end_at_each_special_byte_wherever_it_stands() {
        for byte in 0..=255_u8 {
            let special = matches!(byte, b'"' | b'\\' | 0..0x20);
            for place in 0..40 {
                for filler in [b'a', 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                    let mut bytes = [filler; 41];
                    bytes[place] = byte;
                    assert_eq!(plain_run(&bytes), if special { place } else { 41 }, "{byte:#x} at {place}");
                }
            }
        }
    }
}
