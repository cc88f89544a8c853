//! EXPLAIN of a SELECT: DataFusion's optimised plan, drawn and worded as streaming plans are (`plan/explain`).

use std::collections::HashMap;
use std::fmt::Write;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::expr::{AggregateFunction, Placeholder, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, FetchType, Join, JoinType, LogicalPlan, SkipType, TableScan, WindowFunctionDefinition,
};

use crate::plan::errors::visible;
use crate::plan::functions::arithmetic::as_operator;
use crate::plan::text::expr::readable;
use crate::sql::names::quoted;

/// The plan as people read it, one line after the other.
pub fn explain(plan: &LogicalPlan) -> String {
    let mut computed = HashMap::new();
    let mut scans = 0;
    let _ = plan.apply_with_subqueries(|node| {
        scans += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        Ok(TreeNodeRecursion::Continue)
    });
    let mut tree = Tree { qualified: scans > 1, computed: HashMap::new(), out: String::new() };
    let _ = plan.apply_with_subqueries(|node| {
        let calls = match node {
            LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.as_slice(),
            LogicalPlan::Window(window) => window.window_expr.as_slice(),
            _ => &[],
        };
        computed.extend(calls.iter().map(|call| (call.schema_name().to_string(), tree.text(call))));
        Ok(TreeNodeRecursion::Continue)
    });
    tree.computed = computed;
    tree.node(plan, 0, None);
    tree.out
}

/// DataFusion's name for a sub-query that has become a join, in words.
fn relation_name(name: &str) -> String {
    match name.strip_prefix("__correlated_sq_").or_else(|| name.strip_prefix("__scalar_sq_")) {
        Some(number) => format!("subquery_{number}"),
        None => name.to_string(),
    }
}

struct Tree {
    /// Several relations are read: columns are named with theirs.
    qualified: bool,
    /// The columns that aggregates and window functions give, by DataFusion's names, as calls.
    computed: HashMap<String, String>,
    out: String,
}

impl Tree {
    fn line(&mut self, depth: usize, text: &str) {
        match depth {
            0 => _ = writeln!(self.out, "{text}"),
            _ => _ = writeln!(self.out, "{}->  {text}", " ".repeat(6 * depth - 4)),
        }
    }

    fn detail(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{}{text}", " ".repeat(6 * depth + 2));
    }

    /// Draws a node and what is in front of it. `alias`: what the query calls it.
    fn node(&mut self, plan: &LogicalPlan, depth: usize, alias: Option<&str>) {
        match plan {
            // The outermost name is the one that stands in expressions.
            LogicalPlan::SubqueryAlias(named) => {
                return self.node(&named.input, depth, alias.or(Some(named.alias.table())));
            }
            LogicalPlan::Subquery(query) => return self.node(&query.subquery, depth, alias),
            _ => {}
        }
        let alias = alias.map_or_else(String::new, |alias| format!(" as {}", quoted(&relation_name(alias))));
        self.line(depth, &format!("{}{alias}", self.title(plan)));
        for detail in self.details(plan) {
            self.detail(depth, &detail);
        }
        for input in plan.inputs() {
            self.node(input, depth + 1, None);
        }
        let _ = plan.apply_subqueries(|query| {
            self.line(depth + 1, "Sub-query");
            self.node(query, depth + 2, None);
            Ok(TreeNodeRecursion::Jump)
        });
    }

    fn title(&self, plan: &LogicalPlan) -> String {
        match plan {
            LogicalPlan::Projection(_) => "Project".into(),
            LogicalPlan::Filter(_) => "Filter".into(),
            LogicalPlan::Sort(_) => "Sort".into(),
            LogicalPlan::Limit(_) => "Limit".into(),
            LogicalPlan::Aggregate(Aggregate { group_expr, .. }) if group_expr.is_empty() => "Aggregate".into(),
            LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => {
                format!("Aggregate by ({})", self.texts(group_expr))
            }
            LogicalPlan::Window(_) => "Window Functions".into(),
            LogicalPlan::Distinct(Distinct::On(on)) => format!("Distinct on ({})", self.texts(&on.on_expr)),
            LogicalPlan::Distinct(_) => "Distinct".into(),
            LogicalPlan::Union(_) => "Union All".into(),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::TableScan(TableScan { table_name, .. }) if table_name.table().ends_with("()") => {
                format!("Scan on function {}", table_name.table().trim_end_matches("()"))
            }
            LogicalPlan::TableScan(TableScan { table_name, .. }) => match table_name.schema() {
                None | Some(crate::sql::SCHEMA) => format!("Scan on materialized view {}", quoted(table_name.table())),
                Some(schema) => format!("Scan on {schema}.{}", quoted(table_name.table())),
            },
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => "One row".into(),
            LogicalPlan::EmptyRelation(_) => "Nothing".into(),
            LogicalPlan::Values(values) => format!("Values, {} rows", values.values.len()),
            other => other.display().to_string(),
        }
    }

    fn join(&self, join: &Join) -> String {
        let kind = match join.join_type {
            JoinType::Inner if join.on.is_empty() && join.filter.is_none() => "Cross Join",
            JoinType::Inner => "Inner Join",
            JoinType::Left => "Left Join",
            JoinType::Right => "Right Join",
            JoinType::Full => "Full Join",
            JoinType::LeftSemi | JoinType::RightSemi => "Semi Join",
            JoinType::LeftAnti | JoinType::RightAnti => "Anti Join",
            JoinType::LeftMark | JoinType::RightMark => "Mark Join",
        };
        let equal = join.on.iter().map(|(left, right)| format!("{} = {}", self.text(left), self.text(right)));
        let equal = equal.collect::<Vec<_>>().join(" AND ");
        if equal.is_empty() { kind.into() } else { format!("{kind} on ({equal})") }
    }

