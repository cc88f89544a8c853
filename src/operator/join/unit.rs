//! A run of keys being matched: their rows before and behind the tick, and how far the matching came.

use std::ops::Range;

use arrow::array::AsArray;
use arrow::datatypes::DataType;

use super::chunk::{Chunk, Decoder, Pair, record_batch};
use super::side::Side;
use super::{Alone, LEFT, RIGHT, Spec};
use crate::change::key::Keys;
use crate::error::{Error, Result, SqlState};
use crate::operator::aggregate::retracted_too_often;
use crate::operator::bags::Bags;
use crate::operator::row_store::NOWHERE;
use crate::operator::{CHUNK_ROWS, Pull};
use crate::state::{KeyIndex, NO_SLOT};

/// Rows of one side, of all keys of a unit, one key's behind the other's.
struct Rows {
    rows: Keys,
    /// How often each is there before the tick, and behind it.
    old: Vec<i64>,
    new: Vec<i64>,
    /// Places of those for which that differs.
    changed: Vec<u32>,
    /// How many partners each had before the tick, and has gained; counted only if a condition decides.
    had: Vec<i64>,
    gained: Vec<i64>,
    decoder: Decoder,
}

impl Rows {
    fn new() -> Self {
        Rows {
            rows: Keys::new(None),
            old: Vec::new(),
            new: Vec::new(),
            changed: Vec::new(),
            had: Vec::new(),
            gained: Vec::new(),
            decoder: Decoder::default(),
        }
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn push(&mut self, row: &[u8], old: i64, change: i64) -> Result<()> {
        if change != 0 {
            self.changed.push(self.rows.len() as u32);
        }
        self.rows.push(row);
        self.old.push(old);
        self.new.push(old.checked_add(change).ok_or_else(too_many)?);
        Ok(())
    }

    /// Loads a key's rows: `all`, or those that the tick changes.
    fn load(&mut self, side: &Side, position: usize, tick_slot: u32, all: bool) -> Result<Span> {
        let (from, changed_from) = (self.rows.len() as u32, self.changed.len());
        let kept_slot = slot_at(&side.row_slots, position);
        let kept = side.rows.values();
        if all {
            let mut kept = kept.rows(kept_slot).peekable();
            for (row, change) in side.changes.rows(tick_slot) {
                while let Some((row, weight)) = kept.next_if(|(kept, _)| *kept < row) {
                    self.push(row, weight, 0)?;
                }
                let old = kept.next_if(|(kept, _)| *kept == row).map_or(0, |(_, weight)| weight);
                self.push(row, old, change)?;
            }
            kept.try_for_each(|(row, weight)| self.push(row, weight, 0))?;
        } else {
            let mut changes = side.changes.rows(tick_slot);
            changes.try_for_each(|(row, change)| self.push(row, kept.weight(kept_slot, row), change))?;
        }
        if let Some(partners) = &side.partners {
            let slot = slot_at(&side.partner_slots, position);
            let rows =
                (from as usize..self.rows.len()).map(|place| partners.values().weight(slot, self.rows.get(place)));
            self.had.extend(rows);
            self.gained.resize(self.had.len(), 0);
        }
        Ok(Span { rows: from..self.rows.len() as u32, changed: changed_from..self.changed.len() })
    }

    fn weights(&self, place: u32) -> (i64, i64) {
        let at = |weights: &[i64]| weights.get(place as usize).copied().unwrap_or_default();
        (at(&self.old), at(&self.new))
    }

    /// A partner of the row at `place` is there `old` times before the tick and `new` times behind it.
    fn count_partner(&mut self, place: u32, (old, new): (i64, i64)) {
        let (was, is) = self.weights(place);
        if let Some(gained) = self.gained.get_mut(place as usize) {
            *gained += if is > 0 { new } else { 0 };
            *gained -= if was > 0 { old } else { 0 };
        }
    }

    /// How many partners the row at `place` had, and has now.
    fn partners(&self, place: u32) -> (i64, i64) {
        let had = self.had.get(place as usize).copied().unwrap_or_default();
        (had, had + self.gained.get(place as usize).copied().unwrap_or_default())
    }
}

/// One key's part of one side's rows.
#[derive(Default, Clone)]
struct Span {
    rows: Range<u32>,
    /// In `Rows::changed`.
    changed: Range<usize>,
}

struct Key {
    /// Its slot among the tick's keys, and its position among those that were looked up with it.
    tick_slot: u32,
    position: usize,
    spans: [Span; 2],
    /// Whether each side has rows, before the tick and behind it; told only where it matters.
    there: [(bool, bool); 2],
    /// Whether there are pairs to look at.
    has_pairs: bool,
}

/// What a unit has still to do; all indices count from 0 and are where it goes on.
enum Stage {
    /// Looking at pairs: first changed left rows with all right ones, then the other left rows with changed right ones.
    Pairs { key: usize, unchanged: bool, left: u32, right: u32 },
    /// Rows that come out alone.
    Alone { key: usize, side: usize, row: u32 },
}

pub struct Unit {
    keys: Vec<Key>,
    rows: [Rows; 2],
    stage: Stage,
    /// Pairs that belong together, from here on to be put out.
    matched: Vec<Pair>,
    put_out: usize,
    chunk: Chunk,
}

impl Unit {
    /// Loads the first of the keys `range`, which were looked up from `looked_up_from` on: as many as a chunk has rows.
    /// Tells the first key that it has not taken.
    pub fn open(spec: &Spec, sides: &[Side; 2], looked_up_from: u32, range: Range<u32>) -> Result<(Unit, u32)> {
        let mut unit = Unit {
            keys: Vec::new(),
            rows: [Rows::new(), Rows::new()],
            stage: Stage::Pairs { key: 0, unchanged: false, left: 0, right: 0 },
            matched: Vec::new(),
            put_out: 0,
            chunk: Chunk::default(),
        };
        for tick_slot in range.clone() {
            if unit.rows.iter().map(Rows::len).sum::<usize>() >= CHUNK_ROWS {
                return Ok((unit, tick_slot));
            }
            unit.add_key(spec, sides, tick_slot, (tick_slot - looked_up_from) as usize)?;
        }
        Ok((unit, range.end))
    }

