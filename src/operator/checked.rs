//! A wrapper that holds an operator and its driver to the contract: tests run every operator within it.

use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::plan::Changelog;
use crate::state::StateTable;

pub struct Checked {
    inner: Box<dyn Operator>,
    changelog: Changelog,
    /// The operator has said `Done` since it was last given something.
    is_done: bool,
    watermarks: Vec<Watermark>,
    late_rows: u64,
}

impl Checked {
    /// `changelog`: what the plan says of the operator's output.
    pub fn new(inner: Box<dyn Operator>, changelog: Changelog) -> Self {
        Checked { inner, changelog, is_done: true, watermarks: Vec::new(), late_rows: 0 }
    }

    fn expect_done(&mut self, what: &str) -> Result<()> {
        if !std::mem::take(&mut self.is_done) {
            return Err(Error::internal(format!("{what} before the operator was done")));
        }
        Ok(())
    }

    fn check_output(&self, batch: &ChangeBatch) -> Result<()> {
        let broken = |what: &str| Err(Error::internal(format!("an operator emitted {what}")));
        if batch.is_empty() || batch.num_rows() > CHUNK_ROWS {
            return broken(&format!("a chunk of {} rows", batch.num_rows()));
        }
        match (self.changelog, batch.weights()) {
            (Changelog::AppendOnly, Some(_)) => broken("weights though it only appends"),
            (Changelog::Changing, Some(weights)) if weights.contains(&0) => broken("a weight of zero"),
            _ => Ok(()),
        }
    }
}

impl Operator for Checked {
    fn push(&mut self, port: usize, batch: ChangeBatch) -> Result<()> {
        self.expect_done("a push")?;
        self.inner.push(port, batch)
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.expect_done("a tick's end")?;
        if self.watermarks.iter().zip(&tick.watermarks).any(|(last, now)| now < last) {
            return Err(Error::internal("a watermark went back"));
        }
        self.watermarks.clone_from(&tick.watermarks);
        self.inner.end_tick(tick)
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermarks.clone_from(&last.watermarks);
        self.inner.resume(last);
    }

    fn pull(&mut self) -> Result<Pull> {
        let pulled = self.inner.pull()?;
        match &pulled {
            Pull::Batch(batch) => self.check_output(batch)?,
            Pull::Done => self.is_done = true,
            Pull::More | Pull::Blocked => {}
        }
        let late_rows = self.inner.late_rows();
        if late_rows < self.late_rows {
            return Err(Error::internal("late rows were uncounted"));
        }
        self.late_rows = late_rows;
        Ok(pulled)
    }

    fn watermark(&self, inputs: &[Watermark], now: Micros) -> Watermark {
        self.inner.watermark(inputs, now)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.inner.tables()
    }

    fn late_rows(&self) -> u64 {
        self.inner.late_rows()
    }
}
