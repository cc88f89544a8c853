//! Rows kept as columns, in chunks, numbered as they come: what is kept of a row costs no allocation of its own, and rows
//! leave again by Arrow's `interleave`.
//!
//! Small chunks are merged with their neighbours as in a log-structured merge tree, so that ticks of single rows neither leave
//! single-row chunks behind nor are copied more often than the logarithm of a chunk's size. Numbers stay.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::SchemaRef;

use super::CHUNK_ROWS;
use crate::change::ChangeBatch;
use crate::change::bytes::{Reader, corrupt, put_bytes, put_varint};
use crate::change::row::{decode_rows, encode_rows};
use crate::error::{Error, Result, SqlState};

/// Version of encoded rows.
const ROWS_VERSION: u8 = 1;

/// Buffers that a merged chunk's texts may lie in. Where there are more they are copied into one: rows that are picked from
/// chunks drag their buffers along.
const MOST_BUFFERS: usize = 16;

/// The number of a row that is not there: nulls stand for it.
pub const NOWHERE: u32 = u32::MAX;

/// Rows of one schema. Nothing is ever taken out.
pub struct RowStore {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
    /// The number of each chunk's first row.
    starts: Vec<u32>,
    rows: u32,
    bytes: usize,
    /// For each chunk [`NOWHERE`], outside of [`RowStore::picks`]: so that looking for a key's few rows costs nothing for all
    /// other chunks.
    places: Cell<Vec<u32>>,
}

struct Chunk {
    columns: Vec<ArrayRef>,
    rows: usize,
    bytes: usize,
}

impl RowStore {
    pub fn new(schema: &SchemaRef) -> Self {
        RowStore {
            schema: Arc::clone(schema),
            chunks: Vec::new(),
            starts: Vec::new(),
            rows: 0,
            bytes: 0,
            places: Cell::default(),
        }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows so far; the number of the next.
    pub fn len(&self) -> u32 {
        self.rows
    }

    /// Bytes held in memory, as far as rows use what they hold: that of compacted rows is off by a small factor at most.
    pub fn bytes(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<Chunk>() + 4 * self.starts.capacity()
    }

    /// Appends the rows of a batch of the store's schema; they are numbered from `len()` on. Nothing is copied: whoever
    /// keeps rows beyond their tick compacts them first ([`ChangeBatch::compacted`]).
    ///
    /// # Errors
    /// `53400` if there are more rows than numbers.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let end = u32::try_from(rows).ok().and_then(|rows| self.rows.checked_add(rows)).filter(|end| *end < NOWHERE);
        let bytes = ChangeBatch::append_only(batch.clone()).bytes();
        let chunk = Chunk { columns: batch.columns().to_vec(), rows, bytes };
        self.bytes += chunk.bytes;
        self.chunks.push(chunk);
        self.starts.push(self.rows);
        self.rows = end.ok_or_else(too_many)?;
        self.merge()
    }

    /// Merges the last chunks until each is at least twice as large as the one behind it, or large enough.
    fn merge(&mut self) -> Result<()> {
        while let [.., before, last] = &self.chunks[..]
            && before.rows < 2 * last.rows
            && before.rows + last.rows <= CHUNK_ROWS
        {
            let both = |(before, last): (&ArrayRef, &ArrayRef)| Ok(with_few_buffers(concat(&[before, last])?));
            let columns = before.columns.iter().zip(&last.columns).map(both).collect::<Result<Vec<ArrayRef>>>()?;
            let merged = Chunk { columns, rows: before.rows + last.rows, bytes: before.bytes + last.bytes };
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(merged);
            self.starts.pop();
        }
        Ok(())
    }

