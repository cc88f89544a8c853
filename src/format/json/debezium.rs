//! Debezium's change events, with or without the envelope of "schema" and "payload" around them:
//!
//! ```text
//! {"before": {...}, "after": {...}, "op": "u", "source": {...}, "ts_ms": ...}
//! ```
//!
//! "c" (create) and "r" (read, of the first snapshot) insert the row "after", "d" deletes the row "before", "u" does both.
//! A deletion must name the whole row, since it takes back what was computed from it.

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;
use std::borrow::Cow;

use super::JsonOptions;
use super::column::{Input, found_instead};
use super::decode::{check_utf8, decode_messages, nothing_more, to_object};
use super::failure::{Failure, Scan, excerpt};
use super::object::Object;
use super::scan::{Quoted, Scanner, unescape};
use crate::error::{Result, SqlState};
use crate::format::{Decoded, Decoder, RawChunk};

const WHOLE_ROW: &str = "Have the database log whole rows: in PostgreSQL, ALTER TABLE ... REPLICA IDENTITY FULL.";

/// Reads one change event a message: a row with weight +1 or -1 for each side of it.
#[derive(Debug)]
pub struct DebeziumDecoder {
    schema: SchemaRef,
}

impl DebeziumDecoder {
    /// A decoder for the fields of `schema` (as [`crate::types::SqlType::field`] makes them); other keys are skipped.
    ///
    /// # Errors
    /// `0A000` for a column whose type JSON has no form for.
    pub fn new(schema: SchemaRef, _options: JsonOptions) -> Result<Self> {
        Ok(DebeziumDecoder { schema })
    }
}

impl Decoder for DebeziumDecoder {
    fn decode(&self, chunk: &RawChunk) -> Result<Decoded> {
        let mut weights: Vec<i64> = Vec::with_capacity(chunk.len());
        let mut messages: Vec<u32> = Vec::with_capacity(chunk.len());
        let (rows, bad) = decode_messages(&self.schema, chunk, |input, index, message, columns| {
            // Those of a message that failed half-way.
            weights.truncate(columns.rows());
            messages.truncate(columns.rows());
            let read = read_change(input, message, columns, &mut weights);
            messages.resize(weights.len(), index as u32);
            read
        })?;
        weights.truncate(rows.num_rows());
        messages.truncate(rows.num_rows());
        Ok(Decoded { rows, weights: Some(ScalarBuffer::from(weights)), messages: Some(messages), bad })
    }
}

/// What a change event says, each value as a scanner in front of it; null is nothing.
#[derive(Default)]
struct Event<'a> {
    before: Option<Scanner<'a>>,
    after: Option<Scanner<'a>>,
    op: Option<Scanner<'a>>,
    payload: Option<Scanner<'a>>,
    has_payload: bool,
}

fn read_change(input: Input, (start, end): (usize, usize), columns: &mut Object, weights: &mut Vec<i64>) -> Scan<()> {
    check_utf8(input, start, end)?;
    let mut scanner = Scanner::of_message(input.chunk, start, end);
    to_object(&mut scanner)?;
    let mut event = Event::read(&mut scanner)?;
    nothing_more(&mut scanner)?;
    if event.op.is_none() && event.has_payload {
        // The envelope's tombstone says nothing either.
        let Some(mut payload) = event.payload else { return Ok(()) };
        if payload.peek() != Some(b'{') {
            return Err(found_instead(&mut payload, "a JSON object").in_field("payload"));
        }
        event = Event::read(&mut payload)?;
    }
    let op = event.op()?;
    let (deletes, inserts) = match &*op {
        b"c" | b"r" => (false, true),
        b"u" => (true, true),
        b"d" => (true, false),
        other => return Err(unknown(other)),
    };
    let op = String::from_utf8_lossy(&op);
    if deletes {
        let Some(before) = event.before else {
            let what = format!("a Debezium event with op \"{op}\" lacks the row \"before\"");
            return Err(Failure::new(SqlState::BadCopyFileFormat, what).with_hint(WHOLE_ROW));
        };
        read_row(before, "before", columns)?;
        weights.push(-1);
    }
    if inserts {
        let Some(after) = event.after else {
            let what = format!("a Debezium event with op \"{op}\" lacks the row \"after\"");
            return Err(Failure::new(SqlState::BadCopyFileFormat, what));
        };
        read_row(after, "after", columns)?;
        weights.push(1);
    }
    Ok(())
}

fn unknown(op: &[u8]) -> Box<Failure> {
    let what = format!("a Debezium event with op \"{}\" cannot be followed", excerpt(op));
    let hint = match op {
        b"t" => "A truncated table's rows would all have to be taken back: have Debezium skip truncations.",
        _ => "Known are \"c\" and \"r\" (insert), \"u\" (update) and \"d\" (delete).",
    };
    Failure::new(SqlState::BadCopyFileFormat, what).with_hint(hint)
}

fn read_row(mut scanner: Scanner<'_>, side: &str, columns: &mut Object) -> Scan<()> {
    if scanner.peek() != Some(b'{') {
        return Err(found_instead(&mut scanner, "a JSON object").in_field(side));
    }
    columns.read(&mut scanner).map_err(|failure| failure.in_field(side))
}

