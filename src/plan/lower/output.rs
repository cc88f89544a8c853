//! The last step: the result as its sink or its view wants it.

use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::sql::sqlparser::ast::{Distinct, SetExpr, Spanned};
use std::sync::Arc;

use super::build::sql_type_of;
use super::{Lowering, Rows, Slot};
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::{duplicate_column, planning_error, visible};
use crate::plan::functions::constraint::CHECK_NOT_NULL;
use crate::plan::functions::row::ROW_OF;
use crate::plan::functions::scalar::{CHECK_LENGTH, ROUND_TIME};
use crate::plan::query::locate::item_position;
use crate::plan::query::settle::text_of;
use crate::plan::query::typing::{call, literal_as, unknown};
use crate::plan::query::{self};
use crate::plan::relations::{Relation, RelationKind};
use crate::plan::stream::{Emit, NodeIndex, Op, Output, Target};
use crate::sql::ast::{EmitClause, EmitWhen, InsertStatement, Name, Query};
use crate::sql::names::nearest;
use crate::sql::places::Places;
use crate::types::{Column, SqlType};

impl Lowering<'_> {
    /// Lowers `INSERT INTO sink [(columns)] query`.
    pub fn insert(&mut self, text: &str, insert: &InsertStatement, query: &LogicalPlan) -> Result<()> {
        let sink = self.sink(&insert.target)?;
        let name = &sink.name;
        let targets = target_columns(&sink, &insert.columns)?;
        let given = query.schema().fields().len();
        if given > targets.len() {
            let message = "INSERT has more expressions than target columns";
            return Err(Error::new(SqlState::SyntaxError, message).at(insert.target.position));
        }
        if given < targets.len() && !insert.columns.is_empty() {
            let message = "INSERT has more target columns than expressions";
            let position = insert.columns.get(given).map_or(insert.target.position, |n| n.position);
            return Err(Error::new(SqlState::SyntaxError, message).at(position));
        }
        refuse_order(insert, text)?;
        self.begin(text, &insert.emit, Emit::OnClose)?;
        let literals = literals(query);
        let rows = self.result(query)?;
        self.check_emit(&insert.emit)?;
        let mut outputs = Vec::with_capacity(sink.columns.len());
        for (index, column) in sink.columns.iter().enumerate() {
            let source = targets.iter().position(|t| *t == index).filter(|s| *s < given);
            let expr = match source {
                Some(source) => {
                    let literal = literals.get(source).and_then(|l| l.as_ref());
                    self.assigned(&rows, source, literal, column, name).map_err(|e| {
                        let position = item_position(&insert.query, source, text);
                        position.map_or(e.clone(), |p| e.at(p))
                    })?
                }
                None => missing_value(column, &sink.name)?,
            };
            outputs.push((expr, column.field()));
        }
        let node = self.arrange(rows.node, outputs)?;
        let node = self.without_nulls(node, &sink)?;
        let node = self.taken(node, &sink).map_err(|e| e.at(insert.target.position))?;
        self.outputs.push(Output { node, target: Target::Sink(sink.name) });
        Ok(())
    }

    /// Lowers a view's query; returns the view's columns. `names` are its column list, empty for the query's own names.
    pub fn view(&mut self, text: &str, query: &LogicalPlan, names: &[Name], emit: &EmitClause) -> Result<Vec<Column>> {
        let given = query.schema().fields().len();
        if let Some(extra) = names.get(given) {
            let message = "CREATE MATERIALIZED VIEW specifies too many column names";
            return Err(Error::new(SqlState::SyntaxError, message).at(extra.position));
        }
        self.begin(text, emit, Emit::OnUpdate)?;
        let rows = self.result(query)?;
        self.check_emit(emit)?;
        let mut outputs: Vec<(Expr, Field)> = Vec::with_capacity(given);
        for (index, field) in query.schema().fields().iter().enumerate() {
            let listed = names.get(index);
            let name = listed.map_or(visible(field.name()), |n| n.value.as_str());
            if outputs.iter().any(|(_, f)| f.name() == name) {
                let error = duplicate_column(name);
                return Err(listed.map_or(error.clone(), |n| error.at(n.position)));
            }
            outputs.push(self.builder.output(self.slot(&rows, index)?, name, rows.node)?);
        }
        let columns = outputs.iter().map(|(_, field)| Column {
            name: field.name().clone(),
            ty: SqlType::from_field(field),
            not_null: false,
        });
        let columns = columns.collect();
        let node = self.arrange(rows.node, outputs)?;
        self.outputs.push(Output { node, target: Target::View });
        Ok(columns)
    }

    fn begin(&mut self, text: &str, emit: &EmitClause, default: Emit) -> Result<()> {
        self.has_window = false;
        self.emit = match emit.when {
            Some(EmitWhen::OnWindowClose) => Emit::OnClose,
            Some(EmitWhen::OnUpdate | EmitWhen::Every(_)) => Emit::OnUpdate,
            None => default,
        };
        self.every = match &emit.when {
            Some(EmitWhen::Every(every)) => Some(query::window::every(text, every)?),
            _ => None,
        };
        self.lateness = emit.lateness.as_ref().map_or(Ok(0), |lateness| query::window::lateness(text, lateness))?;
        Ok(())
    }

    fn check_emit(&self, emit: &EmitClause) -> Result<()> {
        let clause = match emit {
            _ if self.has_window => return Ok(()),
            EmitClause { lateness: Some(_), .. } => "ALLOWED LATENESS",
            EmitClause { when: Some(EmitWhen::OnWindowClose), .. } => "EMIT ON WINDOW CLOSE",
            EmitClause { when: Some(EmitWhen::Every(_)), .. } => "EMIT EVERY",
            _ => return Ok(()),
        };
        let hint = "Leave it out, or GROUP BY window_start, window_end over TABLE(TUMBLE(...)).";
        Err(Error::unsupported(format!("{clause} needs a query that groups by a window"), hint))
    }

    fn sink(&self, target: &Name) -> Result<Relation> {
        let relation = self.relations.relation(&target.value).map_err(|e| e.at(target.position))?;
        if matches!(relation.kind, RelationKind::Sink { .. }) {
            return Ok(relation);
        }
        let message = format!("\"{}\" is a {}, not a sink", relation.name, relation.kind.noun());
        let hint = "INSERT INTO a sink; CREATE SINK makes one.";
        Err(Error::new(SqlState::WrongObjectType, message).with_hint(hint).at(target.position))
    }

    /// Fails on a row with a null in a column of `sink` that is NOT NULL.
    fn without_nulls(&mut self, node: NodeIndex, sink: &Relation) -> Result<NodeIndex> {
        let required = sink.columns.iter().enumerate().filter(|(_, column)| column.not_null);
        let pairs = required.flat_map(|(index, column)| [lit(column.name.as_str()), self.builder.column(node, index)]);
        let mut arguments = vec![lit(sink.name.as_str())];
        arguments.extend(pairs);
        if arguments.len() == 1 {
            return Ok(node);
        }
        let schema = self.builder.df_schema(node)?;
        let check = query::settle_expr(call(CHECK_NOT_NULL, arguments)?, &schema);
        self.builder.filter(node, check.map_err(|e| planning_error(e, ""))?)
    }

    /// The query's rows, with every column in them.
    fn result(&mut self, query: &LogicalPlan) -> Result<Rows> {
        let rows = self.lower(query)?;
        self.put_windows(rows)
    }

    fn slot(&self, rows: &Rows, index: usize) -> Result<Expr> {
        match rows.slots.get(index) {
            Some(Slot::Column(column)) => Ok(self.builder.column(rows.node, *column)),
            _ => Err(Error::internal("a column of the result was lost")),
        }
    }

    /// Column `index` of the result as a value of a sink's column: PostgreSQL's assignment.
    fn assigned(
        &self,
        rows: &Rows,
        index: usize,
        literal: Option<&ScalarValue>,
        column: &Column,
        sink: &str,
    ) -> Result<Expr> {
        let schema = self.builder.df_schema(rows.node)?;
        let to = column.ty.to_arrow();
        match literal {
            Some(value) if value.is_null() => return missing_value(column, sink),
            Some(value) if !to.is_string() => {
                if let Some(text) = value.try_as_str().flatten() {
                    return literal_as(text, &to).map_err(|_| Error::unreadable(text, &column.ty));
                }
            }
            _ => {}
        }
        let expr = self.slot(rows, index)?;
        let from = sql_type_of(&expr, &schema)?;
        if from == column.ty {
            return Ok(expr);
        }
        if !assignable(&from, &column.ty) {
            return Err(mismatch(column, &from));
        }
        let from_arrow = from.to_arrow();
        let expr = match (&column.ty, &from) {
            (SqlType::Varchar(Some(n)), _) => {
                let length = i32::try_from(*n).unwrap_or(i32::MAX);
                call(CHECK_LENGTH, vec![text_of(expr, &from_arrow), lit(length)])?
            }
            (SqlType::Text | SqlType::Varchar(None), _) => text_of(expr, &from_arrow),
            (SqlType::Timestamp(p) | SqlType::TimestampTz(p), SqlType::Timestamp(q) | SqlType::TimestampTz(q))
                if p < q =>
            {
                let rounded = call(ROUND_TIME, vec![expr, lit(i32::from(*p))])?;
                if from_arrow == to { rounded } else { Expr::Cast(Cast::new(Box::new(rounded), to)) }
            }
            _ if from_arrow == to => expr,
            (SqlType::Row(fields), SqlType::Row(given)) => {
                let names = given.iter().map(|(name, _)| name.as_str());
                let value = |(name, (_, ty)): (&str, &(String, SqlType))| -> Result<Expr> {
                    let value = call("get_field", vec![expr.clone(), lit(name)])?;
                    Ok(Expr::Cast(Cast { expr: Box::new(value), field: Arc::new(ty.field("")) }))
                };
                let mut arguments = vec![lit(ScalarValue::try_from(&to)?), expr.clone()];
                arguments.extend(names.zip(fields).map(value).collect::<Result<Vec<_>>>()?);
                call(ROW_OF, arguments)?
            }
            _ => Expr::Cast(Cast { expr: Box::new(expr), field: Arc::new(column.ty.field("")) }),
        };
        query::settle_expr(expr, &schema).map_err(|e| planning_error(e, ""))
    }

    /// A projection to exactly these columns; none if the rows are that already. Fused with a projection in front whose
    /// values it only passes on.
    pub(super) fn arrange(&mut self, input: NodeIndex, outputs: Vec<(Expr, Field)>) -> Result<NodeIndex> {
        let schema = self.builder.schema(input);
        let same = schema.fields().len() == outputs.len()
            && outputs.iter().zip(schema.fields()).all(|((expr, field), had)| {
                *field == **had && matches!(expr, Expr::Column(c) if c.name == *had.name())
            });
        if same {
            return Ok(input);
        }
        self.builder.project_fused(input, outputs)
    }
}

