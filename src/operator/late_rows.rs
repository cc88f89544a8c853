//! LATE_ROWS: the rows that a window aggregate over the same input would drop for being late, as they are.

use super::chunks::Chunks;
use super::slices::{Slices, Spans};
use super::window::event_times;
use super::{Operator, Pull, TickEnd};
use crate::change::{ChangeBatch, Watermark};
use crate::error::Result;
use crate::plan::EventTime;

pub struct LateRows {
    slices: Slices,
    time: EventTime,
    /// How long after its last instant a window takes rows, in microseconds.
    lateness: i64,
    /// At the last tick's end.
    watermark: Watermark,
    spans: Spans,
    late: Chunks,
}

impl LateRows {
    pub fn new(slices: Slices, time: EventTime, lateness: i64) -> Self {
        LateRows {
            slices,
            time,
            lateness,
            watermark: Watermark::NONE,
            spans: Spans::default(),
            late: Chunks::default(),
        }
    }
}

impl Operator for LateRows {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.slices.spans(event_times(&batch, self.time)?, &mut self.spans)?;
        let late = self.slices.late(&batch, &mut self.spans, self.watermark, self.time.unit, self.lateness)?;
        late.map_or(Ok(()), |late| self.late.put(late))
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.watermark = tick.watermark();
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermark = last.watermark();
    }

    fn pull(&mut self) -> Result<Pull> {
        Ok(self.late.next().map_or(Pull::Done, Pull::Batch))
    }
}
