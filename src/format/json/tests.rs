//! The codec against tables of examples, and against serde_json as the reference.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use super::{JsonDecoder, JsonEncoder, JsonOptions, TimestampFormat};
use crate::format::{Decoded, Decoder, Encoder, RawChunk};
use crate::types::{Column, SqlType, schema_of};

fn schema(columns: &[(&str, SqlType)]) -> SchemaRef {
    let column = |(name, ty): &(&str, SqlType)| Column { name: name.to_string(), ty: ty.clone(), not_null: false };
    schema_of(&columns.iter().map(column).collect::<Vec<_>>())
}

fn chunk<T: AsRef<[u8]>>(messages: &[T]) -> RawChunk {
    let mut data = Vec::new();
    let mut ends = Vec::new();
    for message in messages {
        data.extend_from_slice(message.as_ref());
        ends.push(data.len() as u32);
    }
    let offsets = (0..ends.len() as u64).collect();
    RawChunk { data: data.into(), ends, offsets, ..RawChunk::default() }
}

fn decode<T: AsRef<[u8]>>(schema: &SchemaRef, messages: &[T]) -> Decoded {
    let decoded =
        JsonDecoder::new(Arc::clone(schema), JsonOptions::default()).unwrap().decode(&chunk(messages)).unwrap();
    for column in decoded.rows.columns() {
        column.to_data().validate_full().unwrap();
    }
    decoded
}

fn encode(rows: &RecordBatch, options: JsonOptions) -> Vec<String> {
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    JsonEncoder::new(rows.schema(), options).unwrap().encode(rows, &mut data, &mut ends).unwrap();
    let text = String::from_utf8(data).unwrap();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, end)| text[start..*end].to_string()).collect()
}

/// One message into one column "v": what the encoder makes of the row, or SQLSTATE and text of the error.
fn one(ty: SqlType, message: &str) -> Result<String, String> {
    let decoded = decode(&schema(&[("v", ty)]), &[message]);
    match decoded.bad.as_slice() {
        [] => Ok(encode(&decoded.rows, JsonOptions::default()).remove(0)),
        [bad] => {
            assert_eq!(decoded.rows.num_rows(), 0, "a bad message leaves no row");
            Err(format!("{} {}", bad.error.state().code(), bad.error.message()))
        }
        more => panic!("{} errors for one message", more.len()),
    }
}

#[track_caller]
fn good(ty: SqlType, value: &str, expected: &str) {
    assert_eq!(one(ty, &format!("{{\"v\":{value}}}")), Ok(format!("{{\"v\":{expected}}}")), "{value}");
}

#[track_caller]
fn bad(ty: SqlType, value: &str, expected: &str) {
    assert_eq!(one(ty, &format!("{{\"v\":{value}}}")), Err(expected.to_string()), "{value}");
}

#[track_caller]
fn bad_message(message: &str, expected: &str) {
    assert_eq!(one(SqlType::BigInt, message), Err(expected.to_string()), "{message}");
}

