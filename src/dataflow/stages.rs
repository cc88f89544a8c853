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
        let stage_of = assign(plan)?;
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
}

/// The stage of each node: the latest that any of its inputs demands, the input's own without exchange, the next one
/// behind an exchange. Scans lie in the first.
fn assign(plan: &StreamPlan) -> Result<Vec<usize>> {
    let mut stage_of: Vec<usize> = Vec::with_capacity(plan.nodes.len());
    for node in &plan.nodes {
        let mut stage = 0;
        for input in &node.inputs {
            let Some(from) = stage_of.get(input.node) else {
                return Err(Error::internal("a plan's nodes are not in topological order"));
            };
            stage = stage.max(from + usize::from(input.distribution != Distribution::Any));
        }
        stage_of.push(stage);
    }
    Ok(stage_of)
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
