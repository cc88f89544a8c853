//! SELECT: expressions over each row.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::chunks::Chunks;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::plan::functions::bounded;

pub struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    input: Chunks,
}

impl Project {
    pub fn new(exprs: Vec<Arc<dyn PhysicalExpr>>, schema: &SchemaRef) -> Self {
        Project { exprs, schema: Arc::clone(schema), input: Chunks::default() }
    }
}

fn project(exprs: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef, batch: &ChangeBatch) -> Result<ChangeBatch> {
    let columns = bounded::evaluate(exprs, batch.rows())?;
    for (column, field) in columns.iter().zip(schema.fields()) {
        if column.data_type() != field.data_type() {
            return Err(Error::internal(format!(
                "expression \"{}\" gave {} instead of {}",
                field.name(),
                column.data_type(),
                field.data_type()
            )));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let projected = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    batch.clone().with_rows(projected)
}

impl Operator for Project {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.input.put(batch)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        let projected = self.input.each(|batch| project(&self.exprs, &self.schema, batch));
        projected.map_or(Ok(Pull::Done), |batch| batch.map(Pull::Batch))
    }
}
