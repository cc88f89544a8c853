use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::pretty::pretty_format_batches;

use super::options::Header;
use super::*;
use crate::format::{Decoder, Encoder, RawChunk};
use crate::types::SqlType;

fn chunk<T: AsRef<[u8]>>(messages: &[T]) -> RawChunk {
    let (mut data, mut ends) = (Vec::new(), Vec::new());
    for message in messages {
        data.extend_from_slice(message.as_ref());
        ends.push(data.len() as u32);
    }
    let offsets = (0..ends.len() as u64).collect();
    RawChunk { data: data.into(), ends, offsets, ..RawChunk::default() }
}

fn schema(types: &[(&str, SqlType)]) -> Schema {
    Schema::new(types.iter().map(|(name, ty)| ty.field(name)).collect::<Vec<_>>())
}

fn options(delimiter: u8, quote: Option<u8>, escape: Option<u8>, null: &str) -> CsvOptions {
    CsvOptions::new(delimiter, quote, escape, null.into()).unwrap()
}

/// The record's fields as texts: NULL for null, others in brackets; or what is wrong with it.
#[track_caller]
fn fields_with(options: &CsvOptions, record: &str, expected: &str) {
    let expected_fields = expected.split(' ').count();
    let names = ["a", "b", "c", "d"].map(|name| (name, SqlType::Text));
    let declared = schema(names.get(..expected_fields.min(4)).unwrap());
    let wanted = (0..declared.fields().len()).collect::<Vec<_>>();
    let decoder = CsvDecoder::new(&declared, &wanted, options.clone()).unwrap();
    let decoded = decoder.decode(&chunk(&[record])).unwrap();
    let found = match decoded.bad.first() {
        Some(bad) => bad.error.message().to_string(),
        None => shown(&decoded.rows),
    };
    let expected = if decoded.bad.is_empty() { expected } else { expected.trim_start_matches("error: ") };
    assert_eq!(found, expected, "{record:?}");
}

fn shown(rows: &RecordBatch) -> String {
    use arrow::array::{Array, AsArray};
    let value = |column: &arrow::array::ArrayRef| {
        if column.is_null(0) { "NULL".to_string() } else { format!("[{}]", column.as_string_view().value(0)) }
    };
    rows.columns().iter().map(value).collect::<Vec<_>>().join(" ")
}

fn fields(record: &str, expected: &str) {
    fields_with(&CsvOptions::default(), record, expected);
}

/// As PostgreSQL 15's COPY ... CSV reads them.
#[test]
fn quotes_and_nulls() {
    fields("x,y", "[x] [y]");
    fields("x,y\r\n", "[x] [y]");
    fields(",", "NULL NULL");
    fields("\"\",", "[] NULL");
    fields("\"\"\"\",\"a\"\"b\"", "[\"] [a\"b]");
    fields("\"a,b\",c", "[a,b] [c]");
    fields("a\"b,c\"d,e", "[ab,cd] [e]");
    fields("\"a\"b,\"c\"\"\"", "[ab] [c\"]");
    fields("\"x\ny\",\"\r\n\"", "[x\ny] [\r\n]");
    fields("\\N,NULL", "[\\N] [NULL]");
    fields("\"a\\\"", "[a\\]");
    fields("é,\"ü\"\"ö\"", "[é] [ü\"ö]");
    fields("", "NULL");
}

#[test]
fn other_letters() {
    let semicolons = options(b';', Some(b'\''), Some(b'\\'), "NULL");
    fields_with(&semicolons, "a,b;'c;d'", "[a,b] [c;d]");
    fields_with(&semicolons, "'it\\'s';'\\\\'", "[it's] [\\]");
    fields_with(&semicolons, "'\\n';x\\'y'", "[\\n] [x\\y]");
    fields_with(&semicolons, "NULL;'NULL'", "NULL [NULL]");
    fields_with(&semicolons, ";''", "[] []");
    let tabs = options(b'\t', None, None, "\\N");
    fields_with(&tabs, "\"a\"\t\\N\t", "[\"a\"] NULL []");
}

