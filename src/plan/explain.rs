//! EXPLAIN: a stream plan as a tree, drawn as PostgreSQL draws plans, with what each operator keeps and how that is
//! bounded. What several readers share is drawn once, with a number by which the others name it.

use std::fmt::Write;

use super::Scalar;
use super::state::{duration, shifted, state_of};
use super::stream::{
    AggregateCall, Changelog, Distribution, Emit, IntervalJoin, JoinKey, JoinKind, Keeps, Node, NodeIndex, Op,
    RankFunction, Ranks, SortColumn, StreamPlan, Target, WindowKind, WindowSpec, leaves_out,
};
use super::text::expr::string;

/// The plan as people read it, one line after the other.
pub fn explain(plan: &StreamPlan) -> String {
    explain_with(plan, &|_| None)
}

/// The same with figures behind each operator.
pub fn explain_with(plan: &StreamPlan, figures: &dyn Fn(NodeIndex) -> Option<String>) -> String {
    let stages = plan.stages().unwrap_or_default();
    let mut tree = Tree { plan, figures, stages, shared: Vec::new(), out: String::new() };
    for output in &plan.outputs {
        let Some(node) = plan.nodes.get(output.node) else { continue };
        let target = match &output.target {
            Target::Sink(name) => format!("Sink {name}"),
            Target::View => "View".to_string(),
        };
        tree.line(0, &format!("{target}  ({})", changelog(node.changelog)));
        if let Some(key) = &node.unique_key
            && node.changelog != Changelog::AppendOnly
        {
            let key = if key.is_empty() { "one row".into() } else { columns(node, key) };
            tree.detail(0, &format!("Key: {key}"));
        }
        tree.node(output.node, 0);
    }
    tree.out
}

struct Tree<'a> {
    plan: &'a StreamPlan,
    figures: &'a dyn Fn(NodeIndex) -> Option<String>,
    /// Of each node, counted from 0.
    stages: Vec<usize>,
    /// Nodes with several readers, as far as they have been drawn.
    shared: Vec<NodeIndex>,
    out: String,
}

impl Tree<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        if depth == 0 {
            let _ = writeln!(self.out, "{text}");
        } else {
            let _ = writeln!(self.out, "{}->  {text}", " ".repeat(6 * depth - 4));
        }
    }

    fn detail(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{}{text}", " ".repeat(6 * depth + 2));
    }

    /// Draws a node and what is in front of it; one with several readers only for the first of them.
    fn node(&mut self, index: NodeIndex, depth: usize) {
        let Some(node) = self.plan.nodes.get(index) else { return };
        let inputs: Vec<&Node> = node.inputs.iter().filter_map(|i| self.plan.nodes.get(i.node)).collect();
        let depth = depth + 1;
        if let Some(number) = self.shared.iter().position(|shared| *shared == index) {
            return self.line(depth, &format!("{}  (shared: see [{}] above)", title(node, &inputs), number + 1));
        }
        let mut head = format!("{}  ({})", title(node, &inputs), changelog(node.changelog));
        if let Some(figures) = (self.figures)(index) {
            let _ = write!(head, "  ({figures})");
        }
        if self.readers(index) > 1 {
            self.shared.push(index);
            let _ = write!(head, "  [{}]", self.shared.len());
        }
        self.line(depth, &head);
        for detail in details(node, &inputs) {
            self.detail(depth, &detail);
        }
        if let Some(state) = state_of(node, &inputs) {
            self.detail(depth, &format!("State: {}", state.keeps));
            self.detail(depth, &format!("State is {}", state.bound));
        }
        for input in &node.inputs {
            let mut depth = depth;
            if let (Distribution::Hash(by), Some(source)) = (&input.distribution, self.plan.nodes.get(input.node)) {
                depth += 1;
                let by = if by.is_empty() { "to one shard".into() } else { format!("by {}", columns(source, by)) };
                let stage = |node: NodeIndex| self.stages.get(node).map_or(0, |stage| stage + 1);
                let way = format!("stage {} to {}", stage(input.node), stage(index));
                self.line(depth, &format!("Exchange {by}  ({way})"));
            }
            self.node(input.node, depth);
        }
    }

    fn readers(&self, index: NodeIndex) -> usize {
        let inputs = self.plan.nodes.iter().flat_map(|node| &node.inputs).filter(|input| input.node == index).count();
        inputs + self.plan.outputs.iter().filter(|output| output.node == index).count()
    }
}

