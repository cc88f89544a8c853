//! Messages that nobody sent: whatever the bytes, each message is a row or is named as bad, in every format.

use arrow::array::Array;
use arrow::datatypes::Schema;

use super::csv::CsvOptions;
use super::json::JsonOptions;
use super::raw::RawOptions;
use super::{Decoder, Format, RawChunk};
use crate::error::SqlState;
use crate::types::{Column, SqlType, schema_of};

/// Chunks of each format.
const CHUNKS: usize = 150;
const MESSAGES: usize = 20;

struct Random(u64);

impl Random {
    /// splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    /// The message with a few bytes lost, added, repeated or exchanged; or with a piece of another in it.
    fn mutated(&mut self, message: &[u8], other: &[u8]) -> Vec<u8> {
        const INTERESTING: &[u8] = b"{}[]\"',:;\\|#u0129.eE-+TZ \n\r\t\x00\x1f\x7f\x80\xc3\xed\xff";
        const LONG: [&[u8]; 6] = [
            b"99999999999999999999",
            b"1e400",
            b"\\ud800",
            b"[[[[[[[[",
            b"\xf0\x9f\xa6\x80",
            b"0001-01-01T00:00:00+99",
        ];
        let mut bytes = message.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len() + 1);
            let byte = INTERESTING[self.below(INTERESTING.len())];
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..(at + 1 + self.below(4)).min(bytes.len()).max(at))),
                2 => bytes.insert(at, byte),
                3 if at < bytes.len() => bytes[at] = byte,
                4 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                5 => drop(bytes.splice(at..at, LONG[self.below(LONG.len())].iter().copied())),
                6 => {
                    let from = self.below(other.len() + 1);
                    drop(bytes.splice(at.., other[from..].iter().copied()));
                }
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }
}

fn schema(types: &[SqlType]) -> Schema {
    let column = |(n, ty): (usize, &SqlType)| Column { name: format!("c{n}"), ty: ty.clone(), not_null: false };
    schema_of(&types.iter().enumerate().map(column).collect::<Vec<_>>()).as_ref().clone()
}

/// Types that every text format has a form for.
fn plain_types() -> Vec<SqlType> {
    vec![
        SqlType::Boolean,
        SqlType::SmallInt,
        SqlType::Integer,
        SqlType::BigInt,
        SqlType::Numeric(20, 4),
        SqlType::Real,
        SqlType::Double,
        SqlType::Text,
        SqlType::Varchar(Some(3)),
        SqlType::Bytea,
        SqlType::Uuid,
        SqlType::Date,
        SqlType::Time(6),
        SqlType::Timestamp(3),
        SqlType::TimestampTz(6),
    ]
}

/// Feeds a format with mutations of good messages; how many rows and bad messages came of them.
fn feed(format: &Format, schema: &Schema, good: &[&str], seed: u64) -> (usize, usize) {
    let every = (0..schema.fields().len()).collect::<Vec<_>>();
    let decoder = format.decoder(schema, &every).unwrap();
    for message in good {
        let (rows, bad) = decode(&*decoder, &[message.as_bytes().to_vec()]);
        assert!(rows > 0 && bad == 0, "{message} is no good message");
    }
    let mut random = Random(seed);
    let (mut all_rows, mut all_bad) = (0, 0);
    for _ in 0..CHUNKS {
        let mut one = || good[random.below(good.len())].as_bytes();
        let pairs: Vec<(&[u8], &[u8])> = (0..MESSAGES).map(|_| (one(), one())).collect();
        let messages: Vec<Vec<u8>> = pairs.into_iter().map(|(message, other)| random.mutated(message, other)).collect();
        let (rows, bad) = decode(&*decoder, &messages);
        all_rows += rows;
        all_bad += bad;
    }
    (all_rows, all_bad)
}