    fn details(&self, plan: &LogicalPlan) -> Vec<String> {
        match plan {
            LogicalPlan::Projection(projection) => vec![format!("Output: {}", self.texts(&projection.expr))],
            LogicalPlan::Filter(filter) => vec![format!("Condition: {}", self.text(&filter.predicate))],
            LogicalPlan::Sort(sort) => {
                let first = sort.fetch.map(|rows| format!("Keeps: the first {rows}"));
                std::iter::once(format!("Order: {}", self.order(&sort.expr))).chain(first).collect()
            }
            LogicalPlan::Limit(limit) => {
                let skip = match limit.get_skip_type() {
                    Ok(SkipType::Literal(0)) | Err(_) => None,
                    Ok(SkipType::Literal(rows)) => Some(format!("Skips: {rows} rows")),
                    Ok(SkipType::UnsupportedExpr) => Some("Skips: rows by an expression".into()),
                };
                let keep = match limit.get_fetch_type() {
                    Ok(FetchType::Literal(Some(rows))) => Some(format!("Keeps: {rows} rows")),
                    Ok(FetchType::UnsupportedExpr) => Some("Keeps: rows by an expression".into()),
                    _ => None,
                };
                skip.into_iter().chain(keep).collect()
            }
            LogicalPlan::Aggregate(aggregate) if !aggregate.aggr_expr.is_empty() => {
                vec![format!("Computes: {}", self.texts(&aggregate.aggr_expr))]
            }
            LogicalPlan::Window(window) => vec![format!("Computes: {}", self.texts(&window.window_expr))],
            LogicalPlan::Join(join) => {
                join.filter.iter().map(|filter| format!("Condition: {}", self.text(filter))).collect()
            }
            LogicalPlan::TableScan(scan) => {
                let columns = scan.projected_schema.fields().iter().map(|field| quoted(field.name()));
                vec![format!("Columns: ({})", columns.collect::<Vec<_>>().join(", "))]
            }
            _ => Vec::new(),
        }
    }

    fn order(&self, by: &[Sort]) -> String {
        let by = by.iter().map(|by| {
            let direction = if by.asc { "" } else { " DESC" };
            let nulls = match (by.asc, by.nulls_first) {
                (true, true) => " NULLS FIRST",
                (false, false) => " NULLS LAST",
                _ => "",
            };
            format!("{}{direction}{nulls}", self.text(&by.expr))
        });
        by.collect::<Vec<_>>().join(", ")
    }

    fn texts(&self, exprs: &[Expr]) -> String {
        exprs.iter().map(|expr| self.text(expr)).collect::<Vec<_>>().join(", ")
    }

    fn text(&self, expr: &Expr) -> String {
        match expr {
            Expr::Alias(alias) => {
                let (inner, name) = (self.text(&alias.expr), visible(&alias.name));
                let same = inner == quoted(name) || name.contains('(');
                if same { inner } else { format!("{inner} AS {}", quoted(name)) }
            }
            Expr::AggregateFunction(call) => self.aggregate(call),
            Expr::WindowFunction(call) => self.window(call),
            other => {
                let named = other.clone().transform_up(|expr| Ok(Transformed::yes(self.named(expr))));
                named.map_or_else(|_| other.to_string(), |named| readable(&named.data))
            }
        }
    }

    /// What is computed below as its call, and columns as the query would name them.
    fn named(&self, expr: Expr) -> Expr {
        match expr {
            Expr::Column(column) => match self.computed.get(&column.flat_name()) {
                Some(call) => Expr::Placeholder(Placeholder::new_with_field(call.clone(), None)),
                None => {
                    let relation = column.relation.filter(|_| self.qualified);
                    let relation = relation.map(|relation| TableReference::bare(relation_name(relation.table())));
                    Expr::Column(Column { relation, name: visible(&column.name).to_string(), spans: column.spans })
                }
            },
            Expr::ScalarFunction(function) => as_operator(function),
            call @ (Expr::AggregateFunction(_) | Expr::WindowFunction(_)) => {
                Expr::Placeholder(Placeholder::new_with_field(self.text(&call), None))
            }
            other => other,
        }
    }

    fn aggregate(&self, call: &AggregateFunction) -> String {
        let params = &call.params;
        let distinct = if params.distinct { "DISTINCT " } else { "" };
        // DataFusion counts a constant where all rows are counted.
        let all = call.func.name() == "count" && matches!(params.args.as_slice(), [Expr::Literal(..)]);
        let arguments = if all { "*".to_string() } else { self.texts(&params.args) };
        let order = match params.order_by.as_slice() {
            [] => String::new(),
            by => format!(" ORDER BY {}", self.order(by)),
        };
        let filter = params.filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", self.text(filter)));
        format!("{}({distinct}{arguments}{order}){}", call.func.name(), filter.unwrap_or_default())
    }

    fn window(&self, call: &WindowFunction) -> String {
        let WindowFunctionParams { args, partition_by, order_by, .. } = &call.params;
        let name = match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.name(),
            WindowFunctionDefinition::WindowUDF(function) => function.name(),
        };
        let mut over = Vec::new();
        if !partition_by.is_empty() {
            over.push(format!("PARTITION BY {}", self.texts(partition_by)));
        }
        if !order_by.is_empty() {
            over.push(format!("ORDER BY {}", self.order(order_by)));
        }
        format!("{name}({}) OVER ({})", self.texts(args), over.join(" "))
    }
}
