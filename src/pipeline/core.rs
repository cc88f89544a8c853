//! Scans and the fragments they feed, and one tick over all of them.
//!
//! A tick: [`Core::cut`] takes input on the tick loop's thread; [`Core::run`] decodes, judges, runs the fragments and
//! applies their results to views, on the worker pool. Between two ticks fragments come and go.
//!
//! Readings of one source: the first is the *main* one, shared by all fragments that have caught up. A new fragment gets a
//! reading of its own at its start positions, which never passes the main one, and joins it where they meet.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::catalog::ObjectId;
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::connector::{Payload, Positions};
use crate::dataflow::scan::{Decoded, Scan};
use crate::dataflow::{Fragment, FragmentStats, ScanInput, pool};
use crate::error::{Error, Result};
use crate::plan::{NodeIndex, Op, StreamPlan};
use crate::table::View;

use super::reading::{CutChunk, CutPolicy, Reading, needs};

/// Identifies a reading within a core.
pub type ReadingId = u64;

/// What runs in a pipeline.
#[derive(Default)]
pub struct Core {
    readings: Vec<(ReadingId, Reading)>,
    members: Vec<Member>,
    policy: CutPolicy,
    tick: u64,
    next_reading: ReadingId,
    /// A tick is due although no input came: a fragment is new.
    due: bool,
}

/// A job's or a view's plan at work.
pub struct Member {
    pub id: ObjectId,
    pub name: String,
    pub fragment: Fragment,
    feeds: Vec<Feed>,
    /// The view that its result changes; a job's result is handed out instead.
    pub view: Option<View>,
    /// Set when it failed: it no longer takes part.
    pub failed: Option<Error>,
    pub stats: MemberStats,
}

/// Which reading feeds a scan of the plan.
struct Feed {
    node: NodeIndex,
    reading: ReadingId,
    /// For each column of the scan: its place in the reading's rows.
    projection: Vec<usize>,
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

/// A tick's input.
pub struct Cut {
    now: Micros,
    chunks: Vec<(ReadingId, Vec<CutChunk>)>,
    due: bool,
}

impl Cut {
    /// Whether there is anything to run a tick for.
    pub fn is_due(&self) -> bool {
        self.due || self.chunks.iter().any(|(_, chunks)| !chunks.is_empty())
    }
}

/// What a tick gave.
#[derive(Default)]
pub struct TickResult {
    pub tick: u64,
    /// The results of members without a view: by member, then by the plan's output.
    pub results: Vec<(ObjectId, Vec<Vec<ChangeBatch>>)>,
    /// Members whose view changed.
    pub changed: Vec<ObjectId>,
}

impl Core {
    pub fn new(policy: CutPolicy) -> Self {
        Core { policy, ..Core::default() }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn tick(&self) -> u64 {
        self.tick
    }

    pub fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    pub fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().map(|(_, reading)| reading)
    }

    /// Adds a plan. `open` opens the reading of a source for the columns and watermark it is given.
    pub fn add(
        &mut self,
        id: ObjectId,
        name: &str,
        fragment: Fragment,
        view: Option<View>,
        mut open: impl FnMut(&str, &StreamPlan) -> Result<Reading>,
    ) -> Result<()> {
        let plan = Arc::clone(fragment.plan());
        let mut feeds = Vec::new();
        let mut opened: Vec<(ReadingId, Reading)> = Vec::new();
        for (node, scan) in plan.nodes.iter().enumerate() {
            let Op::Scan { source, columns, .. } = &scan.op else { continue };
            let known = opened.iter().position(|(_, reading)| reading.name() == source);
            let (reading, columns_read) = match known.and_then(|at| opened.get(at)) {
                Some((reading, opened)) => (*reading, opened.columns()),
                None => {
                    self.next_reading += 1;
                    opened.push((self.next_reading, open(source, &plan)?));
                    let Some((reading, opened)) = opened.last() else { continue };
                    (*reading, opened.columns())
                }
            };
            feeds.push(Feed { node, reading, projection: projection(columns, columns_read) });
        }
        self.readings.append(&mut opened);
        self.members.push(Member {
            id,
            name: name.to_string(),
            fragment,
            feeds,
            view,
            failed: None,
            stats: MemberStats::default(),
        });
        self.due = true;
        Ok(())
    }

