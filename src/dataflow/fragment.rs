//! A running plan: its stages, each in as many shards as its parallelism, and how a tick goes through them.
//!
//! A tick runs stage by stage: all shards of a stage push all their input, then end their tick; their output, already
//! split by key group, is the next stage's input. When a shard's output is full, the later stages push (without ending
//! their tick) before it goes on, so what is in flight stays bounded. Results leave in parts as they come, so that a tick
//! may give more than memory holds; whoever runs it may do something else between two turns, or give it up. Everything is
//! ordered by stage, shard and sequence, and parts are cut by bytes, never by time: the same cuts give the same bytes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::change::key::groups_of;
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::memory::{Account, Budget};
use crate::operator::{self, Operator, Pull, TickEnd};
use crate::plan::{Changelog, NodeIndex, StreamPlan};
use crate::state::StateContext;

use super::exchange::Router;
use super::pool;
use super::shard::{Delivery, StageShard, Step, TURN_ROWS};
use super::stages::Stages;

/// Bytes of results at which a tick hands on what it has before it goes on. A tick that gives less is handed on whole: an
/// error in it leaves nothing of it behind.
pub const PART_BYTES: usize = 32 << 20;

/// One plan being run.
pub struct Fragment {
    pub(super) plan: Arc<StreamPlan>,
    pub(super) stages: Stages,
    /// By stage, then by shard.
    pub(super) shards: Vec<Vec<Worker>>,
    /// The watermark behind each node of the plan at the end of the last tick.
    pub(super) watermarks: Vec<Watermark>,
    /// What each node had put out, and dropped, in earlier lives.
    pub(super) earlier: Vec<OperatorStats>,
    /// The greatest reading of the clock so far.
    pub(super) latest: Micros,
    /// How often windows look at the clock, if they do.
    clock_step: Option<i64>,
    /// When they next will.
    pub(super) due: Option<Micros>,
    /// The present tick's end: by stage, then by operator.
    ends: Vec<Vec<TickEnd>>,
    /// The first stage whose tick has not ended.
    ending: usize,
    /// What the present tick has given since the last part: by output.
    results: Vec<Vec<ChangeBatch>>,
    results_bytes: usize,
    budget: Arc<Budget>,
    /// What waits between stages, and the results.
    account: Account,
}

/// How far a tick came.
#[derive(Debug)]
pub enum Advance {
    /// There is more to do. What the tick has given since the last answer, by the plan's output: enough for a part, or
    /// nothing.
    More(Vec<Vec<ChangeBatch>>),
    /// The tick is over; with its last part.
    Over(Vec<Vec<ChangeBatch>>),
}

/// A stage's shard with what it sends through.
pub(super) struct Worker {
    pub stage: StageShard,
    router: Router,
    step: Step,
}

/// What a scan of the plan gets in a tick.
#[derive(Debug)]
pub struct ScanInput {
    /// The plan's scan node.
    pub node: NodeIndex,
    /// Rows with the scan's columns, and the shard that takes them.
    pub batches: Vec<(usize, ChangeBatch)>,
    /// The source's watermark at the tick's end.
    pub watermark: Watermark,
}

/// Figures of a fragment.
#[derive(Debug, Default, Clone, Copy)]
pub struct FragmentStats {
    pub late_rows: u64,
    pub state_bytes: usize,
    /// Shards that stateful stages' rows have reached.
    pub shards_reached: usize,
}

/// Figures of one operator, since it began, earlier lives included.
#[derive(Debug, Default, Clone, Copy)]
pub struct OperatorStats {
    pub output_rows: u64,
    pub late_rows: u64,
    pub state_bytes: usize,
    /// Behind the operator, as of the last tick's end.
    pub watermark: Watermark,
}

