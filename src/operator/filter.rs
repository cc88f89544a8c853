//! WHERE: the rows for which a predicate is true.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;

use super::chunks::Chunks;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};

pub struct Filter {
    predicate: Arc<dyn PhysicalExpr>,
    input: Chunks,
}

impl Filter {
    pub fn new(predicate: Arc<dyn PhysicalExpr>) -> Self {
        Filter { predicate, input: Chunks::default() }
    }
}

fn pass(predicate: &Arc<dyn PhysicalExpr>, batch: &ChangeBatch) -> Result<ChangeBatch> {
    let mask = predicate.evaluate(batch.rows())?.into_array(batch.num_rows())?;
    if *mask.data_type() != DataType::Boolean {
        return Err(Error::internal("a filter's predicate is not boolean"));
    }
    let mask = mask.as_boolean();
    // Null counts as false.
    if mask.true_count() == batch.num_rows() { Ok(batch.clone()) } else { batch.filter(mask) }
}

impl Operator for Filter {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.input.put(batch)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        while let Some(kept) = self.input.each(|batch| pass(&self.predicate, batch)) {
            let kept = kept?;
            if !kept.is_empty() {
                return Ok(Pull::Batch(kept));
            }
        }
        Ok(Pull::Done)
    }
}
