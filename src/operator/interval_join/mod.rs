//! Interval join: rows whose keys are equal and whose times lie within a range of each other, `l.t` in
//! `[r.t + lower, r.t + upper]`. Both inputs only append, and so does the result. A window join is one with the range
//! `[0, 0]` over window_time.
//!
//! 1. A pushed batch (at most a chunk at once) meets the other side's rows first ([`incoming`]): its rows' times give the
//!    few buckets of time that can hold partners; the distinct (bucket, key) pairs are looked up in one go, and within a
//!    bucket only the times in range are walked. Then its own rows are kept ([`kept`]). Each pair is found by whichever
//!    of its rows is pushed later, so the order of pushes does not matter.
//! 2. A row that is behind its partition's watermark carries that watermark (its judge), also in state: a pair matches
//!    exactly if each row would still have been kept at the watermark that the other carries. A left row is kept while
//!    W < l - lower, a right one while W < r + upper ([`range`]). That is decided row by row, whatever buckets are
//!    still there.
//! 3. At a tick's end the rows of outer sides that are now past without a partner are emitted, padded with nulls, found
//!    by their timers; then buckets that are past are forgotten. W is the lesser of the two inputs' watermarks.
//! 4. What can have no partner is never kept: a row with a null in its key or its time, and a late one, which is so far
//!    behind that even its last possible partner is past. On an outer side such a row is padded at once.
//!
//! A result row carries a judge if its event time is behind the judge of the row that gives it, shifted as the watermark
//! is: so what is late behind the join does not depend on how its input was cut either.
//!
//! Invariants: a kept row's equals (the same bytes, judge included) have the same partners; everything can be resumed
//! where state was being fetched, and output comes in chunks however many partners one row has.

mod incoming;
mod kept;
mod matching;
mod output;
mod range;

use std::sync::Arc;
use std::task::Poll;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::chunks::Chunks;
use super::{CHUNK_ROWS, Operator, Pull, TickEnd, key_codec};
use crate::change::key::{KeyCodec, encode_time};
use crate::change::row::decode_rows;
use crate::change::{ChangeBatch, Watermark};
use crate::clock::Micros;
use crate::error::{Error, Result};
use crate::plan::{IntervalJoin as Spec, JoinKind, Node, pair_schema};
use crate::state::{Scan, StateContext, StateTable, TableId};

use incoming::Incoming;
use kept::{Due, Kept, KeptRow};
use output::Output;
use range::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    const BOTH: [Side; 2] = [Side::Left, Side::Right];

    fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }

    /// Its input port, and its place wherever there is one of each.
    fn port(self) -> usize {
        self as usize
    }
}

/// What a plan says of one side.
struct SideSpec {
    side: Side,
    schema: SchemaRef,
    time: usize,
    keys: Vec<usize>,
    /// For each key whether null equals null.
    null_safe: Vec<bool>,
    codec: KeyCodec,
}

/// What does not change while the operator runs.
struct Join {
    kind: JoinKind,
    range: Range,
    sides: [SideSpec; 2],
    /// Left columns, then right ones: what the residual condition is over.
    joined: SchemaRef,
    residual: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// The side whose time is the result's event time.
    timed_by: Side,
}

impl Join {
    fn side(&self, side: Side) -> &SideSpec {
        match side {
            Side::Left => &self.sides[0],
            Side::Right => &self.sides[1],
        }
    }

    /// Pairs are emitted, not rows of the left side alone.
    fn emits_pairs(&self) -> bool {
        !matches!(self.kind, JoinKind::Semi | JoinKind::Anti)
    }

    /// Rows of a side are emitted if they find no partner.
    fn pads(&self, side: Side) -> bool {
        match side {
            Side::Left => matches!(self.kind, JoinKind::Left | JoinKind::Full | JoinKind::Anti),
            Side::Right => matches!(self.kind, JoinKind::Right | JoinKind::Full),
        }
    }

    /// A row of a side needs one partner only, and is done with once it has one.
    fn wants_one(&self, side: Side) -> bool {
        side == Side::Left && !self.emits_pairs()
    }

    /// Kept rows of a side must be told when they find a partner.
    fn tells(&self, side: Side) -> bool {
        self.pads(side) || self.wants_one(side)
    }

    /// Rows of one side without partner, as the result shows them.
    fn padded(&self, side: Side, rows: RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        if self.emits_pairs() {
            let nulls = self.side(side.other()).schema.fields();
            let nulls = nulls.iter().map(|f| new_null_array(f.data_type(), rows.num_rows()));
            match side {
                Side::Left => columns.extend(nulls),
                Side::Right => columns = nulls.chain(columns).collect(),
            }
        }
        self.result(columns, rows.num_rows())
    }