impl<'a> Event<'a> {
    /// Reads the object at the scanner's cursor (a brace). All of it is checked; a repeated key counts with its last value.
    fn read(scanner: &mut Scanner<'a>) -> Scan<Event<'a>> {
        let mut event = Event::default();
        scanner.advance(1);
        scanner.skip_whitespace();
        if scanner.eat(b'}') {
            return Ok(event);
        }
        loop {
            if scanner.peek() != Some(b'"') {
                return Err(scanner.expected("a key"));
            }
            let key = scanner.string()?;
            let key = unescaped(scanner, key)?;
            scanner.colon()?;
            let value = scanner.clone();
            scanner.skip_value()?;
            let value = (value.peek() != Some(b'n')).then_some(value);
            match &*key {
                b"before" => event.before = value,
                b"after" => event.after = value,
                b"op" => event.op = value,
                b"payload" => {
                    event.payload = value;
                    event.has_payload = true;
                }
                _ => {}
            }
            if !scanner.more(b'}')? {
                return Ok(event);
            }
        }
    }

    fn op(&mut self) -> Scan<Cow<'a, [u8]>> {
        let Some(op) = &mut self.op else {
            let what = "not a Debezium event: it has no \"op\"";
            let hint = "Messages that are plain rows need 'format' = 'json'.";
            return Err(Failure::new(SqlState::BadCopyFileFormat, what).with_hint(hint));
        };
        if op.peek() != Some(b'"') {
            return Err(found_instead(op, "a string").in_field("op"));
        }
        let quoted = op.string()?;
        unescaped(op, quoted)
    }
}

fn unescaped<'a>(scanner: &Scanner<'a>, text: Quoted) -> Scan<Cow<'a, [u8]>> {
    let raw = scanner.slice(text);
    if !text.escaped {
        return Ok(Cow::Borrowed(raw));
    }
    let mut plain = Vec::new();
    unescape(raw, &mut plain)?;
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, Schema};
    use bytes::Bytes;

    use super::*;
    use crate::types::SqlType;

    fn decoded(messages: &[Option<&str>]) -> Decoded {
        let schema = Schema::new(vec![SqlType::BigInt.field("id"), SqlType::Text.field("name")]);
        let mut chunk = RawChunk::default();
        let mut data = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match message {
                Some(message) => data.extend_from_slice(message.as_bytes()),
                None => chunk.nulls.push(index as u32),
            }
            chunk.ends.push(data.len() as u32);
            chunk.offsets.push(index as u64);
        }
        chunk.data = Bytes::from(data);
        DebeziumDecoder::new(Arc::new(schema), JsonOptions::default()).unwrap().decode(&chunk).unwrap()
    }

    fn check(messages: &[Option<&str>], expected: &str) {
        let decoded = decoded(messages);
        assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
        let (ids, names) =
            (decoded.rows.column(0).as_primitive::<Int64Type>(), decoded.rows.column(1).as_string_view());
        let weights = decoded.weights.unwrap();
        assert_eq!(weights.len(), decoded.rows.num_rows());
        let row = |row: usize| format!("{:+} {} {}", weights[row], ids.value(row), names.value(row));
        assert_eq!((0..weights.len()).map(row).collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn events_become_changes() {
        check(
            &[
                Some(r#"{"before":null,"after":{"id":1,"name":"a","x":[1]},"op":"r","ts_ms":1}"#),
                None,
                Some(
                    r#" {"op" : "u", "source":{"op":"d"}, "after":{"name":"b","id":1}, "before":{"id":1,"name":"a"} } "#,
                ),
                Some(
                    r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"id":2,"name":"\u0063"},"op":"\u0063"}}"#,
                ),
                Some(r#"{"schema":null,"payload":null}"#),
                Some(r#"{"before":{"id":1,"name":"b"},"op":"d"}"#),
                Some(r#"{"before":{"id":9,"name":"z"},"before":null,"after":{"id":3,"name":"d"},"op":"d","op":"c"}"#),
            ],
            "+1 1 a, -1 1 a, +1 1 b, +1 2 c, -1 1 b, +1 3 d",
        );
        check(&[], "");
    }

    #[test]
    fn what_is_no_event_is_named_and_leaves_nothing_behind() {
        let cases: &[(&str, &str)] = &[
            (r#"{"id":1}"#, "not a Debezium event: it has no \"op\""),
            (r#"[1]"#, "expected a JSON object, found array [1]"),
            (r#"{"op":"u","before":null,"after":{"id":1}}"#, "a Debezium event with op \"u\" lacks the row \"before\""),
            (r#"{"op":"d"}"#, "a Debezium event with op \"d\" lacks the row \"before\""),
            (r#"{"op":"c","before":{"id":1}}"#, "a Debezium event with op \"c\" lacks the row \"after\""),
            (r#"{"op":"t"}"#, "a Debezium event with op \"t\" cannot be followed"),
            (r#"{"op":1,"after":{}}"#, "field \"op\": expected a string, found number 1"),
            (r#"{"op":"c","after":[]}"#, "field \"after\": expected a JSON object, found array []"),
            (
                r#"{"op":"u","before":{"id":1},"after":{"id":"1"}}"#,
                "field \"after.id\": expected bigint, found string \"1\"",
            ),
            (
                r#"{"op":"c","after":{"id":1}"#,
                "invalid JSON: expected \",\" or \"}\", but the message ends after 26 bytes",
            ),
            (
                r#"{"op":"c","after":{"id":1}} x"#,
                "invalid JSON: expected nothing after the object, found \"x\" at byte 28",
            ),
        ];
        for (message, expected) in cases {
            let good = r#"{"op":"c","after":{"id":7,"name":"g"}}"#;
            let decoded = decoded(&[Some(good), Some(message), Some(good)]);
            assert_eq!((decoded.rows.num_rows(), decoded.weights.unwrap().to_vec()), (2, vec![1, 1]), "{message}");
            assert_eq!(decoded.bad.len(), 1, "{message}");
            assert_eq!((decoded.bad[0].index, decoded.bad[0].error.message()), (1, *expected), "{message}");
        }
        let hint = decoded(&[Some(r#"{"op":"d"}"#)]).bad.remove(0).error;
        assert!(hint.hint().is_some_and(|hint| hint.contains("REPLICA IDENTITY FULL")));
    }
}
