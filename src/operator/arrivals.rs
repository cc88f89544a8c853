//! A tick's rows for sessions: combined by key into runs of rows that are no further apart than the gap, before state is
//! touched. Rows that are behind are kept apart, each with its judge.

use arrow::array::{ArrayRef, BooleanArray};

use super::group::{Calls, Groups};
use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys, TIME_WIDTH, encode_time, hash};
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::state::{KeyIndex, StateContext, Values};

/// Keys that are kept room for from tick to tick.
const KEYS_KEPT: usize = 64 << 10;

/// Rows of a key in a row: `[start, end)`, the end being a gap behind the last.
#[derive(Debug)]
pub struct Run {
    pub start: i64,
    pub end: i64,
    /// Groups that hold them.
    pub groups: Vec<u32>,
}

/// Rows of a key of one time that were behind the same watermark.
#[derive(Debug)]
pub struct Behind {
    pub judge: i64,
    pub time: i64,
    pub group: u32,
}

/// What comes to one key.
#[derive(Debug, Default)]
pub struct Coming {
    /// By start, further apart than the gap.
    pub runs: Vec<Run>,
    pub behind: Vec<Behind>,
}

pub struct Arrivals {
    gap: i64,
    key_columns: Vec<usize>,
    codec: KeyCodec,
    calls: Calls,
    /// Distinct keys of the tick, what comes to each, and the groups of all.
    pub index: KeyIndex,
    pub coming: Vec<Coming>,
    pub groups: Groups,
    groups_used: u32,
    /// Rows of this tick that are behind, under `judge | time | key`.
    pub behind: KeyIndex,
    pub behind_groups: Groups,
    account: Account,
    keys: Keys,
    slots: Vec<u32>,
}

impl Arrivals {
    pub fn new(gap: i64, keys: &[usize], codec: KeyCodec, calls: &Calls, context: &StateContext) -> Result<Self> {
        let stride = codec.stride();
        Ok(Arrivals {
            gap,
            key_columns: keys.to_vec(),
            calls: calls.clone(),
            index: KeyIndex::new(stride),
            coming: Vec::new(),
            groups: Groups::new(calls)?,
            groups_used: 0,
            behind: KeyIndex::new(None),
            behind_groups: Groups::new(calls)?,
            account: context.budget.account(),
            keys: Keys::new(stride),
            codec,
            slots: Vec::new(),
        })
    }

    /// Adds rows at `times`. A row is behind if its judge, or `watermark`, has reached its time.
    pub fn push(&mut self, batch: &ChangeBatch, times: &[i64], watermark: i64) -> Result<()> {
        let judges: Option<&[i64]> = batch.judges().map(|judges| judges.as_ref());
        let judge = |row: usize| judges.and_then(|j| j.get(row)).copied().unwrap_or(i64::MIN).max(watermark);
        let is_behind = |(row, time): (usize, &i64)| *time <= judge(row);
        if !times.iter().enumerate().any(is_behind) {
            return self.push_on_time(batch, times);
        }
        let behind: BooleanArray = times.iter().enumerate().map(|row| Some(is_behind(row))).collect();
        let on_time: BooleanArray = times.iter().enumerate().map(|row| Some(!is_behind(row))).collect();
        let judged = times.iter().enumerate().filter(|row| is_behind(*row)).map(|(row, time)| (judge(row), *time));
        let judged: Vec<(i64, i64)> = judged.collect();
        let times: Vec<i64> =
            times.iter().zip(on_time.values().iter()).filter(|(_, on)| *on).map(|(t, _)| *t).collect();
        self.push_on_time(&batch.filter(&on_time)?, &times)?;
        self.push_behind(&batch.filter(&behind)?, &judged)
    }

    fn encode(&mut self, batch: &ChangeBatch) -> Result<()> {
        let column = |at: &usize| batch.rows().columns().get(*at).cloned();
        let columns = self.key_columns.iter().map(column).collect::<Option<Vec<ArrayRef>>>();
        let columns = columns.ok_or_else(|| Error::internal("no such key column"))?;
        self.codec.encode(&columns, batch.num_rows(), &mut self.keys)
    }

