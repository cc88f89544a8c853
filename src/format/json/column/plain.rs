//! Values that stand as plain text, such as a CSV field: read as PostgreSQL's input functions read them.

use super::{Column, Values};
use crate::error::SqlState;
use crate::format::json::datetime;
use crate::format::json::failure::{Failure, Scan, excerpt};
use crate::format::json::number::Number;
use crate::format::postgres;
use crate::types::SqlType;

/// A value's text, known to be UTF-8.
#[derive(Clone, Copy)]
pub(in crate::format) struct Plain<'a> {
    pub text: &'a [u8],
    /// Where in the chunk it begins; `None`: it was put together elsewhere.
    pub place: Option<usize>,
}

impl Column {
    /// Reads a value that is not null and appends it.
    pub(in crate::format) fn read_plain(&mut self, plain: Plain) -> Scan<()> {
        let ty = &self.ty;
        let text = plain.text.trim_ascii();
        match &mut self.values {
            Values::Text(texts) => texts.push(plain.text, plain.place, ty)?,
            Values::BigInt(v) => v.push(integer(text, ty)?),
            Values::Integer(v) => v.push(integer(text, ty)?),
            Values::SmallInt(v) => v.push(integer(text, ty)?),
            Values::Numeric { unscaled, precision, scale } => {
                unscaled.push(decimal(text, ty)?.numeric(*precision, *scale, ty)?);
            }
            Values::Double(v) => v.push(match special_float(text) {
                Some(special) => special,
                None => decimal(text, ty)?.double(ty)?,
            }),
            Values::Real(v) => v.push(match special_float(text) {
                Some(special) => special as f32,
                None => decimal(text, ty)?.real(ty)?,
            }),
            Values::Boolean(v) => {
                let word = std::str::from_utf8(text).ok();
                v.push(word.and_then(postgres::boolean).ok_or_else(|| invalid(ty, plain.text))?);
            }
            Values::Date(v) => v.push(datetime::date(text).map_err(|trouble| trouble.into_failure(ty, text))?),
            Values::Timestamp { micros, precision, zoned, recent } => {
                let read = recent.timestamp(text, *precision, *zoned);
                micros.push(read.map_err(|trouble| trouble.into_failure(ty, text))?);
            }
            Values::Bytea { data, ends } => {
                let bytes = std::str::from_utf8(plain.text).ok().and_then(postgres::bytea);
                data.extend(bytes.ok_or_else(|| invalid(ty, plain.text))?);
                ends.push(data.len());
            }
            Values::Array { ends, item, .. } => {
                let items = std::str::from_utf8(text).ok().and_then(postgres::array);
                ends.push(elements(&items.ok_or_else(|| invalid(ty, plain.text))?, item)?);
            }
            Values::Row(_) => return Err(invalid(ty, plain.text)),
        }
        self.rows += 1;
        self.validity.append_non_null();
        Ok(())
    }
}

fn integer<T: TryFrom<i128>>(text: &[u8], ty: &SqlType) -> Scan<T> {
    let number = std::str::from_utf8(text).ok().filter(|_| is_number(text));
    let digits_only = number.filter(|number| !number.contains(['.', 'e', 'E'])).ok_or_else(|| invalid(ty, text))?;
    let value = digits_only.parse::<i128>().ok().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| {
        let what = format!("value \"{}\" is out of range for type {ty}", excerpt(text));
        Failure::new(SqlState::NumericValueOutOfRange, what)
    })
}

/// A number in PostgreSQL's grammar, which allows what JSON's does not: `+5`, `.5`, `5.`, `007`.
fn decimal<'a>(text: &'a [u8], ty: &SqlType) -> Scan<Number<'a>> {
    if !is_number(text) {
        return Err(invalid(ty, text));
    }
    let text = text.strip_prefix(b"+").unwrap_or(text);
    Ok(Number { text, small: None })
}

fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = match text {
        [b'+' | b'-', rest @ ..] => rest,
        rest => rest,
    };
    let whole = digits(rest);
    let rest = rest.get(whole..).unwrap_or_default();
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => (digits(rest), rest.get(digits(rest)..).unwrap_or_default()),
        rest => (0, rest),
    };
    let exponent_is_good = match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    };
    whole + fraction > 0 && exponent_is_good
}

/// NaN and the infinities, in upper or lower case.
fn special_float(text: &[u8]) -> Option<f64> {
    let (negative, word) = match text {
        [b'-', word @ ..] => (true, word),
        [b'+', word @ ..] => (false, word),
        word => (false, word),
    };
    let infinite = word.eq_ignore_ascii_case(b"infinity") || word.eq_ignore_ascii_case(b"inf");
    match (infinite, negative) {
        (true, true) => Some(f64::NEG_INFINITY),
        (true, false) => Some(f64::INFINITY),
        (false, _) => text.eq_ignore_ascii_case(b"nan").then_some(f64::NAN),
    }
}

/// Reads an array's elements; gives where they end in the item column.
fn elements(items: &[Option<String>], column: &mut Column) -> Scan<i32> {
    for (index, item) in items.iter().enumerate() {
        match item {
            Some(text) => column
                .read_plain(Plain { text: text.as_bytes(), place: None })
                .map_err(|failure| failure.in_element(index))?,
            None => column.push_null(),
        }
    }
    i32::try_from(column.len()).map_err(|_| {
        Failure::new(SqlState::ConfigurationLimitExceeded, "more than 2147483647 array elements in one chunk")
    })
}

/// PostgreSQL's words: the type without its precision or length.
#[cold]
fn invalid(ty: &SqlType, text: &[u8]) -> Box<Failure> {
    let name = match ty {
        SqlType::Numeric(..) => "numeric".to_string(),
        SqlType::Varchar(_) => "character varying".to_string(),
        other => other.to_string(),
    };
    let what = format!("invalid input syntax for type {name}: \"{}\"", excerpt(text));
    Failure::new(SqlState::InvalidTextRepresentation, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_postgresql_reads_them() {
        for text in ["0", "-1", "+1", "007", ".5", "5.", "1e3", "1E+3", "-.5e-3"] {
            assert!(is_number(text.as_bytes()), "{text}");
        }
        for text in ["", "-", ".", "1e", "1e+", "1x", "0x1f", "1_000", "1 2", "--1", "e5"] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }
}
