//! Change batches as bytes, for results that wait in a store until their sink takes them.
//!
//! Version 1: the version's byte, then an Arrow IPC stream. Its schema is the batches', and behind their columns one of
//! weights if the batches have any. Judges are not kept: results have none.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;

use super::ChangeBatch;
use super::bytes::{Reader, corrupt};
use crate::error::{Error, Result, SqlState};

const VERSION: u8 = 1;

/// The column of weights. A name that no column of a result has need not be found: it is the last, if the schema says so.
const WEIGHTS: &str = "weight";

/// The schema's mark that its last column is the weights.
const HAS_WEIGHTS: &str = "tidemill.weights";

/// `batches`, which have one schema, as bytes.
///
/// # Errors
/// If a type has no form in Arrow's format: none that SQL knows.
pub fn encode(batches: &[ChangeBatch]) -> Result<Vec<u8>> {
    let mut out = vec![VERSION];
    let Some(first) = batches.first() else { return Ok(out) };
    let weighted = batches.iter().any(|batch| batch.weights().is_some());
    let schema = stored_schema(&first.schema(), weighted);
    let mut write = || -> Result<(), ArrowError> {
        let mut writer = StreamWriter::try_new(&mut out, &schema)?;
        for batch in batches {
            let mut columns = batch.rows().columns().to_vec();
            if weighted {
                columns.push(weights_of(batch));
            }
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        }
        writer.finish()
    };
    write().map_err(|e| Error::internal(format!("results could not be written down: {e}")))?;
    Ok(out)
}

/// What [`encode`] wrote.
///
/// # Errors
/// `XX001` if the bytes cannot be that.
pub fn decode(bytes: &[u8]) -> Result<Vec<ChangeBatch>> {
    let mut reader = Reader::new(bytes);
    reader.expect_version(VERSION, "stored results")?;
    if reader.is_empty() {
        return Ok(Vec::new());
    }
    let damaged = |e: ArrowError| Error::new(SqlState::DataCorrupted, format!("stored results are damaged: {e}"));
    let stream = StreamReader::try_new(reader.rest(), None).map_err(damaged)?;
    let weighted = stream.schema().metadata().contains_key(HAS_WEIGHTS);
    stream.map(|batch| batch.map_err(damaged).and_then(|batch| restored(&batch, weighted))).collect()
}

fn stored_schema(schema: &SchemaRef, weighted: bool) -> SchemaRef {
    if !weighted {
        return Arc::clone(schema);
    }
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WEIGHTS, DataType::Int64, false)));
    let mut metadata = schema.metadata().clone();
    metadata.insert(HAS_WEIGHTS.to_string(), String::new());
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn weights_of(batch: &ChangeBatch) -> ArrayRef {
    match batch.weights() {
        Some(weights) => Arc::new(Int64Array::new(weights.clone(), None)),
        None => Arc::new(Int64Array::from_value(1, batch.num_rows())),
    }
}

fn restored(batch: &RecordBatch, weighted: bool) -> Result<ChangeBatch> {
    if !weighted {
        return Ok(ChangeBatch::append_only(batch.clone()));
    }
    let last = batch.num_columns().checked_sub(1).ok_or_else(corrupt)?;
    let weights = batch.column(last).as_primitive_opt::<Int64Type>().ok_or_else(corrupt)?.values().clone();
    let mut metadata = batch.schema().metadata().clone();
    metadata.remove(HAS_WEIGHTS);
    let fields = batch.schema().fields().iter().take(last).cloned().collect::<Vec<_>>();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let columns = batch.columns().iter().take(last).cloned().collect();
    ChangeBatch::new(RecordBatch::try_new(schema, columns)?, Some(weights))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryViewArray, ListArray, StringViewArray, StructArray};
    use arrow::buffer::ScalarBuffer;

    use super::*;

    fn rows(numbers: &[Option<i64>]) -> RecordBatch {
        let texts: StringViewArray = numbers.iter().map(|n| n.map(|n| format!("a text of some length {n}"))).collect();
        let list =
            ListArray::from_iter_primitive::<Int64Type, _, _>(numbers.iter().map(|n| n.map(|n| vec![Some(n), None])));
        let field = Arc::new(Field::new("weight", DataType::Int64, true));
        let number: ArrayRef = Arc::new(Int64Array::from_iter(numbers.iter().copied()));
        let row = StructArray::from(vec![(field, Arc::clone(&number))]);
        let bytes: BinaryViewArray = numbers.iter().map(|n| n.map(|n| n.to_le_bytes())).collect();
        let columns: [(&str, ArrayRef); 5] = [
            ("weight", number),
            ("t", Arc::new(texts)),
            ("l", Arc::new(list)),
            ("r", Arc::new(row)),
            ("b", Arc::new(bytes)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn check(batches: &[ChangeBatch]) {
        let stored = encode(batches).unwrap();
        let read = decode(&stored).unwrap();
        assert_eq!(read.len(), batches.len());
        for (read, batch) in read.iter().zip(batches) {
            assert_eq!(read.rows(), batch.rows());
            let weights = |b: &ChangeBatch| (0..b.num_rows()).map(|row| b.weight(row)).collect::<Vec<_>>();
            assert_eq!(weights(read), weights(batch));
        }
    }

    #[test]
    fn batches_come_back_as_they_were() {
        check(&[]);
        check(&[ChangeBatch::append_only(rows(&[Some(1), None, Some(i64::MIN)]))]);
        let weights = Some(ScalarBuffer::from(vec![1, -1]));
        let changes = ChangeBatch::new(rows(&[Some(7), None]), weights).unwrap();
        check(&[changes.clone(), ChangeBatch::append_only(rows(&[None])), changes]);
        check(&[ChangeBatch::append_only(rows(&[Some(1), Some(2), Some(3)]).slice(1, 1))]);
    }

    #[test]
    fn damage_is_an_error() {
        let stored = encode(&[ChangeBatch::append_only(rows(&[Some(1), None]))]).unwrap();
        assert_eq!(decode(&[9]).unwrap_err().state(), SqlState::DataCorrupted);
        assert!(decode(&stored[..stored.len() / 2]).is_err());
    }
}
