//! GROUP BY SESSION and keys: rows of a key that are no further apart than the gap, together.
//!
//! A session closes when the watermark reaches its end, a gap behind its last row: a row at exactly that instant still
//! belongs to it, and is behind no earlier watermark. (Flink closes it one unit sooner, so that such a row joins or not
//! depending on what other keys did to the watermark.)
//!
//! What a row that is behind does depends on the data alone: at its judge J (its partition's watermark from just before
//! it) it joins the sessions that it touches and that end behind J, and is late if there is none and its own end is not
//! behind J either. For that, all that other partitions say about times up to J must be there: such rows wait, as state,
//! until the watermark reaches J, and then come in the order of J, those of one J latest first. Who would be late then
//! waits on until the watermark has passed J, since another row that was behind the same J may still let it in.
//!
//! State, all of it by key: `open` sessions under `key`, `waiting` rows that are behind under `judge | time | key`, and
//! `timers` under `end | key`, one for each key: that of its session which closes first, or of one that has grown since.
//!
//! 1. A tick's rows are combined by key into runs ([`Arrivals`]).
//! 2. At its end, those that are behind go to `waiting`; whoever the watermark has reached comes back.
//! 3. Keys that anything comes to are looked up; runs and then rows that were behind join their sessions. EMIT ON UPDATE:
//!    what changed is emitted net, sessions that a merge swallowed included.
//! 4. Timers that are due close sessions, which EMIT ON CLOSE emits then.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::accumulator::Sign;
use super::arrivals::{Arrivals, judged_key};
use super::chunks::Chunks;
use super::group::{Calls, Groups};
use super::net::Transition;
use super::sessions::{Arrival, Session, Sessions};
use super::window::{event_times, timestamps};
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::bytes::Reader;
use crate::change::key::{KeyCodec, TIME_WIDTH, encode_time, hash, leading_time};
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::plan::{Changelog, Emit, EventTime};
use crate::state::{KeyIndex, KeyedTable, Scan, StateContext, StateTable, TableId, Values};

/// Keys looked at at once.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 4;

/// What a plan says of sessions.
#[derive(Clone, Copy)]
pub struct SessionWindows {
    /// In microseconds.
    pub gap: i64,
    pub time: EventTime,
    pub emit: Emit,
}

pub struct SessionAggregate {
    windows: SessionWindows,
    schema: SchemaRef,
    keys: KeyCodec,
    arrivals: Arrivals,
    open: KeyedTable<Sessions>,
    waiting: KeyedTable<Groups>,
    timers: KeyedTable<Timers>,
    /// Timers that are to be set: `end | key`.
    to_set: KeyIndex,
    /// Keys whose timers are due.
    due: KeyIndex,
    /// Rows that are to wait on, `judge | time | key`, and their groups.
    back: KeyIndex,
    back_groups: Vec<u32>,
    /// At the last tick's end.
    watermark: Watermark,
    late_rows: u64,
    stage: Stage,
    output: Chunks,
    slots: Vec<u32>,
    due_timers: Vec<u32>,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// Rows that are behind, from this key on, are still to be put into `waiting`.
    Wait { from: u32 },
    /// Rows that waited come back.
    Recall(Scan),
    /// What comes to the tick's keys from here on is still to join.
    Join { from: u32 },
    /// Rows from here on are to wait on.
    PutBack { from: u32 },
    /// Timers from here on are to be set, before others go off.
    SetTimers { from: u32, scan: Scan },
    /// Sessions close; `gathered`: timers have been found that are being dealt with.
    Close { scan: Scan, gathered: bool },
}

/// A session as it is emitted: its key's place among the keys at hand, and it.
type Shown = (u32, Session);

