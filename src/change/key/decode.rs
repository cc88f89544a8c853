//! Keys back to columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryViewBuilder, BooleanArray, FixedSizeBinaryBuilder, LargeBinaryBuilder,
    PrimitiveArray, StringViewBuilder,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::{Form, KeyCodec, NULL, PRESENT, nested};
use crate::change::bytes::{Reader, corrupt};
use crate::error::Result;
use crate::types::{interval, uuid};

impl KeyCodec {
    /// The columns of these keys.
    ///
    /// # Errors
    /// `XX001` if a key cannot have been written by this codec.
    pub fn decode<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let mut readers: Vec<Reader<'a>> = keys.into_iter().map(Reader::new).collect();
        let columns = self
            .columns
            .iter()
            .map(|(form, data_type)| read_column(*form, data_type, &mut readers))
            .collect::<Result<Vec<_>>>()?;
        if readers.iter().all(Reader::is_empty) { Ok(columns) } else { Err(corrupt()) }
    }
}

pub(super) fn read_column(form: Form, data_type: &DataType, readers: &mut [Reader<'_>]) -> Result<ArrayRef> {
    Ok(match form {
        Form::Boolean => Arc::new(
            readers.iter_mut().map(|r| Ok(fixed::<1>(r)?.map(|[b]| b != 0))).collect::<Result<BooleanArray>>()?,
        ),
        Form::Int16 => primitive::<Int16Type, 2>(readers, data_type, |b| i16::from_be_bytes(b) ^ i16::MIN)?,
        Form::Int32 => primitive::<Int32Type, 4>(readers, data_type, |b| i32::from_be_bytes(b) ^ i32::MIN)?,
        Form::Int64 => primitive::<Int64Type, 8>(readers, data_type, int64)?,
        Form::Date => primitive::<Date32Type, 4>(readers, data_type, |b| i32::from_be_bytes(b) ^ i32::MIN)?,
        Form::Timestamp => primitive::<TimestampMicrosecondType, 8>(readers, data_type, int64)?,
        Form::Decimal => primitive::<Decimal128Type, 16>(readers, data_type, |b| i128::from_be_bytes(b) ^ i128::MIN)?,
        Form::Float32 => primitive::<Float32Type, 4>(readers, data_type, |b| {
            let bits = u32::from_be_bytes(b);
            f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits })
        })?,
        Form::Float64 => primitive::<Float64Type, 8>(readers, data_type, |b| {
            let bits = u64::from_be_bytes(b);
            f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits })
        })?,
        Form::Text => {
            let mut out = StringViewBuilder::with_capacity(readers.len());
            let mut scratch = Vec::new();
            for reader in readers {
                match text(reader, &mut scratch)? {
                    Some(bytes) => out.append_value(std::str::from_utf8(bytes).map_err(|_| corrupt())?),
                    None => out.append_null(),
                }
            }
            Arc::new(out.finish())
        }
        Form::Bytes => {
            let mut out = BinaryViewBuilder::with_capacity(readers.len());
            let mut scratch = Vec::new();
            for reader in readers {
                out.append_option(text(reader, &mut scratch)?);
            }
            Arc::new(out.finish())
        }
        Form::Array | Form::Row => nested::decode(data_type, readers)?,
        Form::Time => primitive::<Time64MicrosecondType, 8>(readers, data_type, int64)?,
        Form::Interval => primitive::<IntervalMonthDayNanoType, 16>(readers, data_type, |b| {
            interval::of_length(i128::from_be_bytes(b) ^ i128::MIN)
        })?,
        Form::Uuid => {
            let mut out = FixedSizeBinaryBuilder::with_capacity(readers.len(), uuid::BYTES);
            for reader in readers {
                match fixed::<16>(reader)? {
                    Some(bytes) => out.append_value(bytes)?,
                    None => out.append_null(),
                }
            }
            Arc::new(out.finish())
        }
        Form::Jsonb => {
            let mut out = LargeBinaryBuilder::with_capacity(readers.len(), 0);
            let mut scratch = Vec::new();
            for reader in readers {
                out.append_option(text(reader, &mut scratch)?);
            }
            Arc::new(out.finish())
        }
    })
}

fn int64(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

/// The time that a key starts with.
pub fn leading_time(key: &[u8]) -> Result<i64> {
    fixed::<8>(&mut Reader::new(key))?.map(int64).ok_or_else(corrupt)
}

fn fixed<const W: usize>(reader: &mut Reader<'_>) -> Result<Option<[u8; W]>> {
    let tag = reader.byte()?;
    let value = reader.array::<W>()?;
    match tag {
        PRESENT => Ok(Some(value)),
        NULL => Ok(None),
        _ => Err(corrupt()),
    }
}

fn primitive<T: ArrowPrimitiveType, const W: usize>(
    readers: &mut [Reader<'_>],
    data_type: &DataType,
    decode: impl Fn([u8; W]) -> T::Native,
) -> Result<ArrayRef> {
    let values = readers.iter_mut().map(|r| Ok(fixed::<W>(r)?.map(&decode))).collect::<Result<PrimitiveArray<T>>>()?;
    Ok(Arc::new(values.with_data_type(data_type.clone())))
}

/// A text's bytes, without escapes.
fn text<'a>(reader: &mut Reader<'_>, scratch: &'a mut Vec<u8>) -> Result<Option<&'a [u8]>> {
    match reader.byte()? {
        PRESENT => {}
        NULL => return Ok(None),
        _ => return Err(corrupt()),
    }
    scratch.clear();
    loop {
        let length = reader.rest().iter().position(|b| *b == 0).ok_or_else(corrupt)?;
        scratch.extend_from_slice(reader.take(length)?);
        match reader.array()? {
            [0, 0] => return Ok(Some(scratch)),
            [0, 0xff] => scratch.push(0),
            _ => return Err(corrupt()),
        }
    }
}