fn changelog(kind: Changelog) -> &'static str {
    match kind {
        Changelog::AppendOnly => "append-only",
        Changelog::Changing => "changing",
        Changelog::Upsert => "upserts",
    }
}

fn columns(node: &Node, indices: &[usize]) -> String {
    format!("({})", indices.iter().map(|i| column(node, *i)).collect::<Vec<_>>().join(", "))
}

fn column(node: &Node, index: usize) -> String {
    node.schema.fields().get(index).map_or_else(|| format!("#{index}"), |f| f.name().clone())
}

fn title(node: &Node, inputs: &[&Node]) -> String {
    match &node.op {
        Op::Scan { source, .. } => format!("Scan on {source}"),
        Op::ViewScan { view, .. } => format!("Scan on materialized view {view}"),
        Op::Filter { .. } => "Filter".into(),
        Op::Project { .. } => "Project".into(),
        Op::Window { .. } => "Window".into(),
        Op::ProcessingTime => "Processing Time".into(),
        Op::LateRows { .. } => "Late Rows".into(),
        Op::Expand { .. } => "Expand".into(),
        Op::EarlyFiring { .. } => "Early Firing".into(),
        Op::Aggregate { keys, .. } if keys.is_empty() => "Aggregate".into(),
        Op::Aggregate { keys, .. } => format!("Aggregate by {}", keys_of(inputs, keys)),
        Op::WindowAggregate { keys, .. } if keys.is_empty() => "Window Aggregate".into(),
        Op::WindowAggregate { keys, .. } => format!("Window Aggregate by {}", keys_of(inputs, keys)),
        Op::Normalize { key, .. } => format!("Normalize by {}", keys_of(inputs, key)),
        Op::Upsert { key, .. } => format!("Upsert by {}", keys_of(inputs, key)),
        Op::Join { kind, on, .. } => {
            let kind = match kind {
                JoinKind::Inner if on.is_empty() => "Cross Join",
                JoinKind::Inner => "Inner Join",
                JoinKind::Left => "Left Join",
                JoinKind::Right => "Right Join",
                JoinKind::Full => "Full Join",
                JoinKind::Semi => "Semi Join",
                JoinKind::Anti => "Anti Join",
            };
            if on.is_empty() { kind.into() } else { format!("{kind} on {}", equalities(inputs, on)) }
        }
        Op::Union => "Union All".into(),
        Op::TopN { partition, .. } if partition.is_empty() => "Top-N".into(),
        Op::TopN { partition, .. } => format!("Top-N by {}", keys_of(inputs, partition)),
        Op::WindowTopN(top_n) if top_n.partition.is_empty() => "Window Top-N".into(),
        Op::WindowTopN(top_n) => format!("Window Top-N by {}", keys_of(inputs, &top_n.partition)),
        Op::IntervalJoin(join) => match join.kind {
            JoinKind::Inner => "Interval Join".into(),
            JoinKind::Left => "Interval Left Join".into(),
            JoinKind::Right => "Interval Right Join".into(),
            JoinKind::Full => "Interval Full Join".into(),
            JoinKind::Semi => "Interval Semi Join".into(),
            JoinKind::Anti => "Interval Anti Join".into(),
        },
    }
}

fn equalities(inputs: &[&Node], on: &[JoinKey]) -> String {
    let [left, right] = inputs else { return String::new() };
    let pairs: Vec<String> = on
        .iter()
        .map(|key| {
            let sign = if key.null_safe { "IS NOT DISTINCT FROM" } else { "=" };
            format!("{} {sign} {}", column(left, key.left), column(right, key.right))
        })
        .collect();
    format!("({})", pairs.join(" AND "))
}

fn keys_of(inputs: &[&Node], keys: &[usize]) -> String {
    inputs.first().map(|input| columns(input, keys)).unwrap_or_default()
}

