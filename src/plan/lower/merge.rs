//! Window aggregates that differ only in what they compute become one, which computes all of it: rows are cut into
//! windows, and these are kept, once for all. What reads one of them finds its columns by name, or behind a projection.
//!
//! Only those whose windows are shown once, when they close: which windows there are does not depend on what is computed
//! of them. Of an answer that changes, the reader of one call would be told of changes of the others.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use crate::plan::Scalar;
use crate::plan::stream::{
    AggregateCall, Changelog, Distribution, Emit, Input, Node, NodeIndex, Op, OperatorId, StreamPlan, unique_names,
};

/// Columns that a window aggregate puts out in front of its keys.
const WINDOW_COLUMNS: usize = 3;

/// The plan with such aggregates merged.
pub(super) fn merge_windows(plan: StreamPlan) -> StreamPlan {
    let leaders: Vec<Option<NodeIndex>> = (0..plan.nodes.len()).map(|at| leader(&plan.nodes, at)).collect();
    let is_merged = |at: usize| leaders.iter().enumerate().any(|(other, leader)| other != at && *leader == Some(at));
    if !(0..plan.nodes.len()).any(is_merged) {
        return plan;
    }
    let mut merged = Merged { nodes: Vec::new(), places: Vec::new() };
    for (at, node) in plan.nodes.iter().enumerate() {
        let place = match leaders[at] {
            Some(leader) if leader == at && is_merged(at) => {
                let all = merged.add_all(&plan.nodes, &leaders, at);
                merged.choose(&plan, at, all)
            }
            Some(leader) if leader != at => {
                let Place { all: Some(all), .. } = merged.places[leader] else { continue };
                merged.choose(&plan, at, all)
            }
            _ => Place { own: merged.copy(node), all: None },
        };
        merged.places.push(place);
    }
    let mut outputs = plan.outputs;
    outputs.iter_mut().for_each(|output| output.node = merged.places[output.node].own);
    StreamPlan { nodes: merged.nodes, outputs }
}

/// The first node that the one at `at` can be merged with, which may be itself.
fn leader(nodes: &[Node], at: usize) -> Option<NodeIndex> {
    let calls = calls(&nodes[at])?;
    nodes.iter().position(|other| {
        let same_calls = |mut op: Op| {
            if let Op::WindowAggregate { aggregates, .. } = &mut op {
                calls.clone_into(aggregates);
            }
            op
        };
        self::calls(other).is_some() && other.inputs == nodes[at].inputs && same_calls(other.op.clone()) == nodes[at].op
    })
}

/// What a window aggregate that can be merged computes.
fn calls(node: &Node) -> Option<&[AggregateCall]> {
    match &node.op {
        Op::WindowAggregate { emit: Emit::OnClose, aggregates, .. } if node.changelog == Changelog::AppendOnly => {
            Some(aggregates)
        }
        _ => None,
    }
}

/// Where a node of the old plan is in the new one.
#[derive(Clone, Copy)]
struct Place {
    /// What puts out its columns.
    own: NodeIndex,
    /// Of one that was merged: what puts out all of them. Projections that find them by name read that.
    all: Option<NodeIndex>,
}

struct Merged {
    nodes: Vec<Node>,
    places: Vec<Place>,
}

impl Merged {
    fn push(&mut self, node: Node) -> NodeIndex {
        let id = OperatorId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { id, ..node });
        self.nodes.len() - 1
    }

    /// A node as it was, over its inputs' new places.
    fn copy(&mut self, node: &Node) -> NodeIndex {
        let mut node = node.clone();
        let by_name = matches!(node.op, Op::Project { .. });
        for input in &mut node.inputs {
            let place = self.places[input.node];
            input.node = place.all.filter(|_| by_name).unwrap_or(place.own);
        }
        self.push(node)
    }

    /// One aggregate for all that are led by the one at `leader`.
    fn add_all(&mut self, nodes: &[Node], leaders: &[Option<NodeIndex>], leader: NodeIndex) -> NodeIndex {
        let mut all = nodes[leader].clone();
        let mut fields: Vec<Field> = all.schema.fields().iter().map(|field| (**field).clone()).collect();
        for (node, _) in nodes.iter().zip(leaders).skip(leader + 1).filter(|(_, l)| **l == Some(leader)) {
            let Op::WindowAggregate { keys, aggregates, .. } = &mut all.op else { continue };
            for (place, call) in calls(node).unwrap_or_default().iter().enumerate() {
                if !aggregates.contains(call) {
                    aggregates.push(call.clone());
                    fields.push(node.schema.field(WINDOW_COLUMNS + keys.len() + place).clone());
                }
            }
        }
        all.schema = Arc::new(Schema::new(unique_names(fields)));
        self.copy(&all)
    }

    /// The columns of the node at `at` behind `all`, which computes them and others.
    fn choose(&mut self, plan: &StreamPlan, at: usize, all: NodeIndex) -> Place {
        let node = &plan.nodes[at];
        let (names, same) = self.names(node, all);
        let finds_by_name = |reader: &Node| same && matches!(reader.op, Op::Project { .. });
        let mut readers = plan.nodes.iter().filter(|reader| reader.inputs.iter().any(|input| input.node == at));
        let is_read_whole = plan.outputs.iter().any(|output| output.node == at);
        let own = if same && (readers.all(finds_by_name) && !is_read_whole || node.schema == self.nodes[all].schema) {
            all
        } else {
            let exprs = names.iter().map(|name| Scalar::column(name)).collect();
            let inputs = vec![Input { node: all, distribution: Distribution::Any }];
            self.push(Node { op: Op::Project { exprs }, inputs, ..node.clone() })
        };
        Place { own, all: same.then_some(all) }
    }

    /// What the node's columns are called behind `all`, and whether that is what they were called.
    fn names(&self, node: &Node, all: NodeIndex) -> (Vec<String>, bool) {
        let all = &self.nodes[all];
        let all_calls = calls(all).unwrap_or_default();
        let first_call = all.schema.fields().len() - all_calls.len();
        let of_call = |call: &AggregateCall| all_calls.iter().position(|other| other == call).map(|at| first_call + at);
        let places = (0..first_call).chain(calls(node).unwrap_or_default().iter().filter_map(of_call));
        let names: Vec<String> = places.map(|place| all.schema.field(place).name().clone()).collect();
        let same = names.iter().eq(node.schema.fields().iter().map(|field| field.name()));
        (names, same)
    }
}