impl SessionAggregate {
    /// # Errors
    /// `0A000` over changing input.
    pub fn new(
        id: TableId,
        windows: SessionWindows,
        keys: &[usize],
        calls: &Calls,
        input: (&SchemaRef, Changelog),
        schema: &SchemaRef,
        context: &StateContext,
    ) -> Result<Self> {
        let (input, changelog) = input;
        if changelog == Changelog::Changing {
            let hint = "Put the sessions in front of what makes it change.";
            return Err(Error::unsupported("SESSION over a changing result is not supported yet", hint));
        }
        let codec = super::key_codec(keys, input)?;
        let stride = |times: usize| codec.stride().map(|stride| stride + times * TIME_WIDTH);
        let table = |table: u8| TableId { table: id.table + table, ..id };
        let waiting = KeyedTable::open(context, table(1), stride(2), true, Groups::new(calls)?);
        Ok(SessionAggregate {
            windows,
            schema: Arc::clone(schema),
            arrivals: Arrivals::new(windows.gap, keys, codec.clone(), calls, context)?,
            open: KeyedTable::open(context, table(0), stride(0), false, Sessions::new(calls)?),
            waiting: waiting.with_lead(2 * TIME_WIDTH),
            timers: KeyedTable::open(context, table(2), stride(1), true, Timers),
            to_set: KeyIndex::new(stride(1)),
            due: KeyIndex::new(stride(0)),
            back: KeyIndex::new(stride(2)),
            back_groups: Vec::new(),
            keys: codec,
            watermark: Watermark::NONE,
            late_rows: 0,
            stage: Stage::Open,
            output: Chunks::default(),
            slots: Vec::new(),
            due_timers: Vec::new(),
        })
    }

    /// Puts rows that are behind into `waiting`; false while state is being fetched.
    fn wait(&mut self, from: u32, to: u32) -> Result<bool> {
        if self.waiting.lookup(&self.arrivals.behind, from..to, &mut self.slots)?.is_pending() {
            return Ok(false);
        }
        self.waiting.update(&self.slots).merge(&self.slots, &self.arrivals.behind_groups, from..to)?;
        Ok(true)
    }

    /// Lets the next rows that waited come; false when there are no more, `None` while state is being fetched.
    fn recall(&mut self, scan: &mut Scan) -> Result<Option<bool>> {
        if self.waiting.scan(scan, CHUNK_ROWS, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let mut into = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let (times, key) = self.waiting.key(*slot).split_at_checked(2 * TIME_WIDTH).unwrap_or_default();
            let time = leading_time(times.get(TIME_WIDTH..).unwrap_or_default())?;
            into.push(self.arrivals.recall(leading_time(times)?, time, key));
        }
        self.arrivals.groups.absorb(&into, self.waiting.values(), &self.slots, Sign::Add)?;
        self.waiting.remove(&self.slots)?;
        Ok(Some(!self.slots.is_empty()))
    }

    /// Has what comes to keys `from..to` join their sessions; false while state is being fetched.
    fn join(&mut self, from: u32, to: u32) -> Result<bool> {
        if self.open.lookup(&self.arrivals.index, from..to, &mut self.slots)?.is_pending() {
            return Ok(false);
        }
        let update = self.windows.emit == Emit::OnUpdate;
        let before = if update { Some(self.shown()?) } else { None };
        let sessions = self.open.update(&self.slots);
        let mut gone = Vec::new();
        for (slot, at) in self.slots.iter().zip(from..to) {
            let Some(coming) = self.arrivals.coming.get_mut(at as usize) else { continue };
            for run in &coming.runs {
                let arrival = Arrival { start: run.start, end: run.end, closed_upto: i64::MIN };
                sessions.join(*slot, arrival, &self.arrivals.groups, &run.groups)?;
            }
            coming.behind.sort_unstable_by_key(|row| (row.judge, std::cmp::Reverse(row.time)));
            for row in &coming.behind {
                let end = row.time.saturating_add(self.windows.gap);
                let arrival = Arrival { start: row.time, end, closed_upto: row.judge };
                if sessions.join(*slot, arrival, &self.arrivals.groups, &[row.group])? {
                    continue;
                }
                if row.judge < self.watermark.0 {
                    self.late_rows += self.arrivals.groups.rows(row.group).unsigned_abs();
                } else {
                    let key = judged_key(row.judge, row.time, self.arrivals.index.key(at));
                    self.back.insert(hash(&key), &key);
                    self.back_groups.push(row.group);
                }
            }
            let Some(first) = sessions.of(*slot).iter().map(|session| session.end).min() else {
                gone.push(*slot);
                continue;
            };
            if first < sessions.timer(*slot) {
                sessions.set_timer(*slot, first);
                want_timer(&mut self.to_set, first, self.arrivals.index.key(at));
            }
        }
        if let Some(before) = before {
            let after = self.shown()?;
            let keys: Vec<&[u8]> = (from..to).map(|at| self.arrivals.index.key(at)).collect();
            if let Some(changes) = self.changes(&keys, before, after)? {
                self.output.put(changes)?;
            }
        }
        self.open.remove(&gone)?;
        Ok(true)
    }

