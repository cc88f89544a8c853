//! A fragment between two ticks, taken down for another life: what its tables hold, entry by entry, and the little that it is
//! besides. Entries are filed by key group and operator, so the other life may have another parallelism.

use serde::{Deserialize, Serialize};

use crate::change::Watermark;
use crate::change::bytes::corrupt;
use crate::change::key::shard_of;
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::operator::{Operator, TickEnd};
use crate::plan::OperatorId;
use crate::state::{EachChange, StateTable, TableId};

use super::Fragment;
use super::fragment::Worker;

/// What a fragment is besides its tables, as of a tick's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FragmentImage {
    /// The greatest reading of the clock so far.
    now: Micros,
    /// When a tick is due although no input has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Micros>,
    /// In the plan's order.
    operators: Vec<OperatorImage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorImage {
    id: u32,
    /// Behind it.
    watermark: Watermark,
    output_rows: u64,
    late_rows: u64,
}

impl Fragment {
    /// All tables freeze what changed since the last time: between two ticks.
    ///
    /// # Errors
    /// If not all that was frozen last has been drained.
    pub fn freeze(&mut self) -> Result<()> {
        self.tables(|table| table.freeze().map(|()| true)).map(drop)
    }

    /// Hands out frozen entries until about `limit_bytes` are out, in no particular order; between two ticks, any number of
    /// ticks after they were frozen. True when all are out.
    pub fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool> {
        let mut left = limit_bytes;
        self.tables(|table| {
            let mut out = 0;
            let all = table.drain_frozen(left, &mut |key, value| {
                out += key.len() + value.map_or(0, <[u8]>::len);
                each(key, value)
            })?;
            left = left.saturating_sub(out);
            Ok(all)
        })
    }

    /// Puts an entry in place that was drained in an earlier life: into the shard that has its key group.
    pub fn restore(&mut self, state_key: &[u8], value: &[u8]) -> Result<()> {
        let (table, _) = TableId::split(state_key)?;
        let group = state_key.first().copied().ok_or_else(corrupt)?;
        let (stage, at) = self.place(table.operator).ok_or_else(corrupt)?;
        let workers = self.shards.get_mut(stage).ok_or_else(corrupt)?;
        let shard = shard_of(group, workers.len());
        let operator = workers.get_mut(shard).and_then(|worker| worker.stage.operators_mut().get_mut(at));
        let mut tables = operator.ok_or_else(corrupt)?.tables();
        tables.iter_mut().find(|candidate| candidate.id() == table).ok_or_else(corrupt)?.restore(state_key, value)
    }

    /// What it is besides its tables; between two ticks.
    pub fn image(&mut self) -> FragmentImage {
        let stats = self.operator_stats();
        let operator = |(node, stats): (&crate::plan::Node, &super::OperatorStats)| OperatorImage {
            id: node.id.0,
            watermark: stats.watermark,
            output_rows: stats.output_rows,
            late_rows: stats.late_rows,
        };
        let operators = self.plan.nodes.iter().zip(&stats).map(operator).collect();
        FragmentImage { now: self.latest, due: self.due, operators }
    }

    /// Goes on where `image` was taken, behind tick `number`. All entries have been restored, and no tick has begun.
    ///
    /// # Errors
    /// If it is not one of this plan.
    pub fn resume(&mut self, image: &FragmentImage, number: u64) -> Result<()> {
        if !image.operators.iter().map(|operator| operator.id).eq(self.plan.nodes.iter().map(|node| node.id.0)) {
            return Err(Error::internal("an image of another plan"));
        }
        self.latest = image.now;
        self.due = image.due;
        for (node, operator) in image.operators.iter().enumerate() {
            self.watermarks[node] = operator.watermark;
            self.earlier[node].output_rows = operator.output_rows;
            self.earlier[node].late_rows = operator.late_rows;
        }
        for (stage, workers) in self.stages.stages.iter().zip(&mut self.shards) {
            for (at, node) in stage.nodes.iter().enumerate() {
                let inputs = self.plan.nodes[*node].inputs.iter();
                let watermarks = inputs.map(|input| self.watermarks[input.node]).collect();
                let last = TickEnd { number, now: image.now, watermarks };
                operators_at(workers, at).for_each(|operator| operator.resume(&last));
            }
        }
        Ok(())
    }

    /// Does something to each table in turn; true if it was true of all.
    fn tables(&mut self, mut each: impl FnMut(&mut dyn StateTable) -> Result<bool>) -> Result<bool> {
        let mut all = true;
        for worker in self.shards.iter_mut().flatten() {
            for operator in worker.stage.operators_mut() {
                for table in operator.tables() {
                    all &= each(table)?;
                }
            }
        }
        Ok(all)
    }

    /// An operator's stage, and its place there.
    fn place(&self, id: OperatorId) -> Option<(usize, usize)> {
        let node = self.plan.nodes.iter().position(|node| node.id == id)?;
        self.stages.place(node)
    }
}

/// The instances of one operator.
fn operators_at(workers: &mut [Worker], at: usize) -> impl Iterator<Item = &mut Box<dyn Operator>> {
    workers.iter_mut().filter_map(move |worker| worker.stage.operators_mut().get_mut(at))
}
