//! One stage in one shard: operators, and the loop that pushes and pulls them. It can stop anywhere (output full, state
//! being fetched) and be resumed, since every operator keeps what it has not yet put out.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::change::ChangeBatch;
use crate::error::Result;
use crate::operator::{CHUNK_ROWS, Operator, Pull, TickEnd};

use super::exchange::Router;
use super::stages::{Reader, Route};

/// Output bytes a shard may have waiting in exchanges before the next stage must take them. Counted in bytes of this
/// shard alone, hence the same however threads are scheduled.
/// The same bounds what it holds of the tick's results.
const OUTPUT_BYTES: usize = 8 * 1024 * 1024;

/// Rows that a shard's operators take in and put out before they stop and whoever runs the tick looks around: others may
/// want the thread, or nobody the result any more. Some tens of milliseconds.
pub const TURN_ROWS: usize = 1 << 19;

/// What a pull counts for at least: it may have looked at some rows and given nothing.
const PULL_ROWS: usize = 1024;

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
    /// Output must be taken first, or the turn is over.
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
    /// What came from outside, each with its bytes, and all of these.
    input: VecDeque<(Delivery, usize)>,
    input_bytes: usize,
    /// What waits for later stages, by shard of the receiver.
    outbound: Vec<Outbound>,
    /// Results of the tick that nobody has taken yet: output index and batch.
    results: Vec<(usize, ChangeBatch)>,
    /// Bytes of both.
    output_bytes: usize,
    /// Operators whose tick has ended.
    ended: usize,
    /// Rows taken in and put out in this turn.
    turn_rows: usize,
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
    pub bytes: usize,
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
            input_bytes: 0,
            outbound: Vec::new(),
            results: Vec::new(),
            output_bytes: 0,
            ended: 0,
            turn_rows: 0,
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

    pub fn put(&mut self, delivery: Delivery, bytes: usize) {
        self.input_bytes += bytes;
        self.input.push_back((delivery, bytes));
    }

    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub fn input_bytes(&self) -> usize {
        self.input_bytes
    }

    /// Rows taken in and put out in the last turn.
    pub fn turn_rows(&self) -> usize {
        self.turn_rows
    }

    /// One turn: takes input until there is none, and ends the tick of each operator in order if `ends` is given (one
    /// entry an operator). Call again after `Full`, once output is taken, or `Blocked`.
    pub fn turn(&mut self, ends: Option<&[TickEnd]>, router: &mut Router) -> Result<Step> {
        self.turn_rows = 0;
        let step = self.run(ends, router)?;
        router.flush(&mut self.outbound)?;
        Ok(step)
    }

    fn run(&mut self, ends: Option<&[TickEnd]>, router: &mut Router) -> Result<Step> {
        loop {
            match self.push(router)? {
                Step::Idle => {}
                stop => return Ok(stop),
            }
            let end = ends.and_then(|ends| ends.get(self.ended));
            let (Some(operator), Some(tick)) = (self.operators.get_mut(self.ended), end) else {
                return Ok(Step::Idle);
            };
            operator.end_tick(tick)?;
            self.pending[self.ended] = true;
            self.ended += 1;
        }
    }

    /// Gives away what waits for later stages, and the results.
    pub fn take_output(&mut self) -> (Vec<Outbound>, Vec<(usize, ChangeBatch)>, usize) {
        let bytes = std::mem::take(&mut self.output_bytes);
        (std::mem::take(&mut self.outbound), std::mem::take(&mut self.results), bytes)
    }

    /// Takes input until there is none, output is full, the turn is over, or state is missing.
    fn push(&mut self, router: &mut Router) -> Result<Step> {
        loop {
            match self.drain(router)? {
                Step::Idle => {}
                stop => return Ok(stop),
            }
            let Some((next, bytes)) = self.input.pop_front() else { return Ok(Step::Idle) };
            self.input_bytes -= bytes;
            self.rows += next.batch.num_rows() as u64;
            self.deliver(next)?;
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
            if self.output_bytes >= OUTPUT_BYTES || self.turn_rows >= TURN_ROWS {
                return Ok(Step::Full);
            }
            self.turn_rows += PULL_ROWS;
            match self.operators[operator].pull()? {
                Pull::Batch(batch) if batch.is_empty() => {}
                Pull::Batch(batch) => self.route(operator, batch, router)?,
                Pull::More => self.turn_rows += CHUNK_ROWS,
                Pull::Done => self.pending[operator] = false,
                Pull::Blocked => return Ok(Step::Blocked),
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<()> {
        self.turn_rows += delivery.batch.num_rows();
        self.operators[delivery.operator].push(delivery.port, delivery.batch)?;
        self.pending[delivery.operator] = true;
        Ok(())
    }

    fn route(&mut self, operator: usize, batch: ChangeBatch, router: &mut Router) -> Result<()> {
        self.output_rows[operator] += batch.num_rows() as u64;
        self.turn_rows += batch.num_rows();
        let readers = Arc::clone(&self.readers);
        for reader in &readers[operator] {
            match reader {
                Reader::Local { operator, port } => {
                    self.local.push_back(Delivery { operator: *operator, port: *port, batch: batch.clone() });
                }
                Reader::Output(output) => {
                    self.output_bytes += batch.bytes();
                    self.results.push((*output, batch.clone()));
                }
                Reader::Exchange(route) => {
                    self.output_bytes += router.route(route, &batch, &mut self.outbound)?;
                }
            }
        }
        Ok(())
    }
}