    pub fn remove(&mut self, id: ObjectId) {
        self.members.retain(|member| member.id != id);
        self.drop_unread();
    }

    /// Closes readings that feed nobody.
    fn drop_unread(&mut self) {
        let members = &self.members;
        let read = |id: ReadingId| {
            members.iter().filter(|m| m.failed.is_none()).any(|m| m.feeds.iter().any(|f| f.reading == id))
        };
        self.readings.retain(|(id, _)| read(*id));
    }

    /// Whether all readings of `member` are main ones: it has seen what the others have seen.
    pub fn caught_up(&self, member: &Member) -> bool {
        member.feeds.iter().all(|feed| {
            let reading = self.readings.iter().position(|(id, _)| *id == feed.reading);
            reading.is_none_or(|at| self.main_of(at) == at)
        })
    }

    /// The main reading of the source that the reading at `at` reads: the oldest.
    fn main_of(&self, at: usize) -> usize {
        let name = self.readings[at].1.name();
        self.readings.iter().position(|(_, reading)| reading.name() == name).unwrap_or(at)
    }

    /// Takes a tick's input from what is at hand. A failing reading fails the members it feeds.
    pub fn cut(&mut self, now: Micros) -> Cut {
        let share = self.policy.tick_bytes / self.readings.len().max(1);
        let policy =
            CutPolicy { tick_bytes: share.max(self.policy.chunk_bytes.min(self.policy.tick_bytes)), ..self.policy };
        let mut cut = Cut { now, chunks: Vec::new(), due: std::mem::take(&mut self.due) };
        let mut failures = Vec::new();
        for at in 0..self.readings.len() {
            let limits = self.limits(at);
            let (id, reading) = &mut self.readings[at];
            let before = reading.watermarks.combined();
            match reading.cut(&policy, &limits, now) {
                Ok(chunks) => {
                    cut.due |= reading.watermarks.combine() != before;
                    cut.chunks.push((*id, chunks));
                }
                Err(error) => failures.push((*id, error)),
            }
        }
        for (reading, error) in failures {
            self.fail_readers(reading, &error);
            self.drop_unread();
        }
        cut
    }

    /// Positions that the reading at `at` must not pass: the main one's for the others; for the main one those of a
    /// reading that is ahead of it, since they can only meet there.
    fn limits(&self, at: usize) -> Positions {
        let main = self.main_of(at);
        let mut limits = Positions::new();
        if at != main {
            return self.readings[main].1.positions().clone();
        }
        let name = self.readings[at].1.name();
        let here = self.readings[at].1.positions();
        for (_, other) in self.readings.iter().skip(at + 1).filter(|(_, other)| other.name() == name) {
            for (partition, position) in other.positions() {
                if here.get(partition).is_none_or(|here| here < position) {
                    let limit = limits.entry(partition.clone()).or_insert_with(|| position.clone());
                    if position < limit {
                        *limit = position.clone();
                    }
                }
            }
        }
        limits
    }

    /// Runs the tick. On a worker of the pool.
    pub fn run(&mut self, cut: Cut) -> TickResult {
        self.tick += 1;
        let mut work = Vec::new();
        for (reading, chunks) in cut.chunks {
            let Some(at) = self.readings.iter().position(|(id, _)| *id == reading) else { continue };
            let scan = self.readings[at].1.scan();
            work.extend(chunks.into_iter().map(|chunk| Work::new(reading, Arc::clone(&scan), chunk)));
        }
        let bytes = work.iter().map(|w| w.bytes).sum();
        // The steps of a work item keep their errors, so these two cannot fail.
        let _ = pool::for_each(&mut work, bytes, |work| {
            work.decode();
            Ok(())
        });
        let unburied = self.set_fronts(&mut work);
        let _ = pool::for_each(&mut work, bytes, |work| {
            work.judge();
            Ok(())
        });
        let failures: Vec<_> =
            work.iter().filter_map(|w| w.error().map(|e| (w.reading, w.partition, e.clone()))).collect();
        unburied.iter().for_each(|(reading, error)| self.fail_readers(*reading, error));
        for (reading, partition, error) in failures {
            let explained = match self.readings.iter().find(|(id, _)| *id == reading) {
                Some((_, r)) => r.partition_id(partition).map_or(error.clone(), |id| r.explain(error.clone(), id)),
                None => error,
            };
            self.fail_readers(reading, &explained);
        }
        let result = self.run_members(cut.now, &work, bytes);
        self.join_readings();
        self.drop_unread();
        result
    }

