//! Sort keys: ORDER BY as bytes. Comparing two byte by byte orders them as SQL orders their columns, each ascending or
//! descending, nulls first or last.
//!
//! A column is encoded as in a key. Of a descending one every byte behind the tag is flipped, those that close a text
//! included: a text is never greater than one it begins. The tag of a null is less or greater than that of a value. No
//! sort key begins another, so rows may stand behind them.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::{Form, KeyCodec, Keys, NULL, PRESENT, nested};
use crate::error::Result;

/// In front of a null that sorts before every value.
const NULL_FIRST: u8 = 0;

/// Bytes of a sort key that [`SortKeys::prefix`] sees: those of two numbers or times with their tags.
const PREFIX_BYTES: usize = 18;

/// The first bytes of a sort key.
pub type Prefix = [u64; PREFIX_BYTES.div_ceil(8)];

/// How a column is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Direction {
    pub descending: bool,
    pub nulls_first: bool,
}

/// Encodes sort keys over columns of certain types.
#[derive(Debug, Clone)]
pub struct OrderCodec {
    columns: Vec<(KeyCodec, Direction)>,
}

/// The sort keys of a batch, a column at a time.
pub struct SortKeys<'a> {
    columns: Vec<(Keys, &'a Direction)>,
}

impl OrderCodec {
    /// # Errors
    /// `0A000` for a type that has no order.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a DataType, Direction)>) -> Result<Self> {
        let columns = columns.into_iter().map(|(ty, direction)| Ok((KeyCodec::new([ty])?, direction)));
        Ok(OrderCodec { columns: columns.collect::<Result<_>>()? })
    }

    /// # Errors
    /// If the columns are not of this codec's types.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<SortKeys<'_>> {
        let encoded = self.columns.iter().enumerate().map(|(i, (codec, direction))| {
            let mut keys = Keys::new(codec.stride());
            codec.encode(columns.get(i..i + 1).unwrap_or_default(), rows, &mut keys)?;
            Ok((keys, direction))
        });
        Ok(SortKeys { columns: encoded.collect::<Result<_>>()? })
    }

    /// The codec of as many leading columns as [`SortKeys::prefix`] can see of.
    pub fn leading(&self) -> OrderCodec {
        let mut bytes = 0;
        let within = |(codec, _): &&(KeyCodec, Direction)| {
            let seen = bytes < PREFIX_BYTES;
            bytes += codec.stride().unwrap_or(PREFIX_BYTES);
            seen
        };
        OrderCodec { columns: self.columns.iter().take_while(within).cloned().collect() }
    }

    /// Bytes cut behind the sort key that they begin with. Damaged bytes are cut somewhere.
    pub fn split<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let mut rest = bytes;
        for (codec, direction) in &self.columns {
            for (_, data_type) in &codec.columns {
                let width = tagged_width(data_type, rest, flip(*direction));
                rest = rest.get(width..).unwrap_or_default();
            }
        }
        bytes.split_at_checked(bytes.len() - rest.len()).unwrap_or((bytes, &[]))
    }
}

fn flip(direction: Direction) -> u8 {
    if direction.descending { 0xff } else { 0 }
}

/// Bytes of an encoded value with its tag, which stands as it is; those behind it are flipped by `flip`.
fn tagged_width(data_type: &DataType, bytes: &[u8], flip: u8) -> usize {
    let Some(form) = Form::of(data_type) else { return bytes.len() };
    match (form.width(), bytes.split_first()) {
        (Some(width), _) => width,
        (None, Some((&PRESENT, value))) => 1 + variable_width(form, data_type, value, flip),
        (None, _) => 1,
    }
}

/// The same of a value within another, whose tag is flipped too.
pub(super) fn cell_width(data_type: &DataType, bytes: &[u8], flip: u8) -> usize {
    let Some(form) = Form::of(data_type) else { return bytes.len() };
    match (form.width(), bytes.split_first()) {
        (Some(width), _) => width,
        (None, Some((tag, value))) if tag ^ flip == PRESENT => 1 + variable_width(form, data_type, value, flip),
        (None, _) => 1,
    }
}

fn variable_width(form: Form, data_type: &DataType, value: &[u8], flip: u8) -> usize {
    match form {
        Form::Array | Form::Row => nested::value_width(data_type, value, flip),
        _ => text_width(value, flip),
    }
}

/// Up to the first zero that is not followed by FF, both flipped.
fn text_width(text: &[u8], flip: u8) -> usize {
    let mut at = 0;
    loop {
        match text.get(at..).and_then(|rest| rest.iter().position(|b| *b == flip)) {
            Some(zero) if text.get(at + zero + 1) == Some(&!flip) => at += zero + 2,
            Some(zero) => return at + zero + 2,
            None => return text.len(),
        }
    }
}

fn tag_of(tag: u8, direction: &Direction) -> u8 {
    if tag == NULL && direction.nulls_first { NULL_FIRST } else { tag }
}

