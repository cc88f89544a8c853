//! A batch as one aggregate call sees it.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, AggregateFunction};

pub struct Input<'a> {
    argument: Option<&'a ArrayRef>,
    /// The columns of ORDER BY.
    order: Vec<ArrayRef>,
    /// Rows that count; none: all.
    counts: Option<BooleanBuffer>,
    weights: Option<&'a [i64]>,
}

impl<'a> Input<'a> {
    /// # Errors
    /// If the call's columns are not there, which its plan promised.
    pub fn new(call: &AggregateCall, batch: &'a ChangeBatch) -> Result<Self> {
        let column =
            |at: usize| batch.rows().columns().get(at).ok_or_else(|| Error::internal("no such aggregate column"));
        let argument = call.argument.map(column).transpose()?;
        let keeps_nulls = call.function == AggregateFunction::ArrayAgg;
        let not_null = argument.filter(|_| !keeps_nulls).and_then(|a| a.logical_nulls()).map(|n| n.into_inner());
        let passes = match call.filter.map(column).transpose()? {
            None => None,
            Some(filter) if *filter.data_type() == DataType::Boolean => {
                let filter = filter.as_boolean();
                Some(filter.nulls().map_or_else(|| filter.values().clone(), |n| filter.values() & n.inner()))
            }
            Some(_) => return Err(Error::internal("an aggregate's FILTER is not boolean")),
        };
        let counts = match (not_null, passes) {
            (Some(a), Some(b)) => Some(&a & &b),
            (a, b) => a.or(b),
        };
        let order = call.order.iter().map(|by| column(by.column).cloned()).collect::<Result<_>>()?;
        Ok(Input { argument, order, counts, weights: batch.weights().map(|w| w.as_ref()) })
    }

    /// Values that all count.
    pub fn weighted(argument: &'a ArrayRef, weights: &'a [i64]) -> Self {
        Input { argument: Some(argument), order: Vec::new(), counts: None, weights: Some(weights) }
    }

    /// The argument; a call without one must not ask.
    pub fn argument(&self) -> Result<&'a ArrayRef> {
        self.argument.ok_or_else(|| Error::internal("an aggregate misses its argument"))
    }

    /// The columns of ORDER BY within the call.
    pub fn order(&self) -> &[ArrayRef] {
        &self.order
    }

    /// Calls `each` with row, slot and weight of every row that counts.
    #[inline]
    pub fn try_for_each(&self, slots: &[u32], mut each: impl FnMut(usize, u32, i64) -> Result<()>) -> Result<()> {
        match (&self.counts, self.weights) {
            (None, None) => slots.iter().enumerate().try_for_each(|(row, slot)| each(row, *slot, 1)),
            (None, Some(weights)) => {
                slots.iter().zip(weights).enumerate().try_for_each(|(row, (slot, weight))| each(row, *slot, *weight))
            }
            (Some(counts), weights) => counts.set_indices().try_for_each(|row| {
                let weight = weights.map_or(Some(1), |w| w.get(row).copied());
                match (slots.get(row), weight) {
                    (Some(slot), Some(weight)) => each(row, *slot, weight),
                    _ => Ok(()),
                }
            }),
        }
    }
}
