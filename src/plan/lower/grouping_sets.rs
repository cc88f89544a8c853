//! GROUP BY of several sets: each row enters the aggregate once for each set, under the set's number ([`Op::Expand`]), so
//! that keys left out and keys that are null do not meet. The set without keys has its one row without input, too: it is an
//! aggregate of its own.

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, Operator, lit};

use super::aggregate::{Inputs, Key};
use super::build::Facts;
use super::{Lowering, Rows, Slot, WindowColumn};
use crate::error::{Error, Result, SqlState};
use crate::plan::query::typing::{binary, cast};
use crate::plan::stream::{
    AggregateCall, AggregateFunction, Changelog, Distribution, EventTime, NodeIndex, Op, leaves_out,
};
use crate::types::SqlType;

/// Bits of a set's number for keys; what is left tells equal sets apart.
const MAX_KEYS: usize = 48;

/// Arguments of GROUPING that its integer has room for.
const MAX_ARGUMENTS: usize = 31;

/// What GROUP BY says.
pub(super) struct Grouping<'a> {
    /// Each key once.
    pub keys: Vec<&'a Expr>,
    /// With GROUPING SETS: the keys of each set.
    pub sets: Option<Vec<Vec<usize>>>,
}

impl<'a> Grouping<'a> {
    pub fn of(aggregate: &'a Aggregate) -> Result<Self> {
        let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() else {
            let mut keys: Vec<&Expr> = Vec::new();
            // The aggregate's schema has a key that is named twice once.
            for key in aggregate.group_expr.iter() {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            return Ok(Grouping { keys, sets: None });
        };
        let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
        let GroupingSet::GroupingSets(sets) = sets else {
            return Err(Error::internal("grouping sets were not spelled out"));
        };
        let place = |key: &Expr| keys.iter().position(|known| *known == key);
        let sets = sets.iter().map(|set| set.iter().filter_map(place).collect()).collect();
        Ok(Grouping { keys, sets: Some(sets) })
    }

    /// Whether no set leaves any key out.
    pub fn keeps_all_keys(&self) -> bool {
        self.sets.iter().flatten().all(|set| set.len() == self.keys.len())
    }

    /// Whether rows are grouped by window: some key is one of its columns, and no set leaves such a key out.
    pub fn is_by_window(&self, window_column: impl Fn(&Expr) -> Option<WindowColumn>) -> bool {
        let is_window = |(_, key): &(usize, &&Expr)| window_column(key).is_some();
        let mut columns = self.keys.iter().enumerate().filter(is_window).map(|(place, _)| place).peekable();
        columns.peek().is_some() && columns.all(|key| self.sets.iter().flatten().all(|set| set.contains(&key)))
    }
}

/// A set's number among keys that are `places` of all: see [`Op::Expand`].
fn numbers(sets: &[Vec<usize>], places: &[usize]) -> Vec<i64> {
    let mut numbers: Vec<i64> = Vec::with_capacity(sets.len());
    for set in sets {
        let mut number = 0;
        for key in places {
            number = number << 1 | i64::from(!set.contains(key));
        }
        while numbers.contains(&number) {
            number += 1 << places.len();
        }
        numbers.push(number);
    }
    numbers
}

impl Lowering<'_> {
    /// The groups of several sets. The slots are those of `keys`, of the set's number, and of the calls.
    pub(super) fn group_by_sets(&mut self, mut keys: Vec<Key>, inputs: Inputs, sets: &[Vec<usize>]) -> Result<Rows> {
        let is_plain = |(place, key): (usize, &Key)| if let Key::Plain(at) = key { Some((place, *at)) } else { None };
        let (places, plain): (Vec<usize>, Vec<usize>) = keys.iter().enumerate().filter_map(is_plain).unzip();
        if places.len() > MAX_KEYS {
            let message = format!("GROUPING SETS of more than {MAX_KEYS} columns are not supported");
            return Err(Error::unsupported(message, "Give the groupings INSERTs of their own."));
        }
        let columns = plain.iter().filter_map(|at| inputs.keys.get(*at)).copied().collect::<Vec<_>>();
        for (at, key) in places.iter().enumerate() {
            if let Some(key) = keys.get_mut(*key) {
                *key = Key::Plain(at);
            }
        }
        keys.push(Key::Plain(places.len()));
        let numbers = numbers(sets, &places);
        if inputs.window.is_some() {
            let expanded = self.expand(inputs, &columns, numbers);
            return self.group(&keys, expanded);
        }
        let is_empty = |number: &i64| (0..columns.len()).all(|key| leaves_out(*number, key, columns.len()));
        let (empty, others): (Vec<i64>, Vec<i64>) = numbers.into_iter().partition(is_empty);
        let schema = self.builder.schema(inputs.node);
        let key_fields: Vec<Field> = columns.iter().map(|column| schema.field(*column).clone()).collect();
        let mut nodes = Vec::new();
        if !others.is_empty() {
            let expanded = self.expand(inputs.clone(), &columns, others);
            nodes.push(self.group(&keys, expanded)?.node);
        }
        for number in empty {
            nodes.push(self.group_of_all(&inputs, &key_fields, number)?);
        }
        let node = self.all_of(nodes, columns.len() + 1)?;
        let slots = keys.iter().filter_map(|key| if let Key::Plain(at) = key { Some(Slot::Column(*at)) } else { None });
        let results = inputs.places.iter().map(|place| Slot::Column(columns.len() + 1 + place));
        Ok(Rows { node, slots: slots.chain(results).collect(), window: None })
    }

