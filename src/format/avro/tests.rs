//! Rows through bytes and back, and bytes as other writers write them.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::error::SqlState;
use crate::format::{Decoded, Decoder, Encoder, RawChunk};

/// A registry in memory.
#[derive(Debug, Default)]
struct Known {
    schemas: Mutex<HashMap<u32, String>>,
    asked: Mutex<Vec<u32>>,
    away: Mutex<bool>,
}

impl Known {
    fn with(schemas: &[(u32, &str)]) -> Arc<Known> {
        let schemas = schemas.iter().map(|(id, text)| (*id, text.to_string())).collect();
        Arc::new(Known { schemas: Mutex::new(schemas), ..Known::default() })
    }
}

impl Registry for Known {
    fn schema(&self, id: u32) -> Result<Option<String>> {
        self.asked.lock().push(id);
        if *self.away.lock() {
            return Err(Error::new(SqlState::ConnectionFailure, "away"));
        }
        Ok(self.schemas.lock().get(&id).cloned())
    }

    fn ask(&self, asker: Asker) {
        let answer = self.schema(asker.id());
        asker.tell(answer);
    }

    fn register(&self, _subject: &str, schema: &str) -> Result<u32> {
        let mut schemas = self.schemas.lock();
        let id = 100 + schemas.len() as u32;
        schemas.insert(id, schema.to_string());
        Ok(id)
    }
}

fn options(registry: &Arc<Known>) -> AvroOptions {
    AvroOptions { registry: Arc::clone(registry) as Arc<dyn Registry>, subject: "t-value".into() }
}

fn columns(columns: &[(&str, SqlType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| ty.field(name)).collect::<Vec<_>>()))
}

fn chunk(messages: &[Vec<u8>]) -> RawChunk {
    let mut chunk = RawChunk::default();
    let mut data = Vec::new();
    for (offset, message) in messages.iter().enumerate() {
        data.extend_from_slice(message);
        chunk.ends.push(data.len() as u32);
        chunk.offsets.push(offset as u64);
    }
    chunk.data = Bytes::from(data);
    chunk
}

fn decode(registry: &Arc<Known>, schema: &SchemaRef, messages: &[Vec<u8>]) -> Decoded {
    AvroDecoder::new(Arc::clone(schema), options(registry)).unwrap().decode(&chunk(messages)).unwrap()
}

/// A message by schema `id`.
fn message(id: u8, value: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id], value].concat()
}

