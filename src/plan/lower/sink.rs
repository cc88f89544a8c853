//! A result's changes in a form that its sink takes.

use super::Lowering;
use super::build::Facts;
use crate::connector::Takes;
use crate::error::{Error, Result};
use crate::plan::relations::{Relation, RelationKind};
use crate::plan::stream::{Changelog, Distribution, Emit, Keeps, NodeIndex, Op, WindowTopN};

impl Lowering<'_> {
    /// The node whose output `sink` takes of a result with its columns.
    ///
    /// # Errors
    /// 0A000 if the result changes and the sink can only append.
    pub(super) fn taken(&mut self, result: NodeIndex, sink: &Relation) -> Result<NodeIndex> {
        let RelationKind::Sink { takes } = &sink.kind else {
            return Err(Error::internal(format!("\"{}\" is not a sink", sink.name)));
        };
        match takes {
            Takes::Appends if self.builder.node(result).changelog == Changelog::AppendOnly => Ok(result),
            Takes::Appends => Err(self.changing_into_append_only(&sink.name, result)),
            Takes::Changes { key } if key.is_empty() => Ok(result),
            Takes::Changes { key } => Ok(self.by_key(result, key, true)),
            Takes::Upserts { key } => Ok(self.by_key(result, key, false)),
        }
    }

    /// At most one row for each `key`. Nothing needs to be done for rows that only come, each with a key of its own.
    fn by_key(&mut self, result: NodeIndex, key: &[usize], with_before: bool) -> NodeIndex {
        let node = self.builder.node(result);
        let is_unique = node.unique_key.as_ref().is_some_and(|unique| unique.iter().all(|c| key.contains(c)));
        let keeps = match node.changelog {
            Changelog::AppendOnly if is_unique => return result,
            _ if is_unique => Keeps::Nothing,
            Changelog::AppendOnly => Keeps::Shown,
            Changelog::Changing | Changelog::Upsert => Keeps::All,
        };
        let latest = node.event_time.map(|time| time.column).filter(|_| !is_unique);
        let facts = Facts {
            fields: node.schema.fields().iter().map(|f| f.as_ref().clone()).collect(),
            changelog: if with_before { Changelog::Changing } else { Changelog::Upsert },
            event_time: node.event_time,
            unique_key: Some(key.to_vec()),
        };
        let op = Op::Upsert { key: key.to_vec(), keeps, latest, with_before };
        self.builder.add(op, vec![(result, Distribution::Hash(key.to_vec()))], facts)
    }

    fn changing_into_append_only(&self, sink: &str, result: NodeIndex) -> Error {
        let message = format!("sink \"{sink}\" takes only insertions, but the result of this query changes");
        let hint = format!(
            "{} to a sink that takes changes, such as 'upsert-kafka' or one with 'format' = 'debezium-json'; or make a \
             MATERIALIZED VIEW of the query.",
            self.how_to_append(result).map_or("Write".into(), |how| format!("{how}; or write"))
        );
        Error::unsupported(message, hint).with_detail(self.why_it_changes(result))
    }

    /// What would make a result only append.
    fn how_to_append(&self, result: NodeIndex) -> Option<String> {
        Some(match self.first_change(result)? {
            Op::WindowAggregate { emit, lateness, .. } | Op::WindowTopN(WindowTopN { emit, lateness, .. }) => {
                let update = (*emit == Emit::OnUpdate).then(|| self.emit_clause());
                let lateness = (*lateness > 0).then_some("ALLOWED LATENESS");
                let clauses = update.into_iter().chain(lateness).collect::<Vec<_>>().join(" and ");
                format!("Leave out {clauses}, so that each window is written once, when it closes")
            }
            Op::Aggregate { .. } => {
                "Group by a window, as in TABLE(TUMBLE(...)) with GROUP BY window_start, window_end, \
                 so that each group is written once"
                    .into()
            }
            Op::Join { .. } => "Use an inner join".into(),
            Op::TopN { .. } => {
                "Rank the rows or groups of windows that close, with window_start and window_end in PARTITION BY \
                 and EMIT ON WINDOW CLOSE, so that each window is written once"
                    .into()
            }
            _ => return None,
        })
    }

    /// The clause that makes open windows of this query answer.
    fn emit_clause(&self) -> &'static str {
        if self.every.is_some() { "EMIT EVERY" } else { "EMIT ON UPDATE" }
    }

    /// The first operator on the way to `result` whose output changes.
    pub(super) fn first_change(&self, result: NodeIndex) -> Option<&Op> {
        let mut on_the_way = vec![result];
        let mut first = None;
        while let Some(index) = on_the_way.pop() {
            let node = self.builder.node(index);
            on_the_way.extend(node.inputs.iter().map(|input| input.node));
            if node.changelog != Changelog::AppendOnly && first.is_none_or(|first| index < first) {
                first = Some(index);
            }
        }
        first.map(|index| &self.builder.node(index).op)
    }

    /// As the DETAIL of an error.
    pub(super) fn why_it_changes(&self, result: NodeIndex) -> String {
        match self.first_change(result) {
            Some(Op::Scan { source, .. }) => {
                format!("Source \"{source}\" is a changelog, whose rows are updated and deleted.")
            }
            Some(Op::WindowAggregate { emit: Emit::OnUpdate, .. })
            | Some(Op::WindowTopN(WindowTopN { emit: Emit::OnUpdate, .. })) => {
                format!("Windows that {} correct their earlier answers until they close.", self.emit_clause())
            }
            Some(Op::WindowAggregate { .. } | Op::WindowTopN(_)) => {
                "ALLOWED LATENESS corrects the answer of a closed window with every late row.".into()
            }
            Some(Op::Aggregate { .. }) => {
                "GROUP BY without a window corrects its earlier answers with every row.".into()
            }
            Some(Op::TopN { .. }) => {
                "The first rows of an order are corrected whenever a row comes that precedes them.".into()
            }
            Some(Op::Join { .. }) => "An outer join takes a row back when its partner comes, an anti join too.".into(),
            _ => "Earlier answers are corrected when later rows come.".into(),
        }
    }
}
