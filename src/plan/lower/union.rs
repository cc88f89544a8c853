//! UNION ALL.

use arrow::datatypes::Field;
use datafusion::logical_expr::{Expr, Union};

use super::build::Facts;
use super::{Lowering, Rows, Slot};
use crate::error::{Error, Result};
use crate::plan::errors::visible;
use crate::plan::stream::{Changelog, Distribution, Op};
use crate::types::SqlType;

impl Lowering<'_> {
    pub(super) fn union(&mut self, union: &Union) -> Result<Rows> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let rows = self.lower(input)?;
            let rows = self.put_windows(rows)?;
            inputs.push(rows);
        }
        let fields: Vec<Field> =
            (0..union.schema.fields().len()).map(|at| self.union_field(union, &inputs, at)).collect();
        let mut nodes = Vec::with_capacity(inputs.len());
        for rows in &inputs {
            let mut outputs: Vec<(Expr, Field)> = Vec::with_capacity(fields.len());
            for (slot, field) in rows.slots.iter().zip(&fields) {
                let Slot::Column(column) = slot else { return Err(Error::internal("a window's column was lost")) };
                outputs.push((self.builder.column(rows.node, *column), field.clone()));
            }
            nodes.push(self.arrange(rows.node, outputs)?);
        }
        let all = || nodes.iter().map(|node| self.builder.node(*node));
        let event_time = all().next().and_then(|first| first.event_time);
        let facts = Facts {
            fields,
            changelog: match all().all(|node| node.changelog == Changelog::AppendOnly) {
                true => Changelog::AppendOnly,
                false => Changelog::Changing,
            },
            event_time: event_time.filter(|time| all().all(|node| node.event_time == Some(*time))),
            unique_key: None,
        };
        let slots = (0..facts.fields.len()).map(Slot::Column).collect();
        let inputs = nodes.into_iter().map(|node| (node, Distribution::Any)).collect();
        let node = self.builder.add(Op::Union, inputs, facts);
        Ok(Rows { node, slots, window: None })
    }

    /// A column of the result: of the type that all inputs declare for it, else of their common type.
    fn union_field(&self, union: &Union, inputs: &[Rows], at: usize) -> Field {
        let named = union.schema.field(at);
        let mut types = inputs.iter().filter_map(|rows| match rows.slots.get(at) {
            Some(Slot::Column(column)) => Some(SqlType::from_field(self.builder.schema(rows.node).field(*column))),
            _ => None,
        });
        let first = types.next();
        let common = first.filter(|first| types.all(|ty| ty == *first));
        common.unwrap_or_else(|| SqlType::from_arrow(named.data_type())).field(visible(named.name()))
    }
}
