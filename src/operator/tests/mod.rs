//! Operators under test: scripts of small tables (`testdata/`), and random changes against an obvious twin.

mod interval_join;
mod join;
mod normalize;
mod random;
mod script;
mod sessions;
mod top_n;
mod upsert;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::*;
use crate::memory::Budget;
use crate::plan::{Changelog, EventTime, Node, Op, OperatorId};
use crate::state::{BackendKind, StateContext};
use crate::types::SqlType;

/// How one run of a test differs from the others; the answers must not.
#[derive(Debug, Clone, Copy)]
struct Way {
    backend: BackendKind,
    /// Rows of a push are pushed in pieces of as many.
    rows_a_push: usize,
}

const WAYS: [Way; 4] = [
    Way { backend: BackendKind::Memory, rows_a_push: usize::MAX },
    Way { backend: BackendKind::Memory, rows_a_push: 1 },
    Way { backend: BackendKind::Evicting, rows_a_push: usize::MAX },
    Way { backend: BackendKind::Evicting, rows_a_push: 3 },
];

/// An operator, driven as `dataflow/` drives it.
struct Harness {
    operator: Checked,
    way: Way,
    ticks: u64,
    schema: SchemaRef,
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
        let budget = Budget::new();
        let context = StateContext { backend: way.backend, ..StateContext::in_memory(&budget) };
        let schemas: Vec<SchemaRef> = inputs.iter().map(|(schema, _)| Arc::clone(schema)).collect();
        let changelogs: Vec<Changelog> = inputs.iter().map(|(_, changelog)| *changelog).collect();
        let operator = build(&node, &schemas, &changelogs, &context)?;
        let operator = Checked::new(operator, output.1);
        Ok(Harness { operator, way, ticks: 0, schema: Arc::clone(output.0) })
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
        self.operator.end_tick(&TickEnd { number: self.ticks, now: 0, watermarks })?;
        self.pull(out)?;
        self.operator.tables().into_iter().try_for_each(|table| table.end_tick())
    }

    fn pull(&mut self, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut blocked = 0;
        loop {
            match self.operator.pull()? {
                Pull::Batch(batch) => {
                    out.push(batch);
                    blocked = 0;
                }
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
