//! Operators under test: scripts of small tables (`testdata/`), and random changes against an obvious twin.

mod interval_join;
mod join;
mod normalize;
mod random;
mod script;
mod sessions;
mod top_n;
mod upsert;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::*;
use crate::memory::Budget;
use crate::plan::{Changelog, EventTime, Node, Op, OperatorId};
use crate::state::{BackendKind, StateContext, TableId};
use crate::types::SqlType;

/// How one run of a test differs from the others; the answers must not.
#[derive(Debug, Clone, Copy)]
struct Way {
    backend: BackendKind,
    /// Rows of a push are pushed in pieces of as many.
    rows_a_push: usize,
    /// At each tick's end what has changed is taken down, and a new operator over the other backend goes on from all that was.
    restored: bool,
}

const WAYS: [Way; 5] = [
    Way { backend: BackendKind::Memory, rows_a_push: usize::MAX, restored: false },
    Way { backend: BackendKind::Memory, rows_a_push: 1, restored: false },
    Way { backend: BackendKind::Evicting, rows_a_push: usize::MAX, restored: false },
    Way { backend: BackendKind::Evicting, rows_a_push: 3, restored: false },
    Way { backend: BackendKind::Memory, rows_a_push: 2, restored: true },
];

/// An operator, driven as `dataflow/` drives it.
struct Harness {
    operator: Checked,
    node: Node,
    inputs: Vec<(SchemaRef, Changelog)>,
    way: Way,
    ticks: u64,
    schema: SchemaRef,
    /// All entries of state as of the last freeze, and the rows that were late in earlier lives.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    late_rows: u64,
    budget: Arc<Budget>,
}

impl Harness {
    fn new(op: Op, input: (&SchemaRef, Changelog), output: (&SchemaRef, Changelog), way: Way) -> Result<Self> {
        Harness::with_inputs(op, &[input], output, None, way)
    }

    fn with_inputs(
        op: Op,
        inputs: &[(&SchemaRef, Changelog)],
        output: (&SchemaRef, Changelog),
        event_time: Option<EventTime>,
        way: Way,
    ) -> Result<Self> {
        let node = Node {
            id: OperatorId(7),
            op,
            inputs: Vec::new(),
            schema: Arc::clone(output.0),
            changelog: output.1,
            event_time,
            unique_key: None,
        };
        let inputs: Vec<_> = inputs.iter().map(|(schema, changelog)| (Arc::clone(schema), *changelog)).collect();
        let budget = Budget::new();
        let operator = Harness::build(&node, &inputs, way, &budget)?;
        let schema = Arc::clone(output.0);
        Ok(Harness { operator, node, inputs, way, ticks: 0, schema, entries: BTreeMap::new(), late_rows: 0, budget })
    }

    fn build(node: &Node, inputs: &[(SchemaRef, Changelog)], way: Way, budget: &Arc<Budget>) -> Result<Checked> {
        let context = StateContext { backend: way.backend, tracked: way.restored, ..StateContext::in_memory(budget) };
        let (schemas, changelogs): (Vec<_>, Vec<_>) = inputs.iter().cloned().unzip();
        Ok(Checked::new(build(node, &schemas, &changelogs, &context)?, node.changelog))
    }

    /// Takes down what has changed, and goes on as another operator that begins with all that was taken down so far.
    fn restore(&mut self, last: &TickEnd) -> Result<()> {
        for table in self.operator.tables() {
            table.freeze()?;
            let mut note = |key: &[u8], value: Option<&[u8]>| {
                match value {
                    Some(value) => drop(self.entries.insert(key.to_vec(), value.to_vec())),
                    None => drop(self.entries.remove(key)),
                }
                Ok(())
            };
            while !table.drain_frozen(100, &mut note)? {}
        }
        self.way.backend = match self.way.backend {
            BackendKind::Memory => BackendKind::Evicting,
            BackendKind::Evicting => BackendKind::Memory,
        };
        self.late_rows += self.operator.late_rows();
        self.operator = Harness::build(&self.node, &self.inputs, self.way, &self.budget)?;
        for (key, value) in &self.entries {
            let (id, _) = TableId::split(key)?;
            let mut tables = self.operator.tables();
            let table = tables.iter_mut().find(|table| table.id() == id).expect("a table that was there before");
            table.restore(key, value)?;
        }
        self.operator.resume(last);
        Ok(())
    }

    /// Rows that were late so far.
    fn late_rows(&self) -> u64 {
        self.late_rows + self.operator.late_rows()
    }

    /// Pushes a batch, in pieces; what comes out goes into `out`.
    fn push(&mut self, batch: &ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.push_to(0, batch, out)
    }

    fn push_to(&mut self, port: usize, batch: &ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = self.way.rows_a_push.min(batch.num_rows() - from);
            self.operator.push(port, batch.slice(from, rows))?;
            self.pull(out)?;
            from += rows;
        }
        Ok(())
    }

    fn end_tick(&mut self, watermark: Watermark, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.end_tick_at(vec![watermark], out)
    }

    fn end_tick_at(&mut self, watermarks: Vec<Watermark>, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.ticks += 1;
        let end = TickEnd { number: self.ticks, now: 0, watermarks };
        self.operator.end_tick(&end)?;
        self.pull(out)?;
        self.operator.tables().into_iter().try_for_each(|table| table.end_tick())?;
        if self.way.restored { self.restore(&end) } else { Ok(()) }
    }

    fn pull(&mut self, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut blocked = 0;
        loop {
            match self.operator.pull()? {
                Pull::Batch(batch) => {
                    out.push(batch);
                    blocked = 0;
                }
                Pull::More => blocked = 0,
                Pull::Done => return Ok(()),
                Pull::Blocked => blocked += 1,
            }
            assert!(blocked < 1000, "blocked for ever");
        }
    }

    /// All of `out` as one batch.
    fn together(&self, out: &[ChangeBatch]) -> ChangeBatch {
        let all = ChangeBatch::concat(&self.schema, out).unwrap();
        if out.is_empty() { ChangeBatch::append_only(RecordBatch::new_empty(Arc::clone(&self.schema))) } else { all }
    }
}

fn schema(columns: &[(&str, SqlType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| ty.field(name)).collect::<Vec<_>>()))
}