    /// Each row once for each set, grouped by what the set keeps of `keys` and by its number.
    fn expand(&mut self, mut inputs: Inputs, keys: &[usize], sets: Vec<i64>) -> Inputs {
        let mut columns: Vec<usize> = Vec::new();
        let mut place = |column: &mut usize| {
            let known = columns.iter().position(|c| c == column);
            *column = match known {
                Some(at) => at,
                None => {
                    columns.push(*column);
                    columns.len() - 1
                }
            };
        };
        inputs.calls.iter_mut().flat_map(AggregateCall::columns_mut).for_each(&mut place);
        if let Some(window) = &mut inputs.window {
            place(&mut window.time.column);
            window.columns[WindowColumn::End.index()].iter_mut().for_each(&mut place);
        }
        let input = self.builder.node(inputs.node);
        let mut fields: Vec<Field> =
            columns.iter().chain(keys).map(|column| input.schema.field(*column).clone()).collect();
        fields.push(SqlType::BigInt.field("grouping_set"));
        let event_time = input.event_time.and_then(|time| {
            let column = columns.iter().position(|column| *column == time.column)?;
            Some(EventTime { column, ..time })
        });
        inputs.keys = (columns.len()..fields.len()).collect();
        let facts = Facts { fields, changelog: input.changelog, event_time, unique_key: None };
        let op = Op::Expand { columns, keys: keys.to_vec(), sets };
        inputs.node = self.builder.add(op, vec![(inputs.node, Distribution::Any)], facts);
        inputs
    }

    /// The row of the set without keys, as the rows of the others are.
    fn group_of_all(&mut self, inputs: &Inputs, keys: &[Field], set: i64) -> Result<NodeIndex> {
        let mut all = Inputs { keys: Vec::new(), ..inputs.clone() };
        if all.calls.is_empty() {
            // A row needs a column.
            all.calls.push(AggregateCall::new(AggregateFunction::Count, None));
            all.results.push(SqlType::BigInt.field("count"));
        }
        let all = self.group(&[], all)?;
        let mut outputs = Vec::new();
        for key in keys {
            outputs.push((lit(ScalarValue::try_from(key.data_type())?), key.clone()));
        }
        outputs.push((lit(set), SqlType::BigInt.field("grouping_set")));
        for (at, result) in inputs.results.iter().enumerate() {
            outputs.push((self.builder.column(all.node, at), result.clone()));
        }
        self.builder.project(all.node, outputs)
    }

    /// The rows of all these nodes, whose first `keys` columns are unique.
    fn all_of(&mut self, nodes: Vec<NodeIndex>, keys: usize) -> Result<NodeIndex> {
        let first = match nodes.as_slice() {
            [] => return Err(Error::internal("there are no grouping sets")),
            [one] => return Ok(*one),
            [first, ..] => self.builder.node(*first),
        };
        let fields = first.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let unique_key = Some((0..keys).collect());
        let facts = Facts { fields, changelog: Changelog::Changing, event_time: None, unique_key };
        let inputs = nodes.into_iter().map(|node| (node, Distribution::Any)).collect();
        Ok(self.builder.add(Op::Union, inputs, facts))
    }