#[test]
fn what_is_written_reads_back() {
    let row = SqlType::Row(vec![("x".into(), SqlType::Integer), ("t".into(), SqlType::Array(Box::new(SqlType::Text)))]);
    let schema = columns(&[
        ("b", SqlType::Boolean),
        ("s", SqlType::SmallInt),
        ("i", SqlType::Integer),
        ("l", SqlType::BigInt),
        ("r", SqlType::Real),
        ("d", SqlType::Double),
        ("n", SqlType::Numeric(38, 3)),
        ("t", SqlType::Text),
        ("y", SqlType::Bytea),
        ("da", SqlType::Date),
        ("t3", SqlType::Timestamp(3)),
        ("t6", SqlType::TimestampTz(6)),
        ("z3", SqlType::TimestampTz(3)),
        ("u6", SqlType::Timestamp(6)),
        ("c3", SqlType::Time(3)),
        ("c6", SqlType::Time(6)),
        ("u", SqlType::Uuid),
        ("j", SqlType::Jsonb),
        ("v", SqlType::Varchar(Some(2))),
        ("o", row),
    ]);
    let json = [
        r#"{"b":true,"s":-5,"i":2147483647,"l":-9223372036854775808,"r":1.5,"d":-0.1,"n":-12345678901234567890.125,"t":"häy","y":"AP8=",
            "da":"1969-12-31","t3":"1969-12-31 23:59:59.999","t6":"2024-02-29 12:00:00.123456Z",
            "z3":"1969-12-31 23:59:59.999Z","u6":"1969-12-31 23:59:59.999999","c3":"23:59:59.999","c6":"00:00:00.000001",
            "u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","j":{"b":[1.50,null],"a":"x"},"v":"ab","o":{"x":-64,"t":["a",null,""]}}"#,
        r#"{"b":false,"s":0,"i":64,"l":9223372036854775807,"r":"NaN","d":"-Infinity","n":0.128,"t":"","y":"","da":"2024-02-29",
            "t3":null,"t6":null,"o":{"x":null,"t":[]}}"#,
        "{}",
    ];
    let json: Vec<Vec<u8>> = json.iter().map(|text| text.as_bytes().to_vec()).collect();
    let decoder = crate::format::json::JsonDecoder::new(Arc::clone(&schema), Default::default()).unwrap();
    let rows = decoder.decode(&chunk(&json)).unwrap().rows;
    assert_eq!(rows.num_rows(), 3);
    assert!(rows.column_by_name("u").is_some_and(|u| u.is_valid(0)));
    let registry = Known::with(&[]);
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let encoder = AvroEncoder::new(&schema, &all, options(&registry)).unwrap();
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    encoder.encode(&rows, &mut data, &mut ends).unwrap();
    encoder.encode(&rows.slice(0, 0), &mut data, &mut ends).unwrap();
    assert_eq!(registry.schemas.lock().len(), 1, "the schema is registered once");
    let chunk = RawChunk {
        data: Bytes::from(data),
        ends: ends.iter().map(|end| *end as u32).collect(),
        offsets: vec![0, 1, 2],
        ..RawChunk::default()
    };
    let back = AvroDecoder::new(Arc::clone(&schema), options(&registry)).unwrap();
    let decoded = back.decode(&chunk).unwrap();
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    assert_eq!(shown(&decoded.rows), shown(&rows));
    // A part of it, in another order.
    let few = Arc::new(schema.project(&[7, 2]).unwrap());
    let few = AvroDecoder::new(few, options(&registry)).unwrap().decode(&chunk).unwrap().rows;
    assert_eq!(shown(&few), shown(&rows.project(&[7, 2]).unwrap()));
    back.decode(&chunk).unwrap();
    assert_eq!(*registry.asked.lock(), [100, 100], "a decoder asks once");
}

fn shown(rows: &RecordBatch) -> String {
    let encoded = crate::change::row::encode_rows(rows).unwrap();
    encoded.iter().map(|row| format!("{row:?}\n")).collect()
}

#[test]
fn writers_of_several_schemas_meet_the_same_columns() {
    let registry = Known::with(&[
        (
            1,
            r#"{"type":"record","name":"R","fields":[{"name":"Id","type":"int"},{"name":"extra","type":{"type":"map","values":"long"}}]}"#,
        ),
        (
            2,
            r#"{"type":"record","name":"R","fields":[{"name":"name","type":["string","null"]},{"name":"id","type":"long"}]}"#,
        ),
    ]);
    let schema = columns(&[("id", SqlType::BigInt), ("name", SqlType::Text)]);
    let messages = [
        // Id 1; a map of one block of two, told with its bytes.
        message(1, &[2, 3, 12, 2, b'a', 2, 2, b'b', 4, 0]),
        message(2, &[0, 4, b'h', b'i', 6]),
        message(2, &[2, 8]),
    ];
    let decoded = decode(&registry, &schema, &messages);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let ids: Vec<i64> = decoded.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    let names: Vec<Option<&str>> = decoded.rows.column(1).as_string_view().iter().collect();
    assert_eq!((ids, names), (vec![1, 3, 4], vec![None, Some("hi"), None]));
}

