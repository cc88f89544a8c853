//! The change batch.

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, Int64Array, MutableArrayData, RecordBatch, RecordBatchOptions,
    UInt32Array, make_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute;
use arrow::datatypes::SchemaRef;

use super::Watermark;
use super::key::{KeyCodec, Keys};
use crate::error::{Error, Result};

/// Buffers may hold this many times what the rows of a batch use of them before [`ChangeBatch::compacted`] copies: what rows
/// are counted as is off by no more than that.
const MOST_HELD_TO_USED: usize = 3;

/// What buffers may hold anyhow: those of few rows are large beside them, and as soon copied by whoever puts rows together.
const HELD_ANYHOW_BYTES: usize = 4 << 10;

/// Rows with weights and, where a row is behind its partition's watermark, the watermark that judges it.
///
/// Invariants: `weights` and `judges`, where present, are as long as `rows`; no weight is zero.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    rows: RecordBatch,
    weights: Option<ScalarBuffer<i64>>,
    judges: Option<ScalarBuffer<i64>>,
    /// Once somebody has asked. Whoever has the batch counts it, and counting looks at each text.
    bytes: OnceLock<usize>,
}

impl ChangeBatch {
    /// Rows that are all inserted once.
    pub fn append_only(rows: RecordBatch) -> Self {
        ChangeBatch { rows, weights: None, judges: None, bytes: OnceLock::new() }
    }

    /// # Errors
    /// If `weights` is not as long as `rows`.
    pub fn new(rows: RecordBatch, weights: Option<ScalarBuffer<i64>>) -> Result<Self> {
        ChangeBatch::append_only(rows).with_weights(weights)
    }

    /// The same rows with other weights.
    pub fn with_weights(mut self, weights: Option<ScalarBuffer<i64>>) -> Result<Self> {
        check_length("weights", weights.as_ref(), self.rows.num_rows())?;
        debug_assert!(weights.as_ref().is_none_or(|w| w.iter().all(|w| *w != 0)), "a change has a weight");
        self.weights = weights;
        self.bytes = OnceLock::new();
        Ok(self)
    }

    /// For each row the watermark of its partition from just before it, if the row is behind it, and
    /// [`Watermark::NONE`] if not. `None`: no row is behind.
    pub fn with_judges(mut self, judges: Option<ScalarBuffer<i64>>) -> Result<Self> {
        check_length("judges", judges.as_ref(), self.rows.num_rows())?;
        self.judges = judges;
        self.bytes = OnceLock::new();
        Ok(self)
    }

