//! Accumulators: what an aggregate function keeps for each group, as columns indexed by slot.
//!
//! 1. [`create`] picks the accumulator of a call by its function, its argument's type, and whether rows can be retracted.
//! 2. [`Input`] is a batch as one call sees it: its argument ([`numbers`] of any width are read alike), which rows count
//!    (not null, FILTER true), their weights.
//! 3. An [`Accumulator`] takes rows, merges with another of its kind (a tick's with the state's), and answers.
//! 4. All are [`column::Accumulated`], over a [`column::Kind`] that says what one slot's cell is:
//!    [`count`], [`sum`] (integers and numerics), [`float`] over [`exact`] sums, [`extremum`] (MIN and MAX of append-only
//!    input) and [`retractable`] (MIN and MAX with retraction), both over the [`domain`]s of comparable types,
//!    [`boolean`] (bool_and, bool_or), [`variance`] and [`float_variance`] (standard deviations too),
//!    [`collect`] (string_agg and array_agg), and [`sketch`] (approx_count_distinct).
//! 5. But for [`distinct`]: it stands in front of one of them, and shows it each value once.
//!
//! Invariants: a row added with weight w and then with -w leaves the answer as it was; the answer depends neither on the
//! order of rows nor on how they were spread over accumulators that were merged.

mod boolean;
mod collect;
mod column;
mod count;
mod distinct;
mod domain;
mod exact;
mod extremum;
mod float;
mod float_variance;
mod input;
mod numbers;
mod retractable;
mod sketch;
mod sum;
mod values;
mod variance;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::change::bytes::Reader;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, AggregateFunction, Changelog};
use crate::types::SqlType;

pub use input::Input;

/// Whether what another accumulator has seen is added or taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Add,
    TakeOut,
}

pub trait Accumulator: Any + Send + Sync {
    /// Makes room for slots `0..slots`; new ones have seen no rows.
    fn grow(&mut self, slots: usize);

    /// The slot has seen no rows.
    fn reset(&mut self, slot: u32);

    /// Forgets all slots.
    fn clear(&mut self);

    /// Adds each row of `input` to its slot in `slots`.
    fn update(&mut self, slots: &[u32], input: &Input<'_>) -> Result<()>;

    /// Adds what slots `from` of `other` (an accumulator of the same call) have seen to slots `into`.
    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: Range<u32>) -> Result<()>;

    /// Adds what slots `from` of `other` have seen to slots `into`, or takes it out again. `other` is an accumulator of the
    /// same call, perhaps the one for append-only input where this one takes retractions.
    fn absorb(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32], sign: Sign) -> Result<()>;

    /// The answer of each slot, as a column of the call's type.
    ///
    /// # Errors
    /// `22003` if an answer does not fit into its type.
    fn finish(&self, slots: &[u32]) -> Result<ArrayRef>;

    fn encode(&self, slot: u32, out: &mut Vec<u8>);

    /// Reads what `encode` wrote into a slot that has seen no rows.
    fn decode(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<()>;

    /// Bytes held in memory.
    fn bytes(&self) -> usize;
}

/// The accumulator of `call` over an argument of type `argument` (none: count(*)), answering in `result`.
///
/// # Errors
/// `0A000` if there is none for these types.
pub fn create(
    call: &AggregateCall,
    argument: Option<&DataType>,
    result: &DataType,
    changelog: Changelog,
) -> Result<Box<dyn Accumulator>> {
    use AggregateFunction as F;
    if call.distinct
        && !call.function.collects()
        && let Some(values) = argument
    {
        let plain = AggregateCall { distinct: false, ..call.clone() };
        let each_once = create(&plain, argument, result, Changelog::Changing)?;
        return domain::create_distinct(values, each_once).ok_or_else(|| unsupported(call, argument, result));
    }
    let found = match (call.function, argument) {
        (F::Count, _) => (*result == DataType::Int64).then(count::create),
        (F::Sum, Some(argument)) => {
            sum::create_sum(argument, result).or_else(|| float::create(false, argument, result))
        }
        (F::Avg, Some(argument)) => sum::create_avg(argument, result).or_else(|| float::create(true, argument, result)),
        (F::Min | F::Max, Some(argument)) if argument == result => {
            domain::create_extremum(call.function == F::Max, argument, changelog)
        }
        (F::BoolAnd | F::BoolOr, Some(DataType::Boolean)) => {
            (*result == DataType::Boolean).then(|| boolean::create(call.function == F::BoolAnd))
        }
        (F::ApproxCountDistinct, Some(argument)) if *result == DataType::Int64 => {
            return sketch::create(argument, changelog);
        }
        (F::StringAgg, Some(DataType::Utf8View)) if *result == DataType::Utf8View => {
            return collect::create(call, &DataType::Utf8View, result);
        }
        (F::ArrayAgg, Some(argument)) if matches!(result, DataType::List(item) if item.data_type() == argument) => {
            return collect::create(call, argument, result);
        }
        (function, Some(argument)) => variance::Spread::of(function).and_then(|spread| {
            variance::create(spread, argument, result).or_else(|| float_variance::create(spread, argument, result))
        }),
        _ => None,
    };
    found.ok_or_else(|| unsupported(call, argument, result))
}

fn unsupported(call: &AggregateCall, argument: Option<&DataType>, result: &DataType) -> Error {
    let name = |t: &DataType| SqlType::from_arrow(t).to_string();
    let of = argument.map_or_else(|| "*".to_string(), name);
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    Error::unsupported(
        format!("{}({distinct}{of}) as {} is not supported", call.function, name(result)),
        "Cast the argument to a type that the function takes.",
    )
}
