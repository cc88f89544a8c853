//! NOT NULL, where rows come in: a row with a null in such a column is as bad as one that cannot be decoded.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;

use crate::error::Result;
use crate::format::{BadMessage, Decoded};
use crate::types::Column;

/// The columns of some rows that must not be null, and the relation that says so.
pub struct Required {
    relation: String,
    /// In the rows' order.
    columns: Vec<(usize, Column)>,
}

impl Required {
    /// `columns`: those of the rows, in their order; `None` for what no one declared.
    pub fn new<'a>(relation: &str, columns: impl Iterator<Item = Option<&'a Column>>) -> Self {
        let not_null = |(index, column): (usize, Option<&'a Column>)| {
            column.filter(|column| column.not_null).map(|column| (index, column.clone()))
        };
        Required { relation: relation.to_string(), columns: columns.enumerate().filter_map(not_null).collect() }
    }

    /// Takes the messages out that a null is in, with all of their rows, and names them among the bad ones. `tombstones`:
    /// messages without a value, ascending; what deletes a row by its key alone has nothing but the key.
    pub fn enforce(&self, decoded: &mut Decoded, tombstones: &[u32]) -> Result<()> {
        let nulls = self.columns.iter().filter(|(index, _)| has_nulls(&decoded.rows, *index)).collect::<Vec<_>>();
        if nulls.is_empty() {
            return Ok(());
        }
        let messages = decoded.messages.take().unwrap_or_else(|| in_order(&decoded.rows, tombstones, &decoded.bad));
        let mut bad: Vec<BadMessage> = Vec::new();
        for (row, message) in messages.iter().enumerate() {
            let deleted =
                decoded.weights.as_ref().and_then(|weights| weights.get(row)).is_some_and(|weight| *weight < 0);
            if (deleted && tombstones.binary_search(message).is_ok())
                || bad.last().is_some_and(|last| last.index == *message as usize)
            {
                continue;
            }
            if let Some((_, column)) = nulls.iter().find(|(index, _)| is_null(&decoded.rows, *index, row)) {
                bad.push(BadMessage { index: *message as usize, error: column.null_violation(&self.relation) });
            }
        }
        let is_good = |message: &u32| bad.binary_search_by_key(&(*message as usize), |bad| bad.index).is_err();
        let good: BooleanArray = messages.iter().map(|message| Some(is_good(message))).collect();
        decoded.rows = filter_record_batch(&decoded.rows, &good)?;
        let kept = |row: usize| good.value(row);
        decoded.weights = decoded.weights.take().map(|weights| {
            let rows = weights.iter().enumerate().filter(|(row, _)| kept(*row));
            rows.map(|(_, weight)| *weight).collect::<ScalarBuffer<i64>>()
        });
        decoded.messages = Some(messages.into_iter().filter(is_good).collect());
        decoded.bad.extend(bad);
        decoded.bad.sort_by_key(|bad| bad.index);
        Ok(())
    }
}

fn has_nulls(rows: &RecordBatch, column: usize) -> bool {
    rows.columns().get(column).is_some_and(|column| column.null_count() > 0)
}

fn is_null(rows: &RecordBatch, column: usize, row: usize) -> bool {
    rows.columns().get(column).is_some_and(|column| column.is_null(row))
}

/// The messages of rows that came one a message.
fn in_order(rows: &RecordBatch, tombstones: &[u32], bad: &[BadMessage]) -> Vec<u32> {
    let (mut tombstones, mut bad) = (tombstones.iter().peekable(), bad.iter().peekable());
    let is_row = |message: &u32| {
        let tombstone = tombstones.next_if(|tombstone| *tombstone == message).is_some();
        let bad = bad.next_if(|bad| bad.index == *message as usize).is_some();
        !tombstone && !bad
    };
    (0..).filter(is_row).take(rows.num_rows()).collect()
}