    /// The columns `wanted` of the rows with these numbers, at most a few chunks of them. [`NOWHERE`]: a row of nulls.
    pub fn gather(&self, numbers: &[u32], wanted: impl Iterator<Item = usize>) -> Result<Vec<ArrayRef>> {
        let picks = self.picks(numbers);
        let column = |at: usize| -> Result<ArrayRef> {
            let field = self.schema.fields().get(at).ok_or_else(no_such_column)?;
            let of = |chunk: &usize| self.chunks.get(*chunk).and_then(|chunk| chunk.columns.get(at));
            let chunks = picks.chunks.iter().map(of).collect::<Option<Vec<_>>>().ok_or_else(no_such_column)?;
            if let (Some(first), [only]) = (picks.run, &chunks[..]) {
                return Ok(only.slice(first, numbers.len()));
            }
            let nulls = (picks.nulls > 0).then(|| new_null_array(field.data_type(), 1));
            let sources: Vec<&dyn Array> = chunks.into_iter().chain(&nulls).map(AsRef::as_ref).collect();
            Ok(interleave(&sources, &picks.rows)?)
        };
        if picks.nulls == numbers.len() {
            let nulls = |at: usize| {
                let field = self.schema.fields().get(at).ok_or_else(no_such_column)?;
                Ok(new_null_array(field.data_type(), numbers.len()))
            };
            return wanted.map(nulls).collect();
        }
        wanted.map(column).collect()
    }

    /// All columns of the rows with these numbers.
    pub fn gather_all(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>> {
        self.gather(numbers, 0..self.schema.fields().len())
    }

    /// All columns of the rows with these numbers, as a batch.
    pub fn batch(&self, numbers: &[u32]) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), self.gather_all(numbers)?, &options)?)
    }

    /// Hands these rows on, in chunks with buffers of their own, and numbers them from 0 on, in this order.
    pub fn move_to<'a>(
        &self,
        rows: impl Iterator<Item = &'a mut u32>,
        mut take: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut numbered = rows.zip(0..);
        let mut numbers = Vec::with_capacity(CHUNK_ROWS);
        loop {
            numbers.clear();
            let chunk = numbered.by_ref().take(CHUNK_ROWS);
            numbers.extend(chunk.map(|(row, number)| std::mem::replace(row, number)));
            if numbers.is_empty() {
                return Ok(());
            }
            take(ChangeBatch::append_only(self.batch(&numbers)?).compacted()?.rows())?;
        }
    }

    /// Appends rows as bytes, in this order.
    pub fn encode(&self, numbers: &[u32], out: &mut Vec<u8>) {
        let from = out.len();
        out.push(ROWS_VERSION);
        put_varint(out, numbers.len() as u64);
        match self.batch(numbers).and_then(|batch| encode_rows(&batch)) {
            Ok(rows) => rows.iter().for_each(|row| put_bytes(out, row)),
            // Cannot be, since the rows came as columns of these types. Whoever reads the value is told that it is damaged.
            Err(_) => out.truncate(from),
        }
    }

    /// Takes in rows that [`RowStore::encode`] wrote; gives their numbers.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Range<u32>> {
        let mut reader = Reader::new(bytes);
        reader.expect_version(ROWS_VERSION, "a key's rows")?;
        let rows = (0..reader.length()?).map(|_| reader.bytes()).collect::<Result<Vec<_>>>()?;
        if !reader.is_empty() {
            return Err(corrupt());
        }
        let from = self.rows;
        self.push(&decode_rows(&self.schema, rows)?)?;
        Ok(from..self.rows)
    }

    fn picks(&self, numbers: &[u32]) -> Picks {
        let mut picks = Picks { chunks: Vec::new(), rows: Vec::with_capacity(numbers.len()), run: None, nulls: 0 };
        // For each chunk its place among those picked from, and a chunk's rows looked at last.
        let mut places = self.places.take();
        places.resize(self.chunks.len(), NOWHERE);
        let (mut from, mut to, mut place) = (0, 0, 0);
        for number in numbers {
            if *number == NOWHERE {
                picks.nulls += 1;
                picks.rows.push((usize::MAX, 0));
                continue;
            }
            if !(from..to).contains(number) {
                let chunk = self.starts.partition_point(|start| start <= number).saturating_sub(1);
                from = self.starts.get(chunk).copied().unwrap_or_default();
                to = self.starts.get(chunk + 1).copied().unwrap_or(self.rows);
                let Some(known) = places.get_mut(chunk) else { continue };
                if *known == NOWHERE {
                    *known = picks.chunks.len() as u32;
                    picks.chunks.push(chunk);
                }
                place = *known as usize;
            }
            picks.rows.push((place, (number - from) as usize));
        }
        for chunk in &picks.chunks {
            if let Some(place) = places.get_mut(*chunk) {
                *place = NOWHERE;
            }
        }
        self.places.set(places);
        if picks.nulls > 0 {
            let nulls = picks.chunks.len();
            picks.rows.iter_mut().filter(|(chunk, _)| *chunk == usize::MAX).for_each(|pick| pick.0 = nulls);
        } else if picks.chunks.len() == 1 && numbers.is_sorted_by(|before, next| before + 1 == *next) {
            picks.run = picks.rows.first().map(|(_, row)| *row);
        }
        picks
    }
}