/// The literals among the outputs of a query's topmost projection: to PostgreSQL they have no type yet.
fn literals(query: &LogicalPlan) -> Vec<Option<ScalarValue>> {
    let LogicalPlan::Projection(projection) = query else { return Vec::new() };
    projection
        .expr
        .iter()
        .map(|expr| match expr.clone().unalias_nested().data {
            Expr::Literal(value, _) if value.is_null() => Some(value),
            literal if unknown(&literal).is_some() => match literal {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// For each value of the query the index of the sink's column it goes to.
fn target_columns(sink: &Relation, listed: &[Name]) -> Result<Vec<usize>> {
    if listed.is_empty() {
        return Ok((0..sink.columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(listed.len());
    for name in listed {
        let Some(index) = sink.columns.iter().position(|c| c.name == name.value) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", sink.name);
            let error = Error::new(SqlState::UndefinedColumn, message).at(name.position);
            return Err(match nearest(&name.value, sink.columns.iter().map(|c| c.name.as_str())) {
                Some(near) => error.with_hint(format!("Perhaps you meant the column \"{near}\".")),
                None => error,
            });
        };
        if targets.contains(&index) {
            return Err(duplicate_column(&name.value).at(name.position));
        }
        targets.push(index);
    }
    Ok(targets)
}

fn missing_value(column: &Column, sink: &str) -> Result<Expr> {
    if column.not_null {
        return Err(column.null_violation(sink).with_hint("Give the column a value."));
    }
    Ok(lit(ScalarValue::try_from(&column.ty.to_arrow())?))
}

fn mismatch(column: &Column, from: &SqlType) -> Error {
    let short = |ty: &SqlType| match ty {
        SqlType::Numeric(..) => "numeric".to_string(),
        other => other.to_string(),
    };
    let message = format!(
        "column \"{}\" is of type {} but expression is of type {}",
        column.name,
        short(&column.ty),
        short(from)
    );
    Error::new(SqlState::DatatypeMismatch, message).with_hint("You will need to rewrite or cast the expression.")
}

/// PostgreSQL's casts that an assignment makes by itself.
fn assignable(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    let number =
        |ty: &SqlType| matches!(ty, T::SmallInt | T::Integer | T::BigInt | T::Real | T::Double | T::Numeric(..));
    let moment = |ty: &SqlType| matches!(ty, T::Timestamp(_) | T::TimestampTz(_) | T::Date);
    match (from, to) {
        (_, T::Text | T::Varchar(_)) => true,
        (T::Row(a), T::Row(b)) => a.len() == b.len() && a.iter().zip(b).all(|((_, a), (_, b))| assignable(a, b)),
        (T::Array(a), T::Array(b)) => assignable(a, b),
        (a, b) if number(a) && number(b) => true,
        (a, b) if moment(a) && moment(b) => true,
        (T::Time(_) | T::Timestamp(_) | T::TimestampTz(_) | T::Interval, T::Time(_)) | (T::Time(_), T::Interval) => {
            true
        }
        (a, b) => a == b,
    }
}

/// A sink takes rows one after the other as they come: there is nothing to sort.
fn refuse_order(insert: &InsertStatement, text: &str) -> Result<()> {
    let query = &insert.query;
    match &query.order_by {
        Some(order) if query.limit_clause.is_none() && query.fetch.is_none() && !is_distinct_on(query) => {
            let hint =
                "Leave ORDER BY out, or add a LIMIT; rows are sorted when a materialized view is read with SELECT.";
            let error = Error::unsupported("ORDER BY without LIMIT is not supported in a streaming job", hint);
            let start = order.span().start;
            Err(if start.line == 0 { error } else { error.at(Places::new(text).position(start)) })
        }
        _ => Ok(()),
    }
}

fn is_distinct_on(query: &Query) -> bool {
    matches!(query.body.as_ref(), SetExpr::Select(select) if matches!(select.distinct, Some(Distinct::On(_))))
}

impl super::build::Builder {
    /// A projection over `input`. If that is a projection which nobody else reads, both become one, unless a computed
    /// value would be computed twice.
    fn project_fused(&mut self, input: NodeIndex, outputs: Vec<(Expr, Field)>) -> Result<NodeIndex> {
        use datafusion::common::tree_node::{Transformed, TreeNode};
        let last = input + 1 == self.nodes.len();
        let Op::Project { exprs } = &self.node(input).op else { return self.project(input, outputs) };
        let inner: Vec<Expr> = exprs.iter().map(|e| e.expr().clone()).collect();
        let schema = Arc::clone(self.schema(input));
        let cheap = |e: &Expr| matches!(e, Expr::Column(_) | Expr::Literal(..));
        let mut uses = vec![0usize; inner.len()];
        for (expr, _) in &outputs {
            let _ = expr.apply(|e| {
                if let Expr::Column(c) = e
                    && let Some(count) = schema.index_of(&c.name).ok().and_then(|i| uses.get_mut(i))
                {
                    *count += 1;
                }
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            });
        }
        let once = inner.iter().zip(&uses).all(|(e, uses)| *uses <= 1 || cheap(e));
        let Some(below) = self.node(input).inputs.first().map(|i| i.node).filter(|_| last && once) else {
            return self.project(input, outputs);
        };
        let substitute = |expr: Expr| -> Result<Expr> {
            let replaced = expr.transform_up(|e| {
                Ok(match &e {
                    Expr::Column(c) => match schema.index_of(&c.name).ok().and_then(|i| inner.get(i)) {
                        Some(value) => Transformed::new(
                            value.clone(),
                            true,
                            datafusion::common::tree_node::TreeNodeRecursion::Jump,
                        ),
                        None => Transformed::no(e),
                    },
                    _ => Transformed::no(e),
                })
            })?;
            Ok(query::settle::fold(replaced.data)?)
        };
        let outputs =
            outputs.into_iter().map(|(e, f)| Ok((substitute(e)?, f))).collect::<Result<Vec<(Expr, Field)>>>()?;
        self.nodes.pop();
        self.project(below, outputs)
    }
}
