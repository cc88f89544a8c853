//! A chunk of one side's rows on its way through the join: it meets the other side's rows, is kept, and what can have no
//! partner is padded.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;

use super::kept::{Kept, KeptRow, Places};
use super::matching::{Matching, Probe};
use super::output::Output;
use super::{Join, Side, SideSpec};
use crate::change::key::Keys;
use crate::change::row::encode_rows;
use crate::change::{ChangeBatch, Watermark};
use crate::error::{Error, Result};

pub struct Incoming {
    side: Side,
    pub rows: Rows,
    keys: Keys,
    stage: Stage,
    late_rows: u64,
    /// The last tick's watermark.
    watermark: Watermark,
}

/// The rows, and what is known of each.
pub struct Rows {
    pub batch: ChangeBatch,
    /// None: null.
    pub times: Vec<Option<i64>>,
    /// The watermark that a row is behind of; [`Watermark::NONE`] if it is not behind.
    pub judges: Vec<i64>,
    /// Whether it can have partners at all.
    pub joinable: Vec<bool>,
    /// Whether it has found one.
    pub matched: Vec<bool>,
}

enum Stage {
    /// The other side's buckets are looked up.
    Find {
        places: Places,
        probes: Vec<Probe>,
    },
    Match(Matching),
    /// Rows are put into their own buckets, and wait.
    Keep {
        places: Places,
        own: Vec<(u32, u32)>,
    },
    /// When they are due is noted.
    SetTimers(Places),
    /// What can have no partner is padded.
    Pad,
    Done,
}

/// What a step led to.
pub enum Progress {
    /// State is being fetched.
    Pending,
    Output(Output),
    More,
    /// As many candidates as a chunk has rows were judged, and nothing comes out.
    Judged,
    Done,
}

impl Incoming {
    pub fn new(join: &Join, side: Side, batch: ChangeBatch, watermark: Watermark) -> Result<Self> {
        let spec = join.side(side);
        let times = times(spec, &batch)?;
        let key_columns = key_columns(spec, &batch)?;
        let mut keys = Keys::new(spec.codec.stride());
        spec.codec.encode(&key_columns, batch.num_rows(), &mut keys)?;
        let judges = times.iter().enumerate().map(|(row, time)| {
            let judge = batch.judge(row).max(watermark).0;
            if time.is_some_and(|time| time <= judge) { judge } else { Watermark::NONE.0 }
        });
        let judges: Vec<i64> = judges.collect();
        let mut late_rows = 0;
        let mut joinable = Vec::with_capacity(times.len());
        for (row, (time, judge)) in times.iter().zip(&judges).enumerate() {
            let late = time.is_some_and(|time| join.range.is_late(time, *judge));
            late_rows += u64::from(late);
            let null_key =
                key_columns.iter().zip(&spec.null_safe).any(|(column, null_safe)| !null_safe && column.is_null(row));
            joinable.push(time.is_some() && !late && !null_key && !join.range.is_empty());
        }
        let matched = vec![false; times.len()];
        let rows = Rows { batch, times, judges, joinable, matched };
        let mut incoming = Incoming { side, rows, keys, stage: Stage::Done, late_rows, watermark };
        incoming.stage = incoming.probes(join);
        Ok(incoming)
    }

    pub fn side(&self) -> Side {
        self.side
    }

    pub fn late_rows(&self) -> u64 {
        self.late_rows
    }

    /// The distinct buckets of the other side that rows can have partners in.
    fn probes(&self, join: &Join) -> Stage {
        let mut places = Places::new(&join.side(self.side.other()).codec);
        let mut probes = Vec::with_capacity(self.rows.times.len());
        for (row, time) in self.joinable() {
            let (first, last) = join.range.partners(self.side, time);
            for end in join.range.bucket_ends(first, last) {
                let place = places.place(end, self.keys.get(row));
                probes.push(Probe { row: row as u32, place });
            }
        }
        Stage::Find { places, probes }
    }

    fn joinable(&self) -> impl Iterator<Item = (usize, i64)> {
        let rows = self.rows.times.iter().zip(&self.rows.joinable).enumerate();
        rows.filter(|(_, (_, joinable))| **joinable).filter_map(|(row, (time, _))| Some((row, (*time)?)))
    }

    /// The buckets that rows are kept in: those that later rows may still meet.
    fn own_places(&self, join: &Join) -> Stage {
        let mut places = Places::new(&join.side(self.side).codec);
        let mut own = Vec::new();
        for (row, time) in self.joinable() {
            if self.is_kept(join, row, time) {
                own.push((row as u32, places.place(join.range.bucket_end(time), self.keys.get(row))));
            }
        }
        Stage::Keep { places, own }
    }

    fn is_kept(&self, join: &Join, row: usize, time: i64) -> bool {
        let done = join.wants_one(self.side) && self.is_matched(row);
        !done && join.range.is_kept(self.side, time, self.watermark.0)
    }

