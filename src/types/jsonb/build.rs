//! jsonb values of parts.

use super::{ARRAY, FALSE, NULL, NUMBER, OBJECT, STRING, TRUE, decimal};
use crate::error::{Error, Result, SqlState};

pub fn null() -> Vec<u8> {
    vec![NULL]
}

pub fn boolean(value: bool) -> Vec<u8> {
    vec![if value { TRUE } else { FALSE }]
}

pub fn string(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(STRING);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out
}

/// `text`: a number as JSON writes it.
///
/// # Errors
/// `22003` for one that numeric does not hold.
pub fn number(text: &str) -> Result<Vec<u8>> {
    let mut out = vec![NUMBER];
    match decimal::encode(text, &mut out) {
        Some(()) => Ok(out),
        None => Err(Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")),
    }
}

/// # Errors
/// `54000` beyond four billion elements.
pub fn array(elements: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut out = vec![ARRAY];
    out.extend_from_slice(&count(elements.len())?);
    elements.iter().for_each(|element| out.extend_from_slice(element));
    Ok(out)
}

/// Of fields of one name the last counts.
///
/// # Errors
/// `54000` beyond four billion fields, or bytes of a name.
pub fn object(mut fields: Vec<(String, Vec<u8>)>) -> Result<Vec<u8>> {
    // The sort is stable: of equal names the last given stands last.
    fields.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    let mut kept: Vec<(String, Vec<u8>)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match kept.last_mut() {
            Some(last) if last.0 == name => last.1 = value,
            _ => kept.push((name, value)),
        }
    }
    let mut out = vec![OBJECT];
    out.extend_from_slice(&count(kept.len())?);
    for (name, value) in kept {
        out.extend_from_slice(&count(name.len())?);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&value);
    }
    Ok(out)
}

fn count(length: usize) -> Result<[u8; 4]> {
    let too_many = |_| Error::new(SqlState::ConfigurationLimitExceeded, "a jsonb value is too large");
    u32::try_from(length).map(u32::to_be_bytes).map_err(too_many)
}
