//! Nodes as they are added: equal ones once, each with what is known about its output.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, Volatility};

use crate::error::{Error, Result};
use crate::plan::errors::{planning_error, through, visible};
use crate::plan::functions::CLOCK_FUNCTIONS;
use crate::plan::query::typing::{binary, cast};
use crate::plan::stream::{Changelog, Distribution, EventTime, Input, Node, NodeIndex, Op, OperatorId, unique_names};
use crate::plan::text::expr::print;
use crate::plan::total::{make_total, make_total_condition};
use crate::plan::{Scalar, query};
use crate::types::SqlType;

#[derive(Default)]
pub(super) struct Builder {
    pub nodes: Vec<Node>,
}

/// What a new node's output is like.
pub(super) struct Facts {
    pub fields: Vec<Field>,
    pub changelog: Changelog,
    pub event_time: Option<EventTime>,
    pub unique_key: Option<Vec<usize>>,
}

impl Builder {
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index]
    }

    pub fn schema(&self, index: NodeIndex) -> &SchemaRef {
        &self.nodes[index].schema
    }

    /// The same as DataFusion has it.
    pub fn df_schema(&self, index: NodeIndex) -> Result<DFSchema> {
        Ok(DFSchema::try_from(Arc::clone(self.schema(index)))?)
    }

    /// Adds a node, or finds the equal one. Names of columns are made unique.
    pub fn add(&mut self, op: Op, inputs: Vec<(NodeIndex, Distribution)>, facts: Facts) -> NodeIndex {
        let id = OperatorId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let inputs = inputs.into_iter().map(|(node, distribution)| Input { node, distribution }).collect();
        let schema = Arc::new(Schema::new(unique_names(facts.fields)));
        let Facts { changelog, event_time, unique_key, .. } = facts;
        let node = Node { id, op, inputs, schema, changelog, event_time, unique_key };
        let equal = |other: &Node| Node { id, ..other.clone() } == node;
        match self.nodes.iter().position(equal) {
            Some(index) => index,
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    /// A projection: expressions over `input`'s columns with the fields they make. Plain columns keep event time and
    /// unique key.
    pub fn project(&mut self, input: NodeIndex, outputs: Vec<(Expr, Field)>) -> Result<NodeIndex> {
        let node = self.node(input);
        let place = |column: usize| {
            let name = node.schema.field(column).name();
            outputs.iter().position(|(e, _)| matches!(e, Expr::Column(c) if c.name == *name))
        };
        let event_time = node.event_time.and_then(|time| place(time.column).map(|column| EventTime { column, ..time }));
        let unique_key = node.unique_key.as_ref().and_then(|key| key.iter().map(|c| place(*c)).collect());
        let facts = Facts {
            fields: outputs.iter().map(|(_, field)| field.clone()).collect(),
            changelog: node.changelog,
            event_time,
            unique_key,
        };
        let exprs = outputs.into_iter().map(|(expr, _)| self.scalar(expr, input)).collect::<Result<_>>()?;
        Ok(self.add(Op::Project { exprs }, vec![(input, Distribution::Any)], facts))
    }

    /// The rows of `input` for which `predicate` is true.
    pub fn filter(&mut self, input: NodeIndex, predicate: Expr) -> Result<NodeIndex> {
        let predicate = self.condition(predicate, input)?;
        let node = self.node(input);
        let facts = Facts {
            fields: node.schema.fields().iter().map(|f| f.as_ref().clone()).collect(),
            changelog: node.changelog,
            event_time: node.event_time,
            unique_key: node.unique_key.clone(),
        };
        Ok(self.add(Op::Filter { predicate }, vec![(input, Distribution::Any)], facts))
    }

    /// An expression over `input`'s columns in its final form.
    pub fn scalar(&self, expr: Expr, input: NodeIndex) -> Result<Scalar> {
        let scalar = plain(make_total(expr, &self.df_schema(input)?)?)?;
        computable(scalar, self.schema(input))
    }

    /// The condition of a filter over `input`'s columns.
    pub fn condition(&self, expr: Expr, input: NodeIndex) -> Result<Scalar> {
        condition_over(expr, self.schema(input))
    }

    /// The column at `index` of a node, as an expression.
    pub fn column(&self, node: NodeIndex, index: usize) -> Expr {
        Expr::Column(Column::new_unqualified(self.schema(node).field(index).name()))
    }

    /// An expression with the one Arrow type that its SQL type has, and the field it makes.
    pub fn output(&self, expr: Expr, name: &str, input: NodeIndex) -> Result<(Expr, Field)> {
        let schema = self.df_schema(input)?;
        let ty = sql_type_of(&expr, &schema)?;
        let from = expr.get_type(&schema)?;
        let expr = if ty.to_arrow() == from { expr } else { query::settle::fold(cast(expr, ty.to_arrow()))? };
        Ok((expr, ty.field(visible(name))))
    }
}

/// A condition over columns of `schema` in its final form: null counts as false.
pub(super) fn condition_over(expr: Expr, schema: &SchemaRef) -> Result<Scalar> {
    let scalar = plain(make_total_condition(expr, &DFSchema::try_from(Arc::clone(schema))?)?)?;
    computable(scalar, schema)
}

/// What cannot be computed is told now, not when the plan runs.
fn computable(scalar: Scalar, schema: &SchemaRef) -> Result<Scalar> {
    match scalar.physical(schema) {
        Ok(_) => Ok(scalar),
        Err(error) => Err(planning_error(error, "")),
    }
}

/// An expression as stored plans hold it: without places, names and metadata, which must not make two plans differ.
pub(super) fn plain(expr: Expr) -> Result<Scalar> {
    let stripped = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            Expr::Literal(value, Some(_)) => Transformed::yes(Expr::Literal(value, None)),
            Expr::Cast(c) => Transformed::yes(cast(*c.expr, c.field.data_type().clone())),
            Expr::ScalarFunction(f) => {
                steady(&f)?;
                Transformed::no(Expr::ScalarFunction(f))
            }
            other => Transformed::no(other),
        })
    })?;
    let balanced = balance(stripped.data)?;
    print(&balanced)?;
    Ok(Scalar::new(balanced))
}

