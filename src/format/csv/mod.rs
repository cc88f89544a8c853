//! CSV as PostgreSQL's `COPY ... CSV` reads and writes it: one record a message or line.
//!
//! Reading, in the order of the data path:
//!
//! 1. [`options`]: the letters with a meaning.
//! 2. [`record`]: where a record ends (a quoted line end does not end it), and where its fields are.
//! 3. [`decode`]: [`CsvDecoder`] takes the wanted fields of a record; they become values in the growing columns that JSON
//!    uses, by the rules of PostgreSQL's input functions.
//!
//! Writing: [`encode`].
//!
//! What holds:
//!
//! - Fields stand in the order of the declared columns: fewer or more of them are an error.
//! - An unquoted field that is the null literal (nothing, unless said otherwise) is null; a quoted one never is. So an
//!   unquoted nothing is null, and "" is an empty text.
//! - A quote may begin and end anywhere in a field; inside, the escape character (the quote itself, unless said otherwise)
//!   makes a quote or itself an ordinary letter. Blanks count.
//! - Only wanted fields become values; of the others only their ends are found.
//! - What the encoder writes, the decoder reads back to the same values.

pub mod options;

mod decode;
mod encode;
mod record;
#[cfg(test)]
mod tests;

pub use decode::CsvDecoder;
pub use encode::CsvEncoder;
pub use options::{CsvOptions, Header};
pub use record::{check_header, is_comment, record_end};

use crate::error::{Error, Result};
use crate::types::SqlType;

/// Refuses what CSV has no form for.
///
/// # Errors
/// `0A000`, naming the column.
fn check_columns(schema: &arrow::datatypes::Schema) -> Result<()> {
    for field in schema.fields() {
        let ty = SqlType::from_field(field);
        let supported = match &ty {
            SqlType::Interval | SqlType::Row(_) => false,
            SqlType::Array(item) => !matches!(**item, SqlType::Interval | SqlType::Row(_) | SqlType::Array(_)),
            _ => true,
        };
        if !supported {
            return Err(Error::unsupported(
                format!("column \"{}\" of type {ty} has no form in CSV", field.name()),
                "Declare the column as text, or use 'format' = 'json'.",
            ));
        }
    }
    Ok(())
}
