//! The first stage: input chunks become change batches. Decoding runs side by side, also within one partition; only the
//! running maximum of a partition's watermark goes from chunk to chunk in order.
//!
//! 1. [`Scan::decode`], chunk by chunk, in parallel: bytes to rows, computed columns, and the WATERMARK expression over
//!    them. Rows with a null where none may be are taken out with those that could not be decoded.
//! 2. In order, for each partition: the watermark in front of each chunk.
//! 3. [`Decoded::judge`], in parallel: rows that are behind their own partition's watermark get it as their judge. So what
//!    is late depends on the data alone, never on how it was cut.

use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use datafusion::physical_expr::PhysicalExpr;

use crate::change::{ChangeBatch, Watermark};
use crate::connector::dead_letter::DeadLetter;
use crate::connector::{OnError, Payload};
use crate::error::{Error, Result, SqlState};
use crate::format::json::{JsonEncoder, JsonOptions};
use crate::format::{self, BadMessage, Decoder, Encoder, RawChunk, Waits};
use crate::plan::ScanWatermark;

use super::required::Required;

/// How a source's chunks become rows. Shared by all who read the scan.
pub struct Scan {
    schema: SchemaRef,
    decoder: Option<Arc<dyn Decoder>>,
    /// Of what the source brings.
    required: Required,
    /// Where the wanted columns are others than the source brings.
    computed: Option<Computed>,
    watermark: Option<WatermarkColumns>,
    on_error: OnError,
}

/// The wanted columns over those that the source brings.
pub struct Computed {
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
    pub required: Required,
}

struct WatermarkColumns {
    time: usize,
    expr: Arc<dyn PhysicalExpr>,
}

/// A chunk's rows before they are judged.
pub struct Decoded {
    rows: RecordBatch,
    /// Of a changing source.
    weights: Option<ScalarBuffer<i64>>,
    /// The event times and the WATERMARK expression's values, if the scan has a watermark.
    times: Option<(PrimitiveArray<TimestampMicrosecondType>, PrimitiveArray<TimestampMicrosecondType>)>,
    /// Messages that could not be decoded and were skipped.
    pub bad: u64,
    /// Those messages, if somebody wants them.
    pub letters: Vec<DeadLetter>,
    /// Maximum of the WATERMARK expression over the rows.
    pub watermark: Watermark,
}

