use std::sync::Arc;

use arrow::array::{
    BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array, Int16Array, Int32Array, Int32Builder,
    IntervalMonthDayNanoArray, ListBuilder, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, IntervalMonthDayNano, Schema};

use super::*;

/// Each value's bytes, `None` for null.
fn encode(array: ArrayRef, field: Field, format: Format) -> Vec<Option<Vec<u8>>> {
    let ty = WireType::of(&field);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let rows = RowEncoder::new(&batch, &[ty], &[format], Tz::UTC).unwrap();
    let value = |row| {
        let mut out = BytesMut::new();
        rows.put_row(row, &mut out).unwrap();
        assert_eq!(out[0], b'D');
        let length = |at: usize| i32::from_be_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!(length(1) as usize, out.len() - 1);
        assert_eq!(&out[5..7], &[0, 1]);
        match length(7) {
            -1 => None,
            n => {
                assert_eq!(n as usize, out.len() - 11);
                Some(out[11..].to_vec())
            }
        }
    };
    (0..rows.rows()).map(value).collect()
}

fn check_text(array: ArrayRef, expected: &[Option<&str>]) {
    let field = Field::new("x", array.data_type().clone(), true);
    let got: Vec<_> =
        encode(array, field, Format::Text).into_iter().map(|v| v.map(|v| String::from_utf8(v).unwrap())).collect();
    assert_eq!(got.iter().map(|v| v.as_deref()).collect::<Vec<_>>(), expected);
}

fn check_binary(array: ArrayRef, expected: &[&str]) {
    let field = Field::new("x", array.data_type().clone(), true);
    let hex = |v: Option<Vec<u8>>| v.unwrap().iter().map(|b| format!("{b:02x}")).collect::<String>();
    let got: Vec<_> = encode(array, field, Format::Binary).into_iter().map(hex).collect();
    assert_eq!(got, expected);
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn list_of_texts(values: &[Option<&str>]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    values.iter().for_each(|v| builder.values().append_option(*v));
    builder.append(true);
    Arc::new(builder.finish())
}

#[test]
fn scalars_in_text() {
    check_text(Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])), &[Some("t"), Some("f"), None]);
    check_text(Arc::new(Int16Array::from(vec![i16::MIN])), &[Some("-32768")]);
    check_text(Arc::new(Int64Array::from(vec![i64::MAX])), &[Some("9223372036854775807")]);
    check_text(texts(&[Some(""), Some("a\tb"), None]), &[Some(""), Some("a\tb"), None]);
    check_text(Arc::new(BinaryArray::from(vec![&b"\x00\xabz"[..], b""])), &[Some("\\x00ab7a"), Some("\\x")]);
    let numbers = Decimal128Array::from(vec![-1]).with_precision_and_scale(12, 2).unwrap();
    check_text(Arc::new(numbers), &[Some("-0.01")]);
    let interval = IntervalMonthDayNano { months: 1, days: 2, nanoseconds: 3_000_000_000 };
    check_text(Arc::new(IntervalMonthDayNanoArray::from(vec![interval])), &[Some("1 mon 2 days 00:00:03")]);
}

#[test]
fn types_that_only_expressions_have() {
    check_text(Arc::new(UInt64Array::from(vec![u64::MAX])), &[Some("18446744073709551615")]);
    check_text(Arc::new(TimestampNanosecondArray::from(vec![1_500_000_000])), &[Some("1970-01-01 00:00:01.5")]);
    let dictionary: DictionaryArray<arrow::datatypes::Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    check_text(Arc::new(dictionary), &[Some("a"), Some("b"), Some("a")]);
    check_text(Arc::new(arrow::array::NullArray::new(1)), &[None]);
}

/// Answers of PostgreSQL 15 to `array_send`, `record_send` and their like.
#[test]
fn binary() {
    check_binary(Arc::new(BooleanArray::from(vec![true])), &["01"]);
    check_binary(Arc::new(Int32Array::from(vec![-2])), &["fffffffe"]);
    check_binary(Arc::new(Float64Array::from(vec![1.5])), &["3ff8000000000000"]);
    check_binary(texts(&[Some("é")]), &["c3a9"]);
    check_binary(Arc::new(TimestampMicrosecondArray::from(vec![946_684_800_000_000])), &["0000000000000000"]);
    let interval = IntervalMonthDayNano { months: 14, days: -3, nanoseconds: 1_000_000_000 };
    check_binary(Arc::new(IntervalMonthDayNanoArray::from(vec![interval])), &["00000000000f4240fffffffd0000000e"]);
    let mut list = ListBuilder::new(Int32Builder::new());
    list.values().append_value(1);
    list.values().append_null();
    list.append(true);
    list.append(true);
    check_binary(
        Arc::new(list.finish()),
        &["00000001000000010000001700000002000000010000000400000001ffffffff", "000000000000000000000017"],
    );
}

/// PostgreSQL 15: `select array['a', null, ...]`.
#[test]
fn arrays_in_text() {
    let items = [Some("a"), None, Some(""), Some("null"), Some("a b"), Some("x,y"), Some("{"), Some("q\"\\")];
    check_text(list_of_texts(&items), &[Some(r#"{a,NULL,"","null","a b","x,y","{","q\"\\"}"#)]);
    check_text(list_of_texts(&[]), &[Some("{}")]);
}

/// PostgreSQL 15: `select row(1, null, 'a b', '', 'q"\', ')')`.
#[test]
fn rows_in_text() {
    let fields = ["a", "b", "c", "d", "e"].map(|n| Field::new(n, arrow::datatypes::DataType::Utf8, true));
    let columns = [None, Some("a b"), Some(""), Some("q\"\\"), Some(")")].map(|v| texts(&[v]));
    let row = StructArray::new(fields.to_vec().into(), columns.to_vec(), None);
    check_text(Arc::new(row), &[Some(r#"(,"a b","","q""\\",")")"#)]);
}

#[test]
fn oids_are_four_bytes() {
    let metadata = [(crate::types::METADATA_KEY.to_string(), "oid".to_string())].into();
    let field = Field::new("oid", arrow::datatypes::DataType::Int64, true).with_metadata(metadata);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![4_294_967_295]));
    assert_eq!(encode(column.clone(), field.clone(), Format::Binary), [Some(vec![255; 4])]);
    assert_eq!(encode(column, field, Format::Text), [Some(b"4294967295".to_vec())]);
}

#[test]
fn format_codes_expand() {
    assert_eq!(Format::expand(&[], 2).unwrap(), [Format::Text; 2]);
    assert_eq!(Format::expand(&[1], 2).unwrap(), [Format::Binary; 2]);
    assert_eq!(Format::expand(&[0, 1], 2).unwrap(), [Format::Text, Format::Binary]);
    assert!(Format::expand(&[0, 1, 0], 2).is_err());
    assert!(Format::expand(&[2], 1).is_err());
}
