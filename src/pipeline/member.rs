//! A job's or a view's plan at work in a pipeline: what feeds it in a tick, and running it. Whatever goes wrong in it
//! stays with it.
//!
//! A job hands a tick's results on in parts, as they come. Of a view or a subscription a tick is seen whole: what it has
//! given is held until it is over, counted, and limited.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::catalog::{ObjectId, Starts};
use crate::change::{ChangeBatch, Changelog, Watermark};
use crate::clock::Micros;
use crate::dataflow::{Advance, Fragment, FragmentStats, OperatorStats, ScanInput};
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::plan::{NodeIndex, Op, StreamPlan};
use crate::state::EachChange;
use crate::table::{View, ViewSnapshot};

use super::core::ReadingId;
use super::image::{FeedImage, Fingerprint, Life, MemberImage};
use super::input::{Chunk, ChunkState};

/// A job's or a view's plan that is to work.
pub struct NewPlan {
    pub id: ObjectId,
    pub name: String,
    /// Of its stored text.
    pub fingerprint: Fingerprint,
    pub fragment: Fragment,
    /// The view that its result changes, empty.
    pub view: Option<View>,
    /// Where its sources are read from if it begins anew.
    pub starts: Starts,
}

/// A job's or a view's plan at work.
pub struct Member {
    pub id: ObjectId,
    pub name: String,
    pub(super) life: Life,
    pub(super) fingerprint: Fingerprint,
    /// It has had a tick, in this life or an earlier one.
    pub(super) begun: bool,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
    pub counters: Counters,
    pub watermark: Option<Watermark>,
    pub fragment: FragmentStats,
}