    /// Puts rows back that are to wait on; false while state is being fetched.
    fn put_back(&mut self, from: u32, to: u32) -> Result<bool> {
        if self.waiting.lookup(&self.back, from..to, &mut self.slots)?.is_pending() {
            return Ok(false);
        }
        let groups = self.back_groups.get(from as usize..to as usize).unwrap_or_default();
        self.waiting.update(&self.slots).absorb(&self.slots, &self.arrivals.groups, groups, Sign::Add)?;
        Ok(true)
    }

    /// All sessions of the keys at `slots`, and their answers.
    fn shown(&self) -> Result<(Vec<Shown>, Vec<ArrayRef>)> {
        let sessions = self.open.values();
        let of = self.slots.iter().zip(0..);
        let shown: Vec<Shown> = of.flat_map(|(slot, at)| sessions.of(*slot).iter().map(move |s| (at, *s))).collect();
        let cells: Vec<u32> = shown.iter().map(|(_, session)| session.cell).collect();
        Ok((shown, sessions.cells().finish(&cells)?))
    }

    /// The net change from some keys' sessions to others.
    fn changes(
        &self,
        keys: &[&[u8]],
        before: (Vec<Shown>, Vec<ArrayRef>),
        after: (Vec<Shown>, Vec<ArrayRef>),
    ) -> Result<Option<ChangeBatch>> {
        let name = |(at, session): &Shown| (*at, session.start, session.end);
        let (mut old, mut new) = (before.0.iter().zip(0u32..).peekable(), after.0.iter().zip(0u32..).peekable());
        let (mut shown, mut old_rows, mut new_rows) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let next = [old.peek(), new.peek()].into_iter().flatten().map(|(shown, _)| name(shown)).min();
            let Some(next) = next else { break };
            let was = old.next_if(|(shown, _)| name(shown) == next);
            let is = new.next_if(|(shown, _)| name(shown) == next);
            shown.extend(was.or(is).map(|(shown, _)| *shown));
            old_rows.push(was.map(|(_, row)| row));
            new_rows.push(is.map(|(_, row)| row));
        }
        let pick = |answers: Vec<ArrayRef>, rows: &[Option<u32>]| -> Result<Vec<ArrayRef>> {
            let rows = UInt32Array::from(rows.to_vec());
            answers.iter().map(|column| Ok(take(column, &rows, None)?)).collect()
        };
        let keys = self.window_columns(&shown, |at| keys.get(at as usize).copied().unwrap_or_default())?;
        let presence = old_rows.iter().zip(&new_rows).map(|(was, is)| (was.is_some(), is.is_some())).collect();
        let (old, new) = (pick(before.1, &old_rows)?, pick(after.1, &new_rows)?);
        Transition { keys, old: Some(old), new, presence }.changes(&self.schema)
    }

    /// The columns that name sessions: window_start, window_end, window_time and the key.
    fn window_columns<'a>(&self, shown: &[Shown], key: impl Fn(u32) -> &'a [u8]) -> Result<Vec<ArrayRef>> {
        let times = |time: fn(&Session, i64) -> i64| -> Vec<i64> {
            shown.iter().map(|(_, session)| time(session, self.windows.time.unit)).collect()
        };
        let times = [times(|s, _| s.start), times(|s, _| s.end), times(|s, unit| s.end.wrapping_sub(unit))];
        let columns = times.into_iter().zip(self.schema.fields());
        let mut columns = columns.map(|(t, field)| timestamps(t, field.data_type())).collect::<Result<Vec<_>>>()?;
        columns.extend(self.keys.decode(shown.iter().map(|(at, _)| key(*at)))?);
        Ok(columns)
    }

    /// Sets timers `from..to`; false while state is being fetched.
    fn set_timers(&mut self, from: u32, to: u32) -> Result<bool> {
        if self.timers.lookup(&self.to_set, from..to, &mut self.slots)?.is_pending() {
            return Ok(false);
        }
        self.timers.update(&self.slots);
        Ok(true)
    }

    /// Closes the sessions of the next keys whose timers are due; false when there are none, `None` while state is being
    /// fetched.
    fn close(&mut self, scan: &mut Scan, gathered: &mut bool) -> Result<Option<bool>> {
        if !*gathered {
            if self.timers.scan(scan, KEYS_AT_ONCE as usize, &mut self.due_timers)?.is_pending() {
                return Ok(None);
            }
            self.due.clear(KEYS_AT_ONCE as usize);
            for timer in &self.due_timers {
                let key = self.timers.key(*timer).get(TIME_WIDTH..).unwrap_or_default();
                self.due.find_or_insert(hash(key), key);
            }
            *gathered = true;
        }
        let keys = self.due.slots() as u32;
        if keys == 0 {
            return Ok(Some(false));
        }
        if self.open.lookup(&self.due, 0..keys, &mut self.slots)?.is_pending() {
            return Ok(None);
        }
        let sessions = self.open.update(&self.slots);
        let (mut closed, mut gone) = (Vec::<Shown>::new(), Vec::new());
        for (slot, at) in self.slots.iter().zip(0..) {
            closed.extend(sessions.close(*slot, self.watermark.0).into_iter().map(|session| (at, session)));
            let first = sessions.of(*slot).iter().map(|session| session.end).min();
            match first {
                None => gone.push(*slot),
                // One that is set for later is still there.
                Some(first) if sessions.timer(*slot) <= self.watermark.0 => {
                    sessions.set_timer(*slot, first);
                    want_timer(&mut self.to_set, first, self.due.key(at));
                }
                Some(_) => {}
            }
        }
        let cells: Vec<u32> = closed.iter().map(|(_, session)| session.cell).collect();
        if self.windows.emit == Emit::OnClose && !closed.is_empty() {
            let mut columns = self.window_columns(&closed, |at| self.due.key(at))?;
            columns.extend(self.open.values().cells().finish(&cells)?);
            let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            self.output.put(ChangeBatch::append_only(rows))?;
        }
        let sessions = self.open.update(&self.slots);
        cells.into_iter().for_each(|cell| sessions.free(cell));
        self.open.remove(&gone)?;
        self.timers.remove(&self.due_timers)?;
        *gathered = false;
        Ok(Some(true))
    }

    /// Runs one step of a stage; gives what comes next, and whether state is being fetched.
    fn step(&mut self, stage: Stage) -> Result<(Stage, bool)> {
        let upto = self.watermark.0;
        Ok(match stage {
            Stage::Open => (Stage::Open, false),
            Stage::Wait { from } => {
                let to = (from + KEYS_AT_ONCE).min(self.arrivals.behind.slots() as u32);
                if from == to {
                    (Stage::Recall(Scan::new(None, upto)), false)
                } else {
                    let done = self.wait(from, to)?;
                    (Stage::Wait { from: if done { to } else { from } }, !done)
                }
            }
            Stage::Recall(mut scan) => match self.recall(&mut scan)? {
                Some(false) => (Stage::Join { from: 0 }, false),
                more => (Stage::Recall(scan), more.is_none()),
            },
            Stage::Join { from } => {
                let to = (from + KEYS_AT_ONCE).min(self.arrivals.len());
                if from == to {
                    (Stage::PutBack { from: 0 }, false)
                } else {
                    let done = self.join(from, to)?;
                    (Stage::Join { from: if done { to } else { from } }, !done)
                }
            }
            Stage::PutBack { from } => {
                let to = (from + KEYS_AT_ONCE).min(self.back.slots() as u32);
                if from == to {
                    self.back.clear(KEYS_AT_ONCE as usize);
                    self.back_groups.clear();
                    self.arrivals.clear()?;
                    (Stage::SetTimers { from: 0, scan: Scan::new(None, upto) }, false)
                } else {
                    let done = self.put_back(from, to)?;
                    (Stage::PutBack { from: if done { to } else { from } }, !done)
                }
            }
            Stage::SetTimers { from, scan } => {
                let to = (from + KEYS_AT_ONCE).min(self.to_set.slots() as u32);
                if from == to {
                    self.to_set.clear(KEYS_AT_ONCE as usize);
                    (Stage::Close { scan, gathered: false }, false)
                } else {
                    let done = self.set_timers(from, to)?;
                    (Stage::SetTimers { from: if done { to } else { from }, scan }, !done)
                }
            }
            Stage::Close { mut scan, mut gathered } => match self.close(&mut scan, &mut gathered)? {
                None => (Stage::Close { scan, gathered }, true),
                Some(true) => (Stage::SetTimers { from: 0, scan }, false),
                Some(false) => (Stage::Open, false),
            },
        })
    }
}