impl Scan {
    /// `schema`: the wanted columns. `decoder` gives rows of what the source brings from raw chunks, and `required` says
    /// where they must not be null; `computed` makes the wanted columns of it, if they are others. `on_error`: what becomes
    /// of messages that cannot be decoded, and of rows with a null where none may be.
    pub fn new(
        schema: SchemaRef,
        decoder: Option<Arc<dyn Decoder>>,
        required: Required,
        computed: Option<Computed>,
        watermark: Option<&ScanWatermark>,
        on_error: OnError,
    ) -> Result<Self> {
        let watermark = match watermark {
            Some(w) => Some(WatermarkColumns { time: w.event_time.column, expr: w.expr.compile(&schema)? }),
            None => None,
        };
        Ok(Scan { schema, decoder, required, computed, watermark, on_error })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn has_watermark(&self) -> bool {
        self.watermark.is_some()
    }

    /// The decoder, if it may lack what a chunk takes ([`Waits::prepare`]).
    pub fn waits(&self) -> Option<&dyn Waits> {
        self.decoder.as_ref().and_then(|decoder| decoder.waits())
    }

    pub fn decode(&self, payload: Payload) -> Result<Decoded> {
        match payload {
            Payload::Rows(rows) => self.decode_rows(rows),
            Payload::Deferred(deferred) => self.decode_rows(deferred.make()?),
            Payload::Raw(raw) => self.decode_raw(&raw),
        }
    }

    fn decode_rows(&self, rows: RecordBatch) -> Result<Decoded> {
        let mut decoded = format::Decoded { rows: rows.clone(), weights: None, messages: None, bad: Vec::new() };
        self.complete(&mut decoded, &[])?;
        let letter = |bad: BadMessage| {
            let row = JsonEncoder::with_columns(rows.schema_ref(), &all(&rows), JsonOptions::default())?;
            let mut message = Vec::new();
            row.encode(&rows.slice(bad.index, 1), &mut message, &mut Vec::new())?;
            Ok(DeadLetter { offset: None, file: None, error: bad.error, message: message.into() })
        };
        self.settled(decoded, |first| first.error, letter)
    }

    fn decode_raw(&self, raw: &RawChunk) -> Result<Decoded> {
        let decoder =
            self.decoder.as_ref().ok_or_else(|| Error::internal("raw bytes from a source without a format"))?;
        let mut decoded = decoder.decode(raw)?;
        self.complete(&mut decoded, if decoder.takes_nulls() { &[] } else { &raw.nulls })?;
        let letter = |bad: BadMessage| {
            Ok(DeadLetter {
                offset: raw.offsets.get(bad.index).copied(),
                file: raw.file.clone(),
                error: bad.error,
                message: Bytes::copy_from_slice(raw.message(bad.index)),
            })
        };
        self.settled(decoded, |first| first.error.context(decoder.place(raw, first.index)), letter)
    }

    /// Makes the wanted columns, without the messages that a null is in where none may be.
    fn complete(&self, decoded: &mut format::Decoded, tombstones: &[u32]) -> Result<()> {
        self.required.enforce(decoded, tombstones)?;
        let Some(computed) = &self.computed else { return Ok(()) };
        let rows = &decoded.rows;
        let columns = computed.exprs.iter().map(|expr| Ok(expr.evaluate(rows)?.into_array(rows.num_rows())?));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        decoded.rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        computed.required.enforce(decoded, tombstones)
    }

    /// What becomes of bad messages: `failure` says what the first one fails with, `letter` puts one down.
    fn settled(
        &self,
        decoded: format::Decoded,
        failure: impl FnOnce(BadMessage) -> Error,
        letter: impl FnMut(BadMessage) -> Result<DeadLetter>,
    ) -> Result<Decoded> {
        let format::Decoded { rows, weights, mut bad, .. } = decoded;
        if self.on_error == OnError::Fail && !bad.is_empty() {
            return Err(failure(bad.swap_remove(0)));
        }
        let mut decoded = self.timed(rows, weights)?;
        decoded.bad = bad.len() as u64;
        if self.on_error == OnError::DeadLetter {
            decoded.letters = bad.into_iter().map(letter).collect::<Result<_>>()?;
        }
        Ok(decoded)
    }

    /// Rows with their event times.
    fn timed(&self, rows: RecordBatch, weights: Option<ScalarBuffer<i64>>) -> Result<Decoded> {
        let (times, watermark) = match &self.watermark {
            None => (None, Watermark::NONE),
            Some(columns) => {
                let times = micros(rows.column(columns.time))?;
                let marks = micros(&columns.expr.evaluate(&rows)?.into_array(rows.num_rows())?)?;
                let most = arrow::compute::max(&marks).map_or(Watermark::NONE, Watermark);
                (Some((times, marks)), most)
            }
        };
        Ok(Decoded { rows, weights, times, bad: 0, letters: Vec::new(), watermark })
    }
}

impl Decoded {
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Judges each row by `front`, the partition's watermark in front of this chunk, and by the rows before it here: a
    /// row is behind if its time is at or below it. (A row without a time is never behind.)
    pub fn judge(self, front: Watermark) -> Result<ChangeBatch> {
        let batch = ChangeBatch::new(self.rows, self.weights)?;
        let Some((times, marks)) = self.times else { return Ok(batch) };
        let mut running = front.0;
        let mut judges: Option<Vec<i64>> = None;
        for row in 0..times.len() {
            if times.value(row) <= running && times.is_valid(row) && running != Watermark::NONE.0 {
                judges.get_or_insert_with(|| vec![Watermark::NONE.0; times.len()])[row] = running;
            }
            if marks.is_valid(row) {
                running = running.max(marks.value(row));
            }
        }
        batch.with_judges(judges.map(ScalarBuffer::from))
    }
}

/// The indices of all columns.
fn all(rows: &RecordBatch) -> Vec<usize> {
    (0..rows.num_columns()).collect()
}

/// A timestamp column as microseconds, whatever its unit and zone.
fn micros(array: &dyn Array) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(array.as_primitive::<TimestampMicrosecondType>().clone()),
        DataType::Timestamp(_, zone) => {
            let cast = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            Ok(cast.as_primitive::<TimestampMicrosecondType>().clone())
        }
        other => Err(Error::new(SqlState::DatatypeMismatch, format!("a watermark must be a timestamp, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};

    /// Rows as (time, watermark) pairs; the judges they get, `-` for none.
    fn check(front: i64, rows: &[(i64, i64)], expected: &[Option<i64>]) {
        let times = PrimitiveArray::from_iter_values(rows.iter().map(|r| r.0));
        let marks = PrimitiveArray::from_iter_values(rows.iter().map(|r| r.1));
        let schema = Schema::new(vec![Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times.clone())]).unwrap();
        let decoded = Decoded {
            rows: batch,
            weights: None,
            times: Some((times, marks)),
            bad: 0,
            letters: Vec::new(),
            watermark: Watermark::NONE,
        };
        let judged = decoded.judge(Watermark(front)).unwrap();
        let got: Vec<_> = (0..rows.len()).map(|i| Some(judged.judge(i)).filter(|j| *j != Watermark::NONE)).collect();
        let expected: Vec<_> = expected.iter().map(|e| e.map(Watermark)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_row_at_the_watermark_is_behind() {
        check(10, &[(11, 6), (10, 5), (9, 4)], &[None, Some(10), Some(10)]);
    }

    #[test]
    fn rows_of_the_same_chunk_judge_those_after_them() {
        check(i64::MIN, &[(20, 15), (15, 10), (16, 11), (40, 35), (20, 15)], &[None, Some(15), None, None, Some(35)]);
    }

    #[test]
    fn nothing_is_behind_no_watermark() {
        check(i64::MIN, &[(i64::MIN, i64::MIN)], &[None]);
    }
}
