//! What state an operator keeps, and what bounds it: said aloud by EXPLAIN and `check`.

use std::fmt;

use super::stream::{Emit, Node, Op, WindowSpec};

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
        Op::WindowAggregate { window, keys, emit, lateness, assigned, .. } => {
            let mut columns = names(keys);
            let slices = assigned.is_none() && *emit == Emit::OnClose && *lateness == 0;
            let of = match window {
                WindowSpec::Hop { .. } | WindowSpec::Cumulate { .. } if slices => "slice of an open window",
                WindowSpec::Session { .. } => "open session",
                _ => "open window",
            };
            columns.insert(0, of.into());
            let keeps = format!("one entry for each ({})", columns.join(", "));
            Some(StateInfo { keeps, bound: StateBound::Watermark })
        }
        Op::Scan { .. } | Op::Filter { .. } | Op::Project { .. } | Op::Window { .. } => None,
    }
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