/// Has a timer be set for a key.
fn want_timer(to_set: &mut KeyIndex, end: i64, key: &[u8]) {
    let mut timer = Vec::with_capacity(TIME_WIDTH + key.len());
    timer.extend_from_slice(&encode_time(end));
    timer.extend_from_slice(key);
    to_set.find_or_insert(hash(&timer), &timer);
}

/// A timer says all in its key.
struct Timers;

/// Version of an encoded timer.
const TIMER_VERSION: u8 = 1;

impl Values for Timers {
    fn grow(&mut self, _: usize) {}

    fn reset(&mut self, _: u32) {}

    fn clear(&mut self) {}

    fn encode(&self, _: u32, out: &mut Vec<u8>) {
        out.push(TIMER_VERSION);
    }

    fn decode(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        Reader::new(bytes).expect_version(TIMER_VERSION, "a session's timer")
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl Operator for SessionAggregate {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        let times = event_times(&batch, self.windows.time)?;
        self.arrivals.push(&batch, times, self.watermark.0)
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.watermark = self.watermark.max(tick.watermark());
        self.stage = Stage::Wait { from: 0 };
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermark = last.watermark();
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            if let Some(chunk) = self.output.next() {
                return Ok(Pull::Batch(chunk));
            }
            if matches!(self.stage, Stage::Open) {
                return Ok(Pull::Done);
            }
            let stage = std::mem::replace(&mut self.stage, Stage::Open);
            let (next, blocked) = self.step(stage)?;
            self.stage = next;
            if blocked {
                return Ok(Pull::Blocked);
            }
        }
    }

    /// A session is emitted when the watermark is a unit past its window_time.
    fn watermark(&self, inputs: &[Watermark], _now: Micros) -> Watermark {
        match inputs.iter().copied().min().unwrap_or(Watermark::NONE) {
            end @ (Watermark::NONE | Watermark::END) => end,
            Watermark(time) => Watermark(time.saturating_sub(self.windows.time.unit)),
        }
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![&mut self.open, &mut self.waiting, &mut self.timers]
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
