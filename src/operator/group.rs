//! The value columns of an aggregate: what is kept for each group.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::accumulator::{self, Accumulator, Input, Sign};
use crate::change::ChangeBatch;
use crate::change::bytes::Reader;
use crate::change::key::Keys;
use crate::change::row::encode_rows;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, Changelog};
use crate::state::Values;

/// Version of an encoded group.
const GROUP_VERSION: u8 = 1;

/// What a plan says of an aggregate's calls.
#[derive(Clone)]
pub struct Calls {
    calls: Arc<[AggregateCall]>,
    /// Types of argument and answer.
    types: Arc<[(Option<DataType>, DataType)]>,
    changelog: Changelog,
}

impl Calls {
    /// `results`: the fields of `output` that hold the answers start at `first_result`.
    pub fn new(
        calls: &[AggregateCall],
        input: &SchemaRef,
        changelog: Changelog,
        output: &SchemaRef,
        first_result: usize,
    ) -> Result<Self> {
        let field = |schema: &SchemaRef, at: usize| match schema.fields().get(at) {
            Some(field) => Ok(field.data_type().clone()),
            None => Err(Error::internal("an aggregate's plan names a column that is not there")),
        };
        let types = calls.iter().enumerate().map(|(i, call)| {
            Ok((call.argument.map(|at| field(input, at)).transpose()?, field(output, first_result + i)?))
        });
        Ok(Calls { types: types.collect::<Result<_>>()?, calls: calls.into(), changelog })
    }

    /// The same calls, such that what was added can be taken out again.
    pub fn retractable(&self) -> Self {
        Calls { changelog: Changelog::Changing, ..self.clone() }
    }
}

/// Groups by slot: how many rows each has, whether its row is out, and its accumulators.
pub struct Groups {
    calls: Calls,
    /// Sum of the weights of a group's rows.
    rows: Vec<i64>,
    /// The group's answer was emitted and not retracted since.
    is_out: Vec<bool>,
    accumulators: Vec<Box<dyn Accumulator>>,
}

impl Groups {
    pub fn new(calls: &Calls) -> Result<Self> {
        let accumulators = calls
            .calls
            .iter()
            .zip(calls.types.iter())
            .map(|(call, (argument, result))| accumulator::create(call, argument.as_ref(), result, calls.changelog))
            .collect::<Result<_>>()?;
        Ok(Groups { calls: calls.clone(), rows: Vec::new(), is_out: Vec::new(), accumulators })
    }

    /// Adds each row of `batch` to its group.
    pub fn update(&mut self, slots: &[u32], batch: &ChangeBatch) -> Result<()> {
        match batch.weights() {
            None => slots.iter().for_each(|slot| add(&mut self.rows, *slot, 1)),
            Some(weights) => slots.iter().zip(weights.iter()).for_each(|(slot, w)| add(&mut self.rows, *slot, *w)),
        }
        for (call, accumulator) in self.calls.calls.iter().zip(&mut self.accumulators) {
            accumulator.update(slots, &Input::new(call, batch)?)?;
        }
        Ok(())
    }

    /// Adds groups `from` of `other` to `into`.
    pub fn merge(&mut self, into: &[u32], other: &Groups, from: Range<u32>) -> Result<()> {
        let rows = other.rows.get(from.start as usize..from.end as usize).unwrap_or_default();
        into.iter().zip(rows).for_each(|(slot, weight)| add(&mut self.rows, *slot, *weight));
        for (own, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            own.merge(into, other.as_ref(), from.clone())?;
        }
        Ok(())
    }

    /// Adds groups `from` of `other` (of the same calls, perhaps for append-only input) to `into`, or takes them out again.
    pub fn absorb(&mut self, into: &[u32], other: &Groups, from: &[u32], sign: Sign) -> Result<()> {
        for (slot, from) in into.iter().zip(from) {
            let rows = other.rows(*from);
            add(&mut self.rows, *slot, if sign == Sign::Add { rows } else { rows.wrapping_neg() });
        }
        for (own, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            own.absorb(into, other.as_ref(), from, sign)?;
        }
        Ok(())
    }

    /// The answers, one column a call.
    pub fn finish(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.accumulators.iter().map(|a| a.finish(slots)).collect()
    }

    pub fn rows(&self, slot: u32) -> i64 {
        self.rows.get(slot as usize).copied().unwrap_or_default()
    }

    pub fn is_out(&self, slot: u32) -> bool {
        self.is_out.get(slot as usize).copied().unwrap_or_default()
    }

    pub fn set_out(&mut self, slot: u32, is_out: bool) {
        if let Some(place) = self.is_out.get_mut(slot as usize) {
            *place = is_out;
        }
    }
}

#[inline]
fn add(rows: &mut [i64], slot: u32, weight: i64) {
    if let Some(rows) = rows.get_mut(slot as usize) {
        *rows = rows.wrapping_add(weight);
    }
}

impl Values for Groups {
    fn grow(&mut self, slots: usize) {
        if self.rows.len() < slots {
            self.rows.resize(slots, 0);
            self.is_out.resize(slots, false);
            self.accumulators.iter_mut().for_each(|a| a.grow(slots));
        }
    }

    fn reset(&mut self, slot: u32) {
        if let Some(rows) = self.rows.get_mut(slot as usize) {
            *rows = 0;
        }
        self.set_out(slot, false);
        self.accumulators.iter_mut().for_each(|a| a.reset(slot));
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.is_out.clear();
        self.accumulators.iter_mut().for_each(|a| a.clear());
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.push(GROUP_VERSION);
        out.extend_from_slice(&self.rows(slot).to_le_bytes());
        out.push(u8::from(self.is_out(slot)));
        self.accumulators.iter().for_each(|a| a.encode(slot, out));
    }

    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new(bytes);
        reader.expect_version(GROUP_VERSION, "the state of a group")?;
        let rows = reader.i64()?;
        add(&mut self.rows, slot, rows);
        self.set_out(slot, reader.byte()? != 0);
        self.accumulators.iter_mut().try_for_each(|a| a.decode(slot, &mut reader))
    }

    fn bytes(&self) -> usize {
        8 * self.rows.capacity() + self.is_out.capacity() + self.accumulators.iter().map(|a| a.bytes()).sum::<usize>()
    }
}

/// Arrow compares no arrays.
fn encode_column(column: &ArrayRef) -> Result<Keys> {
    let schema = Schema::new(vec![Field::new("answer", column.data_type().clone(), true)]);
    encode_rows(&RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(column)])?)
}

/// For each row whether two columns of answers differ in it.
pub fn differ(old: &[ArrayRef], new: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
    let mut differ = vec![false; rows];
    for (old, new) in old.iter().zip(new) {
        if old.data_type().is_nested() {
            let (old, new) = (encode_column(old)?, encode_column(new)?);
            differ.iter_mut().enumerate().for_each(|(row, differ)| *differ |= old.get(row) != new.get(row));
            continue;
        }
        let same: BooleanArray = arrow::compute::kernels::cmp::not_distinct(old, new)?;
        for (differ, same) in differ.iter_mut().zip(same.values().iter()) {
            *differ |= !same;
        }
    }
    Ok(differ)
}
