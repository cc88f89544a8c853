//! One stage in one shard: operators, and the loop that pushes and pulls them. It can stop anywhere (output full, state
//! being fetched) and be resumed, since every operator keeps what it has not yet put out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::change::ChangeBatch;
use crate::error::Result;
use crate::operator::{Operator, Pull, TickEnd};

use super::exchange::Router;
use super::stages::{Reader, Route};

/// Output bytes a shard may have waiting in exchanges before the next stage must take them. Counted in bytes of this
/// shard alone, hence the same however threads are scheduled.
pub const OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// A batch on its way to an operator of this stage.
#[derive(Debug)]
pub struct Delivery {
    pub operator: usize,
    pub port: usize,
    pub batch: ChangeBatch,
}

/// How far a shard came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All input is taken, all output is out.
    Idle,
    /// The next stage must take output first.
    Full,
    /// State is being fetched.
    Blocked,
}

/// A stage's operators in one shard.
///
/// Invariants: an operator is pushed only when it has nothing to pull; of those with output the last in topological order
/// is pulled first, so what lies between operators is at most what one pull gave.
pub struct StageShard {
    operators: Vec<Box<dyn Operator>>,
    readers: Arc<Vec<Vec<Reader>>>,
    /// Operators with something to pull.
    pending: Vec<bool>,
    local: VecDeque<Delivery>,
    pub input: VecDeque<Delivery>,
    /// What waits for later stages, by shard of the receiver.
    pub outbound: Vec<Outbound>,
    pub outbound_bytes: usize,
    /// The tick's results: output index and batch.
    pub results: Vec<(usize, ChangeBatch)>,
    /// Operators whose tick has ended.
    ended: usize,
    /// Rows pushed into this shard's operators from outside, since the start.
    pub rows: u64,
    /// Rows that each operator has put out, since the start.
    pub output_rows: Vec<u64>,
}

/// A batch for another stage.
#[derive(Debug)]
pub struct Outbound {
    pub route: Route,
    pub shard: usize,
    pub batch: ChangeBatch,
}

impl StageShard {
    pub fn new(operators: Vec<Box<dyn Operator>>, readers: Arc<Vec<Vec<Reader>>>) -> Self {
        let (pending, output_rows) = (vec![false; operators.len()], vec![0; operators.len()]);
        StageShard {
            operators,
            readers,
            pending,
            local: VecDeque::new(),
            input: VecDeque::new(),
            outbound: Vec::new(),
            outbound_bytes: 0,
            results: Vec::new(),
            ended: 0,
            rows: 0,
            output_rows,
        }
    }

    pub fn operators(&self) -> &[Box<dyn Operator>] {
        &self.operators
    }

    pub fn operators_mut(&mut self) -> &mut [Box<dyn Operator>] {
        &mut self.operators
    }

    pub fn input_bytes(&self) -> usize {
        self.input.iter().map(|d| d.batch.bytes()).sum()
    }

    /// Takes input until there is none, output is full or state is missing.
    pub fn push(&mut self, router: &mut Router) -> Result<Step> {
        loop {
            match self.drain(router)? {
                Step::Idle => {}
                stop => return Ok(stop),
            }
            let Some(next) = self.input.pop_front() else { return Ok(Step::Idle) };
            self.rows += next.batch.num_rows() as u64;
            self.deliver(next)?;
        }
    }

    /// Ends the tick of each operator in order; `ticks` has one entry an operator. Call again after `Full` or `Blocked`.
    pub fn end_tick(&mut self, ticks: &[TickEnd], router: &mut Router) -> Result<Step> {
        loop {
            match self.push(router)? {
                Step::Idle => {}
                stop => return Ok(stop),
            }
            let (Some(operator), Some(tick)) = (self.operators.get_mut(self.ended), ticks.get(self.ended)) else {
                return Ok(Step::Idle);
            };
            operator.end_tick(tick)?;
            self.pending[self.ended] = true;
            self.ended += 1;
        }
    }

    /// Makes ready for the next tick.
    pub fn begin_tick(&mut self) {
        self.ended = 0;
    }

    /// Pulls until no operator of this shard has anything to give.
    fn drain(&mut self, router: &mut Router) -> Result<Step> {
        loop {
            if let Some(next) = self.local.front()
                && !self.pending[next.operator]
                && let Some(next) = self.local.pop_front()
            {
                self.deliver(next)?;
                continue;
            }
            let Some(operator) = self.pending.iter().rposition(|p| *p) else { return Ok(Step::Idle) };
            if self.outbound_bytes >= OUTPUT_BYTES {
                return Ok(Step::Full);
            }
            match self.operators[operator].pull()? {
                Pull::Batch(batch) if batch.is_empty() => {}
                Pull::Batch(batch) => self.route(operator, batch, router)?,
                Pull::Done => self.pending[operator] = false,
                Pull::Blocked => return Ok(Step::Blocked),
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<()> {
        self.operators[delivery.operator].push(delivery.port, delivery.batch)?;
        self.pending[delivery.operator] = true;
        Ok(())
    }

    fn route(&mut self, operator: usize, batch: ChangeBatch, router: &mut Router) -> Result<()> {
        self.output_rows[operator] += batch.num_rows() as u64;
        let readers = Arc::clone(&self.readers);
        for reader in &readers[operator] {
            match reader {
                Reader::Local { operator, port } => {
                    self.local.push_back(Delivery { operator: *operator, port: *port, batch: batch.clone() });
                }
                Reader::Output(output) => self.results.push((*output, batch.clone())),
                Reader::Exchange(route) => {
                    let before = self.outbound.len();
                    router.route(route, &batch, &mut self.outbound)?;
                    self.outbound_bytes += self.outbound[before..].iter().map(|o| o.batch.bytes()).sum::<usize>();
                }
            }
        }
        Ok(())
    }
}
