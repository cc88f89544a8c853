//! Functions that make more of their arguments than these hold. What a call would make is reckoned before it is made: one
//! value has a bound, and so has a batch of them.
//!
//! A batch that would become too large is computed in smaller parts where the columns of a SELECT list are made of it, and
//! by the filters of views and jobs ([`is_too_much`]): there, whether a row fails depends on that row alone. A source's
//! computed columns, conditions of joins, and whatever DataFusion's executor evaluates are computed over batches as they
//! come, so there many rows may fail together though each alone would not.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::arguments::{Arguments, Row};
use super::around::{Around, wrapped};
use super::text;
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::through;
use crate::types::cells::item_range;

/// The longest value that a function makes. PostgreSQL's is 1 GiB, one at a time in a process; here every core may hold
/// several at once, beside all that runs.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// What the columns made of one batch may hold. Far above what rows of usual length need (8,192 of 32 KiB), far below a
/// machine's memory.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// A text that may become longer is searched for what would be replaced; of a shorter one the worst is assumed.
const MAX_GUESSED_BYTES: usize = 16 << 10;

/// How much a function can make of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// All of them together: of its own results it makes twice as much each time.
    Sum,
    /// The others together, with the first between them.
    Separated,
    /// The first, as often as the second says.
    Repeated,
    /// As many characters as the second says.
    Padded,
    /// The third wherever the second occurs in the first.
    Replaced,
    /// The third wherever a pattern matches, with parts of what it matched.
    Substituted,
    /// As many items as the second argument says, each that argument.
    Items { of: usize },
    /// Two characters for each byte of the first.
    Hex,
}

const GROWING: &[(&str, Growth)] = &[
    ("repeat", Growth::Repeated),
    ("lpad", Growth::Padded),
    ("rpad", Growth::Padded),
    ("replace", Growth::Replaced),
    ("regexp_replace", Growth::Substituted),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Separated),
    ("overlay", Growth::Sum),
    ("encode", Growth::Hex),
    ("array_repeat", Growth::Items { of: 0 }),
    ("array_resize", Growth::Items { of: 2 }),
    ("make_array", Growth::Sum),
    ("array_concat", Growth::Sum),
];

/// Functions of ours ([`super::define`]) that give their arguments together.
const SUMS: &[&str] = &[
    text::JOIN,
    super::array::ARRAY_OF,
    super::array::CONCAT,
    super::jsonb::CONCAT,
    "jsonb_set",
    "jsonb_insert",
    "jsonb_build_array",
    "jsonb_build_object",
    "array_append",
    "array_prepend",
    "array_cat",
];

/// The function, with a bound if it can make much of little.
pub fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match GROWING.iter().find(|(name, _)| *name == function.name()) {
        Some((_, growth)) => wrapped(function, *growth),
        None => function,
    }
}

impl Around for Growth {
    fn call(&self, function: &ScalarUDF, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        check(function.name(), *self, &args.args, args.number_rows).map_err(through)?;
        function.invoke_with_args(args)
    }
}

/// Checks a call of a function of ours, if it is one that gives its arguments together.
///
/// # Errors
/// 54000, as those of DataFusion's functions.
pub fn check_defined(name: &str, args: &[ColumnarValue], rows: usize) -> Result<()> {
    if SUMS.contains(&name) { check(name, Growth::Sum, args, rows) } else { Ok(()) }
}

/// What a call makes, reckoned value by value.
#[derive(Default)]
pub struct Made(usize);

impl Made {
    /// # Errors
    /// 54000 if the value would be larger than [`MAX_VALUE_BYTES`], or all so far than [`MAX_BATCH_BYTES`].
    pub fn add(&mut self, name: &str, bytes: usize) -> Result<()> {
        if bytes > MAX_VALUE_BYTES {
            let message = format!("result of {name} would be larger than {} MiB", MAX_VALUE_BYTES >> 20);
            return Err(Error::new(SqlState::ProgramLimitExceeded, message));
        }
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MAX_BATCH_BYTES { Err(batch_too_large()) } else { Ok(()) }
    }
}

