use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int32Builder, Int64Array, IntervalMonthDayNanoArray, LargeBinaryArray,
    ListBuilder, StringViewArray, StringViewBuilder, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};

use super::*;

fn encode(columns: &[ArrayRef]) -> (KeyCodec, Keys) {
    let codec = KeyCodec::new(columns.iter().map(|c| c.data_type())).unwrap();
    let mut keys = Keys::new(codec.stride());
    codec.encode(columns, columns[0].len(), &mut keys).unwrap();
    (codec, keys)
}

/// Each column's values stand in ascending order, nulls last.
fn ascending() -> Vec<ArrayRef> {
    vec![
        Arc::new(BooleanArray::from(vec![Some(false), Some(true), None])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(-1), Some(0), Some(i16::MAX), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(-1), Some(0), Some(i32::MAX), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(-1), Some(0), Some(255), Some(256), Some(i64::MAX), None])),
        Arc::new(Float32Array::from(vec![
            Some(f32::NEG_INFINITY),
            Some(-1.5),
            Some(0.0),
            Some(1e-45),
            Some(f32::NAN),
            None,
        ])),
        Arc::new(Float64Array::from(vec![
            Some(f64::NEG_INFINITY),
            Some(-1.0),
            Some(-5e-324),
            Some(0.0),
            Some(5e-324),
            Some(1.0),
            Some(f64::INFINITY),
            Some(f64::NAN),
            None,
        ])),
        Arc::new(
            Decimal128Array::from(vec![Some(-(10i128.pow(38)) + 1), Some(-1), Some(0), Some(10i128.pow(38) - 1), None])
                .with_precision_and_scale(38, 2)
                .unwrap(),
        ),
        Arc::new(Date32Array::from(vec![Some(-1), Some(0), Some(20_000), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(0), Some(1 << 50), None]).with_timezone("+00:00")),
        Arc::new(StringViewArray::from(vec![
            Some(""),
            Some("\0"),
            Some("\0\0"),
            Some("\0a"),
            Some("\u{1}"),
            Some("a"),
            Some("a\0"),
            Some("a\0b"),
            Some("ab and longer than twelve bytes"),
            Some("ä"),
            None,
        ])),
        Arc::new(BinaryViewArray::from(vec![
            Some(&b""[..]),
            Some(b"\0\xff"),
            Some(b"\x01"),
            Some(b"\xff"),
            Some(b"\xff\xff"),
            None,
        ])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(1), Some(86_400_000_000), None])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(0, -1, 0)),
            Some(IntervalMonthDayNano::new(0, 0, 0)),
            Some(IntervalMonthDayNano::new(0, 29, 86_399_000_000_000)),
            Some(IntervalMonthDayNano::new(1, 0, 0)),
            Some(IntervalMonthDayNano::new(i32::MAX, i32::MAX, i64::MAX)),
            None,
        ])),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                [Some([0; 16]), Some([1; 16]), Some([0xff; 16]), None].into_iter(),
                16,
            )
            .unwrap(),
        ),
        Arc::new(
            ["null", "\"a\"", "1", "1.5", "false", "[]", "[null]", "{\"a\": 1}"]
                .map(|json| Some(crate::types::jsonb::parse(json).unwrap()))
                .into_iter()
                .chain([None])
                .collect::<LargeBinaryArray>(),
        ),
    ]
}

#[test]
fn bytes_order_as_values_do_and_come_back() {
    for column in ascending() {
        let (codec, keys) = encode(std::slice::from_ref(&column));
        let all: Vec<&[u8]> = keys.iter().collect();
        assert!(all.windows(2).all(|w| w[0] < w[1]), "{:?}: {all:x?}", column.data_type());
        let back = codec.decode(keys.iter()).unwrap();
        assert_eq!(&back[0], &column, "{:?}", column.data_type());
    }
}

#[test]
fn several_columns_order_by_the_first_that_differs() {
    let text: ArrayRef =
        Arc::new(StringViewArray::from(vec![Some("a"), Some("a"), Some("a\0"), Some("b"), None, None]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![Some(9), None, Some(1), Some(-5), Some(0), None]));
    let flag: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true); 6]));
    let (codec, keys) = encode(&[text.clone(), number.clone(), flag.clone()]);
    let all: Vec<&[u8]> = keys.iter().collect();
    assert!(all.windows(2).all(|w| w[0] < w[1]), "{all:x?}");
    assert_eq!(codec.decode(keys.iter()).unwrap(), vec![text, number, flag]);
}

#[test]
fn minus_zero_is_zero_and_every_nan_the_same() {
    let odd: ArrayRef =
        Arc::new(Float64Array::from(vec![-0.0, 0.0, f64::NAN, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001)]));
    let (_, keys) = encode(&[odd]);
    assert_eq!(keys.get(0), keys.get(1));
    assert_eq!(keys.get(2), keys.get(3));
    assert_eq!(keys.get(2), keys.get(4));
}

#[test]
fn arrays_and_rows_order_by_their_parts_and_come_back() {
    let texts: Vec<Option<Vec<Option<&str>>>> = vec![
        Some(vec![]),
        Some(vec![Some("")]),
        Some(vec![Some(""), Some("a")]),
        Some(vec![Some("\0")]),
        Some(vec![Some("a"), Some("z")]),
        Some(vec![Some("a"), None]),
        Some(vec![Some("ab")]),
        Some(vec![None]),
        None,
    ];
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    texts.into_iter().for_each(|items| lists.append_option(items));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(1), Some(2), None, Some(0)]));
    let words: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), Some("a"), Some("a"), Some("")]));
    let field = |name: &str, column: &ArrayRef| Arc::new(Field::new(name, column.data_type().clone(), true));
    let fields = vec![field("n", &numbers), field("w", &words)];
    let valid = NullBuffer::from(vec![true, true, true, true, false]);
    let rows = StructArray::new(fields.into(), vec![numbers, words], Some(valid));
    let columns: Vec<ArrayRef> = vec![Arc::new(lists.finish()), Arc::new(rows)];
    for column in columns {
        let (codec, keys) = encode(std::slice::from_ref(&column));
        let all: Vec<&[u8]> = keys.iter().collect();
        assert!(all.windows(2).all(|w| w[0] < w[1]), "{:?}: {all:x?}", column.data_type());
        assert_eq!(&codec.decode(keys.iter()).unwrap()[0], &column);
        for key in keys.iter() {
            assert!((0..key.len()).all(|cut| codec.decode([&key[..cut]]).is_err()));
        }
    }
}

