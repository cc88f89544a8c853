//! Incoming rows against the rows that the other side keeps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;

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

/// Pairs that agree in key and time and pass each other's judges. Of each:
#[derive(Default)]
struct Candidates<'a> {
    /// the incoming row,
    rows: Vec<u32>,
    /// the kept row's place, bytes and weight,
    slots: Vec<u32>,
    kept: Vec<&'a [u8]>,
    weights: Vec<i64>,
    /// and the judge of a result made of both.
    judges: Vec<i64>,
}

/// What a chunk of pairs found out.
struct Found {
    /// The pairs that passed.
    pairs: Vec<Pair>,
    /// Their kept rows, if those must be told: place and bytes.
    told: Vec<(u32, Vec<u8>)>,
}

struct Pair {
    /// Its place among the candidates.
    at: u32,
    /// The incoming row.
    row: u32,
    /// Of the kept row.
    weight: i64,
}

impl Matching {
    pub fn new(probes: Vec<Probe>, slots: Vec<Option<u32>>) -> Self {
        Matching { probes, slots, next: 0, from: None }
    }

    pub fn is_done(&self) -> bool {
        self.next >= self.probes.len()
    }

    /// Meets the next rows, a chunk of pairs at most; none if no pair of them comes out.
    pub fn step(&mut self, join: &Join, side: Side, rows: &mut Rows, other: &mut Kept) -> Result<Option<Output>> {
        let candidates = self.gather(join, side, rows, other)?;
        if candidates.rows.is_empty() {
            return Ok(None);
        }
        let incoming = take_record_batch(rows.batch.rows(), &UInt32Array::from(candidates.rows.clone()))?;
        let kept = match join.emits_pairs() || join.residual.is_some() || side == Side::Right {
            true => {
                let encoded = candidates.kept.iter().map(|bytes| Ok(KeptRow::read(bytes)?.row));
                let encoded = encoded.collect::<Result<Vec<&[u8]>>>()?;
                Some(decode_rows(&join.side(side.other()).schema, encoded)?)
            }
            false => None,
        };
        let passing = match (&join.residual, &kept) {
            (Some(residual), Some(kept)) => passes(residual.as_ref(), &joined(join, side, &incoming, kept)?)?,
            _ => vec![true; candidates.rows.len()],
        };
        let found = candidates.passing(&passing, join.tells(side.other()));
        let judges = candidates.judges;
        let picks = settle(join, found, rows, other);
        if join.kind == JoinKind::Anti || picks.iter().all(|(_, times)| *times == 0) {
            return Ok(None);
        }
        let result = match (&kept, side) {
            (Some(kept), _) if join.emits_pairs() => columns(side, &incoming, kept),
            (Some(kept), Side::Right) => kept.columns().to_vec(),
            _ => incoming.columns().to_vec(),
        };
        Ok(Some(Output::new(join.result(result, incoming.num_rows())?, judges, picks)))
    }

    fn gather<'a>(&mut self, join: &Join, side: Side, rows: &Rows, other: &'a Kept) -> Result<Candidates<'a>> {
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
                // The judge of the row that gives no time cannot matter: the other one is kept at it, so is ahead of it.
                let (timed, timed_judge) = if side == join.timed_by { (time, judge) } else { (kept.time, kept.judge) };
                found.rows.push(probe.row);
                found.slots.push(slot);
                found.kept.push(bytes);
                found.weights.push(weight);
                found.judges.push(join.judge(Some(timed), timed_judge));
                if first_decides {
                    break;
                }
            }
            self.next += 1;
        }
        Ok(found)
    }
}

impl Candidates<'_> {
    /// Those that pass; `tell`: with the kept rows' bytes.
    fn passing(&self, passing: &[bool], tell: bool) -> Found {
        let mut found = Found { pairs: Vec::with_capacity(passing.len()), told: Vec::new() };
        let all = self.rows.iter().zip(&self.weights).zip(self.slots.iter().zip(&self.kept)).zip(passing).zip(0..);
        for ((((row, weight), (slot, bytes)), passes), at) in all {
            if *passes {
                found.pairs.push(Pair { at, row: *row, weight: *weight });
                if tell {
                    found.told.push((*slot, bytes.to_vec()));
                }
            }
        }
        found
    }
}

/// Notes who has found a partner; gives what is to be emitted of the candidates, and how often.
fn settle(join: &Join, found: Found, rows: &mut Rows, other: &mut Kept) -> Vec<(u32, i64)> {
    let mut told = found.told.iter();
    let mut picks = Vec::with_capacity(found.pairs.len());
    for Pair { at, row, weight } in &found.pairs {
        let had_one = rows.matched.get_mut(*row as usize).is_some_and(|matched| std::mem::replace(matched, true));
        let times = match (join.emits_pairs(), told.next()) {
            (true, kept) => {
                if let Some((slot, bytes)) = kept.filter(|_| *weight > 0) {
                    other.set_matched(*slot, bytes);
                }
                weight.saturating_abs()
            }
            // A left row that has found its partner is done with.
            (false, Some((slot, bytes))) => other.take(*slot, bytes),
            (false, None) => i64::from(!had_one),
        };
        picks.push((*at, times));
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
fn passes(residual: &dyn PhysicalExpr, pairs: &RecordBatch) -> Result<Vec<bool>> {
    let mask = residual.evaluate(pairs)?.into_array(pairs.num_rows())?;
    if *mask.data_type() != DataType::Boolean {
        return Err(Error::internal("the condition of a join is not boolean"));
    }
    Ok(mask.as_boolean().iter().map(|passes| passes == Some(true)).collect())
}
