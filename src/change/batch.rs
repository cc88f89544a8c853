//! The change batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute;
use arrow::datatypes::SchemaRef;

use super::Watermark;
use super::key::{KeyCodec, Keys};
use crate::error::{Error, Result};

/// Buffers of texts may hold this many times what the rows of a batch use of them before [`ChangeBatch::compacted`] copies.
const MOST_HELD_TO_USED: usize = 3;

/// Rows with weights and, where a row is behind its partition's watermark, the watermark that judges it.
///
/// Invariants: `weights` and `judges`, where present, are as long as `rows`; no weight is zero.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    rows: RecordBatch,
    weights: Option<ScalarBuffer<i64>>,
    judges: Option<ScalarBuffer<i64>>,
}

impl ChangeBatch {
    /// Rows that are all inserted once.
    pub fn append_only(rows: RecordBatch) -> Self {
        ChangeBatch { rows, weights: None, judges: None }
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
        Ok(self)
    }

    /// For each row the watermark of its partition from just before it, if the row is behind it, and
    /// [`Watermark::NONE`] if not. `None`: no row is behind.
    pub fn with_judges(mut self, judges: Option<ScalarBuffer<i64>>) -> Result<Self> {
        check_length("judges", judges.as_ref(), self.rows.num_rows())?;
        self.judges = judges;
        Ok(self)
    }

    /// The same changes over other columns (a projection of these rows).
    pub fn with_rows(mut self, rows: RecordBatch) -> Result<Self> {
        if rows.num_rows() != self.rows.num_rows() {
            return Err(Error::internal("a projection changed the number of rows"));
        }
        self.rows = rows;
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
        let per_row = 8 * (usize::from(self.weights.is_some()) + usize::from(self.judges.is_some()));
        self.rows.columns().iter().map(slice_bytes).sum::<usize>() + per_row * self.num_rows()
    }

    /// The same rows, with texts copied out of larger buffers (a decoded chunk, a batch that most rows were filtered out
    /// of) if these hold much more than the rows need: for whoever keeps rows beyond their tick.
    ///
    /// # Errors
    /// If Arrow cannot make the batch of the columns that it gave.
    pub fn compacted(mut self) -> Result<Self> {
        let mut buffers: Vec<(usize, usize)> = Vec::new();
        let mut used = 0;
        for column in self.rows.columns() {
            let (held, bytes) = match (column.as_string_view_opt(), column.as_binary_view_opt()) {
                (Some(text), _) => (text.data_buffers(), text.total_buffer_bytes_used()),
                (_, Some(bytes)) => (bytes.data_buffers(), bytes.total_buffer_bytes_used()),
                _ => continue,
            };
            used += bytes;
            buffers.extend(held.iter().map(|buffer| (buffer.as_ptr() as usize, buffer.len())));
        }
        buffers.sort_unstable();
        buffers.dedup();
        let held: usize = buffers.iter().map(|(_, bytes)| bytes).sum();
        if held > used.saturating_mul(MOST_HELD_TO_USED) {
            let compact = |column: &ArrayRef| -> ArrayRef {
                match (column.as_string_view_opt(), column.as_binary_view_opt()) {
                    (Some(text), _) => Arc::new(text.gc()),
                    (_, Some(bytes)) => Arc::new(bytes.gc()),
                    _ => Arc::clone(column),
                }
            };
            self.rows = RecordBatch::try_new_with_options(
                self.rows.schema(),
                self.rows.columns().iter().map(compact).collect(),
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
        })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let pick = |b: &ScalarBuffer<i64>| indices.values().iter().map(|&i| b[i as usize]).collect();
        Ok(ChangeBatch {
            rows: compute::take_record_batch(&self.rows, indices)?,
            weights: self.weights.as_ref().map(pick),
            judges: drop_idle_judges(self.judges.as_ref().map(pick)),
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
        })
    }
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
        let texts: StringViewArray = (0..100).map(|i| Some(format!("a text beyond twelve bytes {i}"))).collect();
        let rows = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let all = ChangeBatch::new(rows, Some((1..=100).collect())).unwrap();
        let most = all.slice(0, 60);
        assert_eq!(held(&most.clone().compacted().unwrap()), held(&most));
        let few = all.slice(7, 3);
        let compact = few.clone().compacted().unwrap();
        assert!(held(&compact) * 10 < held(&few));
        assert_eq!((compact.rows(), compact.weights()), (few.rows(), few.weights()));
    }
}