#[test]
fn damage_is_named() {
    let two = schema(&[("a", SqlType::Integer), ("b", SqlType::Text)]);
    let decoder = CsvDecoder::new(&two, &[0, 1], CsvOptions::default()).unwrap();
    let records: [&[u8]; 9] =
        [b"1,x", b"2", b"3,y,z", b"4,\"open", b"x,5", b"99999999999,6", b"7,\xff\xfe", b"\"8\",\"\"", b"9,y,\""];
    let decoded = decoder.decode(&chunk(&records)).unwrap();
    let bad = decoded.bad.iter().map(|b| format!("{} {}: {}", b.index, b.error.state().code(), b.error.message()));
    assert_eq!(
        bad.collect::<Vec<_>>(),
        [
            "1 22P04: missing data for column \"b\"",
            "2 22P04: extra data after last expected column",
            "3 22P04: field \"b\": unterminated CSV quoted field",
            "4 22P02: field \"a\": invalid input syntax for type integer: \"x\"",
            "5 22003: field \"a\": value \"99999999999\" is out of range for type integer",
            "6 22P04: invalid byte sequence for encoding \"UTF8\" at byte 2",
            "8 22P04: unterminated CSV quoted field",
        ]
    );
    let expected = "+---+---+\n| a | b |\n+---+---+\n| 1 | x |\n| 8 |   |\n+---+---+";
    assert_eq!(pretty_format_batches(&[decoded.rows]).unwrap().to_string(), expected);
}

#[test]
fn only_wanted_fields_become_values() {
    let three = schema(&[("a", SqlType::Integer), ("b", SqlType::Integer), ("c", SqlType::Integer)]);
    let decoder = CsvDecoder::new(&three, &[2], CsvOptions::default()).unwrap();
    let decoded = decoder.decode(&chunk(&["no number,\"nor, this\",3", "1,2,x"])).unwrap();
    assert_eq!((decoded.rows.num_columns(), decoded.rows.num_rows(), decoded.bad.len()), (1, 1, 1));
    let none = CsvDecoder::new(&three, &[], CsvOptions::default()).unwrap();
    let decoded = none.decode(&chunk(&["x,y,z", "1,2"])).unwrap();
    assert_eq!((decoded.rows.num_columns(), decoded.rows.num_rows(), decoded.bad.len()), (0, 1, 1));
}

#[test]
fn values_survive_their_text() {
    let declared = schema(&[
        ("b", SqlType::Boolean),
        ("s", SqlType::SmallInt),
        ("l", SqlType::BigInt),
        ("r", SqlType::Real),
        ("d", SqlType::Double),
        ("n", SqlType::Numeric(10, 2)),
        ("t", SqlType::Text),
        ("y", SqlType::Bytea),
        ("da", SqlType::Date),
        ("ts", SqlType::Timestamp(3)),
        ("tz", SqlType::TimestampTz(6)),
        ("ar", SqlType::Array(Box::new(SqlType::Text))),
        ("ai", SqlType::Array(Box::new(SqlType::Integer))),
    ]);
    let all = (0..declared.fields().len()).collect::<Vec<_>>();
    let records = [
        r#"true,-5,9223372036854775807,1.5,0.1,12.30,"a ""b"", c",\x00ff,2024-02-29,2024-02-29 12:00:00.123,2024-02-29 12:00:00.123456Z,"{a,NULL,""b c"","""",""x\""y""}","{1,NULL,-3}""#,
        r#"false,0,0,NaN,-Infinity,-0.05,"",\x,1970-01-01,0001-01-01 00:00:00.000,9999-12-31 23:59:59.999999Z,{},{}"#,
        ",,,,,,,,,,,,",
    ];
    for options in [CsvOptions::default(), options(b'|', Some(b'\''), Some(b'\\'), "NULL")] {
        let first = CsvDecoder::new(&declared, &all, CsvOptions::default()).unwrap();
        let decoded = first.decode(&chunk(&records)).unwrap();
        assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
        let encoder = CsvEncoder::new(&declared, &all, options.clone()).unwrap();
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        encoder.encode(&decoded.rows, &mut data, &mut ends).unwrap();
        let text = String::from_utf8(data.clone()).unwrap();
        let mut start = 0;
        let written = ends.iter().map(|end| &text[std::mem::replace(&mut start, *end)..*end]).collect::<Vec<_>>();
        if options == CsvOptions::default() {
            assert_eq!(written, records);
        }
        let again = CsvDecoder::new(&declared, &all, options).unwrap().decode(&chunk(&written)).unwrap();
        assert_eq!(again.rows, decoded.rows);
    }
}

