//! Rows whose columns each follow a rule of their own, given by options `fields.<column>.<...>`.
//!
//! | kind | what a column holds | options |
//! |---|---|---|
//! | random (the default) | a value of a range, or of a list | min, max; length (texts); values |
//! | sequence (the default of timestamps) | start, start + step, ... | start, step; end, which also ends the stream |
//! | cycle | the values of a list, over and over | values |
//!
//! Every kind takes 'null-rate' (0 to 1), every timestamp 'max-past' (how far a row may lie in the past of its place: rows
//! out of order), and texts 'prefix', which makes them a number behind a prefix.
//!
//! 1. [`rule`]: options become a [`rule::Rule`] for each column.
//! 2. [`literal`]: values within options, as whole numbers in the column's own unit.
//! 3. [`fill`]: a rule makes a column for a run of rows.
//!
//! Invariant: a value depends on (seed, column's name, row number) alone.

pub mod fill;
pub mod literal;
pub mod rule;

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use self::rule::Rule;
use super::stripe::Stripe;
use crate::connector::options::OptionReader;
use crate::error::{Error, Result};
use crate::types::{Column, schema_of};

#[derive(Debug)]
pub struct Fields {
    schema: SchemaRef,
    rules: Vec<Rule>,
}

impl Fields {
    /// `rows_per_second`: the pace, which timestamps follow unless they have a step of their own.
    ///
    /// # Errors
    /// 0A000 for a column whose type has no rule; 22023 for options.
    pub fn new(
        columns: &[Column],
        seed: u64,
        rows_per_second: Option<NonZeroU64>,
        options: &mut OptionReader,
    ) -> Result<Self> {
        let rule = |column: &Column| Rule::new(column, seed, rows_per_second, options);
        Ok(Fields { schema: schema_of(columns), rules: columns.iter().map(rule).collect::<Result<_>>()? })
    }

    /// How many rows the shortest sequence has, if any ends.
    pub fn ends_at(&self) -> Option<u64> {
        self.rules.iter().filter_map(|rule| rule.rows).min()
    }
}

impl super::Stream for Fields {
    fn block(&self) -> u64 {
        1
    }

    fn rows_before(&self, local: u64) -> u64 {
        local
    }

    fn event_of_row(&self, row: u64) -> u64 {
        row
    }

    fn row_bytes(&self, columns: &[usize]) -> usize {
        columns.iter().filter_map(|c| self.rules.get(*c)).map(Rule::average_bytes).sum()
    }

    fn make(&self, stripe: Stripe, events: Range<u64>, columns: &[usize]) -> Result<RecordBatch> {
        let rows: Vec<u64> = events.map(|local| stripe.global(local)).collect();
        let fill = |column: &usize| match self.rules.get(*column) {
            Some(rule) => rule.fill(&rows),
            None => Err(Error::internal("a generator was asked for a column that it does not have")),
        };
        let arrays = columns.iter().map(fill).collect::<Result<_>>()?;
        let schema = Arc::new(self.schema.project(columns)?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

#[cfg(test)]
mod tests;
