//! Where records and fields end. The same state machine twice: once to cut a file into records, once to cut a record into
//! fields.

use super::options::{COMMENT, CsvOptions};
use crate::error::{Error, Result, SqlState};
use crate::format::json::column::Plain;
use crate::format::json::failure::{Failure, Scan};

/// Behind the line end of the record that `bytes` begin with; `None` if it does not end here.
pub fn record_end(bytes: &[u8], options: &CsvOptions) -> Option<usize> {
    let line = |bytes: &[u8]| bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
    let Some(quote) = options.quote().filter(|_| !is_comment(bytes, options)) else {
        return line(bytes);
    };
    let first = line(bytes)?;
    // Most records hold no quote.
    if !bytes.get(..first)?.contains(&quote) {
        return Some(first);
    }
    let escape = options.escape();
    let mut quoted = false;
    let mut skip = false;
    for (at, byte) in bytes.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        match *byte {
            // A doubled quote closes and opens: no need to look ahead.
            b if quoted && b == escape && escape != quote => {
                skip = bytes.get(at + 1).is_some_and(|next| *next == quote || *next == escape);
            }
            b if b == quote => quoted = !quoted,
            b'\n' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether the line that `bytes` begin with is a comment.
pub fn is_comment(bytes: &[u8], options: &CsvOptions) -> bool {
    options.comments() && bytes.first() == Some(&COMMENT)
}

/// A record without its line end.
pub(super) fn trim_line_end(record: &[u8]) -> &[u8] {
    match record {
        [record @ .., b'\r', b'\n'] | [record @ .., b'\n' | b'\r'] => record,
        record => record,
    }
}

/// The fields of one record, one after the other.
pub(super) struct Fields<'a> {
    options: &'a CsvOptions,
    /// The chunk's bytes up to the record's end.
    bytes: &'a [u8],
    /// Where the next field begins; `None` behind the last one.
    at: Option<usize>,
}

/// A field as it stands, or null.
pub(super) enum Field<'s> {
    Null,
    Value(Plain<'s>),
}

impl<'a> Fields<'a> {
    /// The fields of `bytes[start..]`, a record without its line end.
    pub(super) fn new(options: &'a CsvOptions, bytes: &'a [u8], start: usize) -> Self {
        Fields { options, bytes, at: Some(start) }
    }

    /// The next field; `None`: there is none. `scratch` holds a field that does not stand as it is.
    pub(super) fn next<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Scan<Option<Field<'s>>>
    where
        'a: 's,
    {
        let Some(start) = self.at else { return Ok(None) };
        let rest = self.bytes.get(start..).unwrap_or_default();
        let (delimiter, quote) = (self.options.delimiter(), self.options.quote());
        let end = rest.iter().position(|b| *b == delimiter || Some(*b) == quote);
        match end {
            Some(end) if rest.get(end).copied() == quote => self.quoted_field(start, rest, scratch).map(Some),
            _ => {
                let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                self.at = end.map(|end| start + end + 1);
                if text == self.options.null().as_bytes() {
                    return Ok(Some(Field::Null));
                }
                Ok(Some(Field::Value(Plain { text, place: Some(start) })))
            }
        }
    }

    /// A field with quotes in it, without them.
    fn quoted_field<'s>(&mut self, start: usize, rest: &'a [u8], scratch: &'s mut Vec<u8>) -> Scan<Field<'s>>
    where
        'a: 's,
    {
        let (delimiter, quote, escape) = (self.options.delimiter(), self.options.quote(), self.options.escape());
        // The usual one: a quote, plain text, a quote.
        if let Some((first, inner)) = rest.split_first()
            && Some(*first) == quote
            && let Some(end) = inner.iter().position(|b| Some(*b) == quote || *b == escape)
            && inner.get(end).copied() == quote
            && inner.get(end + 1).is_none_or(|behind| *behind == delimiter)
        {
            self.at = inner.get(end + 1).map(|_| start + end + 3);
            let text = inner.get(..end).unwrap_or_default();
            return Ok(Field::Value(Plain { text, place: Some(start + 1) }));
        }
        scratch.clear();
        let mut quoted = false;
        let mut letters = rest.iter().copied().enumerate().peekable();
        self.at = None;
        while let Some((at, byte)) = letters.next() {
            let next = letters.peek().map(|(_, next)| *next);
            if quoted && byte == escape && (next == Some(escape) || next == quote) && next.is_some() {
                scratch.extend(next);
                letters.next();
            } else if Some(byte) == quote {
                quoted = !quoted;
            } else if byte == delimiter && !quoted {
                self.at = Some(start + at + 1);
                break;
            } else {
                scratch.push(byte);
            }
        }
        if quoted {
            return Err(Failure::new(SqlState::BadCopyFileFormat, "unterminated CSV quoted field"));
        }
        Ok(Field::Value(Plain { text: scratch, place: None }))
    }
}

/// Whether a file's header names `columns`, in their order.
///
/// # Errors
/// 22P04 if not.
pub fn check_header(record: &[u8], options: &CsvOptions, columns: &[String]) -> Result<()> {
    let record = trim_line_end(record);
    let mut fields = Fields::new(options, record, 0);
    let mut scratch = Vec::new();
    let mut found = Vec::new();
    while let Some(field) = fields.next(&mut scratch).map_err(|failure| failure.into_error())? {
        found.push(match field {
            Field::Null => String::new(),
            Field::Value(plain) => String::from_utf8_lossy(plain.text).into_owned(),
        });
        if found.len() > columns.len() {
            break;
        }
    }
    if found == columns {
        return Ok(());
    }
    let different = found.iter().zip(columns).position(|(found, column)| found != column);
    let message = match different {
        Some(at) => format!("column name mismatch in header line field {}", at + 1),
        None => "wrong number of fields in header line".to_string(),
    };
    let wanted = columns.join(char::from(options.delimiter()).to_string().as_str());
    Err(Error::new(SqlState::BadCopyFileFormat, message)
        .with_hint(format!("Expected \"{wanted}\"; with 'csv.header' = 'true' the header may say anything.")))
}