/// Chains of AND or OR longer than this become balanced trees: a thousand alternatives nest ten deep.
const LONG_CHAIN: usize = 32;

fn balance(expr: Expr) -> Result<Expr> {
    let balanced = expr.transform_down(|expr| {
        let Expr::BinaryExpr(BinaryExpr { op, .. }) = &expr else { return Ok(Transformed::no(expr)) };
        let op = *op;
        if !matches!(op, Operator::And | Operator::Or) || split(&expr, op).len() <= LONG_CHAIN {
            return Ok(Transformed::no(expr));
        }
        let operands = split(&expr, op).into_iter().cloned().map(balance).collect::<Result<Vec<_>>>();
        let operands = operands.map_err(through)?;
        Ok(Transformed::new(tree(operands, op), true, TreeNodeRecursion::Jump))
    })?;
    Ok(balanced.data)
}

fn split(expr: &Expr, op: Operator) -> Vec<&Expr> {
    let mut operands = Vec::new();
    let mut rest = vec![expr];
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::BinaryExpr(b) if b.op == op => rest.extend([b.right.as_ref(), b.left.as_ref()]),
            operand => operands.push(operand),
        }
    }
    operands
}

fn tree(mut operands: Vec<Expr>, op: Operator) -> Expr {
    if operands.len() > 1 {
        let right = operands.split_off(operands.len() / 2);
        return binary(tree(operands, op), op, tree(right, op));
    }
    operands.pop().unwrap_or_default()
}

/// Refuses functions whose value is not determined by their arguments.
fn steady(function: &ScalarFunction) -> datafusion::error::Result<()> {
    let name = function.name();
    if function.func.signature().volatility == Volatility::Volatile || CLOCK_FUNCTIONS.contains(&name) {
        let hint = "Its value would change with every replay. Compute from the row's own columns.";
        let message = format!("function {name} is not supported in a streaming query");
        return Err(through(Error::unsupported(message, hint)));
    }
    Ok(())
}

/// The SQL type of an expression: with the declared precision or length where a column or a cast has one.
pub(super) fn sql_type_of(expr: &Expr, schema: &DFSchema) -> Result<SqlType> {
    Ok(match expr {
        Expr::Alias(alias) => sql_type_of(&alias.expr, schema)?,
        Expr::Column(column) => SqlType::from_field(schema.field(schema.index_of_column(column)?)),
        Expr::Cast(cast) => SqlType::from_field(&cast.field),
        // Text without a type is text.
        other => match other.get_type(schema)? {
            ty if ty.is_null() => SqlType::Text,
            ty => SqlType::from_arrow(&ty),
        },
    })
}