impl Fragment {
    pub fn new(plan: Arc<StreamPlan>, parallelism: usize, state: &StateContext) -> Result<Self> {
        let stages = Stages::of(&plan)?;
        let parallelism = parallelism.max(1);
        let mut shards = Vec::with_capacity(stages.stages.len());
        for stage in &stages.stages {
            let readers = Arc::new(stage.readers.clone());
            let mut row = Vec::with_capacity(parallelism);
            for shard in 0..parallelism {
                let state = StateContext { groups: groups_of(shard, parallelism), ..state.clone() };
                let operators =
                    stage.nodes.iter().map(|&node| build(&plan, node, &state)).collect::<Result<Vec<_>>>()?;
                row.push(Worker {
                    stage: StageShard::new(operators, Arc::clone(&readers)),
                    router: Router::new(shard, parallelism),
                    step: Step::Idle,
                });
            }
            shards.push(row);
        }
        Ok(Fragment {
            stages,
            watermarks: vec![Watermark::NONE; plan.nodes.len()],
            earlier: vec![OperatorStats::default(); plan.nodes.len()],
            latest: Micros::MIN,
            clock_step: plan.clock_step(),
            due: None,
            ends: Vec::new(),
            ending: shards.len(),
            results: vec![Vec::new(); plan.outputs.len()],
            results_bytes: 0,
            budget: Arc::clone(&state.budget),
            account: state.budget.account(),
            shards,
            plan,
        })
    }

    pub fn plan(&self) -> &Arc<StreamPlan> {
        &self.plan
    }

    /// The watermark behind the node, as of the last tick's end.
    pub fn watermark(&self, node: NodeIndex) -> Watermark {
        self.watermarks.get(node).copied().unwrap_or(Watermark::NONE)
    }

    /// When a tick is due although no input has come.
    pub fn due(&self) -> Option<Micros> {
        self.due
    }

    /// For what somebody holds of the results.
    pub fn new_account(&self) -> Account {
        self.budget.account()
    }

    /// Begins a tick; [`Fragment::advance`] runs it.
    pub fn begin_tick(&mut self, number: u64, now: Micros, inputs: Vec<ScanInput>) -> Result<()> {
        self.ends = self.tick_ends(number, now, &inputs);
        self.ending = 0;
        self.latest = self.latest.max(now);
        let goes_on = self.watermarks.iter().any(|watermark| *watermark != Watermark::END);
        let next = |step: i64| now.div_euclid(step).saturating_add(1).saturating_mul(step);
        self.due = self.clock_step.filter(|_| goes_on).map(next);
        self.shards.iter_mut().flatten().for_each(|worker| worker.stage.begin_tick());
        inputs.into_iter().try_for_each(|input| self.accept(input))
    }

    /// Goes on with the tick that was begun: until there is a part, or a turn is over, or the tick.
    pub fn advance(&mut self) -> Result<Advance> {
        let mut rows = 0;
        while let Some(stage) = self.next_stage() {
            rows += self.turn(stage)?;
            if self.results_bytes >= PART_BYTES {
                return Ok(Advance::More(self.take_results()));
            }
            if rows >= TURN_ROWS {
                return Ok(Advance::More(Vec::new()));
            }
        }
        self.end_state_tick()?;
        Ok(Advance::Over(self.take_results()))
    }

    fn take_results(&mut self) -> Vec<Vec<ChangeBatch>> {
        self.results_bytes = 0;
        self.account.set(self.waiting_bytes());
        self.results.iter_mut().map(std::mem::take).collect()
    }

    /// Bytes between stages, and of the results.
    fn waiting_bytes(&self) -> usize {
        self.results_bytes + self.shards.iter().flatten().map(|w| w.stage.input_bytes()).sum::<usize>()
    }

    /// The fragment's figures as a whole, given its operators'.
    pub fn stats(&self, operators: &[OperatorStats]) -> FragmentStats {
        let mut stats = FragmentStats { shards_reached: 1, ..FragmentStats::default() };
        for operator in operators {
            stats.late_rows += operator.late_rows;
            stats.state_bytes += operator.state_bytes;
        }
        for workers in self.shards.iter().skip(1) {
            let reached = workers.iter().filter(|w| w.stage.rows > 0).count();
            stats.shards_reached = stats.shards_reached.max(reached);
        }
        stats
    }

