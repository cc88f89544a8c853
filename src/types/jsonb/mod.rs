//! jsonb values as bytes whose order is PostgreSQL's order of the values: two are equal exactly if their bytes are. So
//! whatever compares, sorts, groups or hashes bytes does it right, and no state needs to know what it holds.
//!
//! Version 1. A value is a tag and then
//!
//! | tag | value | bytes |
//! |---|---|---|
//! | 1 | null | none |
//! | 2 | string | the text, closed by 0 (no text in jsonb has one) |
//! | 3 | number | see [`decimal`] |
//! | 4, 5 | false, true | none |
//! | 6 | array | number of elements (u32, big-endian), the elements |
//! | 7 | object | number of fields (u32, big-endian); each: length of its name (u32, big-endian), name, value |
//!
//! The fields of an object stand in the order of their names: shorter ones first, then by bytes. Of fields of one name the
//! last is kept, as PostgreSQL does. A number has no zeros at its end: 1.0 is 1 (PostgreSQL keeps and shows the zero,
//! though the two are equal there too). An empty array sorts as an array (PostgreSQL has it below null at the top).
//!
//! 1. [`parse`](fn@parse): JSON text to bytes; [`build`] makes them of parts.
//! 2. [`Value`]: walks the bytes; nothing is decoded but what is asked for.
//! 3. [`text`](fn@text): bytes to text.
//!
//! Bytes that no function here has made (a damaged file) give no value where one is looked for; nothing panics.

pub mod build;
pub mod decimal;
mod parse;
mod text;

pub use parse::parse;
pub use text::{compact, text};

const NULL: u8 = 1;
const STRING: u8 = 2;
const NUMBER: u8 = 3;
const FALSE: u8 = 4;
const TRUE: u8 = 5;
const ARRAY: u8 = 6;
const OBJECT: u8 = 7;

/// Arrays and objects in each other, at most.
pub const MAX_DEPTH: usize = 256;

