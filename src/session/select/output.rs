//! Rows as the client was told they would come.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use crate::plan::errors::{planning_error, through};
use crate::plan::query::naming::MARK;
use crate::types::SqlType;

/// Digits that a numeric can have.
const MAX_PRECISION: u8 = 38;

/// The schema that clients see: types that PostgreSQL has, and names without the marks that told equal ones apart.
pub fn schema(planned: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| {
        let ty = match field.data_type() {
            // row_number() and its like count without a sign.
            DataType::UInt64 | DataType::UInt32 => SqlType::BigInt,
            _ => match SqlType::from_field(field) {
                SqlType::Numeric(precision, scale) => SqlType::Numeric(precision.min(MAX_PRECISION), scale),
                ty => ty,
            },
        };
        ty.field(field.name().split(MARK).next().unwrap_or_default())
    };
    Arc::new(Schema::new(planned.fields().iter().map(field).collect::<Vec<_>>()))
}

/// The rows, with that schema, and errors in PostgreSQL's words.
pub fn adapt(rows: SendableRecordBatchStream, schema: SchemaRef, text: &str) -> SendableRecordBatchStream {
    let (to, text) = (Arc::clone(&schema), text.to_string());
    let adapted = rows.map(move |batch| {
        let batch = batch.and_then(|batch| with_schema(batch, &to));
        batch.map_err(|e| through(planning_error(e, &text)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, adapted))
}

/// The batch with another schema, its columns cast where the types differ.
pub fn with_schema(batch: RecordBatch, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = |(column, field): (&ArrayRef, &Arc<Field>)| -> DfResult<ArrayRef> {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        Ok(cast_with_options(column, field.data_type(), &options)?)
    };
    let columns = batch.columns().iter().zip(schema.fields()).map(column).collect::<DfResult<Vec<_>>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)?)
}
