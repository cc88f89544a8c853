//! Window table functions alone: each row with window_start, window_end and window_time (the last instant: end - 1 unit)
//! appended, once for each window it falls into.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};

use super::chunks::Chunks;
use super::slices::Slices;
use super::{Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result, SqlState};
use crate::plan::EventTime;

pub struct Window {
    schema: SchemaRef,
    time: EventTime,
    slices: Slices,
    input: Chunks,
    ends: Vec<i64>,
}

impl Window {
    pub fn new(slices: Slices, time: EventTime, schema: &SchemaRef) -> Self {
        Window { schema: Arc::clone(schema), time, slices, input: Chunks::default(), ends: Vec::new() }
    }

    fn append(&mut self, batch: &ChangeBatch) -> Result<ChangeBatch> {
        self.slices.ends(event_times(batch, self.time)?, &mut self.ends)?;
        let mut columns = batch.rows().columns().to_vec();
        for place in window_columns(&self.ends, self.slices.size(), self.time.unit) {
            let field = self.schema.fields().get(columns.len());
            columns.push(timestamps(place, field.map_or(&DataType::Null, |f| f.data_type()))?);
        }
        batch.clone().with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// The event times of a batch's rows, in microseconds.
///
/// # Errors
/// `23502` if one is null.
pub(super) fn event_times(batch: &ChangeBatch, time: EventTime) -> Result<&[i64]> {
    let column = batch.rows().columns().get(time.column);
    let column = column.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let column = column.ok_or_else(|| Error::internal("the event time is no timestamp"))?;
    if column.null_count() > 0 {
        let schema = batch.schema();
        let name = schema.fields().get(time.column).map_or("", |f| f.name());
        return Err(Error::new(SqlState::NotNullViolation, format!("null value in event-time column \"{name}\""))
            .with_hint("Filter such rows out in front of the window: WHERE ... IS NOT NULL."));
    }
    Ok(column.values())
}

/// window_start, window_end and window_time of windows that end at `ends`.
pub(super) fn window_columns(ends: &[i64], size: i64, unit: i64) -> [Vec<i64>; 3] {
    let minus = |by: i64| ends.iter().map(|end| end.wrapping_sub(by)).collect();
    [minus(size), ends.to_vec(), minus(unit)]
}

/// A column of times of this type.
pub(super) fn timestamps(times: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    if !PrimitiveArray::<TimestampMicrosecondType>::is_compatible(data_type) {
        return Err(Error::internal("a window's column is no timestamp"));
    }
    Ok(Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(times).with_data_type(data_type.clone())))
}

impl Operator for Window {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.input.put(batch)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        match self.input.next() {
            Some(batch) => self.append(&batch).map(Pull::Batch),
            None => Ok(Pull::Done),
        }
    }
}
