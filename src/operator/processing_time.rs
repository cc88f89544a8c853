//! PROCTIME(): appends the tick's one reading of the clock to each row. Rows wait for the tick's end, where the reading is
//! handed in; a tick is bounded in bytes, and so is what waits.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::chunks::Chunks;
use super::window::timestamps;
use super::{Operator, Pull, TickEnd};
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::{Error, Result};

pub struct ProcessingTime {
    schema: SchemaRef,
    /// Whether that is the event time of what stands behind; else it stays what it was.
    is_time: bool,
    waiting: VecDeque<ChangeBatch>,
    stamped: Chunks,
    /// The last tick's reading: a clock that goes back is held.
    now: Micros,
    ending: bool,
}

impl ProcessingTime {
    /// `schema`: the input's columns and, last, the time.
    pub fn new(schema: &SchemaRef, is_time: bool) -> Self {
        ProcessingTime {
            schema: Arc::clone(schema),
            is_time,
            waiting: VecDeque::new(),
            stamped: Chunks::default(),
            now: Micros::MIN,
            ending: false,
        }
    }

    fn stamp(&self, batch: ChangeBatch) -> Result<ChangeBatch> {
        let time = self.schema.fields().last().ok_or_else(|| Error::internal("a time without a column"))?;
        let mut columns = batch.rows().columns().to_vec();
        columns.push(timestamps(vec![self.now; batch.num_rows()], time.data_type())?);
        let batch = batch.with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        // No row is behind by this time.
        if self.is_time { batch.with_judges(None) } else { Ok(batch) }
    }
}

impl Operator for ProcessingTime {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.ending = false;
        self.waiting.push_back(batch);
        Ok(())
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.now = self.now.max(tick.now);
        self.ending = true;
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.now = last.now;
    }

    fn pull(&mut self) -> Result<Pull> {
        while self.ending {
            if let Some(chunk) = self.stamped.next() {
                return Ok(Pull::Batch(chunk));
            }
            let Some(batch) = self.waiting.pop_front() else { break };
            let stamped = self.stamp(batch)?;
            self.stamped.put(stamped)?;
        }
        Ok(Pull::Done)
    }

    /// Rows of the next tick may have the same reading, so it is just in front of this one.
    fn watermark(&self, inputs: &[Watermark], now: Micros) -> Watermark {
        match inputs.iter().copied().min().unwrap_or(Watermark::NONE) {
            watermark if watermark == Watermark::END || !self.is_time => watermark,
            _ => Watermark(now.max(self.now).saturating_sub(1)),
        }
    }
}
