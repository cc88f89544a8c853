//! Incoming rows against the rows that the other side keeps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;

use super::incoming::Rows;
use super::kept::{Kept, KeptRow};
use super::output::Output;
use super::{Join, Side};
use crate::change::key::encode_time;
use crate::change::row::decode_rows;
use crate::error::{Error, Result};
use crate::operator::CHUNK_ROWS;
use crate::plan::JoinKind;

/// An incoming row, and a bucket of the other side in which it may have partners.
pub struct Probe {
    pub row: u32,
    /// Index into the slots of what was looked up.
    pub place: u32,
}

/// How far a chunk's rows have come in meeting the other side's.
pub struct Matching {
    probes: Vec<Probe>,
    slots: Vec<Option<u32>>,
    next: usize,
    /// Within the next probe: rows from here on are still to be met.
    from: Option<Vec<u8>>,
}

/// Pairs that agree in key and time and pass each other's judges.
#[derive(Default)]
struct Candidates {
    /// Of each pair: the incoming row,
    rows: Vec<u32>,
    /// the kept row's place, bytes and weight,
    slots: Vec<u32>,
    kept: Vec<Vec<u8>>,
    weights: Vec<i64>,
    /// and the judge of a result made of both.
    judges: Vec<i64>,
}

impl Matching {
    pub fn new(probes: Vec<Probe>, slots: Vec<Option<u32>>) -> Self {
        Matching { probes, slots, next: 0, from: None }
    }

    pub fn is_done(&self) -> bool {
        self.next >= self.probes.len()
    }

    /// Meets the next rows, a chunk of pairs at most.
    pub fn step(&mut self, join: &Join, side: Side, rows: &mut Rows, other: &mut Kept) -> Result<Option<Output>> {
        let candidates = self.gather(join, side, rows, other)?;
        if candidates.rows.is_empty() {
            return Ok(None);
        }
        let incoming = take_record_batch(rows.batch.rows(), &UInt32Array::from(candidates.rows.clone()))?;
        let needs_kept = join.emits_pairs() || join.residual.is_some() || side == Side::Right;
        let kept = match needs_kept {
            true => {
                let encoded = candidates.kept.iter().map(|bytes| Ok(KeptRow::read(bytes)?.row));
                let encoded = encoded.collect::<Result<Vec<&[u8]>>>()?;
                Some(decode_rows(&join.side(side.other()).schema, encoded)?)
            }
            false => None,
        };
        let passing = match (&join.residual, &kept) {
            (Some(_), Some(kept)) => residual(join, &joined(join, side, &incoming, kept)?)?,
            _ => vec![true; candidates.rows.len()],
        };
        let picks = settle(join, side, &candidates, &passing, rows, other);
        if join.kind == JoinKind::Anti {
            return Ok(None);
        }
        let result = match (&kept, side) {
            (Some(kept), _) if join.emits_pairs() => columns(side, &incoming, kept),
            (Some(kept), Side::Right) => kept.columns().to_vec(),
            _ => incoming.columns().to_vec(),
        };
        let result = join.result(result, incoming.num_rows())?;
        Ok(Some(Output::new(result, candidates.judges, picks)))
    }

    fn gather(&mut self, join: &Join, side: Side, rows: &Rows, other: &Kept) -> Result<Candidates> {
        let mut found = Candidates::default();
        // Without a further condition the first candidate is a partner.
        let first_decides = join.wants_one(side) && join.residual.is_none();
        while let Some(probe) = self.probes.get(self.next) {
            let at = probe.row as usize;
            let has_one =
                rows.matched.get(at) == Some(&true) || (first_decides && found.rows.last() == Some(&probe.row));
            let slot = self.slots.get(probe.place as usize).copied().flatten();
            let (Some(time), Some(slot), false) =
                (rows.times.get(at).copied().flatten(), slot, has_one && join.wants_one(side))
            else {
                self.from = None;
                self.next += 1;
                continue;
            };
            let judge = rows.judges.get(at).copied().unwrap_or(i64::MIN);
            let (first, last) = join.range.partners(side, time);
            let from = self.from.take().unwrap_or_else(|| encode_time(first).to_vec());
            let last = encode_time(last);
            let behind = |bytes: &[u8]| bytes.get(..last.len()).is_some_and(|time| time > &last[..]);
            for (bytes, weight) in other.bags().range(slot, &from, behind) {
                if found.rows.len() == CHUNK_ROWS {
                    self.from = Some(bytes.to_vec());
                    return Ok(found);
                }
                let kept = KeptRow::read(bytes)?;
                let matches =
                    join.range.is_kept(side.other(), kept.time, judge) && join.range.is_kept(side, time, kept.judge);
                if !matches {
                    continue;
                }
                let result_time = if side == join.timed_by { time } else { kept.time };
                found.rows.push(probe.row);
                found.slots.push(slot);
                found.kept.push(bytes.to_vec());
                found.weights.push(weight);
                found.judges.push(join.judge(Some(result_time), judge.max(kept.judge)));
                if first_decides {
                    break;
                }
            }
            self.next += 1;
        }
        Ok(found)
    }
}

/// Notes who has found a partner; gives what is to be emitted of the candidates, and how often.
fn settle(
    join: &Join,
    side: Side,
    candidates: &Candidates,
    passing: &[bool],
    rows: &mut Rows,
    other: &mut Kept,
) -> Vec<(u32, i64)> {
    let mut picks = Vec::with_capacity(passing.len());
    for (at, _) in passing.iter().enumerate().filter(|(_, passes)| **passes) {
        let (Some(row), Some(slot), Some(bytes), Some(weight)) =
            (candidates.rows.get(at), candidates.slots.get(at), candidates.kept.get(at), candidates.weights.get(at))
        else {
            continue;
        };
        let had_one = rows.matched.get_mut(*row as usize).is_some_and(|matched| std::mem::replace(matched, true));
        let times = match (join.emits_pairs(), side) {
            (true, _) => {
                if *weight > 0 && join.pads(side.other()) {
                    other.set_matched(*slot, bytes);
                }
                weight.saturating_abs()
            }
            (false, Side::Left) => i64::from(!had_one),
            // A left row that has found its partner is done with.
            (false, Side::Right) => other.take(*slot, bytes),
        };
        picks.push((at as u32, times));
    }
    picks
}

/// Left columns, then right ones.
fn columns(side: Side, incoming: &RecordBatch, kept: &RecordBatch) -> Vec<ArrayRef> {
    let (left, right) = match side {
        Side::Left => (incoming, kept),
        Side::Right => (kept, incoming),
    };
    left.columns().iter().chain(right.columns()).cloned().collect()
}

fn joined(join: &Join, side: Side, incoming: &RecordBatch, kept: &RecordBatch) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(incoming.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&join.joined), columns(side, incoming, kept), &options)?)
}

/// For each pair whether the further condition is true; null is not.
fn residual(join: &Join, pairs: &RecordBatch) -> Result<Vec<bool>> {
    let Some(residual) = &join.residual else { return Ok(vec![true; pairs.num_rows()]) };
    let mask = residual.evaluate(pairs)?.into_array(pairs.num_rows())?;
    if *mask.data_type() != DataType::Boolean {
        return Err(Error::internal("the condition of a join is not boolean"));
    }
    Ok(mask.as_boolean().iter().map(|passes| passes == Some(true)).collect())
}
