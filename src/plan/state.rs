//! What state an operator keeps, and what bounds it: said aloud by EXPLAIN and `check`.

use std::fmt;

use super::stream::{
    AggregateCall, Changelog, Emit, JoinKind, Keeps, Node, Op, RankFunction, Ranks, WindowKind, WindowTopN,
};

/// The state of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateInfo {
    /// What is kept: "one entry for each (customer)".
    pub keeps: String,
    pub bound: StateBound,
}

/// What keeps state from growing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateBound {
    /// One entry, or a fixed number of them, whatever comes.
    OneRow,
    /// Entries go when the watermark passes their window.
    Watermark,
    /// Nothing: grows with the number of distinct values of these columns.
    Unbounded { columns: Vec<String> },
    /// Nothing: grows with the input's rows, until they are deleted.
    InputRows,
}

/// The state that a node of `plan` keeps; `None` for a stateless one. `inputs` are the nodes it reads.
pub fn state_of(node: &Node, inputs: &[&Node]) -> Option<StateInfo> {
    let names = |keys: &[usize]| -> Vec<String> {
        let schema = inputs.first().map(|input| &input.schema);
        keys.iter().filter_map(|k| schema?.fields().get(*k)).map(|f| f.name().clone()).collect()
    };
    match &node.op {
        Op::Aggregate { at_once: true, .. } | Op::Join { at_once: true, .. } | Op::TopN { at_once: true, .. } => None,
        Op::Aggregate { keys, aggregates, .. } => {
            let mut columns = names(keys);
            let entry = match columns.as_slice() {
                [] => "one entry".to_string(),
                columns => format!("one entry for each ({})", columns.join(", ")),
            };
            let keeps = format!("{entry}{}", with_values(aggregates, names));
            let distinct = names(&arguments(aggregates, |call| call.distinct));
            columns.extend(distinct.into_iter().filter(|d| !names(keys).contains(d)));
            let bound = if aggregates.iter().any(keeps_every_value) {
                StateBound::InputRows
            } else if columns.is_empty() {
                StateBound::OneRow
            } else {
                StateBound::Unbounded { columns }
            };
            Some(StateInfo { keeps, bound })
        }
        Op::WindowAggregate { window, keys, aggregates, emit, lateness, assigned, .. } => {
            let mut columns = names(keys);
            let slices = assigned.is_none() && *emit == Emit::OnClose && *lateness == 0;
            let of = match window.kind {
                WindowKind::Hop { .. } | WindowKind::Cumulate { .. } if slices => "slice of an open window",
                WindowKind::Session { .. } => "open session",
                _ => "open window",
            };
            columns.insert(0, of.into());
            let keeps = format!("one entry for each ({}){}", columns.join(", "), with_values(aggregates, names));
            Some(StateInfo { keeps, bound: StateBound::Watermark })
        }
        Op::EarlyFiring { keys, .. } => {
            let mut columns = names(keys);
            columns.insert(0, "open window".into());
            let keeps = format!("changes since the last firing, one entry for each ({})", columns.join(", "));
            Some(StateInfo { keeps, bound: StateBound::Watermark })
        }
        Op::Upsert { key, keeps: keeps @ (Keeps::Shown | Keeps::All), .. } => {
            let columns = names(key);
            let of = format!("for each ({}), which is not known to be unique", columns.join(", "));
            Some(match keeps {
                Keeps::All => StateInfo { keeps: format!("all rows {of}"), bound: StateBound::InputRows },
                _ => StateInfo { keeps: format!("one row {of}"), bound: StateBound::Unbounded { columns } },
            })
        }
        Op::Upsert { keeps: Keeps::Nothing, .. } => None,
        Op::Normalize { key, .. } => {
            let columns = names(key);
            let keeps = format!("one row for each ({})", columns.join(", "));
            Some(StateInfo { keeps, bound: StateBound::Unbounded { columns } })
        }
        Op::Join { kind, condition, .. } => {
            let alone = *kind != JoinKind::Inner && condition.is_some();
            let partners = if alone { ", and how many partners each has" } else { "" };
            Some(StateInfo { keeps: format!("all rows of both inputs{partners}"), bound: StateBound::InputRows })
        }
        Op::Scan { .. }
        | Op::ViewScan { .. }
        | Op::Filter { .. }
        | Op::Project { .. }
        | Op::Window { .. }
        | Op::ProcessingTime
        | Op::LateRows { .. }
        | Op::Expand { .. }
        | Op::Union => None,
        Op::IntervalJoin(join) => {
            let column = |input: usize, at: usize| {
                let field = inputs.get(input).and_then(|i| i.schema.fields().get(at));
                field.map_or("", |f| f.name().as_str())
            };
            let left = shifted(column(0, join.left_time.column), join.lower.saturating_neg());
            let right = shifted(column(1, join.right_time.column), join.upper);
            let keeps = format!("left rows until the watermark reaches {left}, right rows until it reaches {right}");
            Some(StateInfo { keeps, bound: StateBound::Watermark })
        }
        Op::WindowTopN(WindowTopN { partition, ranks, .. }) => {
            let columns = std::iter::once("open window".into()).chain(names(partition));
            let StateInfo { keeps, .. } = top_n(*ranks, columns.collect(), false);
            Some(StateInfo { keeps, bound: StateBound::Watermark })
        }
        Op::TopN { partition, ranks, .. } => {
            let columns = names(partition);
            let changing = inputs.iter().any(|input| input.changelog == Changelog::Changing);
            Some(top_n(*ranks, columns, changing))
        }
    }
}

