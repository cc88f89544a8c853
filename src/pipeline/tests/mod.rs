//! The core over a source made of vectors: cuts, readings that meet, failures that stay where they happened. `long_ticks`:
//! ticks that give more than may be held; `partitions`: how the partitions of a source are read; `recovery`: pipelines that are
//! taken down and gone on with; `waiting`: chunks that wait for what decoding them takes.

mod long_ticks;
mod partitions;
mod recovery;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use parking_lot::Mutex;

use super::core::{Core, TickResult};
use super::image::Fingerprint;
use super::member::NewPlan;
use super::reading::{CutPolicy, OpenReading, Reading};
use crate::catalog::{ObjectId, SourceObject};
use crate::change::key::KEY_GROUPS;
use crate::clock::{ManualClock, Micros};
use crate::connector::{
    Chunk, OnError, PartitionId, Payload, Position, Positions, Reader, ReaderContext, Source, Taken,
};
use crate::dataflow::Fragment;
use crate::error::{Error, Result, SqlState};
use crate::format::Decoder;
use crate::memory::Budget;
use crate::plan::{Op, StreamPlan};
use crate::state::{BackendKind, StateContext};
use crate::table::View;
use crate::types::{Column, SqlType, schema_of};

/// Partitions of numbers, `chunk` at a time. Number -1 cannot be read.
#[derive(Debug)]
struct Numbers {
    partitions: Vec<Vec<i64>>,
    chunk: usize,
}

impl Source for Numbers {
    fn resolve_start(&self) -> Result<Positions> {
        Ok((0..self.partitions.len()).map(|p| (id(p), at(0))).collect())
    }

    fn open(&self, _columns: &[usize], positions: &Positions, _context: ReaderContext) -> Result<Box<dyn Reader>> {
        let ids: Vec<_> = (0..self.partitions.len()).map(id).collect();
        let next = ids.iter().map(|id| positions.get(id).map_or(0, |p| p.offset as usize)).collect();
        Ok(Box::new(NumbersReader { partitions: self.partitions.clone(), chunk: self.chunk, ids, next }))
    }

    fn decoder(&self, _columns: &[usize]) -> Result<Option<Arc<dyn Decoder>>> {
        Ok(None)
    }
}

struct NumbersReader {
    partitions: Vec<Vec<i64>>,
    chunk: usize,
    ids: Vec<PartitionId>,
    next: Vec<usize>,
}

impl Reader for NumbersReader {
    fn partitions(&self) -> &[PartitionId] {
        &self.ids
    }

    fn take(&mut self, partition: usize, _max_bytes: usize, until: Option<&Position>) -> Result<Taken> {
        let (all, from) = (&self.partitions[partition], self.next[partition]);
        let to = all.len().min(from + self.chunk).min(until.map_or(usize::MAX, |u| u.offset as usize));
        if from == to {
            return Ok(if from == all.len() { Taken::Finished } else { Taken::Pending });
        }
        if all[from..to].contains(&-1) {
            return Err(Error::new(SqlState::IoError, "minus one"));
        }
        self.next[partition] = to;
        let rows = RecordBatch::try_new(numbers(), vec![Arc::new(Int64Array::from(all[from..to].to_vec()))])?;
        Ok(Taken::Chunk(Chunk { payload: Payload::Rows(rows), next: at(to) }))
    }
}

fn id(partition: usize) -> PartitionId {
    PartitionId(partition.to_string().into())
}

fn at(offset: usize) -> Position {
    Position { offset: offset as u64, file: None }
}

fn columns() -> Vec<Column> {
    vec![Column { name: "n".into(), ty: SqlType::BigInt, not_null: false }]
}

fn numbers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn object(columns: Vec<Column>, source: Arc<dyn Source>, idle_timeout: Micros) -> SourceObject {
    SourceObject {
        columns,
        computed: Vec::new(),
        watermark: None,
        source,
        idle_timeout,
        on_error: OnError::Fail,
        dead_letters: None,
    }
}

type Sources = Arc<Mutex<BTreeMap<String, SourceObject>>>;

fn opener(sources: &Sources) -> OpenReading {
    let sources = Arc::clone(sources);
    Box::new(move |name, wanted| {
        let clock = Arc::new(ManualClock::default());
        let context = ReaderContext { waker: Arc::new(|| {}), clock };
        Reading::open(name, &sources.lock()[name], wanted, context, None)
    })
}

/// A pipeline over named sources.
struct Bench {
    core: Core,
    sources: Sources,
    budget: Arc<Budget>,
    parallelism: usize,
}

impl Bench {
    fn new(policy: CutPolicy) -> Self {
        let sources = Sources::default();
        let open = opener(&sources);
        Bench { core: Core::new(policy, open), sources, budget: Budget::new(), parallelism: 2 }
    }

    fn source(&mut self, name: &str, chunk: usize, partitions: &[&[i64]]) {
        let partitions = partitions.iter().map(|p| p.to_vec()).collect();
        self.sources.lock().insert(name.into(), object(columns(), Arc::new(Numbers { partitions, chunk }), 0));
    }

    /// A view that holds all rows of `source`.
    fn view(&mut self, member: u32, source: &str, starts: &[usize]) {
        let plan = format!("#0 scan {source} [0] -> (n bigint) append_only\noutput #0 view");
        self.add(member, &plan, Some(View::new(schema_of(&columns()), None, true)), starts);
    }

    /// Adds a member with the plan of these lines.
    fn add(&mut self, member: u32, plan: &str, view: Option<View>, starts: &[usize]) {
        let new = self.new_plan(member, plan, view, starts);
        self.core.add(new).unwrap();
    }

