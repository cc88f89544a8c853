//! UNION ALL: every row of every input, under the output's names.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::chunks::Chunks;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::Result;

pub struct Union {
    schema: SchemaRef,
    input: Chunks,
}

impl Union {
    pub fn new(schema: &SchemaRef) -> Self {
        Union { schema: schema.clone(), input: Chunks::default() }
    }
}

impl Operator for Union {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.rows().columns().to_vec();
        let renamed = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        self.input.put(batch.with_rows(renamed)?)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        Ok(self.input.next().map_or(Pull::Done, Pull::Batch))
    }
}
