//! The Nexmark stream: people, auctions and bids of an auction house.
//!
//! 1. [`event`]: event n's kind and numbers, by arithmetic over (seed, n).
//! 2. [`text`]: the texts that rows point into.
//! 3. [`columns`]: declared columns matched with what the stream has, and filled for a run of events, each in one tight
//!    loop; only the wanted ones.
//! 4. [`Nexmark`]: the stream in one of its two shapes. With option 'nexmark.table' one kind of event in flat columns (the
//!    other kinds cost nothing); without it one wide table, (event_type, person, auction, bid, dateTime), with a ROW for
//!    each kind and nulls where an event is of another.
//!
//! Invariant: event n is the same for every shape, chunk, partition and reading speed.

pub mod columns;
pub mod event;
pub mod text;

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, StructArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use chrono::NaiveDateTime;

use self::columns::{Filler, Quantity};
use self::event::{Kind, PERIOD, Schedule};
use super::stripe::Stripe;
use crate::clock::{MICROS_PER_MILLI, Micros};
use crate::connector::options::{Choice, OptionReader, nearest};
use crate::error::{Error, Result, SqlState};
use crate::types::{Column, SqlType, schema_of};

/// Time of event 0 unless 'nexmark.base-time' says otherwise, as in Beam: 2015-07-15 00:00:00.
const BASE_TIME: Micros = 1_436_918_400_000 * MICROS_PER_MILLI;

/// Events a second of event time unless 'nexmark.event-rate' says otherwise.
const EVENT_RATE: u64 = 100_000;

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("bid", Kind::Bid), ("auction", Kind::Auction), ("person", Kind::Person)];
}

/// The stream, in the shape of its declared columns.
#[derive(Debug)]
pub struct Nexmark {
    schema: SchemaRef,
    shape: Shape,
    filler: Filler,
}

#[derive(Debug)]
enum Shape {
    /// Rows of one kind; a quantity for each declared column.
    Flat(Kind, Vec<Quantity>),
    Wide(Vec<Wide>),
}

/// A declared column of the wide table.
#[derive(Debug)]
enum Wide {
    EventType,
    DateTime,
    /// A quantity for each declared field.
    Event(Kind, Vec<Quantity>),
}

impl Nexmark {
    /// # Errors
    /// 42703 for a column that the stream does not have, 42804 for one declared with another type; 22023 for options.
    pub fn new(columns: &[Column], seed: u64, options: &mut OptionReader) -> Result<Self> {
        let table = options.choice::<Kind>("nexmark.table")?;
        let rate = options.optional::<NonZeroU64>("nexmark.event-rate")?.map_or(EVENT_RATE, NonZeroU64::get);
        let base = options.optional::<NaiveDateTime>("nexmark.base-time")?;
        let base = base.map_or(BASE_TIME, |t| t.and_utc().timestamp_micros());
        let shape = match table {
            Some(kind) => {
                let quantity = |c: &Column| columns::quantity(kind, &c.name, &c.ty, "");
                Shape::Flat(kind, columns.iter().map(quantity).collect::<Result<_>>()?)
            }
            None => Shape::Wide(columns.iter().map(wide).collect::<Result<_>>()?),
        };
        Ok(Nexmark { schema: schema_of(columns), shape, filler: Filler::new(seed, Schedule { base, rate })? })
    }

    /// Columns `columns` of the events with these global numbers, all of `kind`.
    fn flat(&self, quantities: &[Quantity], events: &[u64], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let fill = |column: &usize| match (quantities.get(*column), self.schema.fields().get(*column)) {
            (Some(quantity), Some(field)) => self.filler.fill(*quantity, events, field.data_type()),
            _ => Err(Error::internal("a generator was asked for a column that it does not have")),
        };
        columns.iter().map(fill).collect()
    }

    fn wide(&self, shapes: &[Wide], all: &[u64], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let fill = |column: &usize| -> Result<ArrayRef> {
            let (Some(shape), Some(field)) = (shapes.get(*column), self.schema.fields().get(*column)) else {
                return Err(Error::internal("a generator was asked for a column that it does not have"));
            };
            match (shape, field.data_type()) {
                (Wide::EventType, _) => {
                    Ok(Arc::new(Int32Array::from_iter_values(all.iter().map(|n| Kind::of(*n) as i32))))
                }
                (Wide::Event(kind, quantities), DataType::Struct(fields)) => {
                    self.event_column(*kind, quantities, fields, all)
                }
                (_, data_type) => self.filler.fill(Quantity::DateTime, all, data_type),
            }
        };
        columns.iter().map(fill).collect()
    }

