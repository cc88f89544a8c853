//! EXPLAIN: a stream plan as a tree, drawn as PostgreSQL draws plans, with what each operator keeps and how that is
//! bounded.

use std::fmt::Write;

use super::Scalar;
use super::state::state_of;
use super::stream::{
    AggregateCall, Changelog, Distribution, Emit, Node, NodeIndex, Op, StreamPlan, Target, WindowSpec,
};

/// The plan as people read it, one line after the other.
pub fn explain(plan: &StreamPlan) -> String {
    let mut tree = Tree { plan, out: String::new() };
    for output in &plan.outputs {
        let Some(node) = plan.nodes.get(output.node) else { continue };
        let target = match &output.target {
            Target::Sink(name) => format!("Sink {name}"),
            Target::View => "View".to_string(),
        };
        tree.line(0, &format!("{target}  ({})", changelog(node.changelog)));
        if let Some(key) = &node.unique_key
            && node.changelog == Changelog::Changing
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

    fn node(&mut self, index: NodeIndex, depth: usize) {
        let Some(node) = self.plan.nodes.get(index) else { return };
        let inputs: Vec<&Node> = node.inputs.iter().filter_map(|i| self.plan.nodes.get(i.node)).collect();
        let depth = depth + 1;
        self.line(depth, &format!("{}  ({})", title(node, &inputs), changelog(node.changelog)));
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
                self.line(depth, &format!("Exchange {by}"));
            }
            self.node(input.node, depth);
        }
    }
}

fn changelog(kind: Changelog) -> &'static str {
    match kind {
        Changelog::AppendOnly => "append-only",
        Changelog::Changing => "changing",
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
        Op::Filter { .. } => "Filter".into(),
        Op::Project { .. } => "Project".into(),
        Op::Window { .. } => "Window".into(),
        Op::Aggregate { keys, .. } if keys.is_empty() => "Aggregate".into(),
        Op::Aggregate { keys, .. } => format!("Aggregate by {}", keys_of(inputs, keys)),
        Op::WindowAggregate { keys, .. } if keys.is_empty() => "Window Aggregate".into(),
        Op::WindowAggregate { keys, .. } => format!("Window Aggregate by {}", keys_of(inputs, keys)),
    }
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
        Op::Aggregate { aggregates, .. } => calls(aggregates, inputs),
        Op::WindowAggregate { window, time: t, aggregates, emit, lateness, .. } => {
            let mut lines = vec![format!("Window: {}", window_text(window, &time(t.column)))];
            lines.extend(calls(aggregates, inputs));
            lines.push(match emit {
                Emit::OnClose => "Emits: when a window closes".into(),
                Emit::OnUpdate => "Emits: open windows too, updated at every tick".into(),
            });
            if *lateness > 0 {
                lines.push(format!("Late rows: correct a window until {} after its end", duration(*lateness)));
            }
            lines
        }
    }
}

fn calls(calls: &[AggregateCall], inputs: &[&Node]) -> Vec<String> {
    let name = |index: usize| inputs.first().map(|i| column(i, index)).unwrap_or_default();
    let calls: Vec<String> = calls
        .iter()
        .map(|call| {
            let argument = call.argument.map_or("*".into(), name);
            let filter = call.filter.map(|f| format!(" FILTER (WHERE {})", name(f))).unwrap_or_default();
            format!("{}({argument}){filter}", call.function)
        })
        .collect();
    if calls.is_empty() { Vec::new() } else { vec![format!("Computes: {}", calls.join(", "))] }
}

fn window_text(window: &WindowSpec, time: &str) -> String {
    let (text, offset) = match window {
        WindowSpec::Tumble { size, offset } => (format!("TUMBLE of {}", duration(*size)), *offset),
        WindowSpec::Hop { size, slide, offset } => {
            (format!("HOP of {} every {}", duration(*size), duration(*slide)), *offset)
        }
        WindowSpec::Cumulate { size, step, offset } => {
            (format!("CUMULATE to {} by {}", duration(*size), duration(*step)), *offset)
        }
        WindowSpec::Session { gap } => (format!("SESSION with a gap of {}", duration(*gap)), 0),
    };
    let offset = if offset == 0 { String::new() } else { format!(", offset {}", duration(offset)) };
    format!("{text} over {time}{offset}")
}

/// Microseconds in the largest units that divide them: "1 minute", "1.5 s" never.
fn duration(micros: i64) -> String {
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

/// An expression without the types that only the stored text needs.
fn readable(expr: &Scalar) -> String {
    super::text::expr::readable(expr.expr())
}
