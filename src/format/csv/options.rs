//! What 'csv.*' options come to.

use crate::error::{Error, Result, SqlState};

/// The letters with a meaning, and how a null is written. The defaults are those of PostgreSQL's COPY ... CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    delimiter: u8,
    quote: Option<u8>,
    /// Inside quotes: the letter that makes a quote, or itself, an ordinary letter.
    escape: u8,
    null: String,
    comments: bool,
    pub header: Header,
}

/// Whether the first line of a file is a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    #[default]
    None,
    /// It is skipped, whatever it says.
    Skip,
    /// It must name the columns, in their order.
    Match,
}

/// Begins a comment, where comments are allowed.
pub const COMMENT: u8 = b'#';

impl Default for CsvOptions {
    fn default() -> Self {
        let (delimiter, quote, escape) = (b',', Some(b'"'), b'"');
        CsvOptions { delimiter, quote, escape, null: String::new(), comments: false, header: Header::None }
    }
}

impl CsvOptions {
    /// `escape`: `None` is the quote itself.
    ///
    /// # Errors
    /// 22023 if two of the letters are the same though their meanings are not, or one of them ends lines.
    pub fn new(delimiter: u8, quote: Option<u8>, escape: Option<u8>, null: String) -> Result<Self> {
        let invalid = |message: String, hint: &str| {
            Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(hint.to_string()))
        };
        let letters = [("delimiter", Some(delimiter)), ("quote character", quote), ("escape character", escape)];
        for (name, letter) in letters {
            if letter.is_some_and(|b| !b.is_ascii() || matches!(b, b'\n' | b'\r' | 0)) {
                return invalid(format!("the CSV {name} must be one letter of ASCII, and no line end"), "Use another.");
            }
        }
        if Some(delimiter) == quote || Some(delimiter) == escape {
            return invalid(
                "the CSV delimiter must differ from the quote and the escape character".into(),
                "Choose another 'csv.field-delimiter'.",
            );
        }
        if escape.is_some() && quote.is_none() {
            return invalid(
                "a CSV escape character needs a quote character".into(),
                "Escapes stand inside quotes, as in PostgreSQL's COPY: remove one of the two options.",
            );
        }
        let special = |b: &u8| *b == delimiter || Some(*b) == quote || matches!(b, b'\n' | b'\r');
        if null.as_bytes().iter().any(special) {
            return invalid(
                "the CSV null literal must not hold the delimiter, the quote character or a line end".into(),
                "Choose another 'csv.null-literal'.",
            );
        }
        let escape = escape.or(quote).unwrap_or(b'"');
        Ok(CsvOptions { delimiter, quote, escape, null, comments: false, header: Header::None })
    }

    /// Lines that begin with [`COMMENT`] are skipped. (Only where there are lines: a message is one record.)
    pub fn with_comments(mut self, comments: bool) -> Self {
        self.comments = comments;
        self
    }

    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// `None`: nothing can be quoted.
    pub fn quote(&self) -> Option<u8> {
        self.quote
    }

    pub fn escape(&self) -> u8 {
        self.escape
    }

    /// What an unquoted field says to be null.
    pub fn null(&self) -> &str {
        &self.null
    }

    pub fn comments(&self) -> bool {
        self.comments
    }
}