fn check(name: &str, growth: Growth, args: &[ColumnarValue], rows: usize) -> Result<()> {
    // Constants make one value.
    let rows = if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { rows.min(1) } else { rows };
    let arguments = Arguments::new(args)?;
    let mut made = Made::default();
    (0..rows).try_for_each(|at| made.add(name, growth.bytes(arguments.row(at))?))
}

/// Whether less at once may do where this failed.
pub fn is_too_much(error: &Error) -> bool {
    error.state() == SqlState::ProgramLimitExceeded
}

fn batch_too_large() -> Error {
    let message = format!("expressions over one batch of rows would make more than {} MiB", MAX_BATCH_BYTES >> 20);
    Error::new(SqlState::ProgramLimitExceeded, message)
        .with_hint("Compute such long values in the SELECT list, where batches are cut to fit.")
}

impl Growth {
    /// Bytes that a row's value has at most.
    fn bytes(self, row: Row<'_>) -> Result<usize> {
        let count = || Ok::<_, Error>(row.integer_or(1, 0)?.map_or(0, |n| usize::try_from(n).unwrap_or(0)));
        Ok(match self {
            Growth::Sum => row.values().map(|(array, at)| bytes_at(array, at)).fold(0, usize::saturating_add),
            Growth::Separated => {
                let separators = row.count().saturating_mul(row.text(0)?.map_or(0, str::len));
                Growth::Sum.bytes(row)?.saturating_add(separators)
            }
            Growth::Repeated => row.text(0)?.map_or(0, str::len).saturating_mul(count()?),
            Growth::Padded => {
                let (Some(text), Some(fill)) = (row.text(0)?, row.text_or(2, " ")?) else { return Ok(0) };
                let widest = fill.chars().map(char::len_utf8).max().unwrap_or(0);
                text.len().saturating_add(count()?.saturating_mul(widest))
            }
            Growth::Replaced => {
                let (Some(text), Some(from), Some(to)) = (row.text(0)?, row.text(1)?, row.text(2)?) else {
                    return Ok(0);
                };
                let at_most = text.len().saturating_add(1).saturating_mul(to.len());
                let exactly = || text.matches(from).count().saturating_mul(to.len());
                text.len().saturating_add(if at_most > MAX_GUESSED_BYTES { exactly() } else { at_most })
            }
            Growth::Substituted => {
                let (Some(text), Some(to)) = (row.text(0)?, row.text(2)?) else { return Ok(0) };
                let all = row.text_or(3, "")?.is_some_and(|flags| flags.contains('g'));
                let matches = if all { text.len().saturating_add(1) } else { 1 };
                // What was matched comes again for each part that names it.
                let parts = to.bytes().filter(|byte| matches!(byte, b'\\' | b'$')).count();
                let added = matches.saturating_mul(to.len()).saturating_add(parts.saturating_mul(text.len()));
                text.len().saturating_add(added)
            }
            Growth::Hex => row.value(0).flatten().map_or(0, |(array, at)| bytes_at(array, at)).saturating_mul(2),
            Growth::Items { of } => {
                let item = row.value(of).flatten().map_or(1, |(array, at)| bytes_at(array, at)).max(1);
                count()?.saturating_mul(item)
            }
        })
    }
}

/// Bytes of a value, without what arrays need besides.
fn bytes_at(array: &ArrayRef, at: usize) -> usize {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().views().get(at).map_or(0, length),
        DataType::BinaryView => array.as_binary_view().views().get(at).map_or(0, length),
        DataType::Utf8 => array.as_string::<i32>().value(at).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(at).len(),
        DataType::Binary => array.as_binary::<i32>().value(at).len(),
        DataType::LargeBinary => array.as_binary::<i64>().value(at).len(),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let items = list.values();
            let range = item_range(list, at);
            match items.data_type().primitive_width() {
                Some(width) => range.len().saturating_mul(width),
                None => range.map(|item| bytes_at(items, item)).fold(0, usize::saturating_add),
            }
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(|field| bytes_at(field, at)).fold(0, usize::saturating_add)
        }
        other => other.primitive_width().unwrap_or(1),
    }
}

