//! Reading and writing encoded bytes. Whatever is read may be damaged: every read is checked and answers with an error,
//! never with a panic. Integers are little-endian except in keys, whose order must be that of their bytes.

use crate::error::{Error, Result, SqlState};

/// A cursor over encoded bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

macro_rules! fixed {
    ($($name:ident: $t:ty,)*) => {
        $(pub fn $name(&mut self) -> Result<$t> { Ok(<$t>::from_le_bytes(self.array()?)) })*
    };
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fixed! { i16: i16, i32: i32, u32: u32, i64: i64, i128: i128, f32: f32, f64: f64, }

    /// An unsigned LEB128 number.
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(corrupt())
    }

    /// A length that cannot exceed what is left, if each of its items takes at least one byte.
    pub fn length(&mut self) -> Result<usize> {
        let length = usize::try_from(self.varint()?).map_err(|_| corrupt())?;
        if length > self.0.len() { Err(corrupt()) } else { Ok(length) }
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// Fails unless the next byte is `version`.
    pub fn expect_version(&mut self, version: u8, what: &str) -> Result<()> {
        match self.byte()? {
            v if v == version => Ok(()),
            other => Err(Error::new(SqlState::DataCorrupted, format!("{what} has unknown format version {other}"))
                .with_hint("It was written by a newer version of Tidemill, or is damaged.")),
        }
    }
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Encoded bytes that cannot be what we wrote.
pub fn corrupt() -> Error {
    Error::new(SqlState::DataCorrupted, "stored bytes are damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_damage_is_an_error() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out).varint().unwrap(), value);
            assert!(Reader::new(&out[..out.len() - 1]).varint().is_err());
        }
        assert!(Reader::new(&[0xff; 12]).varint().is_err());
        assert!(Reader::new(&[5, 1, 2]).bytes().is_err(), "longer than what is left");
        assert!(Reader::new(&[1, 2]).i32().is_err());
        assert!(Reader::new(&[9]).expect_version(1, "value").is_err());
    }
}
