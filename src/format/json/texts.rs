//! Text columns: strings stay where they are in the chunk, and a column is views of it; only those with escapes are
//! written anew.

#![expect(unsafe_code, reason = "checking every text of a chunk that was checked as a whole took a fifth of decoding")]

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer};
use bytes::Bytes;

use super::column::{Input, quoted};
use super::failure::{Failure, Scan};
use super::scan::{Scanner, unescape};
use crate::error::{Result, SqlState};
use crate::types::SqlType;

/// Texts of at most this many bytes are in their views.
const INLINE_BYTES: usize = 12;

/// The buffers of a finished column.
const CHUNK: u32 = 0;
const UNESCAPED: u32 = 1;

/// A text column under construction.
///
/// Invariant: every view is of whole characters. What it shows lies between two quotes of a message that is UTF-8, or was
/// written by [`unescape`] from such; or it is checked in the end.
pub(super) struct Texts {
    /// Arrow's views: the length, then the text itself, or its first four bytes, its buffer, and its place there.
    views: Vec<u128>,
    unescaped: Vec<u8>,
    /// VARCHAR(n)'s n.
    max_characters: Option<u32>,
    /// Some views are of what others say is UTF-8, and where they say it stands: they are checked in the end.
    unchecked: bool,
}

impl Texts {
    pub(super) fn new(rows: usize, max_characters: Option<u32>) -> Texts {
        Texts { views: Vec::with_capacity(rows), unescaped: Vec::new(), max_characters, unchecked: false }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.views.truncate(rows);
    }

    pub(super) fn push_null(&mut self) {
        self.views.push(0);
    }

    /// Reads a string without escapes; `false`: there is none, or it needs a second look. Nothing has happened then.
    #[inline]
    pub(super) fn read_plain(&mut self, scanner: &mut Scanner) -> bool {
        if self.max_characters.is_none()
            && let Some(text) = scanner.plain_string()
            && let Some(bytes) = scanner.chunk().get(text.start..)
            && let Some(view) = view(bytes, text.end - text.start, text.start, CHUNK)
        {
            scanner.step_behind(text);
            self.views.push(view);
            return true;
        }
        false
    }

    pub(super) fn read(&mut self, scanner: &mut Scanner, ty: &SqlType) -> Scan<()> {
        let text = quoted(scanner, ty)?;
        let (bytes, start, end, buffer) = if text.escaped {
            let start = self.unescaped.len();
            unescape(scanner.slice(text), &mut self.unescaped)?;
            (self.unescaped.as_slice(), start, self.unescaped.len(), UNESCAPED)
        } else {
            (scanner.chunk(), text.start, text.end, CHUNK)
        };
        let view = view(bytes.get(start..).unwrap_or_default(), end - start, start, buffer).ok_or_else(too_much)?;
        if let Some(max) = self.max_characters {
            check_length(bytes.get(start..end).unwrap_or_default(), max, ty)?;
        }
        self.views.push(view);
        Ok(())
    }

    /// Appends a text that was read elsewhere. `place`: where in the chunk it begins; `None`: it does not stand there.
    pub(super) fn push(&mut self, text: &[u8], place: Option<usize>, ty: &SqlType) -> Scan<()> {
        if let Some(max) = self.max_characters {
            check_length(text, max, ty)?;
        }
        let (start, buffer) = match place {
            Some(place) => (place, CHUNK),
            None => (self.unescaped.len(), UNESCAPED),
        };
        self.views.push(view(text, text.len(), start, buffer).ok_or_else(too_much)?);
        if place.is_none() {
            self.unescaped.extend_from_slice(text);
        }
        self.unchecked = true;
        Ok(())
    }

    /// Nothing is copied but what had escapes. Whoever keeps rows for long copies them.
    pub(super) fn finish(self, nulls: Option<NullBuffer>, input: Input) -> Result<ArrayRef> {
        let mut buffers = vec![Buffer::from(Bytes::clone(input.chunk))];
        if !self.unescaped.is_empty() {
            buffers.push(Buffer::from(self.unescaped));
        }
        if self.unchecked {
            return Ok(Arc::new(StringViewArray::try_new(self.views.into(), buffers, nulls)?));
        }
        // SAFETY: there is a view for each row; each was made in `read` from bytes of these buffers, which have only grown
        // since, and shows whole characters by the invariant of `Texts`.
        let array = unsafe { StringViewArray::new_unchecked(self.views.into(), buffers, nulls) };
        Ok(Arc::new(array))
    }
}

#[cold]
fn too_much() -> Box<Failure> {
    Failure::new(SqlState::ConfigurationLimitExceeded, "more than 2 GiB of text in one chunk")
}

/// The view of the first `length` of `bytes`, which begin at `start` of buffer `buffer`; `None`: there are not so many, or it
/// is out of a view's 31 bits.
#[inline]
fn view(bytes: &[u8], length: usize, start: usize, buffer: u32) -> Option<u128> {
    let text = bytes.get(..length)?;
    let length = i32::try_from(text.len()).ok()? as u128;
    if text.len() <= INLINE_BYTES {
        let shown = match bytes.first_chunk() {
            Some(block) => u128::from_le_bytes(*block) & !(u128::MAX << (8 * text.len())),
            None => text.iter().rev().fold(0, |shown, byte| shown << 8 | u128::from(*byte)),
        };
        return Some(shown << 32 | length);
    }
    let prefix = u32::from_le_bytes(*text.first_chunk()?);
    let place = i32::try_from(start).ok()? as u128;
    Some(place << 96 | u128::from(buffer) << 64 | u128::from(prefix) << 32 | length)
}

/// PostgreSQL's rule: too many characters are an error, unless all those too many are spaces (which still count here, as
/// nothing is changed by guess).
fn check_length(bytes: &[u8], max: u32, ty: &SqlType) -> Scan<()> {
    let characters = bytes.iter().filter(|b| **b & 0xc0 != 0x80).count();
    if characters <= max as usize {
        return Ok(());
    }
    Err(Failure::new(SqlState::StringDataRightTruncation, format!("value too long for type {ty}")))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    /// Strings of every length around that of inline views, at the chunk's end too, with and without escapes: the column
    /// that Arrow checks is the same.
    #[test]
    fn views_are_as_arrow_makes_them() {
        for length in 0..40 {
            for (text, escaped) in [("x".repeat(length), None), ("é".repeat(length), Some("\\u00e9".repeat(length)))] {
                let message = format!("\"{text}\"\"{}\"", escaped.as_ref().unwrap_or(&text));
                let chunk = Bytes::from(message.clone());
                let mut scanner = Scanner::new(message.as_bytes());
                let mut texts = Texts::new(0, None);
                for _ in 0..2 {
                    texts.read(&mut scanner, &SqlType::Text).unwrap();
                }
                texts.push_null();
                let nulls = NullBuffer::from(vec![true, true, false]);
                let input = Input { chunk: &chunk, utf8: true };
                let array = texts.finish(Some(nulls), input).unwrap();
                let array = array.as_string_view();
                array.to_data().validate_full().unwrap();
                assert_eq!(array.iter().collect::<Vec<_>>(), [Some(text.as_str()), Some(&text), None]);
                let (views, buffers, nulls) = array.clone().into_parts();
                assert!(StringViewArray::try_new(views, buffers, nulls).is_ok());
            }
        }
    }
}
