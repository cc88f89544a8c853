//! Scans and the fragments they feed, and one tick over all of them.
//!
//! A tick: [`Core::cut`] takes input on the tick loop's thread; [`Core::run`] decodes, judges, runs the fragments and
//! applies their results to views, on the worker pool. It stops when a turn is over or a job has a part to hand on, and
//! [`Core::go_on`] goes on. Fragments come between two ticks; they go whenever they are removed, also within one.
//!
//! Readings of one source: the first is the *main* one, shared by all fragments that have caught up. A new fragment gets a
//! reading of its own at its start positions, which never passes the main one, and joins it where they meet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{ObjectId, Starts};
use crate::change::ChangeBatch;
use crate::clock::Micros;
use crate::connector::Positions;
use crate::dataflow::{Advance, pool};
use crate::error::{Error, Result, SqlState};
use crate::plan::Op;

use super::follow::Standing;
use super::image::Life;
use super::input::{Chunk, ChunkState, Decoding};
use super::member::{Feed, Held, Inflow, Member, NewPlan, Origin, Run, ViewOutflow, projection};
use super::reading::{CutChunk, CutPolicy, OpenReading, Reading, Wanted, needs};
use super::recovery::{Draining, Restoring};
use super::status::{Counts, Running};
use super::subscribe::is_subscription;

/// Identifies a reading within a core.
pub type ReadingId = u64;

/// What runs in a pipeline.
#[derive(Default)]
pub struct Core {
    pub(super) readings: Vec<(ReadingId, Reading)>,
    pub(super) members: Vec<Member>,
    pub(super) policy: CutPolicy,
    /// `None` in the stead of a core that is away.
    pub(super) open: Option<OpenReading>,
    pub(super) tick: u64,
    pub(super) last_reading: ReadingId,
    /// Lives that were given so far.
    pub(super) lives: u32,
    /// A tick is due although no input came: a fragment is new.
    pub(super) due: bool,
    /// The tick that is not over yet.
    present: Option<Present>,
    /// What was frozen is being handed out.
    pub(super) draining: Option<Draining>,
    /// It goes on from an image, and does not tick yet.
    pub(super) restoring: Option<Restoring>,
}

/// A tick on its way through the members.
struct Present {
    now: Micros,
    inflow: Inflow,
    /// Bytes of the input.
    bytes: usize,
    beginners: BTreeSet<ObjectId>,
    /// Members whose tick is not over, each with its level and whether it has begun.
    waiting: BTreeMap<ObjectId, (usize, bool)>,
    /// Results that are handed out when the tick is over.
    whole: Vec<(ObjectId, Vec<Vec<ChangeBatch>>)>,
    changed: Vec<ObjectId>,
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

    pub fn bytes(&self) -> usize {
        self.chunks.iter().flat_map(|(_, chunks)| chunks).map(|chunk| chunk.bytes).sum()
    }
}

/// What a tick, or a turn of it, gave.
#[derive(Default)]
pub struct TickResult {
    pub tick: u64,
    /// The results of members without a view: by member, then by the plan's output.
    pub results: Vec<(ObjectId, Vec<Vec<ChangeBatch>>)>,
    /// The tick is over; else there is more to come.
    pub over: bool,
    /// Members whose view changed; known when the tick is over.
    pub changed: Vec<ObjectId>,
}

impl Core {
    pub fn new(policy: CutPolicy, open: OpenReading) -> Self {
        Core { policy, open: Some(open), ..Core::default() }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn tick(&self) -> u64 {
        self.tick
    }

    pub fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().map(|(_, reading)| reading)
    }

    /// Adds a plan. If an image is being gone on from that has it, so does the plan; its readings are opened when all are
    /// there.
    pub fn add(&mut self, new: NewPlan) -> Result<()> {
        if self.restoring.is_some() {
            return self.add_restored(new);
        }
        let starts = new.starts.clone();
        let life = self.new_life();
        let mut member = self.member(new, life);
        self.attach(&mut member, &starts)?;
        self.members.push(member);
        Ok(())
    }

    /// Of a member that begins anew.
    pub(super) fn new_life(&mut self) -> Life {
        self.lives += 1;
        Life(self.lives)
    }

    pub(super) fn member(&self, new: NewPlan, life: Life) -> Member {
        let whole = new.view.is_some() || is_subscription(new.id);
        Member::new(new, life, whole.then_some(self.policy.whole_bytes))
    }