    /// Figures of each operator, all shards together, in the plan's order.
    pub fn operator_stats(&mut self) -> Vec<OperatorStats> {
        let mut all = self.earlier.clone();
        all.iter_mut().zip(&self.watermarks).for_each(|(stats, watermark)| stats.watermark = *watermark);
        for (stage, workers) in self.stages.stages.iter().zip(&mut self.shards) {
            for worker in workers {
                for (operator, &node) in stage.nodes.iter().enumerate() {
                    let stats = &mut all[node];
                    stats.output_rows += worker.stage.output_rows[operator];
                    let operator = &mut worker.stage.operators_mut()[operator];
                    stats.late_rows += operator.late_rows();
                    stats.state_bytes += operator.tables().iter().map(|t| t.bytes()).sum::<usize>();
                }
            }
        }
        all
    }

    /// Watermarks go through the plan first: they depend on the tick's input alone. By stage, then by operator.
    fn tick_ends(&mut self, number: u64, now: Micros, inputs: &[ScanInput]) -> Vec<Vec<TickEnd>> {
        for input in inputs {
            if let Some(known) = self.watermarks.get_mut(input.node) {
                *known = (*known).max(input.watermark);
            }
        }
        let mut ends: Vec<Vec<TickEnd>> = Vec::with_capacity(self.shards.len());
        for (stage, content) in self.stages.stages.iter().enumerate() {
            let mut of_stage = Vec::with_capacity(content.nodes.len());
            for (operator, &index) in content.nodes.iter().enumerate() {
                let node = &self.plan.nodes[index];
                let watermarks: Vec<_> = node.inputs.iter().map(|i| self.watermarks[i.node]).collect();
                if !node.op.is_scan()
                    && let Some(worker) = self.shards[stage].first()
                {
                    let behind = worker.stage.operators()[operator].watermark(&watermarks, now);
                    self.watermarks[index] = self.watermarks[index].max(behind);
                }
                of_stage.push(TickEnd { number, now, watermarks });
            }
            ends.push(of_stage);
        }
        ends
    }

    fn accept(&mut self, input: ScanInput) -> Result<()> {
        let Some((stage, operator)) = self.stages.place(input.node) else {
            return Err(Error::internal("input for a scan that is not there"));
        };
        for (shard, batch) in input.batches {
            let workers = &mut self.shards[stage];
            let shard = shard % workers.len().max(1);
            if let Some(worker) = workers.get_mut(shard) {
                let bytes = batch.bytes();
                worker.stage.put(Delivery { operator, port: 0, batch }, bytes);
            }
        }
        Ok(())
    }

    /// Which stage goes on. Behind one that has stopped those with input do first, then itself; if none has, it is the next
    /// whose tick ends.
    fn next_stage(&self) -> Option<usize> {
        let stages = self.shards.len();
        let stopped = self.shards.iter().rposition(|workers| workers.iter().any(|w| w.step != Step::Idle));
        match stopped {
            Some(stopped) => {
                let has_input = |stage: &usize| self.shards[*stage].iter().any(|w| w.stage.has_input());
                (stopped + 1..stages).find(has_input).or(Some(stopped))
            }
            None => (self.ending < stages).then_some(self.ending),
        }
    }

    /// One turn of all shards of a stage. Tells how many rows went through the busiest.
    fn turn(&mut self, stage: usize) -> Result<usize> {
        let ends = self.ends.get(stage).filter(|_| stage == self.ending);
        let workers = &mut self.shards[stage];
        // Who has stopped has much to do, whatever its input was.
        let stopped = workers.iter().any(|w| w.step != Step::Idle);
        let bytes = if stopped { usize::MAX } else { workers.iter().map(|w| w.stage.input_bytes()).sum() };
        pool::for_each(workers, bytes, |worker| {
            worker.step = worker.stage.turn(ends.map(Vec::as_slice), &mut worker.router)?;
            Ok(())
        })?;
        let idle = workers.iter().all(|w| w.step == Step::Idle);
        let rows = workers.iter().map(|w| w.stage.turn_rows()).max().unwrap_or_default();
        if idle && ends.is_some() {
            self.ending += 1;
        }
        self.forward(stage);
        self.account.set(self.waiting_bytes());
        Ok(rows)
    }