#[test]
fn values_of_each_type() {
    good(SqlType::Boolean, "true", "true");
    good(SqlType::SmallInt, "-32768", "-32768");
    good(SqlType::Integer, "2147483647", "2147483647");
    good(SqlType::BigInt, "-9223372036854775808", "-9223372036854775808");
    good(SqlType::BigInt, "1e3", "1000");
    good(SqlType::BigInt, "1.0", "1");
    good(SqlType::Double, "0.1", "0.1");
    good(SqlType::Double, "1e300", "1e300");
    good(SqlType::Double, "-0", "-0");
    good(SqlType::Double, "\"NaN\"", "\"NaN\"");
    good(SqlType::Real, "\"-Infinity\"", "\"-Infinity\"");
    good(SqlType::Real, "0.1", "0.1");
    good(SqlType::Numeric(12, 2), "12.5", "12.50");
    good(SqlType::Numeric(12, 2), "\"12.5\"", "12.50");
    good(SqlType::Numeric(38, 0), "99999999999999999999999999999999999999", "99999999999999999999999999999999999999");
    good(SqlType::Text, r#""a\"\\\/\b\f\n\r\té\ud83d\ude00\u0001""#, r#""a\"\\/\b\f\n\r\té😀\u0001""#);
    good(SqlType::Text, "\"\"", "\"\"");
    good(SqlType::Varchar(Some(3)), "\"äöü\"", "\"äöü\"");
    good(SqlType::Bytea, "\"Zm9v\"", "\"Zm9v\"");
    good(SqlType::Bytea, r#""Zm\u0039v""#, "\"Zm9v\"");
    good(SqlType::Date, "\"2024-02-29\"", "\"2024-02-29\"");
    good(SqlType::Timestamp(3), "\"2024-01-01 00:00:00\"", "\"2024-01-01 00:00:00.000\"");
    good(SqlType::Timestamp(6), "\"2024-01-01T00:00:00.000001Z\"", "\"2024-01-01 00:00:00.000001\"");
    good(SqlType::Timestamp(0), "\"2024-01-01 00:00:00.4\"", "\"2024-01-01 00:00:00\"");
    good(SqlType::TimestampTz(3), r#""2024-01-01T00:00:00\u002B02:00""#, "\"2023-12-31 22:00:00.000Z\"");
    let row = SqlType::Row(vec![("a".into(), SqlType::BigInt), ("b".into(), SqlType::Text)]);
    good(row.clone(), r#"{"b":"x","c":[{}],"a":1}"#, r#"{"a":1,"b":"x"}"#);
    good(row.clone(), "{}", r#"{"a":null,"b":null}"#);
    good(SqlType::Array(Box::new(SqlType::Integer)), " [ 1 , null , 3 ] ", "[1,null,3]");
    good(
        SqlType::Array(Box::new(row)),
        r#"[{"a":1},null,{"b":"\n"}]"#,
        r#"[{"a":1,"b":null},null,{"a":null,"b":"\n"}]"#,
    );
    good(SqlType::Array(Box::new(SqlType::Text)), "[]", "[]");
    for ty in [SqlType::BigInt, SqlType::Text, SqlType::Bytea, SqlType::Array(Box::new(SqlType::Text))] {
        good(ty, "null", "null");
    }
}

#[test]
fn errors_name_the_field_and_what_was_found() {
    bad(SqlType::BigInt, "\"1\"", "22P02 field \"v\": expected bigint, found string \"1\"");
    bad(SqlType::BigInt, "[1, 2]", "22P02 field \"v\": expected bigint, found array [1, 2]");
    bad(SqlType::BigInt, "true", "22P02 field \"v\": expected bigint, found boolean true");
    bad(SqlType::BigInt, "1.5", "22P02 field \"v\": expected bigint, found number 1.5");
    bad(SqlType::SmallInt, "32768", "22003 field \"v\": value 32768 is out of range for type smallint");
    bad(SqlType::BigInt, "1e30", "22003 field \"v\": value 1e30 is out of range for type bigint");
    bad(SqlType::Numeric(4, 2), "100", "22003 field \"v\": value 100 is out of range for type numeric(4,2)");
    bad(SqlType::Numeric(4, 2), "\"1x\"", "22P02 field \"v\": invalid input syntax for type numeric(4,2): \"1x\"");
    bad(SqlType::Double, "1e400", "22003 field \"v\": value 1e400 is out of range for type double precision");
    bad(SqlType::Double, "1e-400", "22003 field \"v\": value 1e-400 is out of range for type double precision");
    bad(SqlType::Text, "1", "22P02 field \"v\": expected text, found number 1");
    bad(SqlType::Boolean, "\"true\"", "22P02 field \"v\": expected boolean, found string \"true\"");
    bad(SqlType::Varchar(Some(2)), "\"äöü\"", "22001 field \"v\": value too long for type character varying(2)");
    bad(SqlType::Bytea, "\"Zg=\"", "22P02 field \"v\": invalid input syntax for type bytea: \"Zg=\"");
    bad(SqlType::Date, "\"2024-02-30\"", "22008 field \"v\": date/time field value out of range: \"2024-02-30\"");
    bad(
        SqlType::Timestamp(3),
        "1700000000",
        "22P02 field \"v\": expected timestamp(3) without time zone, found number 1700000000",
    );
    let long = format!("\"{}\"", "x".repeat(100));
    let found = format!("22P02 field \"v\": expected bigint, found string {}...", &long[..40]);
    bad(SqlType::BigInt, &long, &found);
    let nested = SqlType::Row(vec![("list".into(), SqlType::Array(Box::new(SqlType::BigInt)))]);
    bad(nested, r#"{"list":[1,"x"]}"#, "22P02 field \"v.list[2]\": expected bigint, found string \"x\"");
}

#[test]
fn what_is_not_one_object_is_refused() {
    bad_message("", "22P04 invalid JSON: the message is empty");
    bad_message("  ", "22P04 invalid JSON: the message is empty");
    bad_message("1", "22P02 expected a JSON object, found number 1");
    bad_message("null", "22P02 expected a JSON object, found null");
    bad_message("garbage", "22P04 invalid JSON: expected a value, found \"g\" at byte 0");
    bad_message("{", "22P04 invalid JSON: expected a key, but the message ends after 1 bytes");
    bad_message(
        "{\"v\":\"half",
        "22P04 field \"v\": invalid JSON: expected the end of a string, but the message ends after 10 bytes",
    );
    bad_message("{\"v\":1", "22P04 invalid JSON: expected \",\" or \"}\", but the message ends after 6 bytes");
    bad_message("{\"v\":1}{\"v\":2}", "22P04 invalid JSON: expected nothing after the object, found \"{\" at byte 7");
    bad_message("{\"v\":1} x", "22P04 invalid JSON: expected nothing after the object, found \"x\" at byte 8");
    bad_message("{\"v\":1,}", "22P04 invalid JSON: expected a key, found \"}\" at byte 7");
    bad_message("{\"v\" 1}", "22P04 invalid JSON: expected \":\", found \"1\" at byte 5");
    bad_message(
        "{\"v\":01}",
        "22P04 field \"v\": invalid JSON: expected no digit after a leading zero, found \"1\" at byte 6",
    );
    bad_message("{\"x\":\"\\ud800\"}", "22P04 invalid JSON: a lone surrogate in a \\u escape is no character");
    bad_message("{'v':1}", "22P04 invalid JSON: expected a key, found \"'\" at byte 1");
    bad_message("{\"x\":ü}", "22P04 invalid JSON: expected a value, found \"ü\" at byte 5");
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    bad_message(&deep, "22P04 invalid JSON: more than 127 levels of nesting");
}

#[test]
fn invalid_utf_8_spoils_its_own_message_only() {
    let schema = schema(&[("v", SqlType::Text)]);
    let good = "{\"v\":\"äöü and more than twelve bytes\"}".as_bytes();
    let decoded = decode(&schema, &[good, b"{\"v\":\"\xff\"}", good]);
    assert_eq!(decoded.rows.num_rows(), 2);
    assert_eq!(decoded.bad.len(), 1);
    assert_eq!(decoded.bad[0].index, 1);
    assert_eq!(decoded.bad[0].error.message(), "invalid JSON: the message is not UTF-8 at byte 6");
    assert_eq!(encode(&decoded.rows, JsonOptions::default())[1].as_bytes(), good);
    // A character split by the border between two messages is whole in the chunk, and in neither message.
    let decoded = decode(&schema, &[&b"{\"v\":\"\xc3"[..], b"\xa4\"}", good]);
    assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (1, 2));
}

#[test]
fn tombstones_are_no_rows_and_no_errors() {
    let mut chunk = chunk(&["", "{\"v\":1}", "", "", "{\"v\":2}"]);
    chunk.nulls = vec![0, 3];
    let decoder = JsonDecoder::new(schema(&[("v", SqlType::BigInt)]), JsonOptions::default()).unwrap();
    let decoded = decoder.decode(&chunk).unwrap();
    assert_eq!(encode(&decoded.rows, JsonOptions::default()), ["{\"v\":1}", "{\"v\":2}"]);
    assert_eq!(decoded.bad.iter().map(|b| b.index).collect::<Vec<_>>(), [2], "empty is not the same as absent");
}

#[test]
fn a_bad_message_leaves_no_half_row() {
    let nested =
        SqlType::Row(vec![("x".into(), SqlType::Array(Box::new(SqlType::Text))), ("y".into(), SqlType::Bytea)]);
    let schema = schema(&[("a", SqlType::BigInt), ("n", nested), ("t", SqlType::Text), ("d", SqlType::Numeric(9, 1))]);
    let row = r#"{"a":1,"n":{"x":["p",null],"y":"Zg=="},"t":"a\nb","d":2.5}"#;
    let mut messages = vec![row.to_string()];
    for cut in 1..row.len() {
        messages.push(row[..cut].to_string());
    }
    messages.push(row.replace("2.5", "\"x\""));
    messages.push(row.replace("Zg==", "Zg"));
    messages.push(row.to_string());
    let decoded = decode(&schema, &messages);
    assert_eq!(decoded.bad.len(), messages.len() - 2);
    assert_eq!(encode(&decoded.rows, JsonOptions::default()), [row, row]);
}

#[test]
fn keys_in_any_order_missing_repeated_and_unknown() {
    let schema = schema(&[("a", SqlType::BigInt), ("b", SqlType::Text), ("c\"", SqlType::BigInt)]);
    let decoded = decode(
        &schema,
        &[
            r#"{"a":1,"b":"x","c\"":3}"#,
            r#"{"c\u0022":3,"b":"x","a":1}"#,
            r#" { "z" : {"a":[9,{"a":9}]} , "b" : "x" , "a" : 1 } "#,
            r#"{"a":1,"a":2,"b":"x","b":null}"#,
            r#"{"A":1,"bb":"x"}"#,
            r#"{"b":"x","c\"":3}"#,
            r#"{"a":1,"b":"x","c\"":3}"#,
        ],
    );
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    assert_eq!(
        encode(&decoded.rows, JsonOptions::default()),
        [
            r#"{"a":1,"b":"x","c\"":3}"#,
            r#"{"a":1,"b":"x","c\"":3}"#,
            r#"{"a":1,"b":"x","c\"":null}"#,
            r#"{"a":2,"b":null,"c\"":null}"#,
            r#"{"a":1,"b":null,"c\"":null}"#,
            r#"{"a":null,"b":"x","c\"":3}"#,
            r#"{"a":1,"b":"x","c\"":3}"#,
        ]
    );
}

#[test]
fn rows_without_wanted_columns_are_still_counted() {
    let decoded = decode(&schema(&[]), &["{\"a\":1}", "{}", "{"]);
    assert_eq!((decoded.rows.num_rows(), decoded.bad.len()), (2, 1));
    assert_eq!(encode(&decoded.rows, JsonOptions::default()), ["{}", "{}"]);
}

#[test]
fn keys_and_formats_of_the_encoder() {
    let schema = schema(&[("a", SqlType::BigInt), ("t", SqlType::TimestampTz(3)), ("u", SqlType::Timestamp(4))]);
    let message = r#"{"a":1,"t":"2024-01-01 00:00:00Z","u":"1969-12-31 23:59:59.99995"}"#;
    let rows = decode(&schema, &[message]).rows;
    let iso = JsonOptions { timestamp_format: TimestampFormat::Iso8601 };
    assert_eq!(encode(&rows, iso), [r#"{"a":1,"t":"2024-01-01T00:00:00.000Z","u":"1970-01-01T00:00:00.0000"}"#]);
    let key = JsonEncoder::with_columns(&schema, &[2, 0], JsonOptions::default()).unwrap();
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    key.encode(&rows, &mut data, &mut ends).unwrap();
    assert_eq!(String::from_utf8(data).unwrap(), r#"{"u":"1970-01-01 00:00:00.0000","a":1}"#);
}

/// Numbers for tests: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn string(&mut self) -> String {
        let alphabet = ["a", "B", "7", " ", "\"", "\\", "/", "\n", "\u{1}", "é", "€", "😀", "{", "}", ":", ","];
        (0..self.below(30)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth > 3 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => json!(self.chance(2)),
            2 => json!(self.below(2000) as i64 - 1000),
            3 => json!((self.below(2000) as f64 - 1000.0) / 7.0),
            4 => json!(self.string()),
            5 => Value::Array((0..self.below(4)).map(|_| self.value(depth + 1)).collect()),
            _ => Value::Object((0..self.below(4)).map(|_| (self.string(), self.value(depth + 1))).collect()),
        }
    }

    /// A value that fits the type, most of the time.
    fn typed(&mut self, ty: &SqlType) -> Value {
        if self.chance(12) {
            return Value::Null;
        }
        match ty {
            SqlType::BigInt => json!((self.below(1 << 30) as i64 - (1 << 29)) << self.below(34)),
            SqlType::Double => json!((self.below(2000) as f64 - 1000.0) / 7.0),
            SqlType::Boolean => json!(self.chance(2)),
            SqlType::Array(item) => Value::Array((0..self.below(4)).map(|_| self.typed(item)).collect()),
            SqlType::Row(fields) => {
                Value::Object(fields.iter().map(|(name, ty)| (name.clone(), self.typed(ty))).collect())
            }
            _ => json!(self.string()),
        }
    }

    fn document(&mut self, fields: &[(&str, SqlType)]) -> String {
        let mut members = Vec::new();
        for (name, ty) in fields {
            if self.chance(10) {
                continue;
            }
            members.push((name.to_string(), if self.chance(100) { self.value(0) } else { self.typed(ty) }));
        }
        for _ in 0..self.below(3) {
            members.push((self.string(), self.value(0)));
        }
        for i in 0..members.len() {
            if self.chance(4) {
                let j = self.below(members.len());
                members.swap(i, j);
            }
        }
        let members = members.iter().map(|(k, v)| {
            let text = if self.chance(3) { serde_json::to_string_pretty(v) } else { serde_json::to_string(v) };
            format!("{}{}{}", serde_json::to_string(k).unwrap(), [":", " : "][self.below(2)], text.unwrap())
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn mutate(&mut self, document: &[u8]) -> Vec<u8> {
        let mut bytes = document.to_vec();
        for _ in 0..=self.below(2) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            let interesting = b"{}[]\",:\\u0123.eE-+ \n\x00\x1f\x7f\x80\xc3\xffntf";
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, interesting[self.below(interesting.len())]),
                3 => bytes[at] = interesting[self.below(interesting.len())],
                4 => bytes[at] ^= 1 << self.below(8),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }
}

/// The members of one object as serde_json reads them, in order, repeated ones too.
struct Members(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// What the value is as a `ty`; `None` if it is none. Rows that repeat a key were settled by serde_json already.
fn reference(ty: &SqlType, value: &Value) -> Option<Value> {
    Some(match (ty, value) {
        (_, Value::Null) => Value::Null,
        (SqlType::BigInt, Value::Number(n)) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => json!(i),
            (None, Some(f)) if f.fract() == 0.0 && f.abs() < 1e15 => json!(f as i64),
            _ => return None,
        },
        (SqlType::Double, Value::Number(n)) => json!(n.as_f64()?),
        (SqlType::Boolean, Value::Bool(_)) | (SqlType::Text, Value::String(_)) => value.clone(),
        (SqlType::Array(item), Value::Array(v)) => {
            Value::Array(v.iter().map(|v| reference(item, v)).collect::<Option<_>>()?)
        }
        (SqlType::Row(fields), Value::Object(members)) => {
            let field = |(name, ty): &(String, SqlType)| {
                let member = members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                Some((name.clone(), member.map_or(Some(Value::Null), |(_, v)| reference(ty, v))?))
            };
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn reference_row(fields: &[(&str, SqlType)], message: &[u8]) -> Option<Value> {
    let Members(members) = serde_json::from_slice(message).ok()?;
    let mut row = fields.iter().map(|(name, _)| (name.to_string(), Value::Null)).collect::<serde_json::Map<_, _>>();
    for (name, value) in members {
        if let Some((column, ty)) = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(&name)) {
            row.insert(column.to_string(), reference(ty, &value)?);
        }
    }
    Some(Value::Object(row))
}

/// Doubles as numbers, whether they look whole or not. serde_json, which reads on both sides, may miss the nearest
/// double by one each time.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let close = |a: f64, b: f64| (a - b).abs() <= a.abs() * 4.0 * f64::EPSILON;
            a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| close(a, b))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn compare_with_serde_json(seed: u64, make: impl Fn(&mut Random, &[(&str, SqlType)]) -> Vec<u8>) -> (usize, usize) {
    let row =
        SqlType::Row(vec![("deep".into(), SqlType::Text), ("list".into(), SqlType::Array(Box::new(SqlType::Double)))]);
    let fields = [
        ("number", SqlType::BigInt),
        ("text", SqlType::Text),
        ("double", SqlType::Double),
        ("flag", SqlType::Boolean),
        ("row", row.clone()),
        ("rows", SqlType::Array(Box::new(row))),
    ];
    let schema = schema(&fields);
    let mut random = Random(seed);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..300 {
        let messages = (0..20).map(|_| make(&mut random, &fields)).collect::<Vec<_>>();
        let decoded = decode(&schema, &messages);
        let mut rows = encode(&decoded.rows, JsonOptions::default()).into_iter();
        for (index, message) in messages.iter().enumerate() {
            let error = decoded.bad.iter().find(|b| b.index == index);
            let found = if error.is_some() { None } else { Some(rows.next().unwrap()) };
            let found = found.map(|row| serde_json::from_str::<Value>(&row).unwrap());
            let expected = reference_row(&fields, message);
            let equal = match (&found, &expected) {
                (Some(found), Some(expected)) => same(found, expected),
                (None, None) => true,
                _ => false,
            };
            let shown = String::from_utf8_lossy(message);
            assert!(equal, "message {shown}\nfound {found:?}\nexpected {expected:?}\nerror {error:?}");
            *(if expected.is_some() { &mut good } else { &mut bad }) += 1;
        }
        assert!(rows.next().is_none());
    }
    (good, bad)
}

#[test]
fn random_documents_are_read_as_serde_json_reads_them() {
    let (good, bad) = compare_with_serde_json(7, |random, fields| random.document(fields).into_bytes());
    assert!(good > 4_000 && bad > 50, "{good} good, {bad} bad");
}

#[test]
fn mutated_documents_meet_the_verdict_of_serde_json() {
    let (good, bad) = compare_with_serde_json(11, |random, fields| {
        let document = random.document(fields);
        random.mutate(document.as_bytes())
    });
    assert!(good > 500 && bad > 2_000, "{good} good, {bad} bad");
}

/// Without blanks, and with keys that come in the same order: what is read without a second look.
#[test]
fn compact_documents_meet_the_verdict_of_serde_json() {
    let (good, bad) = compare_with_serde_json(13, |random, fields| {
        let document = random.document(fields).into_bytes();
        let compact =
            serde_json::from_slice::<Value>(&document).map_or(document, |value| value.to_string().into_bytes());
        if random.chance(3) { random.mutate(&compact) } else { compact }
    });
    assert!(good > 3_000 && bad > 500, "{good} good, {bad} bad");
}
