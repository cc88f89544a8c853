//! The regular join: rows of two inputs that may change, matched by key, for ever.
//!
//! 1. [`side`]: a tick's rows of each input are gathered by key as they come; what cancels out is gone. A row that can
//!    have no partner (null in a column that `=` compares) goes past state: out at once, or nowhere.
//! 2. At the tick's end the tick's keys are looked up on both sides, in ranges. A key that is not there leaves no trace.
//! 3. [`mod@unit`]: a run of keys is matched. Of each pair of rows the weight before and behind the tick is known, so each pair
//!    is visited once and what comes out is net: dL x R + (L - dL) x dR, with the products' differences as weights. Rows
//!    that come out alone (outer padding, semi, anti) do so by transitions: with a condition, how many partners each row
//!    has is state of its own.
//! 4. [`chunk`]: picked pairs become batches; rows are decoded here, once a chunk, and not before.
//!
//! If both inputs only append, [`append`] does the same with much less: [`join()`] chooses.
//!
//! Invariants: state holds what was there at the last tick's end until a unit is out; a unit is resumed anywhere, also
//! in the middle of a key.

mod append;
mod chunk;
mod side;
mod unit;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::chunks::Chunks;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::memory::Account;
use crate::plan::{Changelog, JoinKey, JoinKind, Scalar, pair_schema};
use crate::state::{KeyIndex, StateContext, StateTable, TableId, Values};

use append::AppendJoin;
use side::{KeyColumns, Side};
use unit::Unit;

/// Keys looked up at once.
const KEYS_AT_ONCE: u32 = CHUNK_ROWS as u32 / 2;

/// Keys that a tick's index keeps room for from tick to tick: those of a busy tick.
const KEYS_KEPT: usize = 64 << 10;

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// When rows of one side come out alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// While they have no partner: padded, or as they are (anti).
    Unmatched,
    /// While they have one (semi).
    Matched,
}

/// What a join is asked to do.
struct Spec {
    kind: JoinKind,
    alone: [Option<Alone>; 2],
    /// Over `pair`.
    condition: Option<Arc<dyn PhysicalExpr>>,
    inputs: [SchemaRef; 2],
    pair: SchemaRef,
    output: SchemaRef,
    append_only: bool,
}

impl Spec {
    fn new(
        (kind, condition): (JoinKind, Option<&Scalar>),
        inputs: [&SchemaRef; 2],
        output: (&SchemaRef, Changelog),
    ) -> Result<Self> {
        let pair = pair_schema(inputs[LEFT], inputs[RIGHT]);
        let unmatched = |padded: &[JoinKind]| padded.contains(&kind).then_some(Alone::Unmatched);
        let left = match kind {
            JoinKind::Semi => Some(Alone::Matched),
            _ => unmatched(&[JoinKind::Left, JoinKind::Full, JoinKind::Anti]),
        };
        Ok(Spec {
            kind,
            alone: [left, unmatched(&[JoinKind::Right, JoinKind::Full])],
            condition: condition.map(|c| c.compile(&pair)).transpose()?,
            inputs: inputs.map(Arc::clone),
            pair,
            output: Arc::clone(output.0),
            append_only: output.1 == Changelog::AppendOnly,
        })
    }

    /// Rows of one side as the join puts them out when they have no partner.
    fn padded(&self, port: usize, batch: &ChangeBatch) -> Result<ChangeBatch> {
        let mut columns: Vec<ArrayRef> = batch.rows().columns().to_vec();
        if self.kind.gives_pairs() {
            let other = self.inputs[1 - port].fields().iter();
            let nulls: Vec<ArrayRef> = other.map(|f| new_null_array(f.data_type(), batch.num_rows())).collect();
            columns = if port == LEFT { [columns, nulls].concat() } else { [nulls, columns].concat() };
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.output), columns)?;
        ChangeBatch::new(rows, batch.weights().cloned())
    }

    /// Whether pairs of rows must be looked at, not only whether keys have rows.
    fn visits_pairs(&self) -> bool {
        self.kind.gives_pairs() || self.condition.is_some()
    }
}

/// How far the end of a tick came.
struct Progress {
    /// The keys that were looked up last, or are about to be.
    from: u32,
    to: u32,
    /// Tables that have answered for them.
    answered: usize,
    /// The first of these keys that is not matched yet.
    next: u32,
    unit: Option<Unit>,
}

pub struct Join {
    spec: Spec,
    sides: [Side; 2],
    /// The tick's keys, of both sides.
    keys: KeyIndex,
    account: Account,
    /// Rows pushed last that can have no partner, on their way out.
    partnerless: Chunks,
    progress: Option<Progress>,
}

/// What a plan says of a join: its kind, its keys, what else must be true of a pair, and whether all rows of a key come
/// within one tick.
pub type Plan<'a> = (JoinKind, &'a [JoinKey], Option<&'a Scalar>, bool);