    /// Has a member fed that begins anew: by readings of its own, from `starts` on, and by views.
    pub(super) fn attach(&mut self, member: &mut Member, starts: &Starts) -> Result<()> {
        let plan = Arc::clone(member.fragment.plan());
        let mut feeds = Vec::new();
        let mut opened: Vec<(ReadingId, Reading)> = Vec::new();
        for (node, scan) in plan.nodes.iter().enumerate() {
            if let Op::ViewScan { view, columns } = &scan.op {
                let from = Origin::View { id: self.view_named(view)?, begun: false };
                feeds.push(Feed { node, from, projection: columns.clone() });
                continue;
            }
            let Op::Scan { source, columns, .. } = &scan.op else { continue };
            let known = opened.iter().position(|(_, reading)| reading.name() == source);
            let (reading, columns_read) = match known.and_then(|at| opened.get(at)) {
                Some((reading, opened)) => (*reading, opened.columns()),
                None => {
                    let (read, watermark) = needs(source, std::iter::once(plan.as_ref()));
                    let positions = starts.get(source).cloned().unwrap_or_default();
                    let reading = self.open(source, Wanted { columns: read, watermark, positions })?;
                    self.last_reading += 1;
                    opened.push((self.last_reading, reading));
                    let Some((reading, opened)) = opened.last() else { continue };
                    (*reading, opened.columns())
                }
            };
            let from = Origin::Reading(reading);
            feeds.push(Feed { node, from, projection: projection(columns, columns_read) });
        }
        self.readings.append(&mut opened);
        member.feeds = feeds;
        self.due = true;
        Ok(())
    }

    pub(super) fn open(&self, source: &str, wanted: Wanted) -> Result<Reading> {
        let open = self.open.as_ref().ok_or_else(|| Error::internal("a source is opened by a core that is away"))?;
        open(source, wanted)
    }

    fn view_named(&self, name: &str) -> Result<ObjectId> {
        let found = self.members.iter().find(|member| member.view.is_some() && member.name == name);
        let missing = || Error::new(SqlState::UndefinedTable, format!("materialized view \"{name}\" does not exist"));
        found.map(|member| member.id).ok_or_else(missing)
    }

    pub fn remove(&mut self, id: ObjectId) {
        let gone = self.members.extract_if(.., |member| member.id == id);
        match &mut self.draining {
            // It was frozen with the others.
            Some(draining) => draining.gone.extend(gone),
            None => gone.for_each(drop),
        }
        self.drop_unread();
    }

    /// Closes readings that feed nobody.
    pub(super) fn drop_unread(&mut self) {
        let members = &self.members;
        let read =
            |id: ReadingId| members.iter().filter(|m| m.failed.is_none()).any(|m| m.feeds.iter().any(|f| f.reads(id)));
        self.readings.retain(|(id, _)| read(*id));
    }

    /// Whether all readings of `member` (and of the views that it reads) are main ones: it has seen what the others have
    /// seen.
    pub fn caught_up(&self, member: &Member) -> bool {
        member.feeds.iter().all(|feed| match feed.from {
            Origin::Reading(reading) => {
                let reading = self.readings.iter().position(|(id, _)| *id == reading);
                reading.is_none_or(|at| self.main_of(at) == at)
            }
            Origin::View { id, begun } => {
                begun && self.members.iter().find(|other| other.id == id).is_some_and(|view| self.caught_up(view))
            }
        })
    }

    /// Whether a view may be shown: it has seen what the others have seen, and all that was there when it began.
    pub fn is_filled(&self, member: &Member) -> bool {
        let all_met = || self.readings_of(member).iter().all(|reading| reading.has_met_its_end());
        self.restoring.is_none() && self.caught_up(member) && all_met()
    }

    /// The readings that feed `member`, also by way of views.
    fn readings_of<'a>(&'a self, member: &'a Member) -> Vec<&'a Reading> {
        let mut all = Vec::new();
        for feed in &member.feeds {
            match feed.from {
                Origin::Reading(reading) => {
                    all.extend(self.readings.iter().filter(|(id, _)| *id == reading).map(|(_, reading)| reading));
                }
                Origin::View { id, .. } => {
                    let view = self.members.iter().find(|other| other.id == id);
                    all.extend(view.into_iter().flat_map(|view| self.readings_of(view)));
                }
            }
        }
        all
    }

    /// How a member stands now.
    pub fn standing(&self, member: &Member) -> Standing {
        let readings = self.readings_of(member);
        Standing {
            counts: Counts::of(member, self.tick),
            running: Some(Running::of(member)),
            failed: member.failed.clone(),
            buffered_bytes: readings.iter().map(|reading| reading.buffered_bytes()).sum(),
            trouble: readings.iter().find_map(|reading| reading.trouble()),
            waiting: member.waits_for_views(),
            finished: readings.iter().all(|reading| reading.watermarks.all_finished()),
        }
    }

