//! COPY (...) TO STDOUT, and its options: those in parentheses, and the older ones without.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{CopyForm, CopyFormat, CopyOut, StatementKind};
use super::cursor::Cursor;
use super::{names, refuse};
use crate::error::{Error, Result, SqlState};

/// What was said of the format so far, each with its place.
#[derive(Default)]
struct Given {
    csv: Option<(bool, usize)>,
    delimiter: Option<(String, usize)>,
    null: Option<(String, usize)>,
    header: Option<(bool, usize)>,
    quote: Option<(String, usize)>,
    escape: Option<(String, usize)>,
}

impl Cursor<'_> {
    /// Behind COPY: `(query) TO STDOUT [WITH] [(option, ...) | CSV HEADER ...]`.
    pub fn copy(&mut self) -> Result<StatementKind> {
        if !self.take_token(&Token::LParen) {
            return Err(self.copy_of_table()?);
        }
        let rows = self.retrieval()?;
        self.expect_token(&Token::RParen)?;
        if !self.take(&["TO", "STDOUT"]) {
            let hint = "What is copied goes to the client: COPY (...) TO STDOUT; in psql, \\copy (...) TO 'file'.";
            return Err(if self.at(&["TO"]) {
                refuse::unsupported(self, "COPY to a file", hint)
            } else {
                self.unexpected()
            });
        }
        let _ = self.take(&["WITH"]);
        let mut given = Given::default();
        if self.at_token(&Token::LParen) {
            self.parenthesized(|cursor| cursor.copy_option(&mut given))?;
        } else {
            while self.older_copy_option(&mut given)? {}
        }
        Ok(StatementKind::Copy(Box::new(CopyOut { rows, format: given.format()? })))
    }

    /// `name [value]`
    fn copy_option(&mut self, given: &mut Given) -> Result<()> {
        let position = self.position();
        // A reserved word.
        if self.take(&["NULL"]) {
            return set(&mut given.null, self.string()?, position);
        }
        let option = self.name()?;
        match option.value.as_str() {
            "format" => {
                let place = self.position();
                let format = self.word_value()?;
                let csv = match format.as_str() {
                    "text" => false,
                    "csv" => true,
                    "binary" => return Err(binary(place)),
                    other => {
                        let message = format!("COPY format \"{other}\" not recognized");
                        let error = Error::new(SqlState::InvalidParameterValue, message);
                        return Err(error.with_hint("Formats are text and csv.").at(place));
                    }
                };
                set(&mut given.csv, csv, position)
            }
            "header" => {
                let bare = self.at_token(&Token::Comma) || self.at_token(&Token::RParen);
                let place = self.position();
                let header = match if bare { "true".to_string() } else { self.word_value()?.to_lowercase() }.as_str() {
                    "true" | "on" | "1" => true,
                    "false" | "off" | "0" => false,
                    "match" => {
                        let hint = "MATCH is for reading: write HEADER, or HEADER true.";
                        return Err(Error::unsupported("cannot use \"match\" with HEADER in COPY TO", hint).at(place));
                    }
                    _ => {
                        let message = "header requires a Boolean value or \"match\"";
                        return Err(Error::new(SqlState::SyntaxError, message).at(place));
                    }
                };
                set(&mut given.header, header, position)
            }
            "delimiter" => set(&mut given.delimiter, self.string()?, position),
            "quote" => set(&mut given.quote, self.string()?, position),
            "escape" => set(&mut given.escape, self.string()?, position),
            other => Err(other_option(other, position)),
        }
    }

    /// A text, a word or a number.
    fn word_value(&mut self) -> Result<String> {
        if let Some(text) = self.take_string() {
            return Ok(text);
        }
        let value = match &self.peek().token {
            Token::Word(word) => names::fold(&word.value),
            Token::Number(digits, _) => digits.clone(),
            _ => return Err(self.unexpected()),
        };
        self.next();
        Ok(value)
    }

    /// `CSV`, `HEADER`, `DELIMITER [AS] 'c'`, ...: whether there was one.
    fn older_copy_option(&mut self, given: &mut Given) -> Result<bool> {
        let position = self.position();
        let value = |cursor: &mut Self| {
            let _ = cursor.take(&["AS"]);
            cursor.string()
        };
        if self.take(&["CSV"]) {
            set(&mut given.csv, true, position)?;
        } else if self.take(&["HEADER"]) {
            set(&mut given.header, true, position)?;
        } else if self.take(&["DELIMITER"]) {
            set(&mut given.delimiter, value(self)?, position)?;
        } else if self.take(&["NULL"]) {
            set(&mut given.null, value(self)?, position)?;
        } else if self.take(&["QUOTE"]) {
            set(&mut given.quote, value(self)?, position)?;
        } else if self.take(&["ESCAPE"]) {
            set(&mut given.escape, value(self)?, position)?;
        } else if self.at(&["BINARY"]) {
            return Err(binary(position));
        } else if let Some(other) = ["FORCE", "ENCODING", "FREEZE"].into_iter().find(|word| self.at(&[word])) {
            return Err(other_option(&other.to_lowercase(), position));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// COPY name ...: the refusal.
    fn copy_of_table(&mut self) -> Result<Error> {
        let position = self.position();
        let name = self.object_name()?;
        let _ = self.at_token(&Token::LParen) && self.parenthesized(|cursor| cursor.name()).is_ok();
        if self.at(&["FROM"]) {
            let hint = "To load data, declare CREATE SOURCE ... WITH ('connector' = 'file', ...).";
            return Ok(Error::unsupported("COPY FROM is not supported", hint).at(position));
        }
        if !self.at(&["TO"]) {
            return Ok(self.unexpected());
        }
        let hint = format!("Try COPY (SELECT * FROM {}) TO STDOUT.", names::quoted(&name.value));
        Ok(Error::unsupported("COPY of a whole relation is not supported", hint).at(position))
    }
}

fn binary(position: usize) -> Error {
    Error::unsupported("COPY in binary format is not supported", "Formats are text and csv.").at(position)
}

fn other_option(option: &str, position: usize) -> Error {
    let hint = "FORMAT, HEADER, DELIMITER, NULL, QUOTE and ESCAPE are supported.";
    if option.starts_with("force")
        || ["encoding", "freeze", "on_error", "log_verbosity", "reject_limit", "default"].contains(&option)
    {
        return Error::unsupported(format!("COPY option \"{option}\" is not supported"), hint).at(position);
    }
    Error::new(SqlState::SyntaxError, format!("option \"{option}\" not recognized")).with_hint(hint).at(position)
}

fn set<T>(slot: &mut Option<(T, usize)>, value: T, position: usize) -> Result<()> {
    if slot.is_some() {
        return Err(Error::new(SqlState::SyntaxError, "conflicting or redundant options").at(position));
    }
    *slot = Some((value, position));
    Ok(())
}

/// The one byte that an option names.
fn one_byte(option: &str, given: Option<(String, usize)>) -> Result<Option<(u8, usize)>> {
    let Some((text, position)) = given else { return Ok(None) };
    match text.as_bytes() {
        [b'\n' | b'\r'] if option == "delimiter" => {
            let message = "COPY delimiter cannot be newline or carriage return";
            Err(Error::new(SqlState::InvalidParameterValue, message).at(position))
        }
        [byte] if byte.is_ascii() => Ok(Some((*byte, position))),
        _ => {
            let message = format!("COPY {option} must be a single one-byte character");
            Err(Error::unsupported(message, "A comma and a tab (E'\\t') are such.").at(position))
        }
    }
}

impl Given {
    fn format(self) -> Result<CopyFormat> {
        let wrong =
            |message: &str, position: usize| Err(Error::new(SqlState::InvalidParameterValue, message).at(position));
        let csv = self.csv.is_some_and(|(csv, _)| csv);
        let only_csv = [("QUOTE", &self.quote), ("ESCAPE", &self.escape)];
        if let Some((option, (_, position))) = only_csv.iter().find_map(|(name, given)| Some((name, given.as_ref()?)))
            && !csv
        {
            let message = format!("COPY {option} requires CSV mode");
            return Err(Error::unsupported(message, "Add FORMAT csv.").at(*position));
        }
        let delimiter = one_byte("delimiter", self.delimiter)?;
        let quote = one_byte("quote", self.quote)?;
        let escape = one_byte("escape", self.escape)?;
        let (byte, place) = delimiter.unwrap_or((if csv { b',' } else { b'\t' }, 1));
        let null_place = self.null.as_ref().map_or(place, |(_, position)| *position);
        let default = if csv { "" } else { "\\N" };
        let null = self.null.map_or_else(|| default.to_string(), |(null, _)| null);
        if null.contains(['\n', '\r']) {
            return wrong("COPY null representation cannot use newline or carriage return", null_place);
        }
        // Letters and digits may stand behind a backslash with a meaning of their own.
        if !csv && (byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"\\.".contains(&byte)) {
            return wrong(&format!("COPY delimiter cannot be \"{}\"", char::from(byte)), place);
        }
        if null.as_bytes().contains(&byte) {
            return wrong("COPY delimiter character must not appear in the NULL specification", null_place);
        }
        let (quote, quote_place) = quote.unwrap_or((b'"', 1));
        if csv && quote == byte {
            return wrong(
                "COPY delimiter and quote must be different",
                if quote_place > 1 { quote_place } else { place },
            );
        }
        if csv && null.as_bytes().contains(&quote) {
            return wrong("CSV quote character must not appear in the NULL specification", null_place);
        }
        let form = match csv {
            true => CopyForm::Csv { quote, escape: escape.map_or(quote, |(escape, _)| escape) },
            false => CopyForm::Text,
        };
        Ok(CopyFormat { form, delimiter: byte, null, header: self.header.is_some_and(|(header, _)| header) })
    }
}
