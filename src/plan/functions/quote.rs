//! Texts as they stand in SQL, and `format`, which puts them together.

use arrow::array::{ArrayRef, StringViewArray};
use chrono_tz::Tz;

use super::define::{Call, Definition, Form, Parameter as P, at};
use super::results::text;
use crate::error::{Error, Result, SqlState};
use crate::sql::names::quoted;
use crate::types::cells::Cells;

pub const DEFINITIONS: &[Definition] = &[
    Definition { name: "format", forms: &[Form::variadic(&[P::Text, P::Any], text, format)] },
    Definition { name: "quote_ident", forms: &[Form::new(&[P::Text], text, |call| each(call, quoted))] },
    Definition { name: "quote_literal", forms: &[Form::new(&[P::Any], text, quote_literal)] },
    Definition { name: "quote_nullable", forms: &[Form::new(&[P::Any], text, quote_nullable)] },
];

/// A format of more columns would fill memory with blanks.
const MAX_WIDTH: usize = 1 << 20;

fn each(call: Call<'_>, of: fn(&str) -> String) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    call.text_of_each(|row| Ok(at(texts, row).map(of)))
}

fn shown(cells: &Cells, row: usize) -> Option<String> {
    if cells.is_null(row) {
        return None;
    }
    let mut text = String::new();
    cells.text(row, Tz::UTC, &mut text);
    Some(text)
}

fn quote_literal(call: Call<'_>) -> Result<ArrayRef> {
    let values = call.cells(0)?;
    call.text_of_each(|row| Ok(shown(&values, row).map(|text| literal(&text))))
}

fn quote_nullable(call: Call<'_>) -> Result<ArrayRef> {
    let values = call.cells(0)?;
    call.text_of_each(|row| Ok(Some(shown(&values, row).map_or("NULL".to_string(), |text| literal(&text)))))
}

/// A text as a literal; one with backslashes says that they are escapes.
fn literal(text: &str) -> String {
    let escapes = if text.contains('\\') { "E" } else { "" };
    format!("{escapes}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// `format(text, value, ...)`: `%s` a value's text, `%I` as a name, `%L` as a literal, `%%` a percent sign; in between
/// `n$` (which value), `-` (to the left) and a width, which `*` takes from the values.
fn format(call: Call<'_>) -> Result<ArrayRef> {
    let templates = call.texts(0)?;
    let values = (1..call.count()).map(|index| call.cells(index)).collect::<Result<Vec<_>>>()?;
    call.text_of_each(|row| {
        let Some(template) = at(templates, row) else { return Ok(None) };
        let mut filling = Filling { values: &values, row, next: 0, out: String::new() };
        filling.fill(template)?;
        Ok(Some(filling.out))
    })
}

/// One row's template on its way to a text.
struct Filling<'a> {
    values: &'a [Cells],
    row: usize,
    /// The value that the next specifier without a number takes.
    next: usize,
    out: String,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidParameterValue, message)
}

fn unterminated() -> Error {
    invalid("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
}

impl<'a> Filling<'a> {
    fn fill(&mut self, template: &str) -> Result<()> {
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once('%') {
            self.out.push_str(text);
            rest = match behind.strip_prefix('%') {
                Some(behind) => {
                    self.out.push('%');
                    behind
                }
                None => self.specifier(behind)?,
            };
        }
        self.out.push_str(rest);
        Ok(())
    }

    /// `[n$][-][width]type`; gives what stands behind it.
    fn specifier<'t>(&mut self, specifier: &'t str) -> Result<&'t str> {
        let (position, rest) = match number(specifier)? {
            Some((position, rest)) if rest.starts_with('$') => (Some(position), rest.get(1..).unwrap_or_default()),
            _ => (None, specifier),
        };
        if position == Some(0) {
            return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
        }
        let trimmed = rest.trim_start_matches('-');
        let mut left = trimmed.len() < rest.len();
        let (width, rest) = self.width(trimmed)?;
        left |= width < 0;
        let width = usize::try_from(width.unsigned_abs()).ok().filter(|width| *width <= MAX_WIDTH);
        let width = width.ok_or_else(|| invalid("width of format() is too large"))?;
        let mut letters = rest.chars();
        let letter = letters.next().ok_or_else(unterminated)?;
        if !matches!(letter, 's' | 'I' | 'L') {
            let error = invalid(format!("unrecognized format() type specifier \"{letter}\""));
            return Err(error.with_hint("For a single \"%\" use \"%%\"."));
        }
        let value = shown(self.value(position)?, self.row);
        let text = match (letter, value) {
            ('I', None) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new(SqlState::NullValueNotAllowed, message));
            }
            ('I', Some(value)) => quoted(&value),
            ('L', None) => "NULL".to_string(),
            ('L', Some(value)) => literal(&value),
            (_, value) => value.unwrap_or_default(),
        };
        let padding = " ".repeat(width.saturating_sub(text.chars().count()));
        if left {
            self.out.extend([text, padding]);
        } else {
            self.out.extend([padding, text]);
        }
        Ok(letters.as_str())
    }

    /// How wide a value is at least; negative: to the left. None given is 0.
    fn width<'t>(&mut self, text: &'t str) -> Result<(i64, &'t str)> {
        let Some(star) = text.strip_prefix('*') else {
            return Ok(match number(text)? {
                Some((width, rest)) => (i64::try_from(width).unwrap_or(i64::MAX), rest),
                None => (0, text),
            });
        };
        let (position, rest) = match number(star)? {
            Some((0, _)) => return Err(invalid("format specifies argument 0, but arguments are numbered from 1")),
            Some((position, rest)) => match rest.strip_prefix('$') {
                Some(rest) => (Some(position), rest),
                None => return Err(invalid("width argument position must be ended by \"$\"")),
            },
            None => (None, star),
        };
        let width = match self.value(position)? {
            Cells::SmallInt(widths) => at(widths, self.row).map(i64::from),
            Cells::Integer(widths) => at(widths, self.row).map(i64::from),
            Cells::BigInt(widths) => at(widths, self.row),
            Cells::Text(widths) => parsed(widths, self.row)?,
            _ => return Err(invalid("a width of format() must be an integer")),
        };
        Ok((width.unwrap_or(0), rest))
    }

    /// The value in place `position`, counted from 1, or the next one.
    fn value(&mut self, position: Option<usize>) -> Result<&'a Cells> {
        let index = position.map_or(self.next, |position| position - 1);
        self.next = index + 1;
        self.values.get(index).ok_or_else(|| invalid("too few arguments for format()"))
    }
}

/// A literal that nobody has given a type.
fn parsed(widths: &StringViewArray, row: usize) -> Result<Option<i64>> {
    let unreadable = |text: &str| Error::unreadable(text, &crate::types::SqlType::Integer);
    at(widths, row).map(|text| text.trim().parse::<i64>().map_err(|_| unreadable(text))).transpose()
}

/// The number that a text begins with, and what stands behind it.
fn number(text: &str) -> Result<Option<(usize, &str)>> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Ok(None);
    }
    if rest.is_empty() {
        return Err(unterminated());
    }
    let number = digits.parse::<u32>().map_err(|_| invalid("number is out of range"))?;
    Ok(Some((number as usize, rest)))
}