fn details(node: &Node, inputs: &[&Node]) -> Vec<String> {
    let input = inputs.first();
    let time = |index: usize| input.map(|i| column(i, index)).unwrap_or_default();
    match &node.op {
        Op::Scan { watermark, .. } => {
            let all: Vec<usize> = (0..node.schema.fields().len()).collect();
            let mut lines = vec![format!("Columns: {}", columns(node, &all))];
            if let Some(watermark) = watermark {
                lines.push(format!(
                    "Watermark: {} as {}",
                    column(node, watermark.event_time.column),
                    readable(&watermark.expr)
                ));
            }
            lines
        }
        Op::ViewScan { .. } => {
            let all: Vec<usize> = (0..node.schema.fields().len()).collect();
            vec![format!("Columns: {}", columns(node, &all))]
        }
        Op::Filter { predicate } => vec![format!("Condition: {}", readable(predicate))],
        Op::Project { exprs } => {
            let output: Vec<String> = exprs
                .iter()
                .zip(node.schema.fields())
                .map(|(expr, field)| match expr.as_column() {
                    Some(name) if name == field.name() => name.to_string(),
                    _ => format!("{} AS {}", readable(expr), field.name()),
                })
                .collect();
            vec![format!("Output: {}", output.join(", "))]
        }
        Op::Window { window, time: t } => vec![format!("Window: {}", window_text(window, &time(t.column)))],
        Op::LateRows { window, time: t, lateness } => {
            let mut lines = vec![format!("Of: {}", window_text(window, &time(t.column)))];
            if *lateness > 0 {
                lines.push(format!("Late: {} after a window's end", duration(*lateness)));
            }
            lines
        }
        Op::Expand { keys, sets, .. } => vec![format!("Grouping sets: {}", grouping_sets(keys, sets, inputs))],
        Op::EarlyFiring { every, .. } => {
            vec![format!("Emits: open windows every {} of event time, each again when it closes", duration(*every))]
        }
        Op::Aggregate { aggregates, at_once, .. } => {
            let once = at_once.then(|| "Emits: once, since a group's rows come within one tick".into());
            calls(aggregates, inputs).into_iter().chain(once).collect()
        }
        Op::Join { on, condition, at_once, .. } => {
            let condition = condition.iter().map(|c| format!("Condition: {}", readable(c)));
            let one_shard =
                on.is_empty().then(|| "Runs on one shard: no columns of its inputs must be equal".to_string());
            let once = at_once.then(|| "Emits: once, since a key's rows come within one tick".to_string());
            condition.chain(one_shard).chain(once).collect()
        }
        Op::Union | Op::ProcessingTime => Vec::new(),
        Op::WindowAggregate { window, time: t, aggregates, emit, lateness, .. } => {
            let mut lines = vec![format!("Window: {}", window_text(window, &time(t.column)))];
            lines.extend(calls(aggregates, inputs));
            lines.extend(emits(*emit, *lateness));
            lines
        }
        Op::Normalize { .. } => vec!["Emits: what a key's row was and what it is, once a tick".into()],
        Op::Upsert { keeps, latest, with_before, .. } => upserts(*keeps, latest.map(time), *with_before),
        Op::TopN { order, ranks, at_once, .. } => {
            let once = at_once.then(|| "Emits: once, since a partition's rows come within one tick".to_string());
            top_n(order, *ranks, inputs).chain(once).collect()
        }
        Op::WindowTopN(plan) => top_n(&plan.order, plan.ranks, inputs).chain(emits(plan.emit, plan.lateness)).collect(),
        Op::IntervalJoin(join) => interval_join(join, inputs),
    }
}

fn grouping_sets(keys: &[usize], sets: &[i64], inputs: &[&Node]) -> String {
    let kept = |set: i64| {
        let kept = keys.iter().enumerate().filter(|(place, _)| !leaves_out(set, *place, keys.len()));
        keys_of(inputs, &kept.map(|(_, key)| *key).collect::<Vec<_>>())
    };
    sets.iter().map(|set| kept(*set)).collect::<Vec<_>>().join(", ")
}

fn upserts(keeps: Keeps, latest: Option<String>, with_before: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if keeps != Keeps::Nothing {
        let shown = latest.map_or("the last by its bytes".into(), |time| format!("the one with the latest {time}"));
        lines.push(format!("Shows: of several rows of a key {shown}"));
    }
    lines.push(match with_before {
        true => "Emits: what a key's row was and what it is, once a tick".into(),
        false => "Emits: a key's last row, or that none is left, once a tick".into(),
    });
    lines
}

/// When windows answer.
fn emits(emit: Emit, lateness: i64) -> impl Iterator<Item = String> {
    let emits = match emit {
        Emit::OnClose => "Emits: when a window closes".to_string(),
        Emit::OnUpdate => "Emits: open windows too, updated at every tick".to_string(),
    };
    let late =
        (lateness > 0).then(|| format!("Late rows: correct a window until {} after its end", duration(lateness)));
    std::iter::once(emits).chain(late)
}

fn sorted(sort: &SortColumn, name: impl Fn(usize) -> String) -> String {
    let direction = if sort.direction.descending { " DESC" } else { "" };
    let nulls = match (sort.direction.nulls_first, sort.direction.descending) {
        (true, false) => " NULLS FIRST",
        (false, true) => " NULLS LAST",
        _ => "",
    };
    format!("{}{direction}{nulls}", name(sort.column))
}