/// Every value counts, as often as it comes.
fn keeps_every_value(call: &AggregateCall) -> bool {
    call.function.collects() && !call.distinct
}

fn arguments(calls: &[AggregateCall], of: impl Fn(&AggregateCall) -> bool) -> Vec<usize> {
    let mut columns: Vec<usize> = calls.iter().filter(|call| of(call)).filter_map(|call| call.argument).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The columns of which calls keep values: the distinct ones, or all.
fn with_values(calls: &[AggregateCall], names: impl Fn(&[usize]) -> Vec<String>) -> String {
    let with = |what: &str, columns: Vec<usize>| match names(&columns).as_slice() {
        [] => String::new(),
        columns => format!(", with {what} of {}", columns.join(" and of ")),
    };
    let distinct = with("the distinct values", arguments(calls, |call| call.distinct));
    distinct + &with("all values", arguments(calls, keeps_every_value))
}

/// Over append-only input a row beyond the last rank can never come back; over changing input it can.
fn top_n(ranks: Ranks, columns: Vec<String>, changing: bool) -> StateInfo {
    let kept = match (changing || ranks.last == i64::MAX, ranks.function, ranks.last) {
        (true, ..) => "all rows".to_string(),
        (false, RankFunction::RowNumber, 1) => "one row".to_string(),
        (false, RankFunction::RowNumber, last) => format!("{last} rows"),
        (false, _, last) => format!("the rows of rank {last} and less"),
    };
    let bound = match (changing || ranks.last == i64::MAX, ranks.function) {
        (true, _) => StateBound::InputRows,
        (false, RankFunction::RowNumber) if columns.is_empty() => StateBound::OneRow,
        (false, RankFunction::RowNumber) => StateBound::Unbounded { columns: columns.clone() },
        // Peers are without number.
        (false, _) => StateBound::InputRows,
    };
    let keeps = if columns.is_empty() { kept } else { format!("{kept} for each ({})", columns.join(", ")) };
    StateInfo { keeps, bound }
}

/// A time some microseconds later: "ts + 5 seconds".
pub(super) fn shifted(time: &str, micros: i64) -> String {
    match micros {
        0 => time.to_string(),
        later if later > 0 => format!("{time} + {}", duration(later)),
        earlier => format!("{time} - {}", duration(earlier.saturating_neg())),
    }
}

/// Microseconds in the largest units that divide them: "1 minute", "1.5 s" never.
pub(super) fn duration(micros: i64) -> String {
    const UNITS: [(i64, &str); 6] = [
        (86_400_000_000, "day"),
        (3_600_000_000, "hour"),
        (60_000_000, "minute"),
        (1_000_000, "second"),
        (1_000, "millisecond"),
        (1, "microsecond"),
    ];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| micros % size == 0).unwrap_or((1, "microsecond"));
    let count = micros / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for StateBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateBound::OneRow => f.write_str("bounded: never more than that"),
            StateBound::Watermark => f.write_str("bounded by the watermark"),
            StateBound::Unbounded { columns } => {
                write!(f, "unbounded: grows with the number of distinct ({})", columns.join(", "))
            }
            StateBound::InputRows => f.write_str("unbounded: grows with every row that comes and is not taken back"),
        }
    }
}

impl fmt::Display for StateInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.keeps, self.bound)
    }
}