#[test]
fn what_postgresql_reads() {
    let check = |ty: SqlType, text: &str, expected: &str| {
        let declared = schema(&[("a", ty.clone())]);
        let decoder = CsvDecoder::new(&declared, &[0], options(b';', Some(b'\''), None, "")).unwrap();
        let decoded = decoder.decode(&chunk(&[text])).unwrap();
        let found = match decoded.bad.first() {
            Some(bad) => bad.error.message().to_string(),
            None => {
                let text = pretty_format_batches(&[decoded.rows]).unwrap().to_string();
                text.lines().nth(3).unwrap().trim_matches(['|', ' ']).to_string()
            }
        };
        assert_eq!(found, expected, "{text} as {ty}");
    };
    check(SqlType::Boolean, "yes", "true");
    check(SqlType::Boolean, " OFF ", "false");
    check(SqlType::Boolean, "2", "field \"a\": invalid input syntax for type boolean: \"2\"");
    check(SqlType::Integer, " +007 ", "7");
    check(SqlType::Integer, "1.0", "field \"a\": invalid input syntax for type integer: \"1.0\"");
    check(SqlType::Integer, "1e3", "field \"a\": invalid input syntax for type integer: \"1e3\"");
    check(SqlType::Numeric(4, 1), ".25", "0.3");
    check(SqlType::Numeric(4, 1), "1e9", "field \"a\": value 1e9 is out of range for type numeric(4,1)");
    check(SqlType::Numeric(4, 1), "NaN", "field \"a\": invalid input syntax for type numeric: \"NaN\"");
    check(SqlType::Double, "-inf", "-inf");
    check(SqlType::Double, "1e999", "field \"a\": value 1e999 is out of range for type double precision");
    check(SqlType::Varchar(Some(2)), "äö", "äö");
    check(SqlType::Varchar(Some(2)), "abc", "field \"a\": value too long for type character varying(2)");
    check(SqlType::Bytea, "\\x4G", "field \"a\": invalid input syntax for type bytea: \"\\x4G\"");
    check(SqlType::Date, "2023-02-29", "field \"a\": date/time field value out of range: \"2023-02-29\"");
    check(
        SqlType::Array(Box::new(SqlType::Integer)),
        "{1,x}",
        "field \"a[2]\": invalid input syntax for type integer: \"x\"",
    );
    check(
        SqlType::Array(Box::new(SqlType::Integer)),
        "{1",
        "field \"a\": invalid input syntax for type integer[]: \"{1\"",
    );
}

