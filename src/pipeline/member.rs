//! A job's or a view's plan at work in a pipeline: what feeds it in a tick, and running it. Whatever goes wrong in it
//! stays with it.
//!
//! A job hands a tick's results on in parts, as they come. Of a view or a subscription a tick is seen whole: what it has
//! given is held until it is over, counted, and limited.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::catalog::ObjectId;
use crate::change::{ChangeBatch, Changelog, Watermark};
use crate::clock::Micros;
use crate::dataflow::{Advance, Fragment, FragmentStats, OperatorStats, ScanInput};
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::plan::NodeIndex;
use crate::table::{View, ViewSnapshot};

use super::core::ReadingId;
use super::input::{Chunk, ChunkState};

/// A job's or a view's plan at work.
pub struct Member {
    pub id: ObjectId,
    pub name: String,
    pub fragment: Fragment,
    pub(super) feeds: Vec<Feed>,
    /// The view that its result changes; a job's result is handed out instead.
    pub view: Option<View>,
    /// Set when it failed: it no longer takes part.
    pub failed: Option<Error>,
    pub stats: MemberStats,
    /// Of the plan's nodes, as of the last turn.
    pub operators: Arc<[OperatorStats]>,
    pub(super) held: Option<Held>,
}

/// What the present tick has given so far, of a member whose ticks are seen whole.
pub(super) struct Held {
    /// By the plan's output.
    outputs: Vec<Vec<ChangeBatch>>,
    /// Their bytes. They are read by others after they were given away, so they count until the tick is over.
    account: Account,
    limit_bytes: usize,
}

impl Held {
    pub fn new(account: Account, limit_bytes: usize) -> Self {
        Held { outputs: Vec::new(), account, limit_bytes }
    }

    fn add(&mut self, outputs: Vec<Vec<ChangeBatch>>) -> Result<()> {
        self.outputs.resize_with(outputs.len(), Vec::new);
        for (held, mut batches) in self.outputs.iter_mut().zip(outputs) {
            let bytes: usize = batches.iter().map(ChangeBatch::bytes).sum();
            self.account.set(self.account.bytes() + bytes);
            held.append(&mut batches);
        }
        if self.account.bytes() > self.limit_bytes {
            return Err(too_much_at_once(self.limit_bytes));
        }
        Ok(())
    }

    /// Whoever has read them is done.
    pub fn clear(&mut self) {
        self.outputs.clear();
        self.account.set(0);
    }
}

fn too_much_at_once(limit_bytes: usize) -> Error {
    let message = "the answer changes by more at once than can be held until it may be seen";
    let detail = format!("A view's tick is shown whole; its changes may take {} MiB.", limit_bytes >> 20);
    Error::new(SqlState::OutOfMemory, message).with_detail(detail).with_hint(
        "Aggregate or filter more in the view, or write the rows to a sink: a streaming job hands them on in parts.",
    )
}

/// What feeds a scan of the plan.
pub(super) struct Feed {
    pub node: NodeIndex,
    pub from: Origin,
    /// For each column of the scan: its place in the rows that come.
    pub projection: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Reading(ReadingId),
    /// A view that ran earlier in the same tick: its rows at first, its changes once it has `begun`.
    View {
        id: ObjectId,
        begun: bool,
    },
}

impl Feed {
    pub fn reads(&self, reading: ReadingId) -> bool {
        self.from == Origin::Reading(reading)
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub struct MemberStats {
    pub input_rows: u64,
    pub input_bytes: u64,
    pub output_rows: u64,
    pub bad_rows: u64,
    pub watermark: Option<Watermark>,
    pub fragment: FragmentStats,
}

/// What members are fed with in a tick.
pub(super) struct Inflow {
    pub chunks: Vec<Chunk>,
    pub watermarks: Vec<(ReadingId, Watermark)>,
    /// Views that have run.
    pub views: BTreeMap<ObjectId, ViewOutflow>,
}

/// A view at its tick's end, as those see it that read it.
pub(super) struct ViewOutflow {
    pub changes: Vec<ChangeBatch>,
    pub rows: ViewSnapshot,
    pub watermark: Watermark,
}

/// A member in a turn of its tick.
pub(super) struct Run<'a> {
    pub member: &'a mut Member,
    /// It has its tick's input already.
    pub begun: bool,
    pub outcome: Result<Advance>,
}

impl<'a> Run<'a> {
    pub fn new(member: &'a mut Member, begun: bool) -> Self {
        Run { member, begun, outcome: Ok(Advance::More(Vec::new())) }
    }