    /// A ROW column: made for the events of its kind alone, then spread out, null elsewhere.
    fn event_column(&self, kind: Kind, quantities: &[Quantity], fields: &Fields, all: &[u64]) -> Result<ArrayRef> {
        let mut events = Vec::with_capacity(all.len());
        let places: UInt32Array = all
            .iter()
            .map(|n| {
                let mine = Kind::of(*n) == kind;
                if mine {
                    events.push(*n);
                }
                mine.then(|| events.len() as u32 - 1)
            })
            .collect();
        let filled = quantities.iter().zip(fields).map(|(q, field)| self.filler.fill(*q, &events, field.data_type()));
        let dense = StructArray::try_new(fields.clone(), filled.collect::<Result<_>>()?, None)?;
        Ok(compute::take(&dense, &places, None)?)
    }
}

impl super::Stream for Nexmark {
    fn block(&self) -> u64 {
        PERIOD
    }

    fn rows_before(&self, local: u64) -> u64 {
        match &self.shape {
            Shape::Flat(kind, _) => kind.before(local),
            Shape::Wide(_) => local,
        }
    }

    fn event_of_row(&self, row: u64) -> u64 {
        match &self.shape {
            Shape::Flat(kind, _) => kind.event(row),
            Shape::Wide(_) => row,
        }
    }

    fn row_bytes(&self, columns: &[usize]) -> usize {
        match &self.shape {
            Shape::Flat(_, quantities) => {
                columns.iter().filter_map(|c| quantities.get(*c)).map(|q| q.average_bytes()).sum()
            }
            // Nine in ten events are bids.
            Shape::Wide(_) => 100,
        }
    }

    fn make(&self, stripe: Stripe, events: Range<u64>, columns: &[usize]) -> Result<RecordBatch> {
        let (arrays, rows) = match &self.shape {
            Shape::Flat(kind, quantities) => {
                let events = event_numbers(stripe, &events, |period, from, to| kind.within(period, from, to));
                (self.flat(quantities, &events, columns)?, events.len())
            }
            Shape::Wide(shapes) => {
                let events = event_numbers(stripe, &events, |period, from, to| period + from..period + to);
                (self.wide(shapes, &events, columns)?, events.len())
            }
        };
        let schema = Arc::new(self.schema.project(columns)?);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

/// The global numbers of the wanted events among a partition's `local` ones. `within` says which of a period's events are
/// wanted: given its first global number, and from where to where within it.
fn event_numbers(stripe: Stripe, local: &Range<u64>, within: impl Fn(u64, u64, u64) -> Range<u64>) -> Vec<u64> {
    let mut events = Vec::new();
    let mut period = local.start - local.start % PERIOD;
    while period < local.end {
        let from = local.start.saturating_sub(period);
        let to = (local.end - period).min(PERIOD);
        events.extend(within(stripe.global(period), from, to));
        period += PERIOD;
    }
    events
}

/// Matches a declared column with the wide table's.
fn wide(column: &Column) -> Result<Wide> {
    const NAMES: [&str; 5] = ["event_type", "person", "auction", "bid", "datetime"];
    let name = column.name.to_lowercase();
    let kind = match name.as_str() {
        "event_type" if column.ty == SqlType::Integer => return Ok(Wide::EventType),
        "event_type" => return Err(columns::mismatch(&column.name, &column.ty, "integer")),
        "datetime" => {
            columns::quantity(Kind::Bid, &column.name, &column.ty, "")?;
            return Ok(Wide::DateTime);
        }
        "person" => Kind::Person,
        "auction" => Kind::Auction,
        "bid" => Kind::Bid,
        _ => {
            let error =
                Error::new(SqlState::UndefinedColumn, format!("a nexmark generator has no column \"{}\"", column.name));
            return Err(error.with_hint(match nearest(&name, NAMES.into_iter()) {
                Some(near) => format!("Perhaps you meant \"{near}\"."),
                None => "Its columns are event_type, person, auction, bid and dateTime; \
                         for flat columns add 'nexmark.table' = 'bid', 'auction' or 'person'."
                    .to_string(),
            }));
        }
    };
    let SqlType::Row(fields) = &column.ty else {
        return Err(columns::mismatch(&column.name, &column.ty, "a ROW"));
    };
    let of = |(field, ty): &(String, SqlType)| columns::quantity(kind, field, ty, &column.name);
    Ok(Wide::Event(kind, fields.iter().map(of).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests;