    fn result(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// The judge of a result row at `time`, where the row that gives this time carries `judge`.
    fn judge(&self, time: Option<i64>, judge: i64) -> i64 {
        let behind = self.range.behind(self.timed_by, Watermark(judge)).0;
        if time.is_some_and(|time| time <= behind) { behind } else { Watermark::NONE.0 }
    }
}

pub struct IntervalJoin {
    join: Join,
    kept: [Kept; 2],
    /// At the last tick's end.
    watermark: Watermark,
    late_rows: u64,
    input: Chunks,
    input_side: Side,
    output: Option<Output>,
    stage: Stage,
}

enum Stage {
    /// Taking rows in.
    Open,
    /// A chunk meets the other side's rows, and is kept.
    Incoming(Box<Incoming>),
    /// Rows of a side that are due are looked for; `due` are those found last.
    Due {
        side: Side,
        scan: Scan,
    },
    DueRows {
        side: Side,
        scan: Scan,
        due: Box<DueRows>,
    },
    /// Past buckets of a side are forgotten.
    Sweep {
        side: Side,
        scan: Scan,
    },
}

/// Due rows on their way out.
struct DueRows {
    due: Due,
    /// The slots of the due rows' buckets, once they were found.
    slots: Option<Vec<Option<u32>>>,
    /// The next of the due times, and within it the last row that is out.
    next: usize,
    after: Option<Vec<u8>>,
}

impl IntervalJoin {
    pub fn new(spec: &Spec, node: &Node, inputs: &[SchemaRef], context: &StateContext) -> Result<Self> {
        let [left, right] = inputs else { return Err(Error::internal("an interval join has two inputs")) };
        let joined = pair_schema(left, right);
        let unit = spec.left_time.unit.min(spec.right_time.unit);
        let range = Range::new(spec.lower, spec.upper, unit);
        let side = |side: Side, schema: &SchemaRef, time: usize, keys: Vec<usize>| -> Result<SideSpec> {
            let null_safe = spec.keys.iter().map(|k| k.null_safe).collect();
            Ok(SideSpec { side, schema: Arc::clone(schema), time, codec: key_codec(&keys, schema)?, keys, null_safe })
        };
        let sides = [
            side(Side::Left, left, spec.left_time.column, spec.keys.iter().map(|k| k.left).collect())?,
            side(Side::Right, right, spec.right_time.column, spec.keys.iter().map(|k| k.right).collect())?,
        ];
        let timed_by_right = node.event_time.is_some_and(|t| t.column >= left.fields().len());
        let join = Join {
            kind: spec.kind,
            range,
            sides,
            residual: spec.residual.as_ref().map(|r| r.compile(&joined)).transpose()?,
            joined,
            schema: Arc::clone(&node.schema),
            timed_by: if timed_by_right { Side::Right } else { Side::Left },
        };
        let kept = Side::BOTH.map(|side| {
            let table = |table: u8| TableId { operator: node.id, table };
            let timers = join.pads(side).then(|| table(2 + side.port() as u8));
            Kept::open(context, join.side(side), range, join.tells(side), (table(side.port() as u8), timers))
        });
        Ok(IntervalJoin {
            join,
            kept,
            watermark: Watermark::NONE,
            late_rows: 0,
            input: Chunks::default(),
            input_side: Side::Left,
            output: None,
            stage: Stage::Open,
        })
    }

    fn kept(&mut self, side: Side) -> &mut Kept {
        match side {
            Side::Left => &mut self.kept[0],
            Side::Right => &mut self.kept[1],
        }
    }

    /// One step of the stage; what to answer before the next one, if anything.
    fn step(&mut self, stage: Stage) -> Result<Option<Pull>> {
        match stage {
            Stage::Open => {}
            Stage::Incoming(mut incoming) => {
                let [left, right] = &mut self.kept;
                let (own, other) = match incoming.side() {
                    Side::Left => (left, right),
                    Side::Right => (right, left),
                };
                let progress = incoming.step(&self.join, own, other)?;
                let mut answer = None;
                match progress {
                    incoming::Progress::Done => return Ok(None),
                    incoming::Progress::Output(output) => self.output = Some(output),
                    incoming::Progress::More => {}
                    incoming::Progress::Judged => answer = Some(Pull::More),
                    incoming::Progress::Pending => answer = Some(Pull::Blocked),
                }
                self.stage = Stage::Incoming(incoming);
                return Ok(answer);
            }
            Stage::Due { side, mut scan } => match self.kept(side).next_due(&mut scan, CHUNK_ROWS)? {
                Poll::Pending => {
                    self.stage = Stage::Due { side, scan };
                    return Ok(Some(Pull::Blocked));
                }
                Poll::Ready(Some(due)) => {
                    let due = Box::new(DueRows { due, slots: None, next: 0, after: None });
                    self.stage = Stage::DueRows { side, scan, due };
                }
                Poll::Ready(None) => self.begin_due(next_side(side)),
            },
            Stage::DueRows { side, scan, mut due } => {
                let Poll::Ready(more) = self.due_rows(side, &mut due)? else {
                    self.stage = Stage::DueRows { side, scan, due };
                    return Ok(Some(Pull::Blocked));
                };
                if more {
                    self.stage = Stage::DueRows { side, scan, due };
                } else {
                    self.kept(side).remove_timers(&due.due)?;
                    self.stage = Stage::Due { side, scan };
                }
            }
            Stage::Sweep { side, mut scan } => match self.kept(side).sweep(&mut scan, CHUNK_ROWS)? {
                Poll::Pending => {
                    self.stage = Stage::Sweep { side, scan };
                    return Ok(Some(Pull::Blocked));
                }
                Poll::Ready(true) => {
                    self.stage = Stage::Sweep { side, scan };
                    return Ok(Some(Pull::More));
                }
                Poll::Ready(false) => self.begin_sweep(next_side(side)),
            },
        }
        Ok(None)
    }