    fn push_on_time(&mut self, batch: &ChangeBatch, times: &[i64]) -> Result<()> {
        self.encode(batch)?;
        self.slots.clear();
        for (row, time) in times.iter().enumerate() {
            let end = self.end_of(*time)?;
            let key = self.keys.get(row);
            let at = self.index.find_or_insert(hash(key), key) as usize;
            if self.coming.len() <= at {
                self.coming.resize_with(at + 1, Coming::default);
            }
            let Some(coming) = self.coming.get_mut(at) else { return Err(Error::internal("a key was lost")) };
            let group = match extend(&mut coming.runs, *time, end) {
                Some(group) => group,
                None => {
                    self.groups_used += 1;
                    let group = self.groups_used - 1;
                    let place = coming.runs.partition_point(|run| run.start < *time);
                    coming.runs.insert(place, Run { start: *time, end, groups: vec![group] });
                    group
                }
            };
            self.slots.push(group);
        }
        self.groups.grow(self.groups_used as usize);
        self.groups.update(&self.slots, batch)?;
        self.settle_account();
        Ok(())
    }

    fn push_behind(&mut self, batch: &ChangeBatch, judged: &[(i64, i64)]) -> Result<()> {
        self.encode(batch)?;
        self.slots.clear();
        for (row, (judge, time)) in judged.iter().enumerate() {
            self.end_of(*time)?;
            let key = judged_key(*judge, *time, self.keys.get(row));
            self.slots.push(self.behind.find_or_insert(hash(&key), &key));
        }
        self.behind_groups.grow(self.behind.slots());
        self.behind_groups.update(&self.slots, batch)?;
        self.settle_account();
        Ok(())
    }

    /// Has rows that were behind come now; answers the group that they are to be put into.
    pub fn recall(&mut self, judge: i64, time: i64, key: &[u8]) -> u32 {
        let at = self.index.find_or_insert(hash(key), key) as usize;
        if self.coming.len() <= at {
            self.coming.resize_with(at + 1, Coming::default);
        }
        let group = self.groups_used;
        self.groups_used += 1;
        self.groups.grow(self.groups_used as usize);
        if let Some(coming) = self.coming.get_mut(at) {
            coming.behind.push(Behind { judge, time, group });
        }
        group
    }

    /// `[time, time + gap)`.
    fn end_of(&self, time: i64) -> Result<i64> {
        time.checked_add(self.gap).ok_or_else(out_of_range)
    }

    /// Distinct keys of the tick so far.
    pub fn len(&self) -> u32 {
        self.index.slots() as u32
    }

    /// The tick is over.
    pub fn clear(&mut self) -> Result<()> {
        if self.groups_used as usize > KEYS_KEPT {
            self.groups = Groups::new(&self.calls)?;
            self.coming = Vec::new();
        }
        self.groups.clear();
        self.groups_used = 0;
        self.coming.clear();
        self.index.clear(KEYS_KEPT);
        self.behind.clear(KEYS_KEPT);
        self.behind_groups.clear();
        self.settle_account();
        Ok(())
    }

    fn settle_account(&mut self) {
        let runs = self.coming.capacity() * size_of::<Coming>() + self.groups_used as usize * size_of::<Run>();
        let behind = self.behind.bytes() + self.behind_groups.bytes();
        self.account.set(self.index.bytes() + self.groups.bytes() + runs + behind);
    }
}

/// `judge | time | key`.
pub fn judged_key(judge: i64, time: i64, key: &[u8]) -> Vec<u8> {
    let mut judged = Vec::with_capacity(2 * TIME_WIDTH + key.len());
    judged.extend_from_slice(&encode_time(judge));
    judged.extend_from_slice(&encode_time(time));
    judged.extend_from_slice(key);
    judged
}

/// Adds a row to the run that it touches, if there is one, joining it with the next if it touches both; tells a group of
/// the run's.
fn extend(runs: &mut Vec<Run>, time: i64, end: i64) -> Option<u32> {
    let at = runs.partition_point(|run| run.end < time);
    let joins_next = runs.get(at + 1).is_some_and(|next| next.start <= end);
    let run = runs.get_mut(at).filter(|run| run.start <= end)?;
    run.start = run.start.min(time);
    run.end = run.end.max(end);
    let group = run.groups.first().copied();
    if joins_next {
        let next = runs.remove(at + 1);
        if let Some(run) = runs.get_mut(at) {
            run.end = run.end.max(next.end);
            run.groups.extend(next.groups);
        }
    }
    group
}

fn out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range for its window")
}
