//! JSON: one object a message, written and read by hand.
//!
//! Reading, in the order of the data path:
//!
//! 1. [`decode`]: [`JsonDecoder`] checks a chunk's UTF-8 once, then walks its messages; a bad one is named and leaves no
//!    half row behind.
//! 2. [`object`]: the keys of an object. It expects those of the object before, in the same order, so that the common key
//!    costs one comparison; anything else is looked up, and what nobody wants is skipped, though not unread.
//! 3. [`mod@column`]: a growing column for each wanted field; values go from the bytes straight into it.
//! 4. [`scan`] with [`special`], [`number`], [`texts`], [`datetime`], [`base64`]: the tokens, and what they mean in each
//!    SQL type.
//! 5. [`failure`]: why a message cannot be read, and at which field.
//! 6. [`debezium`]: messages that are changes of a row instead of a row.
//!
//! Writing: [`encode`], with the other halves of [`number`], [`datetime`] and [`base64`].
//!
//! What holds:
//!
//! - A message is good exactly if RFC 8259 says it is one object and each wanted field has a value of its type. A key
//!   names the column of exactly that name, else one that differs in case only; a repeated key counts with its last value;
//!   a missing one is null.
//! - TEXT takes strings, numeric types take numbers, BOOLEAN takes true and false: nothing is converted by guess. Two
//!   conventions of the field are read as well: NUMERIC as a string (producers that fear binary floats), NaN and the
//!   infinities as strings (as we write them).
//! - Timestamps are 'yyyy-MM-dd HH:mm:ss[.fff]' or ISO 8601 with 'T', and are rounded to the declared precision. Without
//!   a zone they are UTC. TIME is 'HH:mm:ss[.fff]'. BYTEA is base64 (RFC 4648, padded). ROW is an object, an array an array.
//! - UUID and INTERVAL are strings as PostgreSQL reads and prints them. JSONB is whatever value stands there; null is SQL's.
//! - A message without a value (a Kafka tombstone) is no row, and is not an error.
//! - What the encoder writes, the decoder reads back to the same values.
//! - Nothing is allocated for a message, only for a chunk.
//!
//! CSV shares what is not JSON's alone: the growing columns, and the text of numbers, dates and timestamps.

pub(crate) mod base64;
pub(super) mod column;
pub(super) mod datetime;
mod debezium;
mod decode;
mod encode;
pub(super) mod failure;
pub(super) mod number;
mod object;
mod scan;
mod special;
#[cfg(test)]
mod tests;
mod texts;

pub use debezium::DebeziumDecoder;
pub use decode::JsonDecoder;
pub use encode::JsonEncoder;

/// How a source or a sink wants its JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonOptions {
    pub timestamp_format: TimestampFormat,
}

/// Flink's 'json.timestamp-format.standard'. Only writing minds it: both forms are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimestampFormat {
    /// "2024-01-01 12:30:00.000", with a "Z" at the end if there is a time zone.
    #[default]
    Sql,
    /// "2024-01-01T12:30:00.000", likewise.
    Iso8601,
}