fn top_n(order: &[SortColumn], ranks: Ranks, inputs: &[&Node]) -> impl Iterator<Item = String> {
    let Ranks { function, first, last } = ranks;
    let what = match function {
        RankFunction::RowNumber => "row",
        RankFunction::Rank => "rank",
        RankFunction::DenseRank => "dense rank",
    };
    let mut lines = Vec::new();
    if !order.is_empty() {
        let name = |index: usize| inputs.first().map(|i| column(i, index)).unwrap_or_default();
        let order: Vec<String> = order.iter().map(|sort| sorted(sort, name)).collect();
        lines.push(format!("Order: {}", order.join(", ")));
    }
    lines.push(match (first, last) {
        (first, i64::MAX) => format!("Keeps: {what}s from {first} on"),
        (first, last) if first == last => format!("Keeps: {what} {last}"),
        (first, last) if first > last => "Keeps: nothing".into(),
        (first, last) => format!("Keeps: {what}s {first} to {last}"),
    });
    lines.into_iter()
}

/// Sides are told apart by "left" and "right": their columns may have the same names.
fn interval_join(join: &IntervalJoin, inputs: &[&Node]) -> Vec<String> {
    let left = |at: usize| inputs.first().map(|i| format!("left.{}", column(i, at))).unwrap_or_default();
    let right = |at: usize| inputs.get(1).map(|i| format!("right.{}", column(i, at))).unwrap_or_default();
    let key = |key: &JoinKey| {
        let equals = if key.null_safe { "IS NOT DISTINCT FROM" } else { "=" };
        format!("{} {equals} {}", left(key.left), right(key.right))
    };
    let (time, of) = (left(join.left_time.column), right(join.right_time.column));
    let mut lines = vec![match (join.lower, join.upper) {
        (lower, upper) if lower == upper => format!("Time: {time} = {}", shifted(&of, lower)),
        (lower, upper) => format!("Time: {time} BETWEEN {} AND {}", shifted(&of, lower), shifted(&of, upper)),
    }];
    if !join.keys.is_empty() {
        lines.push(format!("Keys: {}", join.keys.iter().map(key).collect::<Vec<_>>().join(", ")));
    }
    lines.extend(join.residual.as_ref().map(|residual| format!("Condition: {}", readable(residual))));
    lines
}

fn calls(calls: &[AggregateCall], inputs: &[&Node]) -> Vec<String> {
    let name = |index: usize| inputs.first().map(|i| column(i, index)).unwrap_or_default();
    let calls: Vec<String> = calls
        .iter()
        .map(|call| {
            let argument = call.argument.map_or("*".into(), name);
            let filter = call.filter.map(|f| format!(" FILTER (WHERE {})", name(f))).unwrap_or_default();
            let distinct = if call.distinct { "DISTINCT " } else { "" };
            let separator = call.separator.as_ref().map(|s| format!(", {}", string(s))).unwrap_or_default();
            let order = match call.order.as_slice() {
                [] => String::new(),
                order => {
                    format!(" ORDER BY {}", order.iter().map(|sort| sorted(sort, name)).collect::<Vec<_>>().join(", "))
                }
            };
            format!("{}({distinct}{argument}{separator}{order}){filter}", call.function)
        })
        .collect();
    if calls.is_empty() { Vec::new() } else { vec![format!("Computes: {}", calls.join(", "))] }
}

fn window_text(window: &WindowSpec, time: &str) -> String {
    let (text, offset) = match window.kind {
        WindowKind::Tumble { size, offset } => (format!("TUMBLE of {}", duration(size)), offset),
        WindowKind::Hop { size, slide, offset } => {
            (format!("HOP of {} every {}", duration(size), duration(slide)), offset)
        }
        WindowKind::Cumulate { size, step, offset } => {
            (format!("CUMULATE to {} by {}", duration(size), duration(step)), offset)
        }
        WindowKind::Session { gap } => (format!("SESSION with a gap of {}", duration(gap)), 0),
    };
    let clocks = window.zone.map_or_else(String::new, |zone| format!(" by the clocks of {zone}"));
    let offset = if offset == 0 { String::new() } else { format!(", offset {}", duration(offset)) };
    format!("{text}{clocks} over {time}{offset}")
}

/// An expression without the types that only the stored text needs.
fn readable(expr: &Scalar) -> String {
    super::text::expr::readable(expr.expr())
}