/// The join of two inputs, given their columns and whether they change.
pub fn join(
    id: TableId,
    (kind, on, condition, at_once): Plan<'_>,
    inputs: [(&SchemaRef, Changelog); 2],
    output: (&SchemaRef, Changelog),
    context: &StateContext,
) -> Result<Box<dyn Operator>> {
    let spec = Spec::new((kind, condition), inputs.map(|(schema, _)| schema), output)?;
    let columns = |of: fn(&JoinKey) -> usize, strict: bool| -> Vec<usize> {
        on.iter().filter(|key| !(strict && key.null_safe)).map(of).collect()
    };
    let keys =
        |at: usize, of: fn(&JoinKey) -> usize| KeyColumns::new(columns(of, false), columns(of, true), &spec.inputs[at]);
    let keys = [keys(LEFT, |key| key.left)?, keys(RIGHT, |key| key.right)?];
    if keys[LEFT].types() != keys[RIGHT].types() {
        return Err(Error::internal("a join compares columns of different types"));
    }
    let only_append = inputs.iter().all(|(_, changelog)| *changelog == Changelog::AppendOnly);
    Ok(match only_append && AppendJoin::suits(&spec) {
        true => Box::new(AppendJoin::new(id, spec, (condition, at_once), keys, context)?),
        false => Box::new(Join::new(id, spec, keys, context)),
    })
}

impl Join {
    fn new(id: TableId, spec: Spec, keys: [KeyColumns; 2], context: &StateContext) -> Self {
        let stride = keys[LEFT].stride();
        let counts = spec.alone.map(|alone| spec.condition.is_some() && alone.is_some());
        let [left, right] = keys;
        let sides = [
            Side::new(id, LEFT as u8, left, counts[LEFT], context),
            Side::new(id, RIGHT as u8, right, counts[RIGHT], context),
        ];
        Join {
            keys: KeyIndex::new(stride),
            account: context.budget.account(),
            spec,
            sides,
            partnerless: Chunks::default(),
            progress: None,
        }
    }

    /// Asks the tables that have not answered yet for the keys at hand; false while state is being fetched.
    fn probe(&mut self, progress: &mut Progress) -> Result<bool> {
        let range = progress.from..progress.to;
        let lookups = self.sides.iter_mut().flat_map(Side::lookups).enumerate();
        for (at, (table, slots)) in lookups.skip(progress.answered) {
            if table.probe(&self.keys, range.clone(), slots)?.is_pending() {
                return Ok(false);
            }
            progress.answered = at + 1;
        }
        Ok(true)
    }

    /// The next chunk of the tick's end.
    fn advance(&mut self, progress: &mut Progress) -> Result<Pull> {
        let keys = self.keys.slots() as u32;
        loop {
            if let Some(unit) = &mut progress.unit {
                match unit.next(&self.spec)? {
                    Pull::Done => {}
                    given => return Ok(given),
                }
                for (at, side) in self.sides.iter_mut().enumerate() {
                    unit.apply(at, side, &self.keys)?;
                }
                progress.unit = None;
                if progress.next < keys {
                    return Ok(Pull::More);
                }
            }
            if progress.next == progress.to {
                if progress.to == keys {
                    return Ok(Pull::Done);
                }
                let to = (progress.to + KEYS_AT_ONCE).min(keys);
                *progress = Progress { from: progress.to, to, answered: 0, next: progress.to, unit: None };
            }
            if !self.probe(progress)? {
                return Ok(Pull::Blocked);
            }
            let (unit, next) = Unit::open(&self.spec, &self.sides, progress.from, progress.next..progress.to)?;
            progress.unit = Some(unit);
            progress.next = next;
        }
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.sides.iter().map(|side| side.changes.bytes()).sum::<usize>()
    }
}

impl Operator for Join {
    fn push(&mut self, port: usize, batch: ChangeBatch) -> Result<()> {
        let Some(side) = self.sides.get_mut(port) else { return Err(Error::internal("a join has two inputs")) };
        let partnerless = side.gather(&batch, &mut self.keys)?;
        // Both sides' slots are those of the one index.
        self.sides.iter_mut().for_each(|side| side.changes.grow(self.keys.slots()));
        if let Some(rows) = partnerless
            && self.spec.alone[port] == Some(Alone::Unmatched)
        {
            self.partnerless.put(self.spec.padded(port, &rows)?)?;
        }
        self.account.set(self.bytes());
        Ok(())
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        self.progress = Some(Progress { from: 0, to: 0, answered: 0, next: 0, unit: None });
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        if let Some(rows) = self.partnerless.next() {
            return Ok(Pull::Batch(rows));
        }
        let Some(mut progress) = self.progress.take() else { return Ok(Pull::Done) };
        let pulled = self.advance(&mut progress)?;
        if matches!(pulled, Pull::Done) {
            self.keys.clear(KEYS_KEPT);
            self.sides.iter_mut().for_each(|side| side.changes.clear());
            self.account.set(self.bytes());
        } else {
            self.progress = Some(progress);
        }
        Ok(pulled)
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.sides.iter_mut().flat_map(Side::tables).collect()
    }
}
