//! Cuts a stream plan into stages: the operators between two exchanges. Within a stage nothing crosses shards.

use crate::error::{Error, Result};
use crate::plan::{Distribution, NodeIndex, StreamPlan};

/// A plan's stages in the order in which a tick runs them. Indices of operators within a stage follow the plan's
/// topological order.
#[derive(Debug)]
pub struct Stages {
    pub stages: Vec<Stage>,
}

#[derive(Debug, Default)]
pub struct Stage {
    /// The plan's nodes in this stage.
    pub nodes: Vec<NodeIndex>,
    /// For each node of the stage: who reads its output.
    pub readers: Vec<Vec<Reader>>,
}

/// Who reads an operator's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// An operator of the same stage and shard.
    Local { operator: usize, port: usize },
    /// An operator of a later stage, on the shard of the row's key.
    Exchange(Route),
    /// The plan's output with this index.
    Output(usize),
}

/// A way from one stage into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub stage: usize,
    pub operator: usize,
    pub port: usize,
    /// Columns whose values decide about the shard; `None`: the row stays on its shard.
    pub key: Option<Vec<usize>>,
}

impl Stages {
    pub fn of(plan: &StreamPlan) -> Result<Self> {
        let stage_of = plan.stages()?;
        let count = stage_of.iter().max().map_or(0, |last| last + 1);
        let mut stages: Vec<Stage> = (0..count).map(|_| Stage::default()).collect();
        let mut place = Vec::with_capacity(plan.nodes.len());
        for (index, &stage) in stage_of.iter().enumerate() {
            place.push((stage, stages[stage].nodes.len()));
            stages[stage].nodes.push(index);
            stages[stage].readers.push(Vec::new());
        }
        for (index, node) in plan.nodes.iter().enumerate() {
            let (stage, operator) = place[index];
            for (port, input) in node.inputs.iter().enumerate() {
                let (from_stage, from) = place[input.node];
                let reader = route(&input.distribution, from_stage, stage, operator, port);
                stages[from_stage].readers[from].push(reader);
            }
        }
        for (output, target) in plan.outputs.iter().enumerate() {
            let Some(&(stage, operator)) = place.get(target.node) else {
                return Err(Error::internal("a plan's output names no node"));
            };
            stages[stage].readers[operator].push(Reader::Output(output));
        }
        Ok(Stages { stages })
    }

    /// The stage of a node of the plan, and its place there.
    pub fn place(&self, node: NodeIndex) -> Option<(usize, usize)> {
        self.stages.iter().enumerate().find_map(|(stage, content)| {
            content.nodes.iter().position(|n| *n == node).map(|operator| (stage, operator))
        })
    }
}

fn route(distribution: &Distribution, from_stage: usize, stage: usize, operator: usize, port: usize) -> Reader {
    if from_stage == stage {
        Reader::Local { operator, port }
    } else {
        Reader::Exchange(Route { stage, operator, port, key: hash_key(distribution) })
    }
}

fn hash_key(distribution: &Distribution) -> Option<Vec<usize>> {
    match distribution {
        Distribution::Any => None,
        Distribution::Hash(key) => Some(key.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;
    use crate::plan::{Changelog, Input, Node, Op, OperatorId, Output, Target};

    type Edge<'a> = (usize, Option<&'a [usize]>);

    /// Nodes as lists of (input, key): `None` for no exchange. A node without inputs is a scan. The last is the output.
    fn plan(nodes: &[&[Edge]]) -> StreamPlan {
        let node = |(id, inputs): (usize, &&[Edge])| Node {
            id: OperatorId(id as u32),
            op: match inputs.len() {
                0 => Op::Scan { source: "s".into(), columns: vec![], watermark: None },
                _ => Op::Project { exprs: vec![] },
            },
            inputs: inputs
                .iter()
                .map(|(node, key)| Input {
                    node: *node,
                    distribution: key.map_or(Distribution::Any, |key| Distribution::Hash(key.to_vec())),
                })
                .collect(),
            schema: Arc::new(Schema::empty()),
            changelog: Changelog::AppendOnly,
            event_time: None,
            unique_key: None,
        };
        let nodes: Vec<_> = nodes.iter().enumerate().map(node).collect();
        let outputs = vec![Output { node: nodes.len() - 1, target: Target::View }];
        StreamPlan { nodes, outputs }
    }

    fn nodes(plan: &StreamPlan) -> Vec<Vec<usize>> {
        Stages::of(plan).unwrap().stages.into_iter().map(|s| s.nodes).collect()
    }

    #[test]
    fn a_chain_without_exchange_is_one_stage() {
        assert_eq!(nodes(&plan(&[&[], &[(0, None)], &[(1, None)]])), [[0, 1, 2]]);
    }

    #[test]
    fn an_exchange_cuts() {
        let plan = plan(&[&[], &[(0, None)], &[(1, Some(&[0]))], &[(2, None)], &[(3, Some(&[]))]]);
        assert_eq!(nodes(&plan), [vec![0, 1], vec![2, 3], vec![4]]);
        let stages = Stages::of(&plan).unwrap().stages;
        assert_eq!(stages[0].readers[0], [Reader::Local { operator: 1, port: 0 }]);
        let route =
            |stage, operator, key: Option<&[usize]>| Route { stage, operator, port: 0, key: key.map(<[_]>::to_vec) };
        assert_eq!(stages[0].readers[1], [Reader::Exchange(route(1, 0, Some(&[0])))]);
        assert_eq!(stages[1].readers[1], [Reader::Exchange(route(2, 0, Some(&[])))]);
        assert_eq!(stages[2].readers[0], [Reader::Output(0)]);
    }

    #[test]
    fn a_branch_that_joins_later_waits_for_the_later_stage() {
        // scan -> aggregate (exchange) -> union with the scan itself
        let plan = plan(&[&[], &[(0, Some(&[0]))], &[(0, None), (1, None)]]);
        assert_eq!(nodes(&plan), [vec![0], vec![1, 2]]);
        let stages = Stages::of(&plan).unwrap().stages;
        assert!(stages[0].readers[0].contains(&Reader::Exchange(Route { stage: 1, operator: 1, port: 0, key: None })));
    }

    #[test]
    fn nodes_out_of_order_are_an_error() {
        assert!(Stages::of(&plan(&[&[], &[(2, None)], &[(0, None)]])).is_err());
    }
}
