//! SELECT: expressions over each row.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::chunks::Chunks;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};

pub struct Project {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    input: Chunks,
}

impl Project {
    pub fn new(exprs: Vec<Arc<dyn PhysicalExpr>>, schema: &SchemaRef) -> Self {
        Project { exprs, schema: Arc::clone(schema), input: Chunks::default() }
    }

    fn evaluate(&self, batch: ChangeBatch) -> Result<ChangeBatch> {
        let rows = batch.num_rows();
        let columns = self.exprs.iter().zip(self.schema.fields()).map(|(expr, field)| {
            let column = expr.evaluate(batch.rows())?.into_array(rows)?;
            if column.data_type() != field.data_type() {
                return Err(Error::internal(format!(
                    "expression \"{}\" gave {} instead of {}",
                    field.name(),
                    column.data_type(),
                    field.data_type()
                )));
            }
            Ok(column)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let projected = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        batch.with_rows(projected)
    }
}

impl Operator for Project {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.input.put(batch)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        match self.input.next() {
            Some(batch) => self.evaluate(batch).map(Pull::Batch),
            None => Ok(Pull::Done),
        }
    }
}