#[test]
fn bad_messages_are_named_and_leave_nothing_behind() {
    let registry = Known::with(&[
        (1, r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"}]}"#),
        (2, r#"{"type":"record","name":"R","fields":[{"name":"id","type":"string"}]}"#),
        (3, r#""int""#),
        (4, r#"{"type":"record","name":"R","fields":[{"name":"id","type":"list"}]}"#),
    ]);
    let schema = columns(&[("id", SqlType::Integer), ("name", SqlType::Varchar(Some(2)))]);
    let good = message(1, &[2, 2, b'a']);
    let cases: &[(Vec<u8>, &str)] = &[
        (b"{\"id\":1}".to_vec(), "does not begin with a zero and the number of its schema"),
        (vec![0, 0, 0, 0], "does not begin with a zero"),
        (message(1, &[2]), "invalid Avro: "),
        (message(1, &[2, 2]), "invalid Avro: the value does not end within its 7 bytes"),
        (message(1, &[2, 2, b'a', 0]), "invalid Avro: bytes are left over behind the value"),
        ([message(1, &[2, 2, b'a']), message(1, &[2, 2, b'a'])].concat(), "bytes are left over"),
        (message(1, &[2, 2, 0xff]), "invalid Avro"),
        (message(1, &[2, 6, b'a', b'b', b'c']), "field \"name\": value too long for type character varying(2)"),
        (
            message(1, &[0x80, 0x80, 0x80, 0x80, 0x20, 0]),
            "field \"id\": value \"4294967296\" is out of range for type integer",
        ),
        (message(2, &[2, b'1']), "schema 2: field \"id\": a value of type text does not fit into type integer"),
        (message(3, &[2]), "schema 3: an Avro schema that is no record is not supported"),
        (message(4, &[2]), "schema 4: an Avro schema that uses type \"list\" before its definition ends"),
        (message(9, &[2]), "the schema registry has no schema 9"),
    ];
    for (bad, expected) in cases {
        let decoded = decode(&registry, &schema, &[good.clone(), bad.clone(), good.clone()]);
        assert_eq!(decoded.rows.column(0).as_primitive::<Int32Type>().values().to_vec(), [1, 1], "{expected}");
        assert_eq!((decoded.bad.len(), decoded.bad[0].index), (1, 1), "{expected}");
        let message = decoded.bad[0].error.message();
        assert!(message.contains(expected), "{message} does not contain {expected}");
    }
}

#[test]
fn damaged_messages_never_panic() {
    let registry = Known::with(&[(
        1,
        r#"{"type":"record","name":"R","fields":[{"name":"n","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"a","type":{"type":"array","items":["null","string"]}},{"name":"x","type":["null","long","string"]},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}},{"name":"m","type":{"type":"map","values":"E"}}]}"#,
    )]);
    let schema =
        columns(&[("n", SqlType::Numeric(9, 2)), ("a", SqlType::Array(Box::new(SqlType::Text))), ("e", SqlType::Text)]);
    let good = message(1, &[4, 1, 0, 4, 0, 2, 2, b'x', 0, 0, 0, 0]);
    let decoded = decode(&registry, &schema, std::slice::from_ref(&good));
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let mut state = 7_u64;
    let messages: Vec<Vec<u8>> = (0..5_000)
        .map(|_| {
            let mut message = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = 5 + (state >> 33) as usize % (message.len() - 5);
                message[at] = (state >> 56) as u8;
            }
            message
        })
        .collect();
    let decoded = decode(&registry, &schema, &messages);
    assert_eq!(decoded.rows.num_rows() + decoded.bad.len(), messages.len());
}

#[test]
fn a_registry_that_is_away_is_no_bad_message() {
    let registry = Arc::new(Known { away: Mutex::new(true), ..Known::default() });
    let schema = columns(&[("id", SqlType::BigInt)]);
    let decoder = AvroDecoder::new(schema, options(&registry)).unwrap();
    let error = decoder.decode(&chunk(&[message(1, &[2])])).expect_err("an error");
    assert_eq!(error.state(), SqlState::ConnectionFailure);
}

/// A chunk waits for its schemas. What the registry does not have is not asked for by each chunk anew, and one that is away
/// is asked again after pauses that grow, and told as trouble meanwhile.
#[test]
fn chunks_wait_for_their_schemas() {
    const SECOND: i64 = 1_000_000;
    let registry = Known::with(&[(1, r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"}]}"#)]);
    let decoder = AvroDecoder::new(columns(&[("id", SqlType::BigInt)]), options(&registry)).unwrap();
    let waits = decoder.waits().unwrap();
    let wake: crate::format::Waker = Arc::new(|| {});
    let messages = chunk(&[message(1, &[2]), vec![7], message(1, &[4]), message(9, &[6])]);
    let asked = || std::mem::take(&mut *registry.asked.lock());

    *registry.away.lock() = true;
    let mut pauses = Vec::new();
    let mut now = 0;
    while pauses.len() < 10 {
        assert!(!waits.prepare(&messages, now, &wake).unwrap());
        assert_eq!(asked(), [1]);
        assert!(!waits.prepare(&messages, now, &wake).unwrap());
        assert_eq!(asked(), [] as [u32; 0], "not before the pause is over");
        assert_eq!(waits.trouble().unwrap().message(), "away");
        let again = waits.wake_at().unwrap();
        pauses.push(again - now);
        now = again;
    }
    assert!(pauses.is_sorted() && pauses[1] == 2 * pauses[0] && pauses[9] == 10 * SECOND, "{pauses:?}");

    *registry.away.lock() = false;
    assert!(waits.prepare(&messages, now, &wake).unwrap());
    assert_eq!((asked(), waits.trouble().is_none(), waits.wake_at()), (vec![1, 9], true, None));
    let decoded = decoder.decode(&messages).unwrap();
    assert_eq!(decoded.rows.num_rows(), 2);
    assert_eq!(decoded.bad.iter().map(|bad| bad.index).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(decoded.bad[1].error.message(), "the schema registry has no schema 9");
    assert!(waits.prepare(&messages, now + SECOND, &wake).unwrap());
    assert_eq!(asked(), [] as [u32; 0], "what is not there is not asked for again");
    let known = registry.schemas.lock()[&1].clone();
    registry.schemas.lock().insert(9, known);
    assert!(waits.prepare(&messages, now + 60 * SECOND, &wake).unwrap());
    assert_eq!(asked(), [9], "but after a while, since it may be there");
    assert_eq!(decoder.decode(&messages).unwrap().rows.num_rows(), 3);

    // More schemas than are waited for: they are asked for as messages are decoded.
    let many = chunk(&(10..100).map(|id| message(id, &[2])).collect::<Vec<_>>());
    assert!(waits.prepare(&many, now, &wake).unwrap());
    assert_eq!(decoder.decode(&many).unwrap().bad.len(), 90);
    assert_eq!(asked().len(), 90);
    assert_eq!(decoder.decode(&many).unwrap().bad.len(), 90);
    assert_eq!(asked(), [] as [u32; 0]);
}

#[test]
fn what_avro_has_no_form_for_is_refused() {
    let registry = Known::with(&[]);
    let refused = |name: &str, ty: SqlType| {
        let schema = columns(&[(name, ty)]);
        AvroEncoder::new(&schema, &[0], options(&registry)).map(drop).expect_err("a refusal").message().to_string()
    };
    assert_eq!(refused("gap", SqlType::Interval), "column \"gap\" of type interval has no form in Avro");
    assert_eq!(refused("a b", SqlType::Text), "column \"a b\" cannot be the name of an Avro field");
    assert_eq!(refused("1st", SqlType::Text), "column \"1st\" cannot be the name of an Avro field");
}

/// Every order of good and bad messages, of several schemas: what is good stays in its place.
#[test]
fn messages_keep_their_order() {
    let registry = Known::with(&[
        (1, r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"}]}"#),
        (2, r#"{"type":"record","name":"R","fields":[{"name":"note","type":"string"},{"name":"id","type":"long"}]}"#),
    ]);
    let schema = columns(&[("id", SqlType::SmallInt)]);
    let mut state = 1_u64;
    for _ in 0..50 {
        let (mut messages, mut good, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..40_u8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = n << 1;
            messages.push(match (state >> 60) % 8 {
                0 => message(1, &[]),
                // Too large for the column, which shows only when all are decoded.
                1 => message(1, &[0x80, 0x80, 0x80, 0x80, 1]),
                2 => message(7, &[value]),
                3 | 4 => message(2, &[2, b'x', value]),
                _ => message(1, &[value]),
            });
            if (state >> 60) % 8 <= 2 {
                wrong.push(usize::from(n))
            } else {
                good.push(i16::from(n))
            };
        }
        let decoded = decode(&registry, &schema, &messages);
        assert_eq!(decoded.rows.column(0).as_primitive::<arrow::datatypes::Int16Type>().values().to_vec(), good);
        assert_eq!(decoded.bad.iter().map(|bad| bad.index).collect::<Vec<_>>(), wrong);
    }
}

/// As Avro's schemas evolve: fields come, go, change places, and numbers become wider.
#[test]
fn types_of_avro_and_what_they_become() {
    let field = |name: &str, ty: &str| format!(r#"{{"name":"{name}","type":{ty}}}"#);
    let fields = [
        // Defined in a field that is not wanted, and used in one that is.
        field("skipped", r#"{"type":"record","name":"Point","namespace":"geo","fields":[{"name":"x","type":"int"}]}"#),
        field("point", r#"["null","geo.Point"]"#),
        field("fixed", r#"{"type":"fixed","name":"F","size":2}"#),
        field("cents", r#"{"type":"fixed","name":"D","size":2,"logicalType":"decimal","precision":4,"scale":2}"#),
        field("kind", r#"{"type":"enum","name":"E","symbols":["A","B"]}"#),
        field("at", r#"{"type":"long","logicalType":"timestamp-nanos"}"#),
        field("id", r#"{"type":"string","logicalType":"uuid"}"#),
        field("tags", r#"{"type":"map","values":"string"}"#),
        field("either", r#"["null","long","string"]"#),
        field("wide", "\"int\""),
    ];
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
    let registry = Known::with(&[(1, &schema)]);
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let mut value = vec![4, 2, 6, 0xca, 0xfe, 0xff, 0x9c, 2, 0xd0, 0x0f, 72];
    value.extend_from_slice(uuid.as_bytes());
    value.extend_from_slice(&[2, 2, b'k', 2, b'v', 0, 4, 2, b'x', 14]);
    let read = |wanted: &[(&str, SqlType)]| {
        let decoded = decode(&registry, &columns(wanted), &[message(1, &value)]);
        match decoded.bad.first() {
            Some(bad) => bad.error.message().to_string(),
            None => {
                let show = |(column, (_, ty)): (&arrow::array::ArrayRef, &(&str, SqlType))| {
                    let cells = crate::types::cells::Cells::of(column, ty).unwrap();
                    let mut text = String::new();
                    if !cells.is_null(0) {
                        cells.text(0, chrono_tz::UTC, &mut text);
                    }
                    text
                };
                decoded.rows.columns().iter().zip(wanted).map(show).collect::<Vec<_>>().join("|")
            }
        }
    };
    let point = SqlType::Row(vec![("x".into(), SqlType::BigInt)]);
    assert_eq!(read(&[("point", point)]), "(3)");
    assert_eq!(read(&[("missing", SqlType::Text), ("WIDE", SqlType::BigInt)]), "|7");
    assert_eq!(read(&[]), "");
    assert_eq!(
        read(&[
            ("wide", SqlType::Double),
            ("fixed", SqlType::Bytea),
            ("cents", SqlType::Numeric(5, 3)),
            ("kind", SqlType::Text),
            ("at", SqlType::Timestamp(6)),
            ("id", SqlType::Uuid),
        ]),
        format!("7|\\xcafe|-1.000|B|1970-01-01 00:00:00.000001|{uuid}")
    );
    assert!(read(&[("tags", SqlType::Text)]).contains("field \"tags\": a value of type Map"));
    assert!(read(&[("either", SqlType::Text)]).contains("field \"either\": a value of type Union"));
}