    fn add_key(&mut self, spec: &Spec, sides: &[Side; 2], tick_slot: u32, position: usize) -> Result<()> {
        let changes = [LEFT, RIGHT].map(|at| sides[at].changes.len(tick_slot) > 0);
        if changes == [false, false] {
            return Ok(());
        }
        let had = [LEFT, RIGHT].map(|at| kept_rows(&sides[at], position) > 0);
        let meets = |at: usize, other: usize| changes[at] && (had[other] || changes[other]);
        let has_pairs = spec.visits_pairs() && (meets(LEFT, RIGHT) || meets(RIGHT, LEFT));
        let mut key = Key { tick_slot, position, spans: Default::default(), there: [(false, false); 2], has_pairs };
        for (at, other) in [(LEFT, RIGHT), (RIGHT, LEFT)] {
            let mut all = has_pairs && changes[other];
            if spec.alone[at].is_some() && spec.condition.is_none() {
                key.there[other] = (had[other], rows_behind(&sides[other], tick_slot, position) > 0);
                all |= key.there[other].0 != key.there[other].1;
            }
            if has_pairs || spec.alone[at].is_some() {
                key.spans[at] = self.rows[at].load(&sides[at], position, tick_slot, all)?;
            }
        }
        self.keys.push(key);
        Ok(())
    }

    /// The next chunk of output; `More` once a chunk of pairs was looked at and few of them belong together.
    pub fn next(&mut self, spec: &Spec) -> Result<Pull> {
        self.chunk.repay();
        let mut has_matched = false;
        while !self.chunk.is_full() {
            if let Some(&[left, right]) = self.matched.get(self.put_out) {
                self.put_out += 1;
                let ((l_old, l_new), (r_old, r_new)) = (self.rows[LEFT].weights(left), self.rows[RIGHT].weights(right));
                let weight = product(l_new, r_new)?.checked_sub(product(l_old, r_old)?).ok_or_else(too_many)?;
                if weight != 0 {
                    self.chunk.push([left, right], weight, spec.append_only)?;
                }
            } else if let Stage::Pairs { .. } = self.stage {
                if std::mem::replace(&mut has_matched, true) {
                    return Ok(Pull::More);
                }
                self.match_pairs(spec)?;
            } else if let Some((pair, weight)) = self.next_alone(spec) {
                self.chunk.push(pair, weight, spec.append_only)?;
            } else {
                break;
            }
        }
        if self.chunk.is_empty() {
            return Ok(Pull::Done);
        }
        let mut columns = self.columns(spec, LEFT, None)?;
        if spec.kind.gives_pairs() {
            columns.extend(self.columns(spec, RIGHT, None)?);
        }
        self.chunk.flush(&spec.output, columns, spec.append_only).map(Pull::Batch)
    }