    /// Appends what GROUPING says of each row, and puts the slots of all aggregates into their order.
    pub(super) fn grouping_calls(
        &mut self,
        aggregate: &Aggregate,
        grouping: &Grouping<'_>,
        keys: &[Key],
        rows: Rows,
    ) -> Result<Rows> {
        let schema = self.builder.schema(rows.node);
        let width = schema.fields().len();
        let mut outputs: Vec<(Expr, Field)> = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            outputs.push((self.builder.column(rows.node, at), field.as_ref().clone()));
        }
        let set = grouping.keys.len();
        let number = match (&grouping.sets, rows.slots.get(set)) {
            (Some(_), Some(Slot::Column(column))) => Some(self.builder.column(rows.node, *column)),
            _ => None,
        };
        let lost = || Error::internal("an aggregate was lost");
        let names = set + usize::from(number.is_some());
        let (names, mut results) = rows.slots.split_at_checked(names).ok_or_else(lost)?;
        let mut slots = names.to_vec();
        for call in &aggregate.aggr_expr {
            slots.push(match (grouping_call(call), results.split_first()) {
                (Some(call), _) => {
                    outputs
                        .push((left_out(call, grouping, keys, number.as_ref())?, SqlType::Integer.field("grouping")));
                    Slot::Column(outputs.len() - 1)
                }
                (None, Some((slot, rest))) => {
                    results = rest;
                    *slot
                }
                (None, None) => return Err(lost()),
            });
        }
        if outputs.len() == width {
            return Ok(Rows { slots, ..rows });
        }
        let node = self.builder.project(rows.node, outputs)?;
        Ok(Rows { node, slots, window: None })
    }
}

/// GROUPING(...), which is no aggregate but asks for a row's set.
pub(super) fn grouping_call(expr: &Expr) -> Option<&AggregateExpr> {
    match expr {
        Expr::Alias(alias) => grouping_call(&alias.expr),
        Expr::AggregateFunction(call) if call.func.name() == "grouping" => Some(call),
        _ => None,
    }
}

/// One bit for each argument, the last one's lowest: whether the row's set leaves it out.
fn left_out(call: &AggregateExpr, grouping: &Grouping<'_>, keys: &[Key], number: Option<&Expr>) -> Result<Expr> {
    let arguments = &call.params.args;
    if arguments.len() > MAX_ARGUMENTS {
        let message = format!("GROUPING must have fewer than {} arguments", MAX_ARGUMENTS + 1);
        return Err(Error::new(SqlState::TooManyArguments, message));
    }
    let plain = keys.iter().filter(|key| matches!(key, Key::Plain(_))).count();
    let mut bits: Option<Expr> = None;
    for (to, argument) in arguments.iter().rev().enumerate() {
        let place = grouping.keys.iter().position(|key| *key == argument).ok_or_else(not_a_key)?;
        let before = keys.iter().take(place).filter(|key| matches!(key, Key::Plain(_))).count();
        let (Some(number), Some(Key::Plain(_))) = (number, keys.get(place)) else { continue };
        let bit = shifted(number.clone(), Operator::BitwiseShiftRight, plain - 1 - before);
        let bit = shifted(binary(bit, Operator::BitwiseAnd, lit(1_i64)), Operator::BitwiseShiftLeft, to);
        bits = Some(match bits {
            Some(bits) => binary(bits, Operator::BitwiseOr, bit),
            None => bit,
        });
    }
    Ok(bits.map_or(lit(0_i32), |bits| cast(bits, DataType::Int32)))
}

fn shifted(bits: Expr, shift: Operator, by: usize) -> Expr {
    if by == 0 { bits } else { binary(bits, shift, lit(by as i64)) }
}

/// GROUPING of something else.
pub fn not_a_key() -> Error {
    let message = "arguments to GROUPING must be grouping expressions of the associated query level";
    Error::new(SqlState::GroupingError, message).with_hint("Name what GROUP BY names.")
}