    pub fn turn(&mut self, tick: u64, now: Micros, inflow: &Inflow, beginners: &BTreeSet<ObjectId>) -> Result<Advance> {
        if !self.begun {
            let inputs = self.member.inputs(inflow, beginners.contains(&self.member.id))?;
            self.member.begin(tick, now, inputs)?;
        }
        self.member.advance()
    }
}

impl Member {
    /// This tick's rows and watermarks for each scan of the plan.
    /// `begin`: this is the tick in which the views are read for the first time.
    pub(super) fn inputs(&mut self, inflow: &Inflow, begin: bool) -> Result<Vec<ScanInput>> {
        let mut inputs = Vec::with_capacity(self.feeds.len());
        for feed in &mut self.feeds {
            let (rows, watermark) = match &mut feed.from {
                Origin::Reading(reading) => {
                    // A changing source's rows come and go in the order of their partition, which one shard keeps.
                    let scan = self.fragment.plan().nodes.get(feed.node);
                    let in_order = scan.is_some_and(|scan| scan.changelog != Changelog::AppendOnly);
                    (inflow.read(*reading, in_order, &mut self.stats), inflow.watermark(*reading))
                }
                Origin::View { id, begun } => {
                    let view = inflow.views.get(id).ok_or_else(view_failed)?;
                    let rows = match (*begun, begin) {
                        (true, _) => view.changes.clone(),
                        (false, true) => view.all()?,
                        (false, false) => Vec::new(),
                    };
                    let rows = rows.into_iter().enumerate().collect();
                    *begun |= begin;
                    (rows, if *begun { view.watermark } else { Watermark::NONE })
                }
            };
            let rows: Vec<(usize, ChangeBatch)> = rows;
            let mut batches = Vec::with_capacity(rows.len());
            for (shard, batch) in rows {
                self.stats.input_rows += batch.num_rows() as u64;
                let rows = batch.rows().project(&feed.projection)?;
                batches.push((shard, batch.with_rows(rows)?));
            }
            inputs.push(ScanInput { node: feed.node, batches, watermark });
        }
        Ok(inputs)
    }

    /// The views that the plan reads.
    pub(super) fn views_read(&self) -> impl Iterator<Item = ObjectId> {
        self.feeds.iter().filter_map(|feed| match feed.from {
            Origin::View { id, .. } => Some(id),
            Origin::Reading(_) => None,
        })
    }

    pub(super) fn waits_for_views(&self) -> bool {
        self.feeds.iter().any(|feed| matches!(feed.from, Origin::View { begun: false, .. }))
    }

    /// The watermark behind the plan's first output.
    pub(super) fn output_watermark(&self) -> Watermark {
        self.fragment.plan().outputs.first().map_or(Watermark::NONE, |output| self.fragment.watermark(output.node))
    }

    /// Begins a tick.
    pub(super) fn begin(&mut self, tick: u64, now: Micros, inputs: Vec<ScanInput>) -> Result<()> {
        self.stats.watermark = inputs.iter().map(|i| i.watermark).min();
        guarded(|| self.fragment.begin_tick(tick, now, inputs))
    }

    /// Goes on with the tick. At its end its result is applied to the view.
    pub(super) fn advance(&mut self) -> Result<Advance> {
        let advanced = guarded(|| self.fragment.advance())?;
        self.operators = self.fragment.operator_stats().into();
        self.stats.fragment = self.fragment.stats(&self.operators);
        let (outputs, over) = match advanced {
            Advance::More(outputs) => (outputs, false),
            Advance::Over(outputs) => (outputs, true),
        };
        let rows: usize = outputs.iter().flatten().map(ChangeBatch::num_rows).sum();
        self.stats.output_rows += rows as u64;
        let Some(held) = &mut self.held else {
            return Ok(if over { Advance::Over(outputs) } else { Advance::More(outputs) });
        };
        held.add(outputs)?;
        if !over {
            return Ok(Advance::More(Vec::new()));
        }
        let outputs = std::mem::take(&mut held.outputs);
        if let Some(view) = &mut self.view {
            guarded(|| outputs.iter().try_for_each(|changes| view.apply(changes)))?;
        }
        Ok(Advance::Over(outputs))
    }
}

/// A panic below is a bug of ours, but it stops only the member that it happens in.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::internal(format!("an operator panicked: {}", panic_text(&*panic)))))
}

impl Inflow {
    /// What came of a reading, with the shard that takes it: each in turn, or the partition's if that keeps them in order.
    fn read(&self, reading: ReadingId, in_order: bool, stats: &mut MemberStats) -> Vec<(usize, ChangeBatch)> {
        let mut rows = Vec::new();
        for (turn, chunk) in self.chunks.iter().filter(|chunk| chunk.reading == reading).enumerate() {
            stats.bad_rows += chunk.bad;
            stats.input_bytes += chunk.bytes as u64;
            if let ChunkState::Judged(batch) = &chunk.state {
                rows.push((if in_order { chunk.partition } else { turn }, batch.clone()));
            }
        }
        rows
    }

    fn watermark(&self, reading: ReadingId) -> Watermark {
        self.watermarks.iter().find(|(id, _)| *id == reading).map_or(Watermark::NONE, |(_, watermark)| *watermark)
    }
}

impl ViewOutflow {
    /// All rows of the view: what a reader begins with.
    fn all(&self) -> Result<Vec<ChangeBatch>> {
        self.rows.batches().map(|batch| batch.map(ChangeBatch::append_only)).collect()
    }
}

fn view_failed() -> Error {
    Error::new(SqlState::ObjectNotInPrerequisiteState, "a materialized view that this one reads has failed")
        .with_hint("SHOW MATERIALIZED VIEWS tells which and why. Drop both, and create them again.")
}

pub(super) fn projection(wanted: &[usize], read: &[usize]) -> Vec<usize> {
    wanted.iter().filter_map(|column| read.iter().position(|r| r == column)).collect()
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