    /// The columns of one side's rows in the chunk, or in `pairs`.
    fn columns(&mut self, spec: &Spec, side: usize, pairs: Option<&[Pair]>) -> Result<Vec<arrow::array::ArrayRef>> {
        let Rows { rows, decoder, .. } = &mut self.rows[side];
        match pairs {
            Some(pairs) => decoder.columns(&spec.inputs[side], rows, pairs.iter().map(|pair| pair[side])),
            None => decoder.columns(&spec.inputs[side], rows, self.chunk.places(side)),
        }
    }

    /// Looks at the next pairs, at most a chunk of them, and keeps those that belong together.
    fn match_pairs(&mut self, spec: &Spec) -> Result<()> {
        let mut pairs = std::mem::take(&mut self.matched);
        pairs.clear();
        self.put_out = 0;
        if !self.look_at_pairs(&mut pairs) {
            self.stage = Stage::Alone { key: 0, side: LEFT, row: 0 };
        }
        if let Some(condition) = &spec.condition
            && !pairs.is_empty()
        {
            let mut columns = self.columns(spec, LEFT, Some(&pairs))?;
            columns.extend(self.columns(spec, RIGHT, Some(&pairs))?);
            let batch = record_batch(&spec.pair, columns, pairs.len())?;
            let answers = condition.evaluate(&batch)?.into_array(pairs.len())?;
            if *answers.data_type() != DataType::Boolean {
                return Err(Error::internal("a join's condition is not boolean"));
            }
            let mut answers = answers.as_boolean().iter();
            pairs.retain(|_| answers.next().flatten().unwrap_or(false));
            for [left, right] in &pairs {
                let (l, r) = (self.rows[LEFT].weights(*left), self.rows[RIGHT].weights(*right));
                self.rows[LEFT].count_partner(*left, r);
                self.rows[RIGHT].count_partner(*right, l);
            }
        }
        if spec.kind.gives_pairs() {
            self.matched = pairs;
        }
        Ok(())
    }

    /// Takes those of the next pairs that were there before the tick or are behind it, and of which a row has changed. False:
    /// all have been looked at.
    fn look_at_pairs(&mut self, pairs: &mut Vec<Pair>) -> bool {
        let Stage::Pairs { key, unchanged, left, right } = &mut self.stage else { return false };
        for _ in 0..CHUNK_ROWS {
            let Some(Key { spans: [l, r], has_pairs, .. }) = self.keys.get(*key) else { return false };
            let lefts = if *unchanged { l.rows.len() } else { l.changed.len() };
            let rights = if *unchanged { r.changed.len() } else { r.rows.len() };
            if !has_pairs || *left as usize >= lefts {
                (*left, *right) = (0, 0);
                *key += usize::from(*unchanged || !has_pairs);
                *unchanged = !*unchanged && *has_pairs;
                continue;
            }
            if *right as usize >= rights {
                (*left, *right) = (*left + 1, 0);
                continue;
            }
            let changed = |side: usize, span: &Span, at: u32| {
                self.rows[side].changed.get(span.changed.start + at as usize).copied().unwrap_or(NOWHERE)
            };
            let pair = match *unchanged {
                false => [changed(LEFT, l, *left), r.rows.start + *right],
                true => [l.rows.start + *left, changed(RIGHT, r, *right)],
            };
            let ((l_old, l_new), (r_old, r_new)) =
                (self.rows[LEFT].weights(pair[LEFT]), self.rows[RIGHT].weights(pair[RIGHT]));
            if *unchanged && l_old != l_new {
                // It has met all right rows already.
                (*left, *right) = (*left + 1, 0);
                continue;
            }
            *right += 1;
            if (l_old != 0 && r_old != 0) || (l_new != 0 && r_new != 0) {
                pairs.push(pair);
            }
        }
        true
    }