    /// Hands what a stage put out to its receivers, in order of the senders, and takes its results.
    fn forward(&mut self, stage: usize) {
        let (before, after) = self.shards.split_at_mut(stage + 1);
        for worker in before[stage].iter_mut() {
            let (outbound, results, bytes) = worker.stage.take_output();
            self.results_bytes += bytes;
            for out in outbound {
                self.results_bytes -= out.bytes;
                let target = after.get_mut(out.route.stage - stage - 1).and_then(|workers| workers.get_mut(out.shard));
                if let Some(target) = target {
                    let delivery = Delivery { operator: out.route.operator, port: out.route.port, batch: out.batch };
                    target.stage.put(delivery, out.bytes);
                }
            }
            for (output, batch) in results {
                self.results[output].push(batch);
            }
        }
    }

    fn end_state_tick(&mut self) -> Result<()> {
        for worker in self.shards.iter_mut().flatten() {
            for operator in worker.stage.operators_mut() {
                for table in operator.tables() {
                    table.end_tick()?;
                }
            }
        }
        Ok(())
    }
}

fn build(plan: &StreamPlan, index: NodeIndex, state: &StateContext) -> Result<Box<dyn Operator>> {
    let node = &plan.nodes[index];
    if node.op.is_scan() {
        return Ok(Box::new(ScanPort { waiting: None }));
    }
    let schemas: Vec<SchemaRef> = node.inputs.iter().map(|i| Arc::clone(&plan.nodes[i.node].schema)).collect();
    let changelogs: Vec<Changelog> = node.inputs.iter().map(|i| plan.nodes[i.node].changelog).collect();
    operator::build(node, &schemas, &changelogs, state)
}

/// Bytes of a chunk that enters the dataflow, at most, unless it is one row: where values are long, operators get few rows
/// at a time. A hundred times what chunks of rows of usual length have.
const CHUNK_BYTES: usize = 32 << 20;

/// Where a scan's rows enter the dataflow.
struct ScanPort {
    waiting: Option<ChangeBatch>,
}

impl Operator for ScanPort {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.waiting = Some(batch);
        Ok(())
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    /// In chunks of the size that operators like best.
    fn pull(&mut self) -> Result<Pull> {
        let Some(batch) = self.waiting.take() else { return Ok(Pull::Done) };
        let mut chunk = batch.slice(0, batch.num_rows().min(operator::CHUNK_ROWS));
        while chunk.num_rows() > 1 && chunk.bytes() > CHUNK_BYTES {
            chunk = chunk.slice(0, chunk.num_rows() / 2);
        }
        let taken = chunk.num_rows();
        self.waiting = (taken < batch.num_rows()).then(|| batch.slice(taken, batch.num_rows() - taken));
        Ok(Pull::Batch(chunk))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatch, StringViewBuilder};

    use super::*;

    #[test]
    fn long_values_enter_few_at_a_time() {
        let mut texts = StringViewBuilder::new().with_deduplicate_strings();
        let long = "x".repeat(1 << 20);
        (0..100).for_each(|_| texts.append_value(&long));
        let rows = RecordBatch::try_from_iter([("t", Arc::new(texts.finish()) as _)]).unwrap();
        let mut port = ScanPort { waiting: None };
        port.push(0, ChangeBatch::append_only(rows.clone())).unwrap();
        let mut chunks = Vec::new();
        while let Pull::Batch(chunk) = port.pull().unwrap() {
            assert!(chunk.bytes() <= CHUNK_BYTES);
            chunks.push(chunk);
        }
        assert_eq!(ChangeBatch::concat(&rows.schema(), &chunks).unwrap().rows(), &rows);
    }
}