/// Where rows are.
struct Picks {
    /// The chunks that rows are in.
    chunks: Vec<usize>,
    /// For each row the place of its chunk in `chunks` (nulls come behind them), and its own in that chunk.
    rows: Vec<(usize, usize)>,
    /// All rows stand side by side in one chunk, from this one on.
    run: Option<usize>,
    nulls: usize,
}

/// The same column, its texts in one buffer if they were in many.
fn with_few_buffers(column: ArrayRef) -> ArrayRef {
    match (column.as_string_view_opt(), column.as_binary_view_opt()) {
        (Some(text), _) if text.data_buffers().len() > MOST_BUFFERS => Arc::new(text.gc()),
        (_, Some(bytes)) if bytes.data_buffers().len() > MOST_BUFFERS => Arc::new(bytes.gc()),
        _ => column,
    }
}

fn no_such_column() -> Error {
    Error::internal("no such column among those kept")
}

fn too_many() -> Error {
    Error::new(SqlState::ConfigurationLimitExceeded, "an operator keeps more rows than it can number")
        .with_hint("Raise the parallelism, so that each shard keeps fewer, or bound the query in time.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    fn store() -> RowStore {
        RowStore::new(&Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8View, true),
        ])))
    }

    fn push(store: &mut RowStore, numbers: std::ops::Range<i64>) {
        let texts: StringViewArray = numbers.clone().map(|n| Some(format!("a text beyond twelve bytes {n}"))).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(numbers.collect::<Int64Array>()), Arc::new(texts)];
        store.push(&RecordBatch::try_new(Arc::clone(store.schema()), columns).unwrap()).unwrap();
    }

    fn check(store: &RowStore, numbers: &[u32]) {
        let columns = store.gather_all(numbers).unwrap();
        let wanted = |n: &u32| (*n != NOWHERE).then_some(i64::from(*n));
        assert_eq!(columns[0].as_primitive::<Int64Type>(), &numbers.iter().map(wanted).collect::<Int64Array>());
        let text = |n: &u32| wanted(n).map(|n| format!("a text beyond twelve bytes {n}"));
        assert_eq!(columns[1].as_string_view(), &numbers.iter().map(text).collect::<StringViewArray>());
    }

    #[test]
    fn rows_are_found_again_wherever_they_lie() {
        let mut store = store();
        let mut next = 0;
        for size in [1, 1, 1, 5, 8000, 1, 300, 9000, 2, 2] {
            push(&mut store, next..next + size);
            next += size;
        }
        assert_eq!(i64::from(store.len()), next);
        check(&store, &[]);
        check(&store, &[0, 1, 2, 3]);
        check(&store, &[17311, 0, 8009, 8009, 7, 17300, 1]);
        check(&store, &[17300, 8009, 0]);
        check(&store, &[8009, 1]);
        check(&store, &[NOWHERE, 3, NOWHERE, 16000]);
        check(&store, &[NOWHERE, NOWHERE]);
        check(&store, &(0..next as u32).collect::<Vec<_>>());
        let only: Vec<_> = store.gather(&[4], std::iter::once(0)).unwrap();
        assert_eq!(only.len(), 1);
        assert!(store.gather(&[4], std::iter::once(2)).is_err());
    }

    #[test]
    fn single_rows_do_not_stay_alone() {
        let mut store = store();
        (0..10_000).for_each(|n| push(&mut store, n..n + 1));
        assert!(store.chunks.len() < 20, "{} chunks", store.chunks.len());
        check(&store, &[9999, 0, 8191, 8192]);
        let texts = store.chunks[0].columns[1].as_string_view();
        assert!(texts.data_buffers().len() <= MOST_BUFFERS, "{} buffers", texts.data_buffers().len());
    }
}