    /// The next row that comes out alone, or no longer does.
    fn next_alone(&mut self, spec: &Spec) -> Option<(Pair, i64)> {
        let Stage::Alone { key, side, row } = &mut self.stage else { return None };
        while let Some(at) = self.keys.get(*key) {
            let (Some(alone), Some(span)) = (spec.alone.get(*side), at.spans.get(*side)) else {
                (*key, *side, *row) = (*key + 1, LEFT, 0);
                continue;
            };
            let Some(alone) = alone.filter(|_| (*row as usize) < span.rows.len()) else {
                (*side, *row) = (*side + 1, 0);
                continue;
            };
            let place = span.rows.start + *row;
            *row += 1;
            let rows = &self.rows[*side];
            let (had, has) = match spec.condition {
                Some(_) => {
                    let (had, has) = rows.partners(place);
                    (had > 0, has > 0)
                }
                None => at.there[1 - *side],
            };
            let (old, new) = rows.weights(place);
            let shown = |matched: bool, weight: i64| if matched == (alone == Alone::Matched) { weight } else { 0 };
            let change = shown(has, new) - shown(had, old);
            if change != 0 {
                return Some((if *side == LEFT { [place, NOWHERE] } else { [NOWHERE, place] }, change));
            }
        }
        None
    }

    /// Brings one side's state to the tick's end.
    pub fn apply(&self, at: usize, side: &mut Side, keys: &KeyIndex) -> Result<()> {
        let mut gone = Vec::new();
        for key in &self.keys {
            if side.changes.len(key.tick_slot) == 0 {
                continue;
            }
            let slot = match slot_at(&side.row_slots, key.position) {
                NO_SLOT => side.rows.put(keys.hash(key.tick_slot), keys.key(key.tick_slot))?,
                slot => slot,
            };
            let bags = side.rows.update(&[slot]);
            for (row, change) in side.changes.rows(key.tick_slot) {
                bags.add(slot, row, change);
                if change < 0 && bags.weight(slot, row) < 0 {
                    return Err(retracted_too_often());
                }
            }
            if bags.len(slot) == 0 {
                gone.push(slot);
            }
        }
        side.rows.remove(&gone)?;
        let Some(partners) = &mut side.partners else { return Ok(()) };
        let Some(rows) = self.rows.get(at) else { return Ok(()) };
        gone.clear();
        for key in &self.keys {
            let span = key.spans.get(at).cloned().unwrap_or_default();
            let gained = |place: &u32| rows.gained.get(*place as usize).copied().unwrap_or_default();
            let places: Vec<u32> = span.rows.filter(|place| gained(place) != 0).collect();
            if places.is_empty() {
                continue;
            }
            let slot = match slot_at(&side.partner_slots, key.position) {
                NO_SLOT => partners.put(keys.hash(key.tick_slot), keys.key(key.tick_slot))?,
                slot => slot,
            };
            let bags: &mut Bags = partners.update(&[slot]);
            places.iter().for_each(|place| bags.add(slot, rows.rows.get(*place as usize), gained(place)));
            if bags.len(slot) == 0 {
                gone.push(slot);
            }
        }
        partners.remove(&gone)
    }
}

fn slot_at(slots: &[u32], position: usize) -> u32 {
    slots.get(position).copied().unwrap_or(NO_SLOT)
}

/// Distinct rows of a key before the tick.
fn kept_rows(side: &Side, position: usize) -> usize {
    side.rows.values().len(slot_at(&side.row_slots, position))
}

/// Distinct rows of a key behind the tick.
fn rows_behind(side: &Side, tick_slot: u32, position: usize) -> usize {
    let slot = slot_at(&side.row_slots, position);
    let mut rows = side.rows.values().len(slot);
    for (row, change) in side.changes.rows(tick_slot) {
        match side.rows.values().weight(slot, row) {
            0 => rows += 1,
            old if old + change == 0 => rows = rows.saturating_sub(1),
            _ => {}
        }
    }
    rows
}

fn product(left: i64, right: i64) -> Result<i64> {
    left.checked_mul(right).ok_or_else(too_many)
}

fn too_many() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "a join gives more equal rows than can be counted")
}