impl SortKeys<'_> {
    /// Appends the sort key of a row.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        for (keys, direction) in &self.columns {
            let Some((tag, value)) = keys.get(row).split_first() else { continue };
            out.push(tag_of(*tag, direction));
            match direction.descending {
                true => out.extend(value.iter().map(|byte| !byte)),
                false => out.extend_from_slice(value),
            }
        }
    }

    /// The first bytes of a row's sort key as numbers, zeroes behind a shorter one: of two rows the lesser prefix has the
    /// lesser sort key, and equal ones say nothing.
    pub fn prefix(&self, row: usize) -> Prefix {
        let mut prefix = [0; PREFIX_BYTES];
        let mut rest = &mut prefix[..];
        for (keys, direction) in &self.columns {
            let Some((tag, value)) = keys.get(row).split_first() else { continue };
            let Some((first, behind)) = std::mem::take(&mut rest).split_first_mut() else { break };
            *first = tag_of(*tag, direction);
            let width = value.len().min(behind.len());
            let (place, behind) = behind.split_at_mut(width);
            place.copy_from_slice(value.get(..width).unwrap_or_default());
            if direction.descending {
                place.iter_mut().for_each(|byte| *byte = !*byte);
            }
            rest = behind;
        }
        let mut numbers = Prefix::default();
        for (number, bytes) in numbers.iter_mut().zip(prefix.chunks(8)) {
            *number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) << (8 * (8 - bytes.len()));
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryViewArray, Float64Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    const DIRECTIONS: [Direction; 4] = [
        Direction { descending: false, nulls_first: false },
        Direction { descending: false, nulls_first: true },
        Direction { descending: true, nulls_first: false },
        Direction { descending: true, nulls_first: true },
    ];

    /// Checks that sort keys order `values`, which are given in ascending order, null last.
    fn check(values: ArrayRef) {
        let rows = values.len();
        for direction in DIRECTIONS {
            let codec = OrderCodec::new([(values.data_type(), direction)]).unwrap();
            let keys = codec.encode(&[Arc::clone(&values)], rows).unwrap();
            let mut order: Vec<usize> = (0..rows - 1).collect();
            if direction.descending {
                order.reverse();
            }
            order.insert(if direction.nulls_first { 0 } else { rows - 1 }, rows - 1);
            let encoded: Vec<Vec<u8>> = order
                .iter()
                .map(|row| {
                    let mut bytes = Vec::new();
                    keys.write(*row, &mut bytes);
                    bytes
                })
                .collect();
            let prefixes: Vec<Prefix> = order.iter().map(|row| keys.prefix(*row)).collect();
            assert!(prefixes.is_sorted(), "{direction:?}: {prefixes:?}");
            for pair in encoded.windows(2) {
                assert!(pair[0] < pair[1], "{direction:?}: {pair:?}");
                assert!(!pair[1].starts_with(&pair[0]), "{direction:?}: {pair:?}");
            }
            for key in &encoded {
                for behind in [&[][..], &[0], &[0xff, 0xff], &[0, 0]] {
                    let both = [key, behind].concat();
                    assert_eq!(codec.split(&both), (&key[..], behind), "{direction:?}");
                }
                assert!(key.is_empty() || codec.split(&key[..key.len() - 1]).1.is_empty());
            }
        }
    }

    #[test]
    fn sort_keys_order_as_values_do_in_every_direction() {
        check(Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(-1), Some(0), Some(i64::MAX), None])));
        check(Arc::new(Float64Array::from(vec![Some(-1.5), Some(-0.0), Some(2.0), Some(f64::NAN), None])));
        let texts = ["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "aa", "ab", "b", "é"];
        check(Arc::new(texts.into_iter().map(Some).chain([None]).collect::<StringViewArray>()));
        let bytes: [&[u8]; 7] = [b"", b"\0", b"\0\xff", b"\x01", b"\xfe", b"\xff", b"\xff\xff"];
        check(Arc::new(bytes.into_iter().map(Some).chain([None]).collect::<BinaryViewArray>()));
        let lists = [vec![], vec![Some(1)], vec![Some(1), Some(0)], vec![Some(1), None], vec![Some(2)], vec![None]];
        let lists = lists.into_iter().map(Some).chain([None]);
        check(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)));
    }

    #[test]
    fn later_columns_break_ties_and_keys_without_columns_are_empty() {
        let [ascending, .., descending] = DIRECTIONS;
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "a", "b"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 0]));
        let types = [(texts.data_type(), descending), (numbers.data_type(), ascending)];
        let codec = OrderCodec::new(types).unwrap();
        let keys = codec.encode(&[Arc::clone(&texts), Arc::clone(&numbers)], 3).unwrap();
        let encoded = |row| {
            let mut bytes = Vec::new();
            keys.write(row, &mut bytes);
            bytes
        };
        assert!(encoded(2) < encoded(0) && encoded(0) < encoded(1));
        assert_eq!(codec.split(&encoded(1)).0, encoded(1));
        assert_eq!(OrderCodec::new([]).unwrap().split(b"row"), (&b""[..], &b"row"[..]));
    }
}