fn decode(decoder: &dyn Decoder, messages: &[Vec<u8>]) -> (usize, usize) {
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for message in messages {
        data.extend_from_slice(message);
        ends.push(data.len() as u32);
    }
    let offsets = (0..ends.len() as u64).collect();
    let chunk = RawChunk { data: data.into(), ends, offsets, ..RawChunk::default() };
    let decoded = decoder.decode(&chunk).unwrap();
    let rows = decoded.rows.num_rows();
    for column in decoded.rows.columns() {
        assert_eq!(column.len(), rows);
        column.to_data().validate_full().unwrap();
    }
    match &decoded.weights {
        Some(weights) => assert_eq!(weights.len(), rows),
        None => assert_eq!(rows + decoded.bad.len(), messages.len()),
    }
    assert!(decoded.bad.is_sorted_by(|a, b| a.index < b.index));
    for bad in &decoded.bad {
        let message = String::from_utf8_lossy(&messages[bad.index]);
        assert_ne!(bad.error.state(), SqlState::InternalError, "{message}: {}", bad.error);
    }
    (rows, decoded.bad.len())
}

#[track_caller]
fn check(format: Format, schema: &Schema, good: &[&str]) {
    let (rows, bad) = feed(&format, schema, good, 17);
    assert!(rows > CHUNKS && bad > CHUNKS, "{}: {rows} rows, {bad} bad messages test little", format.name());
}

const JSON: &str = r#"{"c0":true,"c1":-7,"c2":2147483647,"c3":-9223372036854775808,"c4":12.5,"c5":0.1,"c6":"NaN",
    "c7":"a\"\u00e4\ud83d\ude00","c8":"xyz","c9":"Zm9v","c10":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","c11":"2024-02-29",
    "c12":"23:59:59.999999","c13":"2024-01-01 00:00:00.123","c14":"2024-01-01T00:00:00+02:00","c15":"P1Y2M",
    "c16":[1,null],"c17":{"x":1,"y":[{"z":"\n"}]},"c18":{"any":[1,2.5e3,"x",null]}}"#;

#[test]
fn mutated_messages_are_rows_or_bad() {
    let row = SqlType::Row(vec![
        ("x".into(), SqlType::BigInt),
        ("y".into(), SqlType::Array(Box::new(SqlType::Row(vec![("z".into(), SqlType::Text)])))),
    ]);
    let nested = [SqlType::Text, SqlType::Array(Box::new(SqlType::Integer)), row, SqlType::Jsonb];
    let wide = schema(&[plain_types(), nested.to_vec()].concat());
    check(Format::Json(JsonOptions::default()), &wide, &[JSON, "{}", r#"{"c3":1,"c3":null,"other":[{}]}"#]);

    let changes = [
        format!(r#"{{"before":null,"after":{JSON},"op":"c"}}"#),
        format!(r#"{{"before":{JSON},"after":{{"c2":1}},"op":"u","ts_ms":1}}"#),
        format!(r#"{{"payload":{{"before":{JSON},"after":null,"op":"d"}},"schema":{{}}}}"#),
    ];
    let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
    check(Format::DebeziumJson(JsonOptions::default()), &wide, &changes);

    let line = "t,-7,2147483647,-9223372036854775808,12.5,0.1,NaN,\"a \"\"b\"\", c\",xyz,\\x00ff,\
                a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,2024-02-29,23:59:59.999999,2024-01-01 00:00:00.123,2024-01-01 00:00:00+02";
    check(Format::Csv(CsvOptions::default()), &schema(&plain_types()), &[line, ",,,,,,,,,,,,,,"]);
    let piped = CsvOptions::new(b'|', Some(b'\''), Some(b'\\'), "NULL".into()).unwrap();
    check(Format::Csv(piped), &schema(&[SqlType::Integer, SqlType::Text]), &["1|'it\\'s'", "NULL|x"]);
}

#[test]
fn mutated_bytes_are_values_or_bad() {
    check(Format::Raw(RawOptions::default()), &schema(&[SqlType::Text]), &["ä🦀", "plain"]);
    let (rows, bad) = feed(&Format::Raw(RawOptions { lines: true }), &schema(&[SqlType::Bytea]), &["a\nb\n"], 18);
    assert_eq!((rows, bad), (CHUNKS * MESSAGES, 0));
}