    fn new_plan(&self, member: u32, plan: &str, view: Option<View>, starts: &[usize]) -> NewPlan {
        let text = format!("tidemill plan 1\n{plan}\nend\n");
        let plan = Arc::new(StreamPlan::from_text(&text).unwrap());
        let positions: Positions = starts.iter().enumerate().map(|(p, o)| (id(p), at(*o))).collect();
        let start = |op: &Op| match op {
            Op::Scan { source, .. } => Some((source.clone(), positions.clone())),
            _ => None,
        };
        let starts = plan.nodes.iter().filter_map(|node| start(&node.op)).collect();
        let budget = Arc::clone(&self.budget);
        let state = StateContext { backend: BackendKind::Memory, groups: 0..KEY_GROUPS, budget, tracked: true };
        NewPlan {
            id: ObjectId(member),
            name: format!("v{member}"),
            fingerprint: Fingerprint::of(&text),
            fragment: Fragment::new(plan, self.parallelism, &state).unwrap(),
            view: view.map(View::tracked),
            starts,
        }
    }

    /// A whole tick; what it gave last.
    fn tick(&mut self) -> Option<TickResult> {
        let mut result = self.begin_tick()?;
        while !result.over {
            result = self.core.go_on();
        }
        Some(result)
    }

    /// The first turn of a tick.
    fn begin_tick(&mut self) -> Option<TickResult> {
        let cut = self.core.cut(0);
        cut.is_due().then(|| self.core.run(cut))
    }

    fn run(&mut self) {
        for _ in 0..1000 {
            if self.tick().is_none() {
                return;
            }
        }
        panic!("does not come to rest");
    }

    fn rows(&self, member: u32) -> Vec<i64> {
        let member = self.core.members().iter().find(|m| m.id == ObjectId(member)).unwrap();
        let snapshot = member.view.as_ref().unwrap().snapshot();
        let mut rows: Vec<i64> = snapshot
            .batches()
            .flat_map(|b| b.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        rows.sort_unstable();
        rows
    }

    fn caught_up(&self, member: u32) -> bool {
        let member = self.core.members().iter().find(|m| m.id == ObjectId(member)).unwrap();
        self.core.caught_up(member)
    }
}

const WHOLE: CutPolicy =
    CutPolicy { tick_bytes: 1 << 20, chunk_bytes: 1 << 20, tick_chunks: 100, whole_bytes: 1 << 20 };
const TINY: CutPolicy = CutPolicy { tick_bytes: 1, chunk_bytes: 1, tick_chunks: 1, whole_bytes: 1 << 20 };

#[test]
fn every_row_comes_once_whatever_the_cuts() {
    for policy in [WHOLE, TINY] {
        let mut bench = Bench::new(policy);
        bench.source("s", 2, &[&[1, 4, 7], &[2, 5, 8, 9], &[]]);
        bench.view(1, "s", &[0, 0, 0]);
        bench.run();
        assert_eq!(bench.rows(1), [1, 2, 4, 5, 7, 8, 9]);
    }
}

#[test]
fn cuts_differ_by_policy() {
    let ticks = |policy| {
        let mut bench = Bench::new(policy);
        bench.source("s", 1, &[&[1, 2, 3, 4]]);
        bench.view(1, "s", &[0]);
        bench.run();
        bench.core.tick()
    };
    assert!(ticks(TINY) > ticks(WHOLE));
}

#[test]
fn a_new_view_catches_up_and_joins() {
    let mut bench = Bench::new(TINY);
    bench.source("s", 2, &[&[1, 2, 3, 4, 5, 6, 7], &[10, 20, 30, 40, 50, 60]]);
    bench.view(1, "s", &[0, 0]);
    for _ in 0..4 {
        bench.tick();
    }
    let seen = bench.rows(1);
    assert!(seen.len() > 2 && seen.len() < 13);
    bench.view(2, "s", &[0, 0]);
    assert!(bench.caught_up(1) && !bench.caught_up(2));
    bench.run();
    assert!(bench.caught_up(2));
    assert_eq!(bench.core.readings().count(), 1, "one reading feeds both");
    assert_eq!(bench.rows(2), bench.rows(1));
}

#[test]
fn a_view_that_starts_ahead_meets_the_others() {
    let mut bench = Bench::new(TINY);
    bench.source("s", 3, &[&[1, 2, 3, 4, 5, 6, 7, 8]]);
    bench.view(1, "s", &[0]);
    bench.view(2, "s", &[4]);
    bench.run();
    assert!(bench.caught_up(2));
    assert_eq!(bench.core.readings().count(), 1);
    assert_eq!(bench.rows(1), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bench.rows(2), [5, 6, 7, 8]);
}

#[test]
fn a_failing_source_fails_its_readers_alone() {
    let mut bench = Bench::new(WHOLE);
    bench.source("good", 2, &[&[1, 2, 3]]);
    bench.source("bad", 1, &[&[1, -1, 3]]);
    bench.view(1, "good", &[0]);
    bench.view(2, "bad", &[0]);
    bench.run();
    assert_eq!(bench.rows(1), [1, 2, 3]);
    let failed = bench.core.members()[1].failed.clone().unwrap();
    assert_eq!(failed.message(), "source \"bad\", partition 0: minus one");
    assert!(bench.core.members()[0].failed.is_none());
    assert_eq!(bench.core.readings().count(), 1, "nobody reads it any more");
}

#[test]
fn who_is_removed_reads_no_more() {
    let mut bench = Bench::new(WHOLE);
    bench.source("s", 2, &[&[1, 2, 3]]);
    bench.view(1, "s", &[0]);
    bench.core.remove(ObjectId(1));
    assert_eq!(bench.core.readings().count(), 0);
    assert!(bench.tick().is_none_or(|t| t.changed.is_empty()));
}