    /// The watermark in front of each chunk, and what was not decoded to its sink: from chunk to chunk of a partition in
    /// order. Gives the readings whose dead letters cannot be written.
    fn set_fronts(&mut self, work: &mut [Work]) -> Vec<(ReadingId, Error)> {
        let mut unburied = Vec::new();
        for item in work {
            let Some((_, reading)) = self.readings.iter_mut().find(|(id, _)| *id == item.reading) else { continue };
            if let WorkState::Decoded(decoded, front) = &mut item.state {
                *front = reading.watermarks.of(item.partition);
                reading.watermarks.advance(item.partition, decoded.watermark);
                item.bad = decoded.bad;
                if let Err(error) = reading.bury(item.partition, &decoded.letters) {
                    unburied.push((item.reading, error));
                }
                if let Some(counts) = reading.counts.get_mut(item.partition) {
                    counts.rows += decoded.num_rows() as u64;
                    counts.bytes += item.bytes as u64;
                    counts.bad_messages += decoded.bad;
                }
            }
        }
        for (_, reading) in &mut self.readings {
            reading.watermarks.combine();
        }
        unburied
    }

    fn run_members(&mut self, now: Micros, work: &[Work], bytes: usize) -> TickResult {
        let tick = self.tick;
        let watermarks: Vec<_> = self.readings.iter().map(|(id, reading)| (*id, reading.watermark())).collect();
        let mut runs: Vec<Run> = self.members.iter_mut().filter(|m| m.failed.is_none()).map(Run::new).collect();
        // A member's failure stays with the member.
        let _ = pool::for_each(&mut runs, bytes, |run| {
            let inputs = run.member.inputs(work, &watermarks);
            run.outcome = run.member.tick(tick, now, inputs);
            Ok(())
        });
        let mut result = TickResult { tick, ..TickResult::default() };
        for run in runs {
            match run.outcome {
                Ok(outputs) if run.member.view.is_some() => {
                    if outputs.iter().any(|o| !o.is_empty()) {
                        result.changed.push(run.member.id);
                    }
                }
                Ok(outputs) => result.results.push((run.member.id, outputs)),
                Err(error) => run.member.failed = Some(error),
            }
        }
        result
    }

    /// A reading that has met the main one of its source hands its members over to it.
    fn join_readings(&mut self) {
        for at in (0..self.readings.len()).rev() {
            let main = self.main_of(at);
            if at == main || self.readings[at].1.positions() != self.readings[main].1.positions() {
                continue;
            }
            let (from, to) = (self.readings[at].0, self.readings[main].0);
            if let Err(error) = self.move_readers(from, main) {
                self.fail_readers(from, &error);
                self.fail_readers(to, &error);
            }
        }
    }

    fn move_readers(&mut self, from: ReadingId, main: usize) -> Result<()> {
        let (to, reading) = &mut self.readings[main];
        for feed in self.members.iter_mut().flat_map(|m| &mut m.feeds).filter(|f| f.reading == from) {
            feed.reading = *to;
        }
        let plans = self.members.iter().filter(|m| m.feeds.iter().any(|f| f.reading == *to));
        let (columns, watermark) = needs(reading.name(), plans.map(|m| m.fragment.plan().as_ref()));
        if columns != reading.columns() || (watermark.is_some() && !reading.scan().has_watermark()) {
            reading.widen(columns, watermark.as_ref())?;
        }
        for member in &mut self.members {
            let plan = Arc::clone(member.fragment.plan());
            for feed in member.feeds.iter_mut().filter(|f| f.reading == *to) {
                if let Some(Op::Scan { columns, .. }) = plan.nodes.get(feed.node).map(|n| &n.op) {
                    feed.projection = projection(columns, reading.columns());
                }
            }
        }
        Ok(())
    }