/// Cut anywhere, a file's first record ends where the whole file says, or not yet.
#[test]
fn records_end_outside_of_quotes() {
    let file = "a,\"b\nc\"\"\n\",d\r\n\"\\\"\nx\n";
    for (options, ends) in [
        (CsvOptions::default(), vec![14, 18, 20]),
        (options(b',', None, None, ""), vec![5, 9, 14, 18, 20]),
        (options(b',', Some(b'"'), Some(b'\\'), ""), vec![14]),
    ] {
        let mut found = Vec::new();
        while let Some(end) = record_end(&file.as_bytes()[found.last().copied().unwrap_or(0)..], &options) {
            found.push(found.last().copied().unwrap_or(0) + end);
        }
        assert_eq!(found, ends, "{options:?}");
        for cut in 0..file.len() {
            let end = record_end(&file.as_bytes()[..cut], &options);
            assert_eq!(end, Some(ends[0]).filter(|end| *end <= cut), "{cut}");
        }
    }
    let comments = CsvOptions::default().with_comments(true);
    assert_eq!(record_end(b"# it's \"open\nx\n", &comments), Some(13));
    assert_eq!(record_end(b"# it's \"open\nx\n", &CsvOptions::default()), None);
}

#[test]
fn headers() {
    let check = |record: &str, expected: &str| {
        let columns = ["id".to_string(), "a name".to_string()];
        let found = check_header(record.as_bytes(), &CsvOptions::default(), &columns);
        assert_eq!(found.map_err(|e| e.message().to_string()).err().unwrap_or_default(), expected, "{record}");
    };
    check("id,\"a name\"\r\n", "");
    check("id,a name", "");
    check("id", "wrong number of fields in header line");
    check("id,a name,x", "wrong number of fields in header line");
    check("id,name", "column name mismatch in header line field 2");
    let schema = schema(&[("id", SqlType::Text), ("a, b", SqlType::Text)]);
    let names = schema.fields().iter().map(|f| f.name().as_str());
    assert_eq!(CsvEncoder::header(names, &CsvOptions::default()), b"id,\"a, b\"");
    assert_eq!(Header::default(), Header::None);
}

#[test]
fn without_quotes_some_values_cannot_be_written() {
    let declared = schema(&[("a", SqlType::Text)]);
    let rows = |text: &str| {
        let column = arrow::array::StringViewArray::from(vec![text]);
        RecordBatch::try_new(Arc::new(declared.clone()), vec![Arc::new(column)]).unwrap()
    };
    let encoder = CsvEncoder::new(&declared, &[0], options(b',', None, None, "\\N")).unwrap();
    let encode = |text: &str| {
        let mut data = Vec::new();
        encoder.encode(&rows(text), &mut data, &mut Vec::new()).map(|()| data).map_err(|e| e.message().to_string())
    };
    assert_eq!(encode("a\"b"), Ok(b"a\"b".to_vec()));
    assert_eq!(encode(""), Ok(b"".to_vec()));
    for text in ["a,b", "a\nb", "\\N"] {
        assert_eq!(encode(text), Err(format!("the value \"{text}\" cannot be written as CSV without quotes")));
    }
}

#[test]
fn letters_must_make_sense() {
    let refused = |delimiter, quote, escape, null: &str| {
        CsvOptions::new(delimiter, quote, escape, null.into()).expect_err("refused").message().to_string()
    };
    assert!(refused(b'\n', None, None, "").contains("delimiter must be one letter"));
    assert!(refused(b'"', Some(b'"'), None, "").contains("delimiter must differ"));
    assert!(refused(b',', Some(b'"'), Some(b','), "").contains("delimiter must differ"));
    assert!(refused(b',', None, Some(b'\\'), "").contains("needs a quote character"));
    assert!(refused(b',', Some(b'"'), None, "a,b").contains("null literal"));
}

/// The chunk is UTF-8, its messages are not.
#[test]
fn a_letter_that_lies_across_messages_spoils_both() {
    let decoder = CsvDecoder::new(&schema(&[("t", SqlType::Text)]), &[0], CsvOptions::default()).unwrap();
    let (first, second) = "aäb".as_bytes().split_at(2);
    let decoded = decoder.decode(&chunk(&[first, second])).unwrap();
    let places: Vec<usize> = decoded.bad.iter().map(|bad| bad.index).collect();
    assert_eq!((decoded.rows.num_rows(), places), (0, vec![0, 1]));
}
