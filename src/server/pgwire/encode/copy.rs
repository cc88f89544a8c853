//! Lines of COPY ... TO STDOUT, as PostgreSQL writes them: text or CSV.

use arrow::datatypes::Schema;
use bytes::{BufMut, BytesMut};

use super::put_message;
use crate::error::Result;
use crate::sql::ast::{CopyForm, CopyFormat};

/// Writes lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    format: CopyFormat,
}

impl Lines {
    pub fn new(format: CopyFormat) -> Self {
        Lines { format }
    }

    /// The line that names the columns, if there is one.
    pub fn put_header(&self, schema: &Schema, out: &mut BytesMut) -> Result<()> {
        if !self.format.header {
            return Ok(());
        }
        self.put(schema.fields().len(), out, |column, text| {
            let field = schema.fields().get(column);
            field.map(|field| text.put_slice(field.name().as_bytes())).is_some()
        })
    }

    /// Appends a whole `CopyData` message with a line, or nothing. `value` writes a column's text, or says that it is null.
    pub(super) fn put(
        &self,
        columns: usize,
        out: &mut BytesMut,
        mut value: impl FnMut(usize, &mut BytesMut) -> bool,
    ) -> Result<()> {
        let mut text = BytesMut::new();
        put_message(b'd', out, |out| {
            for column in 0..columns {
                if column > 0 {
                    out.put_u8(self.format.delimiter);
                }
                text.clear();
                if !value(column, &mut text) {
                    out.put_slice(self.format.null.as_bytes());
                    continue;
                }
                match self.format.form {
                    CopyForm::Text => self.put_escaped(&text, out),
                    CopyForm::Csv { quote, escape } => self.put_quoted(&text, columns == 1, quote, escape, out),
                }
            }
            out.put_u8(b'\n');
        })
    }

    /// What would end a value or its line, and backslashes, behind a backslash.
    fn put_escaped(&self, text: &[u8], out: &mut BytesMut) {
        for byte in text {
            let escape = match byte {
                b'\\' => b'\\',
                b'\t' => b't',
                b'\n' => b'n',
                b'\r' => b'r',
                0x08 => b'b',
                0x0b => b'v',
                0x0c => b'f',
                delimiter if *delimiter == self.format.delimiter => *delimiter,
                plain => {
                    out.put_u8(*plain);
                    continue;
                }
            };
            out.put_slice(&[b'\\', escape]);
        }
    }

    /// In quotes if it would be read as something else without. `alone`: a line that is `\.` would end the data.
    fn put_quoted(&self, text: &[u8], alone: bool, quote: u8, escape: u8, out: &mut BytesMut) {
        let special = |byte: &u8| *byte == self.format.delimiter || *byte == quote || matches!(byte, b'\n' | b'\r');
        if text != self.format.null.as_bytes() && !(alone && text == b"\\.") && !text.iter().any(special) {
            out.put_slice(text);
            return;
        }
        out.put_u8(quote);
        for byte in text {
            if *byte == quote || *byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of some values, without its message's head.
    fn check(form: CopyForm, delimiter: u8, null: &str, values: &[Option<&str>], expected: &str) {
        let lines = Lines::new(CopyFormat { form, delimiter, null: null.into(), header: false });
        let mut out = BytesMut::new();
        let put = |column: usize, text: &mut BytesMut| {
            let value = values.get(column).copied().flatten();
            value.map(|value| text.put_slice(value.as_bytes())).is_some()
        };
        lines.put(values.len(), &mut out, put).unwrap();
        assert_eq!(std::str::from_utf8(&out[5..]).unwrap(), expected);
    }

    #[test]
    fn lines_of_text() {
        check(CopyForm::Text, b'\t', "\\N", &[Some("a"), None, Some("")], "a\t\\N\t\n");
        check(CopyForm::Text, b'\t', "\\N", &[Some("a\tb\\c\nd|")], "a\\tb\\\\c\\nd|\n");
        check(CopyForm::Text, b'|', "-", &[Some("a|b"), None], "a\\|b|-\n");
    }

    #[test]
    fn lines_of_csv() {
        let csv = CopyForm::Csv { quote: b'"', escape: b'"' };
        check(csv, b',', "", &[Some("a"), None, Some(""), Some("b,c")], "a,,\"\",\"b,c\"\n");
        check(
            csv,
            b',',
            "",
            &[Some("say \"x\""), Some("two\nlines"), Some(" blank ")],
            "\"say \"\"x\"\"\",\"two\nlines\", blank \n",
        );
        check(csv, b',', "", &[Some("\\.")], "\"\\.\"\n");
        check(csv, b',', "", &[Some("\\."), Some("1")], "\\.,1\n");
        check(csv, b';', "NULL", &[None, Some("NULL"), Some("a,b")], "NULL;\"NULL\";a,b\n");
        check(CopyForm::Csv { quote: b'\'', escape: b'\\' }, b',', "", &[Some("it's \\")], "'it\\'s \\\\'\n");
    }
}