/// Counted since the member began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    pub input_rows: u64,
    pub input_bytes: u64,
    pub output_rows: u64,
    pub bad_rows: u64,
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
    /// `whole_bytes`: how much a tick may give of what is seen whole, if that is to be.
    pub(super) fn new(new: NewPlan, life: Life, whole_bytes: Option<usize>) -> Self {
        let NewPlan { id, name, fingerprint, fragment, view, starts: _ } = new;
        let held = whole_bytes.map(|bytes| Held::new(fragment.new_account(), bytes));
        Member {
            id,
            name,
            life,
            fingerprint,
            begun: false,
            fragment,
            feeds: Vec::new(),
            view,
            failed: None,
            stats: MemberStats::default(),
            operators: Arc::default(),
            held,
        }
    }

    /// Tables and view freeze what changed since the last time.
    pub(super) fn freeze(&mut self) -> Result<()> {
        self.fragment.freeze()?;
        self.view.as_mut().map_or(Ok(()), View::freeze)
    }

    /// Hands out what was frozen, until about `limit_bytes` are out. True when all is.
    pub(super) fn drain_frozen(&mut self, limit_bytes: usize, each: &mut EachChange<'_>) -> Result<bool> {
        let mut left = limit_bytes;
        let all = self.fragment.drain_frozen(limit_bytes, &mut |key, value| {
            left = left.saturating_sub(key.len() + value.map_or(0, <[u8]>::len));
            each(key, value)
        })?;
        Ok(all && self.view.as_mut().map_or(Ok(true), |view| view.drain_frozen(left, each))?)
    }

    /// Puts an entry in place that was drained in an earlier life.
    pub(super) fn restore(&mut self, state_key: &[u8], value: &[u8]) -> Result<()> {
        match &mut self.view {
            Some(view) if View::is_row(state_key) => view.restore(state_key, value),
            _ => self.fragment.restore(state_key, value),
        }
    }

    pub(super) fn image(&mut self) -> MemberImage {
        let nodes = &self.fragment.plan().nodes;
        let feed = |feed: &Feed| Some(FeedImage { operator: nodes.get(feed.node)?.id.0, from: feed.from });
        MemberImage {
            object: self.id,
            life: self.life,
            plan: self.fingerprint,
            feeds: self.feeds.iter().filter_map(feed).collect(),
            fragment: self.fragment.image(),
            counters: self.stats.counters,
        }
    }

    /// Goes on where `image` was taken, behind tick `number`. What its scans read is projected once its readings are open.
    ///
    /// # Errors
    /// `XX001` if it is one of another plan.
    pub(super) fn resume(&mut self, image: &MemberImage, number: u64) -> Result<()> {
        if image.plan != self.fingerprint {
            let message = format!("the state of \"{}\" belongs to another plan", self.name);
            return Err(Error::new(SqlState::DataCorrupted, message));
        }
        let plan = Arc::clone(self.fragment.plan());
        let feed = |feed: &FeedImage| {
            let node = plan.nodes.iter().position(|node| node.id.0 == feed.operator)?;
            let projection = match &plan.nodes.get(node)?.op {
                Op::ViewScan { columns, .. } => columns.clone(),
                _ => Vec::new(),
            };
            Some(Feed { node, from: feed.from, projection })
        };
        self.feeds = image.feeds.iter().filter_map(feed).collect();
        self.stats.counters = image.counters;
        self.begun = true;
        self.fragment.resume(&image.fragment, number)?;
        self.stats.watermark = self.feeds.iter().map(|feed| self.fragment.watermark(feed.node)).min();
        Ok(())
    }

    /// Takes its fragment's figures down.
    pub(super) fn look(&mut self) {
        self.operators = self.fragment.operator_stats().into();
        self.stats.fragment = self.fragment.stats(&self.operators);
    }

    /// Its scans of the reading `from` take their columns from a reading `to` that has `columns`.
    pub(super) fn read_from(&mut self, from: ReadingId, to: ReadingId, columns: &[usize]) {
        let plan = Arc::clone(self.fragment.plan());
        for feed in self.feeds.iter_mut().filter(|feed| feed.reads(from)) {
            feed.from = Origin::Reading(to);
            if let Some(Op::Scan { columns: wanted, .. }) = plan.nodes.get(feed.node).map(|node| &node.op) {
                feed.projection = projection(wanted, columns);
            }
        }
    }

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
                    (inflow.read(*reading, in_order, &mut self.stats.counters), inflow.watermark(*reading))
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
                self.stats.counters.input_rows += batch.num_rows() as u64;
                let is_same = feed.projection.iter().copied().eq(0..batch.rows().num_columns());
                let rows = if is_same { batch } else { project(batch, &feed.projection)? };
                batches.push((shard, rows));
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
        self.begun = true;
        self.stats.watermark = inputs.iter().map(|i| i.watermark).min();
        guarded(|| self.fragment.begin_tick(tick, now, inputs))
    }

    /// Goes on with the tick. At its end its result is applied to the view.
    pub(super) fn advance(&mut self) -> Result<Advance> {
        let advanced = guarded(|| self.fragment.advance())?;
        self.look();
        let (outputs, over) = match advanced {
            Advance::More(outputs) => (outputs, false),
            Advance::Over(outputs) => (outputs, true),
        };
        let rows: usize = outputs.iter().flatten().map(ChangeBatch::num_rows).sum();
        self.stats.counters.output_rows += rows as u64;
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
    fn read(&self, reading: ReadingId, in_order: bool, counters: &mut Counters) -> Vec<(usize, ChangeBatch)> {
        let mut rows = Vec::new();
        for (turn, chunk) in self.chunks.iter().filter(|chunk| chunk.reading == reading).enumerate() {
            counters.bad_rows += chunk.bad;
            counters.input_bytes += chunk.bytes as u64;
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

fn project(batch: ChangeBatch, columns: &[usize]) -> Result<ChangeBatch> {
    let rows = batch.rows().project(columns)?;
    batch.with_rows(rows)
}

fn view_failed() -> Error {
    Error::new(SqlState::ObjectNotInPrerequisiteState, "a materialized view that this one reads has failed")
        .with_hint("SHOW MATERIALIZED VIEWS tells which and why. Drop both, and create them again.")
}

/// The rows of a view whose plan this is, none yet. `tracked`: what changes will be asked for.
pub fn rows_of(plan: &StreamPlan, schema: &SchemaRef, tracked: bool) -> Result<View> {
    let output = plan.outputs.first().and_then(|output| plan.nodes.get(output.node));
    let output = output.ok_or_else(|| Error::internal("a view's plan has no output"))?;
    let append_only = output.changelog == Changelog::AppendOnly;
    let rows = View::new(Arc::clone(schema), output.unique_key.as_deref(), append_only);
    Ok(if tracked { rows.tracked() } else { rows })
}

pub(super) fn projection(wanted: &[usize], read: &[usize]) -> Vec<usize> {
    wanted.iter().filter_map(|column| read.iter().position(|r| r == column)).collect()
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