/// One value, as it lies in a larger one or alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    Null,
    String(&'a str),
    Number(&'a [u8]),
    Boolean(bool),
    Array(Elements<'a>),
    Object(Fields<'a>),
}

/// The elements of an array that are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements<'a> {
    left: u32,
    rest: &'a [u8],
}

/// The fields of an object that are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Value<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Value(bytes)
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// `None` for damaged bytes.
    pub fn kind(self) -> Option<Kind<'a>> {
        let (tag, rest) = self.0.split_first()?;
        Some(match *tag {
            NULL => Kind::Null,
            STRING => Kind::String(std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?),
            NUMBER => Kind::Number(rest),
            FALSE => Kind::Boolean(false),
            TRUE => Kind::Boolean(true),
            ARRAY => {
                let (left, rest) = number(rest)?;
                Kind::Array(Elements { left, rest })
            }
            OBJECT => {
                let (left, rest) = number(rest)?;
                Kind::Object(Fields { left, rest })
            }
            _ => return None,
        })
    }

    pub fn is_null(self) -> bool {
        self.0 == [NULL]
    }

    /// As `jsonb_typeof` calls it.
    pub fn type_name(self) -> Option<&'static str> {
        Some(match self.kind()? {
            Kind::Null => "null",
            Kind::String(_) => "string",
            Kind::Number(_) => "number",
            Kind::Boolean(_) => "boolean",
            Kind::Array(_) => "array",
            Kind::Object(_) => "object",
        })
    }

    /// An object's field.
    pub fn field(self, name: &str) -> Option<Value<'a>> {
        let Kind::Object(mut fields) = self.kind()? else { return None };
        fields.find_map(|(found, value)| (found == name).then_some(value))
    }

    /// An array's element, counted from 0, or from its end by negative numbers.
    pub fn element(self, index: i64) -> Option<Value<'a>> {
        let Kind::Array(mut elements) = self.kind()? else { return None };
        let index = if index < 0 { i64::from(elements.left) + index } else { index };
        elements.nth(usize::try_from(index).ok()?)
    }

    /// One step of a path: a field's name, or the number of an element.
    pub fn step(self, name: &str) -> Option<Value<'a>> {
        match self.kind()? {
            Kind::Object(_) => self.field(name),
            Kind::Array(_) => self.element(name.trim().parse().ok()?),
            _ => None,
        }
    }

    /// What `->>` gives: a string without its quotes, SQL's null for null, of all else the text.
    pub fn as_text(self) -> Option<String> {
        match self.kind()? {
            Kind::Null => None,
            Kind::String(text) => Some(text.to_string()),
            _ => {
                let mut out = String::new();
                text(self.0, &mut out);
                Some(out)
            }
        }
    }

    /// PostgreSQL's `@>`: whether all of `other` is somewhere in this, at the same depth.
    pub fn contains(self, other: Value<'_>) -> bool {
        match (self.kind(), other.kind()) {
            (Some(Kind::Array(_)), Some(Kind::Array(_) | Kind::Object(_))) => self.includes(other),
            // At the top, and only there, an array contains a scalar that it holds.
            (Some(Kind::Array(_)), Some(_)) => self.holds(other),
            (Some(_), Some(_)) => self.includes(other),
            _ => false,
        }
    }

    /// Whether an element of this array includes `wanted`.
    fn holds(self, wanted: Value<'_>) -> bool {
        match self.kind() {
            Some(Kind::Array(mut elements)) => elements.any(|element| element.includes(wanted)),
            _ => false,
        }
    }

    /// As [`Value::contains`], but an array does not contain a scalar.
    fn includes(self, wanted: Value<'_>) -> bool {
        match (self.kind(), wanted.kind()) {
            (Some(Kind::Object(_)), Some(Kind::Object(mut fields))) => {
                fields.all(|(name, value)| self.field(name).is_some_and(|own| own.includes(value)))
            }
            (Some(Kind::Array(_)), Some(Kind::Array(mut elements))) => elements.all(|element| self.holds(element)),
            _ => self.0 == wanted.0,
        }
    }

    /// PostgreSQL's `?`: whether a string is a field's name, or an element, or the value itself.
    pub fn has(self, name: &str) -> bool {
        let is_name = |value: Value<'_>| matches!(value.kind(), Some(Kind::String(text)) if text == name);
        match self.kind() {
            Some(Kind::Object(mut fields)) => fields.any(|(found, _)| found == name),
            Some(Kind::Array(mut elements)) => elements.any(is_name),
            _ => is_name(self),
        }
    }
}

impl Elements<'_> {
    /// How many are still to come.
    pub fn left(&self) -> u32 {
        self.left
    }
}

impl Fields<'_> {
    /// How many are still to come.
    pub fn left(&self) -> u32 {
        self.left
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (value, rest) = split(self.rest, MAX_DEPTH)?;
        self.rest = rest;
        Some(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<(&'a str, Value<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let (name, rest) = name(self.rest)?;
        let (value, rest) = split(rest, MAX_DEPTH)?;
        self.rest = rest;
        Some((name, value))
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = number(bytes)?;
    let (name, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

/// The first value, and what stands behind it.
fn split(bytes: &[u8], depth: usize) -> Option<(Value<'_>, &[u8])> {
    let rest = skip(bytes, depth)?;
    let (value, rest) = bytes.split_at_checked(bytes.len() - rest.len())?;
    Some((Value(value), rest))
}

fn skip(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let (tag, rest) = bytes.split_first()?;
    match *tag {
        NULL | FALSE | TRUE => Some(rest),
        STRING => rest.get(rest.iter().position(|b| *b == 0)? + 1..),
        NUMBER => decimal::skip(rest),
        ARRAY | OBJECT => {
            let depth = depth.checked_sub(1)?;
            let (count, mut rest) = number(rest)?;
            for _ in 0..count {
                if *tag == OBJECT {
                    (_, rest) = name(rest)?;
                }
                rest = skip(rest, depth)?;
            }
            Some(rest)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