#[test]
fn intervals_of_one_length_are_one_key() {
    let interval = IntervalMonthDayNano::new;
    let day = 86_400_000_000_000;
    let equal: ArrayRef =
        Arc::new(IntervalMonthDayNanoArray::from(vec![interval(1, 0, 0), interval(0, 30, 0), interval(0, 29, day)]));
    let (codec, keys) = encode(&[equal]);
    assert!(keys.iter().all(|key| key == keys.get(0)));
    let back = codec.decode([keys.get(1)]).unwrap();
    assert_eq!(back[0].as_ref(), &IntervalMonthDayNanoArray::from(vec![interval(1, 0, 0)]) as &dyn arrow::array::Array);
}

/// Version 1 as it was first written. A change here is a new version, not a new fixture.
#[test]
fn version_1_fixtures() {
    let hex = |key: &[u8]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_000_000), None])),
        Arc::new(Int64Array::from(vec![Some(-2), None])),
    ];
    let (_, keys) = encode(&columns);
    assert_eq!(hex(keys.get(0)), "0180000000000f4240017ffffffffffffffe");
    assert_eq!(hex(keys.get(1)), "020000000000000000020000000000000000");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from(vec![Some("a\0b"), None])),
        Arc::new(Float64Array::from(vec![Some(-1.5), Some(f64::NAN)])),
        Arc::new(Decimal128Array::from(vec![Some(150), None])),
        Arc::new(BooleanArray::from(vec![true, false])),
        Arc::new(Date32Array::from(vec![1, 2])),
        Arc::new(Int16Array::from(vec![1, 2])),
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(Float32Array::from(vec![1.5, -0.0])),
    ];
    let (_, keys) = encode(&columns);
    let first =
        "016100ff620000014007ffffffffffff018000000000000000000000000000009601010180000001018001018000000101bfc00000";
    let second = "0201fff800000000000002000000000000000000000000000000000100018000000201800201800000020180000000";
    assert_eq!(hex(keys.get(0)), first);
    assert_eq!(hex(keys.get(1)), second);
}

/// The forms that came later, as they were first written.
#[test]
fn version_1_fixtures_of_later_types() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    let uuids = FixedSizeBinaryArray::try_from_iter([[7u8; 16]].into_iter()).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Time64MicrosecondArray::from(vec![1])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(0, 1, 0)])),
        Arc::new(uuids),
        Arc::new(LargeBinaryArray::from(vec![&b"\x05"[..]])),
        Arc::new(lists.finish()),
    ];
    let (_, keys) = encode(&columns);
    let hex = keys.get(0).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let expected = concat!(
        "018000000000000001",
        "01800000000000000000004e94914f0000",
        "0107070707070707070707070707070707",
        "01050000",
        "01018000000102000000",
        "0000",
    );
    assert_eq!(hex, expected);
}

#[test]
fn a_time_in_front_is_an_encoded_timestamp() {
    let ends = vec![-5, 7];
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(ends.clone()));
    for text in [None, Some(Arc::new(StringViewArray::from(vec!["x", "y"])) as ArrayRef)] {
        let columns: Vec<ArrayRef> = [Some(number.clone()), text].into_iter().flatten().collect();
        let codec = KeyCodec::new(columns.iter().map(|c| c.data_type())).unwrap();
        let mut timed = Keys::new(None);
        codec.encode_timed(&ends, &columns, &mut timed).unwrap();
        let (_, whole) = encode(&[vec![time.clone()], columns].concat());
        assert!(timed.iter().eq(whole.iter()));
        assert_eq!(leading_time(timed.get(0)).unwrap(), -5);
    }
}

#[test]
fn damaged_keys_and_other_types_are_errors() {
    let column: ArrayRef = Arc::new(StringViewArray::from(vec!["abc"]));
    let (codec, keys) = encode(std::slice::from_ref(&column));
    let key = keys.get(0);
    for cut in 0..key.len() {
        assert!(codec.decode([&key[..cut]]).is_err());
    }
    assert!(codec.decode([&[PRESENT, b'a', 0, 7, 0, 0][..]]).is_err());
    assert!(codec.decode([&[PRESENT, 0xff, 0, 0][..]]).is_err(), "not UTF-8");
    let refused = KeyCodec::new([&DataType::Null]);
    assert_eq!(refused.unwrap_err().state().code(), "0A000");
    let wrong: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert!(codec.encode(&[wrong], 1, &mut Keys::new(None)).is_err());
}

#[test]
fn removed_keys_give_their_bytes_back() {
    let mut keys = Keys::new(None);
    let long = vec![7u8; 1000];
    for i in 0..200u32 {
        keys.push(&[&long[..], &i.to_be_bytes()].concat());
    }
    let before = keys.bytes();
    (0..199).for_each(|i| keys.remove(i));
    assert!(keys.bytes() < before / 2);
    assert!(keys.get(199).ends_with(&199u32.to_be_bytes()));
    keys.replace(3, b"new");
    assert_eq!(keys.get(3), b"new");
}