    /// An error of a reading stops all that it feeds, and nobody else.
    fn fail_readers(&mut self, reading: ReadingId, error: &Error) {
        for member in &mut self.members {
            if member.feeds.iter().any(|feed| feed.reading == reading) {
                member.failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// A member in a tick.
struct Run<'a> {
    member: &'a mut Member,
    outcome: Result<Vec<Vec<ChangeBatch>>>,
}

impl<'a> Run<'a> {
    fn new(member: &'a mut Member) -> Self {
        Run { member, outcome: Ok(Vec::new()) }
    }
}

impl Member {
    /// This tick's rows and watermarks for each scan of the plan.
    fn inputs(&mut self, work: &[Work], watermarks: &[(ReadingId, Watermark)]) -> Result<Vec<ScanInput>> {
        let mut inputs = Vec::with_capacity(self.feeds.len());
        for feed in &self.feeds {
            let mut batches = Vec::new();
            for (shard, item) in work.iter().filter(|w| w.reading == feed.reading).enumerate() {
                self.stats.bad_rows += item.bad;
                self.stats.input_bytes += item.bytes as u64;
                let WorkState::Judged(batch) = &item.state else { continue };
                self.stats.input_rows += batch.num_rows() as u64;
                let rows = batch.rows().project(&feed.projection)?;
                batches.push((shard, batch.clone().with_rows(rows)?));
            }
            let watermark = watermarks.iter().find(|(id, _)| *id == feed.reading).map_or(Watermark::NONE, |(_, w)| *w);
            inputs.push(ScanInput { node: feed.node, batches, watermark });
        }
        Ok(inputs)
    }

    /// Runs the fragment and applies its result to the view. A panic below is a bug of ours, but it stops only this member.
    fn tick(&mut self, tick: u64, now: Micros, inputs: Result<Vec<ScanInput>>) -> Result<Vec<Vec<ChangeBatch>>> {
        let inputs = inputs?;
        self.stats.watermark = inputs.iter().map(|i| i.watermark).min();
        let outputs = catch_unwind(AssertUnwindSafe(|| -> Result<_> {
            let outputs = self.fragment.tick(tick, now, inputs)?;
            if let Some(view) = &mut self.view {
                outputs.iter().try_for_each(|changes| view.apply(changes))?;
            }
            self.stats.fragment = self.fragment.stats();
            Ok(outputs)
        }))
        .unwrap_or_else(|panic| Err(Error::internal(format!("an operator panicked: {}", panic_text(&*panic)))))?;
        let rows: usize = outputs.iter().flatten().map(ChangeBatch::num_rows).sum();
        self.stats.output_rows += rows as u64;
        Ok(outputs)
    }
}

/// A chunk on its way through the first stage.
struct Work {
    reading: ReadingId,
    partition: usize,
    scan: Arc<Scan>,
    bytes: usize,
    bad: u64,
    state: WorkState,
}

enum WorkState {
    Raw(Payload),
    /// With the watermark in front of it, once known.
    Decoded(Decoded, Watermark),
    Judged(ChangeBatch),
    Failed(Error),
    /// Only while a step runs.
    Taken,
}

impl Work {
    fn new(reading: ReadingId, scan: Arc<Scan>, chunk: CutChunk) -> Self {
        let state = WorkState::Raw(chunk.payload);
        Work { reading, partition: chunk.partition, scan, bytes: chunk.bytes, bad: 0, state }
    }

    fn decode(&mut self) {
        if let WorkState::Raw(payload) = std::mem::replace(&mut self.state, WorkState::Taken) {
            let scan = &self.scan;
            let decoded = catch_unwind(AssertUnwindSafe(|| scan.decode(payload)))
                .unwrap_or_else(|panic| Err(Error::internal(format!("a decoder panicked: {}", panic_text(&*panic)))));
            self.state = match decoded {
                Ok(decoded) => WorkState::Decoded(decoded, Watermark::NONE),
                Err(error) => WorkState::Failed(error),
            };
        }
    }

    fn judge(&mut self) {
        self.state = match std::mem::replace(&mut self.state, WorkState::Taken) {
            WorkState::Decoded(decoded, front) => {
                decoded.judge(front).map_or_else(WorkState::Failed, WorkState::Judged)
            }
            other => other,
        };
    }

    fn error(&self) -> Option<&Error> {
        match &self.state {
            WorkState::Failed(error) => Some(error),
            _ => None,
        }
    }
}

fn projection(wanted: &[usize], read: &[usize]) -> Vec<usize> {
    wanted.iter().filter_map(|column| read.iter().position(|r| r == column)).collect()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