    fn is_matched(&self, row: usize) -> bool {
        self.rows.matched.get(row).copied().unwrap_or_default()
    }

    pub fn step(&mut self, join: &Join, own: &mut Kept, other: &mut Kept) -> Result<Progress> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Find { places, probes } => {
                let mut slots = Vec::new();
                if other.find(&places, &mut slots)?.is_pending() {
                    self.stage = Stage::Find { places, probes };
                    return Ok(Progress::Pending);
                }
                self.stage = Stage::Match(Matching::new(probes, slots));
            }
            Stage::Match(mut matching) => {
                let output = matching.step(join, self.side, &mut self.rows, other)?;
                let none = if matching.is_done() { Progress::More } else { Progress::Judged };
                self.stage = if matching.is_done() { self.own_places(join) } else { Stage::Match(matching) };
                return Ok(output.map_or(none, Progress::Output));
            }
            Stage::Keep { places, own: rows } => {
                let mut slots = Vec::new();
                if own.make_room(&places, &mut slots)?.is_pending() {
                    self.stage = Stage::Keep { places, own: rows };
                    return Ok(Progress::Pending);
                }
                self.keep(&rows, &slots, own)?;
                self.stage = Stage::SetTimers(self.timers(join, &rows));
            }
            Stage::SetTimers(places) => {
                let pending = own.set_timers(&places)?.is_pending();
                self.stage = if pending { Stage::SetTimers(places) } else { Stage::Pad };
                return Ok(if pending { Progress::Pending } else { Progress::More });
            }
            Stage::Pad => return Ok(self.pad(join)?.map_or(Progress::More, Progress::Output)),
            Stage::Done => return Ok(Progress::Done),
        }
        Ok(Progress::More)
    }

    /// `rows`: rows and their places; `slots`: the places' slots.
    fn keep(&self, rows: &[(u32, u32)], slots: &[u32], own: &mut Kept) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let encoded = encode_rows(self.rows.batch.rows())?;
        let mut bytes = Vec::new();
        for (row, place) in rows {
            let at = *row as usize;
            let (Some(time), Some(slot)) = (self.rows.times.get(at).copied().flatten(), slots.get(*place as usize))
            else {
                continue;
            };
            let judge = self.rows.judges.get(at).copied().unwrap_or(Watermark::NONE.0);
            KeptRow { time, judge, row: encoded.get(at) }.write(&mut bytes);
            own.add(*slot, &bytes, self.is_matched(at));
        }
        Ok(())
    }

    /// Times and keys of kept rows that will be due if they find no partner.
    fn timers(&self, join: &Join, rows: &[(u32, u32)]) -> Places {
        let mut places = Places::new(&join.side(self.side).codec);
        if join.pads(self.side) {
            for (row, _) in rows {
                let at = *row as usize;
                if let (false, Some(time)) = (self.is_matched(at), self.rows.times.get(at).copied().flatten()) {
                    places.place(time, self.keys.get(at));
                }
            }
        }
        places
    }

    /// The rows that are not kept and have no partner, if this side's are emitted.
    fn pad(&self, join: &Join) -> Result<Option<Output>> {
        if !join.pads(self.side) {
            return Ok(None);
        }
        let rows = &self.rows;
        let alone: Vec<bool> = (0..rows.times.len())
            .map(|row| {
                let time = rows.times.get(row).copied().flatten();
                let joinable = rows.joinable.get(row).copied().unwrap_or_default();
                let waits = joinable && time.is_some_and(|time| self.is_kept(join, row, time));
                !waits && !self.is_matched(row)
            })
            .collect();
        if !alone.contains(&true) {
            return Ok(None);
        }
        let judges = rows.times.iter().zip(&rows.judges).zip(&alone).filter(|(_, alone)| **alone);
        let timed = self.side == join.timed_by;
        let judges: Vec<i64> = judges.map(|((time, judge), _)| join.judge(time.filter(|_| timed), *judge)).collect();
        let padded = filter_record_batch(rows.batch.rows(), &BooleanArray::from(alone))?;
        let picks = (0..padded.num_rows() as u32).map(|row| (row, 1)).collect();
        Ok(Some(Output::new(join.padded(self.side, padded)?, judges, picks)))
    }
}

fn times(spec: &SideSpec, batch: &ChangeBatch) -> Result<Vec<Option<i64>>> {
    let column = batch.rows().columns().get(spec.time);
    let column = column.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let column = column.ok_or_else(|| Error::internal("the time of a join is no timestamp"))?;
    Ok(column.iter().collect())
}

fn key_columns(spec: &SideSpec, batch: &ChangeBatch) -> Result<Vec<ArrayRef>> {
    let columns = spec.keys.iter().map(|key| batch.rows().columns().get(*key).cloned());
    columns.collect::<Option<_>>().ok_or_else(|| Error::internal("no such key column"))
}