/// Evaluates expressions over a batch: their columns.
///
/// # Errors
/// An expression's; 54000 if the columns would hold more than [`MAX_BATCH_BYTES`] together.
pub fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let rows = batch.num_rows();
    let mut made = 0_usize;
    let column = |expr: &Arc<dyn PhysicalExpr>| {
        let value = expr.evaluate(batch)?;
        // A column that is passed on is there already.
        if !expr.is::<Column>() {
            made = made.saturating_add(bytes_of(&value, rows));
            if made > MAX_BATCH_BYTES {
                return Err(batch_too_large());
            }
        }
        Ok(value.into_array(rows)?)
    };
    exprs.iter().map(column).collect()
}

fn bytes_of(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Scalar(value) => value.size().saturating_mul(rows),
        ColumnarValue::Array(array) => match array.data_type() {
            // Many values may show the same bytes.
            DataType::Utf8View => array.as_string_view().views().iter().map(length).sum(),
            DataType::BinaryView => array.as_binary_view().views().iter().map(length).sum(),
            // What an array holds may be more than what it shows: looked at closely only where that matters.
            _ => match array.get_array_memory_size() {
                held if held <= MAX_VALUE_BYTES => held,
                _ => (0..array.len()).map(|at| bytes_at(array, at)).fold(0, usize::saturating_add),
            },
        },
    }
}

/// Bytes that a view shows: its lowest 32 bits.
fn length(view: &u128) -> usize {
    (view & u128::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;
    use crate::plan::functions::functions;

    #[test]
    fn every_name_is_that_of_a_function() {
        for name in GROWING.iter().map(|(name, _)| name).chain(SUMS) {
            assert!(functions().scalar(name).is_some(), "{name}");
        }
    }

    /// What a call of a row is reckoned to make.
    fn reckoned(growth: Growth, args: &[ScalarValue]) -> usize {
        let args: Vec<ColumnarValue> = args.iter().cloned().map(ColumnarValue::Scalar).collect();
        growth.bytes(Arguments::new(&args).unwrap().row(0)).unwrap()
    }

    #[test]
    fn at_least_what_is_made() {
        let text = |text: &str| ScalarValue::Utf8View(Some(text.into()));
        let number = |n| ScalarValue::Int64(Some(n));
        let null = || ScalarValue::Utf8View(None);
        let long = "a".repeat(20_000);
        let check = |growth, args: &[ScalarValue], expected| assert_eq!(reckoned(growth, args), expected, "{growth:?}");
        check(Growth::Sum, &[text("ab"), null(), text("c")], 3);
        check(Growth::Separated, &[text(", "), text("a"), text("b")], 10);
        check(Growth::Repeated, &[text("ab"), number(3)], 6);
        check(Growth::Repeated, &[text("ab"), number(-3)], 0);
        check(Growth::Repeated, &[text("abc"), number(i64::MAX)], usize::MAX);
        check(Growth::Repeated, &[null(), number(3)], 0);
        check(Growth::Padded, &[text("ab"), number(5)], 7);
        check(Growth::Padded, &[text("ab"), number(5), text("ü")], 12);
        check(Growth::Replaced, &[text("banana"), text("an"), text("xyz")], 27);
        check(Growth::Replaced, &[text(&long), text("b"), text("xyz")], 20_000);
        check(Growth::Replaced, &[text(&long), text("a"), text("xyz")], 80_000);
        check(Growth::Substituted, &[text("aa"), text("a"), text("xyz")], 5);
        check(Growth::Substituted, &[text("aa"), text("a"), text("xyz"), text("g")], 11);
        check(Growth::Items { of: 0 }, &[number(1), number(100)], 800);
        check(Growth::Hex, &[text("abc")], 6);
    }

    #[test]
    fn one_value_and_all_have_bounds() {
        let add = |lengths: &[usize]| {
            let mut made = Made::default();
            lengths.iter().try_for_each(|bytes| made.add("f", *bytes))
        };
        assert!(add(&[MAX_VALUE_BYTES; 4]).is_ok());
        assert_eq!(add(&[MAX_VALUE_BYTES; 5]).unwrap_err(), batch_too_large());
        assert_eq!(add(&[MAX_VALUE_BYTES + 1]).unwrap_err().message(), "result of f would be larger than 64 MiB");
    }
}
