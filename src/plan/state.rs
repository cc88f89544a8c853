//! What state an operator keeps, and what bounds it: said aloud by EXPLAIN and `check`.

use std::fmt;

use super::stream::{Node, Op};

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
    /// One entry, whatever comes.
    OneRow,
    /// Entries go when the watermark passes their window.
    Watermark,
    /// Nothing: grows with the number of distinct values of these columns.
    Unbounded { columns: Vec<String> },
}

/// The state that a node of `plan` keeps; `None` for a stateless one. `inputs` are the nodes it reads.
pub fn state_of(node: &Node, inputs: &[&Node]) -> Option<StateInfo> {
    let names = |keys: &[usize]| -> Vec<String> {
        let schema = inputs.first().map(|input| &input.schema);
        keys.iter().filter_map(|k| schema?.fields().get(*k)).map(|f| f.name().clone()).collect()
    };
    match &node.op {
        Op::Aggregate { keys, .. } if keys.is_empty() => {
            Some(StateInfo { keeps: "one entry".into(), bound: StateBound::OneRow })
        }
        Op::Aggregate { keys, .. } => {
            let columns = names(keys);
            let keeps = format!("one entry for each ({})", columns.join(", "));
            Some(StateInfo { keeps, bound: StateBound::Unbounded { columns } })
        }
        Op::WindowAggregate { keys, .. } => {
            let mut columns = names(keys);
            columns.insert(0, "open window".into());
            let keeps = format!("one entry for each ({})", columns.join(", "));
            Some(StateInfo { keeps, bound: StateBound::Watermark })
        }
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
        Op::Scan { .. } | Op::Filter { .. } | Op::Project { .. } | Op::Window { .. } => None,
    }
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
        }
    }
}

impl fmt::Display for StateInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.keeps, self.bound)
    }
}