    /// Looks for due rows from this side on; none: from here on buckets are swept.
    fn begin_due(&mut self, side: Option<Side>) {
        let watermark = self.watermark;
        let mut next = side;
        while let Some(side) = next {
            if let Some(scan) = self.kept(side).due_at(watermark) {
                self.stage = Stage::Due { side, scan };
                return;
            }
            next = next_side(side);
        }
        self.begin_sweep(Some(Side::Left));
    }

    fn begin_sweep(&mut self, side: Option<Side>) {
        let watermark = self.watermark;
        let scan = side.and_then(|side| Some((side, self.kept(side).past_at(watermark)?)));
        self.stage = scan.map_or(Stage::Open, |(side, scan)| Stage::Sweep { side, scan });
    }

    /// The next chunk of due rows that have no partner becomes the output. False: all are out.
    fn due_rows(&mut self, side: Side, due: &mut DueRows) -> Result<Poll<bool>> {
        if due.slots.is_none() {
            let mut slots = Vec::new();
            if self.kept(side).find(&due.due.places, &mut slots)?.is_pending() {
                return Ok(Poll::Pending);
            }
            due.slots = Some(slots);
        }
        let slots = due.slots.as_deref().unwrap_or_default();
        let bags = match side {
            Side::Left => self.kept[0].bags(),
            Side::Right => self.kept[1].bags(),
        };
        let (mut rows, mut judges, mut picks) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((time, place)) = due.due.rows.get(due.next) {
            let prefix = encode_time(*time);
            let from = due.after.take().unwrap_or_else(|| prefix.to_vec());
            let slot = slots.get(*place as usize).copied().flatten();
            let found = slot.into_iter().flat_map(|slot| bags.range(slot, &from, |row| !row.starts_with(&prefix)));
            for (bytes, weight) in found.filter(|(_, weight)| *weight > 0) {
                if rows.len() == CHUNK_ROWS {
                    due.after = Some(bytes.to_vec());
                    break;
                }
                let kept = KeptRow::read(bytes)?;
                picks.push((rows.len() as u32, weight));
                let timed = (side == self.join.timed_by).then_some(kept.time);
                judges.push(self.join.judge(timed, kept.judge));
                rows.push(kept.row);
            }
            if due.after.is_some() {
                break;
            }
            due.next += 1;
            if rows.len() == CHUNK_ROWS {
                break;
            }
        }
        if !rows.is_empty() {
            let rows = decode_rows(&self.join.side(side).schema, rows)?;
            self.output = Some(Output::new(self.join.padded(side, rows)?, judges, picks));
        }
        Ok(Poll::Ready(due.next < due.due.rows.len()))
    }
}

fn next_side(side: Side) -> Option<Side> {
    (side == Side::Left).then_some(Side::Right)
}

fn least(watermarks: &[Watermark]) -> Watermark {
    watermarks.iter().copied().min().unwrap_or(Watermark::NONE)
}

impl Operator for IntervalJoin {
    fn push(&mut self, port: usize, batch: ChangeBatch) -> Result<()> {
        self.input_side = if port == 0 { Side::Left } else { Side::Right };
        self.input.put(batch)
    }

    fn end_tick(&mut self, tick: &TickEnd) -> Result<()> {
        self.watermark = self.watermark.max(least(&tick.watermarks));
        self.begin_due(Some(Side::Left));
        Ok(())
    }

    fn resume(&mut self, last: &TickEnd) {
        self.watermark = least(&last.watermarks);
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            if let Some(output) = &mut self.output {
                match output.next_chunk()? {
                    Some(chunk) => return Ok(Pull::Batch(chunk)),
                    None => self.output = None,
                }
            }
            match std::mem::replace(&mut self.stage, Stage::Open) {
                Stage::Open => {
                    let Some(batch) = self.input.next() else { return Ok(Pull::Done) };
                    let incoming = Incoming::new(&self.join, self.input_side, batch, self.watermark)?;
                    self.late_rows += incoming.late_rows();
                    self.stage = Stage::Incoming(Box::new(incoming));
                }
                stage => {
                    if let Some(answer) = self.step(stage)? {
                        return Ok(answer);
                    }
                }
            }
        }
    }

    fn watermark(&self, inputs: &[Watermark], _now: Micros) -> Watermark {
        self.join.range.behind(self.join.timed_by, least(inputs))
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        self.kept.iter_mut().flat_map(Kept::tables).collect()
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }
}
