//! Picked pairs of rows, as numbers, and the condition that judges them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;

use crate::error::{Error, Result};
use crate::operator::CHUNK_ROWS;
use crate::operator::join::LEFT;
use crate::operator::join::chunk::record_batch;
use crate::operator::row_store::RowStore;
use crate::plan::Scalar;

/// Numbers of left and right rows, with weights.
#[derive(Default)]
pub struct Picks {
    rows: [Vec<u32>; 2],
    weights: Vec<i64>,
}

impl Picks {
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_full(&self) -> bool {
        self.len() >= CHUNK_ROWS
    }

    /// Adds a row of one side with one of the other.
    #[inline]
    pub fn push(&mut self, side: usize, own: u32, other: u32, weight: i64) {
        let [left, right] = &mut self.rows;
        if side == LEFT {
            left.push(own);
            right.push(other);
        } else {
            left.push(other);
            right.push(own);
        }
        self.weights.push(weight);
    }

    /// The rows of one side.
    pub fn of(&self, side: usize) -> &[u32] {
        self.rows.get(side).map_or(&[], Vec::as_slice)
    }

    /// Moves those for which `keep` is true behind the rest of `into`.
    fn move_if(&mut self, keep: impl Iterator<Item = bool>, into: &mut Picks) {
        let [left, right] = &self.rows;
        for (((left, right), weight), keep) in left.iter().zip(right).zip(&self.weights).zip(keep) {
            if keep {
                into.push(LEFT, *left, *right, *weight);
            }
        }
        self.rows.iter_mut().for_each(Vec::clear);
        self.weights.clear();
    }

    /// Moves all behind the rest of `into`.
    pub fn move_all(&mut self, into: &mut Picks) {
        if into.len() == 0 {
            std::mem::swap(self, into);
            return;
        }
        self.rows.iter_mut().zip(&mut into.rows).for_each(|(own, into)| into.append(own));
        into.weights.append(&mut self.weights);
    }

    /// Takes the first, at most a chunk of them, out.
    pub fn take_chunk(&mut self) -> (Picks, Vec<i64>) {
        let rest = CHUNK_ROWS.min(self.len());
        let behind = Picks {
            rows: [0, 1].map(|side| self.rows.get_mut(side).map_or_else(Vec::new, |rows| rows.split_off(rest))),
            weights: self.weights.split_off(rest),
        };
        let mut first = std::mem::replace(self, behind);
        let weights = std::mem::take(&mut first.weights);
        (first, weights)
    }
}

/// A condition, and the columns of both sides that it needs.
pub struct Condition {
    expr: Arc<dyn PhysicalExpr>,
    columns: [Vec<usize>; 2],
    schema: SchemaRef,
}

impl Condition {
    /// `pair`: the columns of both sides, the first `left` of which are the left one's.
    pub fn new(condition: &Scalar, pair: &SchemaRef, left: usize) -> Result<Self> {
        let mut needed: Vec<usize> = collect_columns(&condition.compile(pair)?).iter().map(|c| c.index()).collect();
        needed.sort_unstable();
        let schema = Arc::new(pair.project(&needed)?);
        let (of_left, of_right): (Vec<usize>, Vec<usize>) = needed.into_iter().partition(|at| *at < left);
        let columns = [of_left, of_right.into_iter().map(|at| at - left).collect()];
        Ok(Condition { expr: condition.compile(&schema)?, columns, schema })
    }

    /// Moves the candidates that the condition is true of behind what is picked.
    pub fn judge(&self, candidates: &mut Picks, stores: [&RowStore; 2], picked: &mut Picks) -> Result<()> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (side, (store, wanted)) in stores.into_iter().zip(&self.columns).enumerate() {
            if !wanted.is_empty() {
                columns.extend(store.gather(candidates.of(side), wanted.iter().copied())?);
            }
        }
        let batch = record_batch(&self.schema, columns, candidates.len())?;
        let answers = self.expr.evaluate(&batch)?.into_array(candidates.len())?;
        if *answers.data_type() != DataType::Boolean {
            return Err(Error::internal("a join's condition is not boolean"));
        }
        candidates.move_if(answers.as_boolean().iter().map(|answer| answer.unwrap_or(false)), picked);
        Ok(())
    }
}
