//! A running plan: its stages, each in as many shards as its parallelism, and how a tick goes through them.
//!
//! A tick runs stage by stage: all shards of a stage push all their input, then end their tick; their output, already
//! split by key group, is the next stage's input. When a shard's output is full, the later stages push (without ending
//! their tick) before it goes on, so what is in flight stays bounded. Everything is ordered by stage, shard and sequence,
//! never by time: the same cuts give the same bytes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::change::key::groups_of;
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::operator::{self, Operator, Pull, TickEnd};
use crate::plan::{Changelog, NodeIndex, StreamPlan};
use crate::state::StateContext;

use super::exchange::Router;
use super::pool;
use super::shard::{Delivery, StageShard, Step};
use super::stages::Stages;

/// One plan being run.
pub struct Fragment {
    plan: Arc<StreamPlan>,
    stages: Stages,
    /// By stage, then by shard.
    shards: Vec<Vec<Worker>>,
    /// The watermark behind each node of the plan at the end of the last tick.
    watermarks: Vec<Watermark>,
}

/// A stage's shard with what it sends through.
struct Worker {
    stage: StageShard,
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

/// Figures of one operator, since the start.
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
        let watermarks = vec![Watermark::NONE; plan.nodes.len()];
        Ok(Fragment { plan, stages, shards, watermarks })
    }

    pub fn plan(&self) -> &Arc<StreamPlan> {
        &self.plan
    }

    /// The watermark behind the node, as of the last tick's end.
    pub fn watermark(&self, node: NodeIndex) -> Watermark {
        self.watermarks.get(node).copied().unwrap_or(Watermark::NONE)
    }

    /// Runs one tick. Returns the net change of each of the plan's outputs, in batches.
    pub fn tick(&mut self, number: u64, now: Micros, inputs: Vec<ScanInput>) -> Result<Vec<Vec<ChangeBatch>>> {
        let ends = self.tick_ends(number, now, &inputs);
        for input in inputs {
            self.accept(input)?;
        }
        for (stage, ends) in ends.iter().enumerate() {
            self.shards[stage].iter_mut().for_each(|w| w.stage.begin_tick());
            self.run(stage, Some(ends))?;
        }
        self.end_state_tick()?;
        let mut results = vec![Vec::new(); self.plan.outputs.len()];
        for worker in self.shards.iter_mut().flatten() {
            for (output, batch) in worker.stage.results.drain(..) {
                results[output].push(batch);
            }
        }
        Ok(results)
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
        let at_start = |watermark: &Watermark| OperatorStats { watermark: *watermark, ..OperatorStats::default() };
        let mut all: Vec<OperatorStats> = self.watermarks.iter().map(at_start).collect();
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
                    let behind = worker.stage.operators()[operator].watermark(&watermarks);
                    self.watermarks[index] = self.watermarks[index].max(behind);
                }
                of_stage.push(TickEnd { number, now, watermarks });
            }
            ends.push(of_stage);
        }
        ends
    }

    fn accept(&mut self, input: ScanInput) -> Result<()> {
        let place = self.stages.stages.iter().enumerate().find_map(|(stage, content)| {
            content.nodes.iter().position(|n| *n == input.node).map(|operator| (stage, operator))
        });
        let Some((stage, operator)) = place else { return Err(Error::internal("input for a scan that is not there")) };
        for (shard, batch) in input.batches {
            let workers = &mut self.shards[stage];
            let shard = shard % workers.len().max(1);
            if let Some(worker) = workers.get_mut(shard) {
                worker.stage.input.push_back(Delivery { operator, port: 0, batch });
            }
        }
        Ok(())
    }

    /// Pushes all input of `stage`, and ends its tick if `ends` is given.
    fn run(&mut self, stage: usize, ends: Option<&[TickEnd]>) -> Result<()> {
        loop {
            let workers = &mut self.shards[stage];
            let bytes = workers.iter().map(|w| w.stage.input_bytes()).sum();
            pool::for_each(workers, bytes, |worker| {
                worker.step = match ends {
                    Some(ends) => worker.stage.end_tick(ends, &mut worker.router)?,
                    None => worker.stage.push(&mut worker.router)?,
                };
                Ok(())
            })?;
            self.forward(stage);
            if self.shards[stage].iter().all(|w| w.step == Step::Idle) {
                return Ok(());
            }
            for later in stage + 1..self.shards.len() {
                self.run(later, None)?;
            }
        }
    }

    /// Hands what a stage put out to its receivers, in order of the senders.
    fn forward(&mut self, stage: usize) {
        let (before, after) = self.shards.split_at_mut(stage + 1);
        for worker in before[stage].iter_mut() {
            worker.stage.outbound_bytes = 0;
            for out in worker.stage.outbound.drain(..) {
                let target = after.get_mut(out.route.stage - stage - 1).and_then(|workers| workers.get_mut(out.shard));
                if let Some(target) = target {
                    let delivery = Delivery { operator: out.route.operator, port: out.route.port, batch: out.batch };
                    target.stage.input.push_back(delivery);
                }
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
        let rows = batch.num_rows();
        if rows <= operator::CHUNK_ROWS {
            return Ok(Pull::Batch(batch));
        }
        self.waiting = Some(batch.slice(operator::CHUNK_ROWS, rows - operator::CHUNK_ROWS));
        Ok(Pull::Batch(batch.slice(0, operator::CHUNK_ROWS)))
    }
}