    /// The main reading of the source that the reading at `at` reads: the oldest.
    fn main_of(&self, at: usize) -> usize {
        let name = self.readings[at].1.name();
        self.readings.iter().position(|(_, reading)| reading.name() == name).unwrap_or(at)
    }

    /// When a tick is due although no input has come: somebody's windows follow the clock.
    pub fn due_at(&self) -> Option<Micros> {
        self.members.iter().filter(|member| member.failed.is_none()).filter_map(|m| m.fragment.due()).min()
    }

    /// Bytes that readers have fetched and no tick has taken.
    pub fn buffered_bytes(&self) -> usize {
        self.readings().map(Reading::buffered_bytes).sum()
    }

    /// Whether a tick has begun that is not over.
    pub fn is_in_tick(&self) -> bool {
        self.present.is_some()
    }

    /// Takes a tick's input from what is at hand. A failing reading fails the members it feeds.
    pub fn cut(&mut self, now: Micros) -> Cut {
        if self.restoring.is_some() {
            return Cut { now, chunks: Vec::new(), due: false };
        }
        let policy = self.share();
        let due = std::mem::take(&mut self.due) || self.due_at().is_some_and(|at| at <= now);
        let mut cut = Cut { now, chunks: Vec::new(), due };
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

    /// Takes what is at hand for the next tick of what has just given a full one: decoding it needs nothing of that tick.
    pub(super) fn take_ahead(&mut self) -> Vec<Arc<Decoding>> {
        let policy = self.share();
        let mut all = Vec::new();
        for at in 0..self.readings.len() {
            // Where two readings are to meet, neither may pass the other.
            if self.limits(at).is_empty() {
                all.append(&mut self.readings[at].1.take_ahead(&policy));
            }
        }
        all
    }

    /// What a reading may give to a tick.
    fn share(&self) -> CutPolicy {
        let share = self.policy.tick_bytes / self.readings.len().max(1);
        CutPolicy { tick_bytes: share.max(self.policy.chunk_bytes.min(self.policy.tick_bytes)), ..self.policy }
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

    /// Runs the tick, or its first turn. On a worker of the pool.
    pub fn run(&mut self, cut: Cut) -> TickResult {
        self.tick += 1;
        let mut work = Vec::new();
        for (reading, chunks) in cut.chunks {
            work.extend(chunks.into_iter().map(|chunk| Chunk::new(reading, chunk)));
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
        self.begin_tick(cut.now, work, bytes);
        self.go_on()
    }

    /// The watermark in front of each chunk, and what was not decoded to its sink: from chunk to chunk of a partition in
    /// order. Gives the readings whose dead letters cannot be written.
    fn set_fronts(&mut self, work: &mut [Chunk]) -> Vec<(ReadingId, Error)> {
        let mut unburied = Vec::new();
        for item in work {
            let Some((_, reading)) = self.readings.iter_mut().find(|(id, _)| *id == item.reading) else { continue };
            if let ChunkState::Decoded(decoded, front) = &mut item.state {
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

    fn begin_tick(&mut self, now: Micros, chunks: Vec<Chunk>, bytes: usize) {
        let watermarks = self.readings.iter().map(|(id, reading)| (*id, reading.watermark())).collect();
        let members = self.members.iter().zip(self.levels());
        self.present = Some(Present {
            now,
            bytes,
            beginners: self.beginners(),
            waiting: members.map(|(member, level)| (member.id, (level, false))).collect(),
            inflow: Inflow { chunks, watermarks, views: BTreeMap::new() },
            whole: Vec::new(),
            changed: Vec::new(),
        });
    }

    /// Goes on with the tick until it is over or a member needs another turn. On a worker of the pool.
    pub fn go_on(&mut self) -> TickResult {
        let mut result = TickResult { tick: self.tick, ..TickResult::default() };
        let Some(mut present) = self.present.take() else { return TickResult { over: true, ..result } };
        while !result.over && self.turn(&mut present, &mut result) {
            result.over = present.waiting.is_empty();
        }
        if !result.over {
            self.present = Some(present);
            return result;
        }
        result.results.append(&mut present.whole);
        result.changed = present.changed;
        self.members.iter_mut().filter_map(|member| member.held.as_mut()).for_each(Held::clear);
        self.join_readings();
        self.drop_unread();
        self.due |= !self.beginners().is_empty();
        result
    }

    /// One turn of the members of the lowest level that waits. True if their ticks are over.
    fn turn(&mut self, present: &mut Present, result: &mut TickResult) -> bool {
        let members = &mut self.members;
        present.waiting.retain(|id, _| members.iter().any(|member| member.id == *id && member.failed.is_none()));
        let Some(lowest) = present.waiting.values().map(|(level, _)| *level).min() else { return true };
        let waiting = &present.waiting;
        let runs = members.iter_mut().filter_map(|member| match waiting.get(&member.id) {
            Some((level, begun)) if *level == lowest => Some(Run::new(member, *begun)),
            _ => None,
        });
        let mut runs: Vec<Run> = runs.collect();
        let (tick, now) = (self.tick, present.now);
        let (inflow, beginners) = (&present.inflow, &present.beginners);
        // A member's failure stays with the member.
        let _ = pool::for_each(&mut runs, present.bytes, |run| {
            run.outcome = run.turn(tick, now, inflow, beginners);
            Ok(())
        });
        let mut over = true;
        for Run { member, outcome, .. } in runs {
            let id = member.id;
            match outcome {
                Ok(Advance::More(outputs)) => {
                    present.waiting.insert(id, (lowest, true));
                    over = false;
                    if !outputs.is_empty() {
                        result.results.push((id, outputs));
                    }
                    continue;
                }
                Ok(Advance::Over(outputs)) => match &member.view {
                    Some(view) => {
                        if outputs.iter().any(|o| !o.is_empty()) {
                            present.changed.push(id);
                        }
                        let changes = outputs.into_iter().flatten().collect();
                        let watermark = member.output_watermark();
                        let outflow = ViewOutflow { changes, rows: view.snapshot(), watermark };
                        present.inflow.views.insert(id, outflow);
                    }
                    None if member.held.is_some() => present.whole.push((id, outputs)),
                    None => result.results.push((id, outputs)),
                },
                Err(error) => member.failed = Some(error),
            }
            present.waiting.remove(&id);
        }
        over
    }

    /// Members that have not read their views yet and can now, since all of these have caught up: what a member gives
    /// must come of one prefix of the inputs.
    fn beginners(&self) -> BTreeSet<ObjectId> {
        let ready = |id: ObjectId| self.members.iter().find(|m| m.id == id).is_some_and(|view| self.caught_up(view));
        let begins = |member: &&Member| member.waits_for_views() && member.views_read().all(ready);
        self.members.iter().filter(begins).map(|member| member.id).collect()
    }

    /// For each member how many views lie in front of it, one reading the other: who reads a view runs after it.
    fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            // Views are older than whoever reads them.
            let place = |id: ObjectId| self.members.iter().position(|other| other.id == id);
            let read = member.views_read().filter_map(place).filter_map(|at| levels.get(at));
            levels.push(read.max().map_or(0, |level| level + 1));
        }
        levels
    }

    /// A reading that has met the main one of its source hands its members over to it.
    fn join_readings(&mut self) {
        for at in (0..self.readings.len()).rev() {
            let main = self.main_of(at);
            if at == main || self.readings[at].1.positions() != self.readings[main].1.positions() {
                continue;
            }
            // The main one may be ahead in time alone: at its end, say. Its watermark makes a tick of its own.
            self.due |= self.readings[at].1.watermark() != self.readings[main].1.watermark();
            let (from, to) = (self.readings[at].0, self.readings[main].0);
            if let Err(error) = self.move_readers(from, main) {
                self.fail_readers(from, &error);
                self.fail_readers(to, &error);
            }
            // The main one may have seen its source's end, or idleness, which its new members have not been told.
            self.due = true;
        }
    }

    fn move_readers(&mut self, from: ReadingId, main: usize) -> Result<()> {
        let (to, reading) = &mut self.readings[main];
        let concerned = |member: &&Member| member.feeds.iter().any(|f| f.reads(*to) || f.reads(from));
        let plans = self.members.iter().filter(concerned).map(|member| member.fragment.plan().as_ref());
        let (columns, watermark) = needs(reading.name(), plans);
        if columns != reading.columns() || (watermark.is_some() && !reading.scan().has_watermark()) {
            reading.widen(columns, watermark.as_ref())?;
        }
        for member in &mut self.members {
            member.read_from(from, *to, reading.columns());
            member.read_from(*to, *to, reading.columns());
        }
        Ok(())
    }

    /// The pipeline is over: nobody goes on.
    pub fn fail(&mut self, error: &Error) {
        self.restoring = None;
        for member in &mut self.members {
            member.failed.get_or_insert_with(|| error.clone());
        }
        self.drop_unread();
    }

    /// An error of a reading stops all that it feeds, and nobody else.
    pub(super) fn fail_readers(&mut self, reading: ReadingId, error: &Error) {
        for member in &mut self.members {
            if member.feeds.iter().any(|feed| feed.reads(reading)) {
                member.failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}