    /// The same changes over other columns (a projection of these rows).
    pub fn with_rows(mut self, rows: RecordBatch) -> Result<Self> {
        if rows.num_rows() != self.rows.num_rows() {
            return Err(Error::internal("a projection changed the number of rows"));
        }
        self.rows = rows;
        self.bytes = OnceLock::new();
        Ok(self)
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0
    }
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }
    /// `None`: every weight is +1.
    pub fn weights(&self) -> Option<&ScalarBuffer<i64>> {
        self.weights.as_ref()
    }
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |w| w[row])
    }
    pub fn judges(&self) -> Option<&ScalarBuffer<i64>> {
        self.judges.as_ref()
    }
    pub fn judge(&self, row: usize) -> Watermark {
        self.judges.as_ref().map_or(Watermark::NONE, |j| Watermark(j[row]))
    }

    /// Bytes that these rows take, without what their buffers hold of other rows.
    pub fn bytes(&self) -> usize {
        *self.bytes.get_or_init(|| {
            let per_row = 8 * (usize::from(self.weights.is_some()) + usize::from(self.judges.is_some()));
            self.rows.columns().iter().map(slice_bytes).sum::<usize>() + per_row * self.num_rows()
        })
    }

    /// The same rows, copied out of larger buffers (a decoded chunk, a batch of which few rows are kept) if these hold much more
    /// than the rows need: for whoever keeps rows beyond their tick. What arrays hold is counted whole, so
    /// they may stay where they are.
    ///
    /// # Errors
    /// If Arrow cannot make the batch of the columns that it gave.
    pub fn compacted(mut self) -> Result<Self> {
        let mut buffers: Vec<(usize, usize)> = Vec::new();
        for column in self.rows.columns() {
            buffers_of(&column.to_data(), &mut buffers);
        }
        buffers.sort_unstable();
        buffers.dedup();
        let held: usize = buffers.iter().map(|(_, bytes)| bytes).sum();
        if held > self.bytes().saturating_mul(MOST_HELD_TO_USED).saturating_add(HELD_ANYHOW_BYTES) {
            let compact = |column: &ArrayRef| -> Result<ArrayRef> {
                Ok(match (column.as_string_view_opt(), column.as_binary_view_opt()) {
                    (Some(text), _) => Arc::new(text.gc()),
                    (_, Some(bytes)) => Arc::new(bytes.gc()),
                    _ => copied(column)?,
                })
            };
            self.rows = RecordBatch::try_new_with_options(
                self.rows.schema(),
                self.rows.columns().iter().map(compact).collect::<Result<_>>()?,
                &RecordBatchOptions::new().with_row_count(Some(self.num_rows())),
            )?;
        }
        Ok(self)
    }

    /// The encoded key of each row, made of `columns`.
    ///
    /// # Errors
    /// `0A000` for a column of a type that cannot be a key.
    pub fn keys(&self, columns: &[usize]) -> Result<Keys> {
        let columns: Vec<ArrayRef> = columns.iter().map(|c| Arc::clone(self.column(*c))).collect();
        let codec = KeyCodec::new(columns.iter().map(|c| c.data_type()))?;
        let mut keys = Keys::new(codec.stride());
        codec.encode(&columns, self.num_rows(), &mut keys)?;
        Ok(keys)
    }

    /// Rows `offset .. offset + length`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        let cut = |b: &ScalarBuffer<i64>| b.slice(offset, length);
        ChangeBatch {
            rows: self.rows.slice(offset, length),
            weights: self.weights.as_ref().map(cut),
            judges: self.judges.as_ref().map(cut),
            bytes: OnceLock::new(),
        }
    }

    /// The rows for which `mask` is true (null counts as false).
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let pick = |b: &ScalarBuffer<i64>| -> Result<ScalarBuffer<i64>> {
            let kept = compute::filter(&Int64Array::new(b.clone(), None), mask)?;
            Ok(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&kept).values().clone())
        };
        Ok(ChangeBatch {
            rows: compute::filter_record_batch(&self.rows, mask)?,
            weights: self.weights.as_ref().map(pick).transpose()?,
            judges: drop_idle_judges(self.judges.as_ref().map(pick).transpose()?),
            bytes: OnceLock::new(),
        })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let pick = |b: &ScalarBuffer<i64>| indices.values().iter().map(|&i| b[i as usize]).collect();
        Ok(ChangeBatch {
            rows: compute::take_record_batch(&self.rows, indices)?,
            weights: self.weights.as_ref().map(pick),
            judges: drop_idle_judges(self.judges.as_ref().map(pick)),
            bytes: OnceLock::new(),
        })
    }

    /// All rows of `batches`, in order, as one batch of `schema`.
    pub fn concat(schema: &SchemaRef, batches: &[ChangeBatch]) -> Result<Self> {
        if let [one] = batches {
            return Ok(one.clone());
        }
        let join = |get: fn(&ChangeBatch) -> Option<&ScalarBuffer<i64>>, default: i64| {
            batches.iter().any(|b| get(b).is_some()).then(|| {
                let mut all = Vec::with_capacity(batches.iter().map(ChangeBatch::num_rows).sum());
                for batch in batches {
                    match get(batch) {
                        Some(values) => all.extend_from_slice(values),
                        None => all.resize(all.len() + batch.num_rows(), default),
                    }
                }
                ScalarBuffer::from(all)
            })
        };
        Ok(ChangeBatch {
            rows: compute::concat_batches(schema, batches.iter().map(|b| &b.rows))?,
            weights: join(ChangeBatch::weights, 1),
            judges: join(ChangeBatch::judges, Watermark::NONE.0),
            bytes: OnceLock::new(),
        })
    }

    /// The rows at `picks`, each the index of one of `batches` (all of `schema`) and of a row of it, in that order.
    ///
    /// # Errors
    /// If Arrow cannot pick from columns of a type.
    pub fn interleave(schema: &SchemaRef, batches: &[ChangeBatch], picks: &[(usize, usize)]) -> Result<Self> {
        let gather = |get: fn(&ChangeBatch) -> Option<&ScalarBuffer<i64>>, default: i64| {
            let of = |(batch, row): &(usize, usize)| get(&batches[*batch]).map_or(default, |values| values[*row]);
            batches.iter().any(|b| get(b).is_some()).then(|| picks.iter().map(of).collect::<ScalarBuffer<i64>>())
        };
        let column = |at: usize| -> Result<ArrayRef> {
            let sources: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
            Ok(compute::interleave(&sources, picks)?)
        };
        let columns = (0..schema.fields().len()).map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        Ok(ChangeBatch {
            rows: RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?,
            weights: gather(ChangeBatch::weights, 1),
            judges: drop_idle_judges(gather(ChangeBatch::judges, Watermark::NONE.0)),
            bytes: OnceLock::new(),
        })
    }
}

