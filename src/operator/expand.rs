//! GROUPING SETS in front of an aggregate: each row once for each set, with the set's number, and with null in place of the
//! keys that the set leaves out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;

use super::chunks::Chunks;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::plan::leaves_out;

pub struct Expand {
    columns: Vec<usize>,
    keys: Vec<usize>,
    sets: Vec<i64>,
    schema: SchemaRef,
    input: Chunks,
    /// The chunk that is being repeated, and the place of its next set.
    repeating: Option<(ChangeBatch, usize)>,
}

impl Expand {
    pub fn new(columns: &[usize], keys: &[usize], sets: &[i64], schema: &SchemaRef) -> Self {
        Expand {
            columns: columns.to_vec(),
            keys: keys.to_vec(),
            sets: sets.to_vec(),
            schema: Arc::clone(schema),
            input: Chunks::default(),
            repeating: None,
        }
    }

    /// The rows as they belong to a set.
    fn of_set(&self, batch: &ChangeBatch, set: i64) -> Result<ChangeBatch> {
        let column = |at: &usize| {
            let column = batch.rows().columns().get(*at).map(Arc::clone);
            column.ok_or_else(|| Error::internal("a grouping set names a column that is not there"))
        };
        let mut columns = self.columns.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        for (place, key) in self.keys.iter().map(column).enumerate() {
            let key = key?;
            columns.push(match leaves_out(set, place, self.keys.len()) {
                true => new_null_array(key.data_type(), key.len()),
                false => key,
            });
        }
        columns.push(Arc::new(Int64Array::from_value(set, batch.num_rows())));
        batch.clone().with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Operator for Expand {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.input.put(batch)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        let Some((batch, next)) = self.repeating.take().or_else(|| Some((self.input.next()?, 0))) else {
            return Ok(Pull::Done);
        };
        let Some(set) = self.sets.get(next) else { return Err(Error::internal("there are no grouping sets")) };
        let rows = self.of_set(&batch, *set)?;
        self.repeating = Some((batch, next + 1)).filter(|(_, next)| *next < self.sets.len());
        Ok(Pull::Batch(rows))
    }
}