/// Adds the buffers of an array, each with where it lies and its bytes.
fn buffers_of(data: &ArrayData, buffers: &mut Vec<(usize, usize)>) {
    let nulls = data.nulls().map(|nulls| nulls.buffer());
    buffers.extend(
        data.buffers().iter().chain(nulls).map(|buffer| (buffer.data_ptr().as_ptr() as usize, buffer.capacity())),
    );
    data.child_data().iter().for_each(|child| buffers_of(child, buffers));
}

fn copied(column: &ArrayRef) -> Result<ArrayRef> {
    let data = column.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(make_array(copy.freeze()))
}

/// The bytes of one column's rows. Views count what they point at, not the buffers they share.
fn slice_bytes(column: &ArrayRef) -> usize {
    const VIEW_BYTES: usize = 16;
    if let Some(text) = column.as_string_view_opt() {
        VIEW_BYTES * text.len() + text.total_buffer_bytes_used()
    } else if let Some(bytes) = column.as_binary_view_opt() {
        VIEW_BYTES * bytes.len() + bytes.total_buffer_bytes_used()
    } else {
        column.to_data().get_slice_memory_size().unwrap_or_default()
    }
}

fn check_length(what: &str, buffer: Option<&ScalarBuffer<i64>>, rows: usize) -> Result<()> {
    match buffer {
        Some(b) if b.len() != rows => Err(Error::internal(format!("{} {what} for {rows} rows", b.len()))),
        _ => Ok(()),
    }
}

/// A judge column that judges nobody is dropped, so that the common case stays free.
fn drop_idle_judges(judges: Option<ScalarBuffer<i64>>) -> Option<ScalarBuffer<i64>> {
    judges.filter(|j| j.iter().any(|w| *w != Watermark::NONE.0))
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;

    use super::*;

    fn held(batch: &ChangeBatch) -> usize {
        batch.column(0).as_string_view().data_buffers().iter().map(|buffer| buffer.len()).sum()
    }

    #[test]
    fn few_texts_of_a_large_buffer_are_copied_and_many_are_not() {
        let texts: StringViewArray = (0..1000).map(|i| Some(format!("a text beyond twelve bytes {i}"))).collect();
        let rows = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let all = ChangeBatch::new(rows, Some((1..=1000).collect())).unwrap();
        let most = all.slice(0, 600);
        assert_eq!(held(&most.clone().compacted().unwrap()), held(&most));
        let few = all.slice(7, 3);
        let compact = few.clone().compacted().unwrap();
        assert!(held(&compact) * 10 < held(&few));
        assert_eq!((compact.rows(), compact.weights()), (few.rows(), few.weights()));
    }

    /// Whatever their plain type: what rows keep alive is at most a few times what they are counted as.
    #[test]
    fn few_rows_of_a_large_batch_do_not_hold_it() {
        const ROWS: i64 = 10_000;
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from_iter_values(0..ROWS))),
            ("b", Arc::new((0..ROWS).map(|n| (n % 3 > 0).then_some(n % 2 == 0)).collect::<BooleanArray>())),
        ];
        let all = ChangeBatch::append_only(RecordBatch::try_from_iter(columns).unwrap());
        let held = |batch: &ChangeBatch| batch.rows().get_array_memory_size();
        let few = all.slice(4001, 40);
        let compact = few.clone().compacted().unwrap();
        assert!(held(&few) > 50_000 && held(&compact) < 10_000, "{} of {} bytes", held(&compact), held(&few));
        assert_eq!(compact.rows(), few.rows());
        let most = all.slice(0, 6000);
        assert_eq!(held(&most.clone().compacted().unwrap()), held(&most), "most of them are left where they are");
    }
}
