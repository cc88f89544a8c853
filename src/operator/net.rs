//! Net changes: what a group's row was, and what it is now.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::group::differ;
use crate::change::ChangeBatch;
use crate::error::Result;

/// Rows of some groups at two instants; columns stand in the order of the output's schema.
pub struct Transition {
    /// Columns that do not change: the keys.
    pub keys: Vec<ArrayRef>,
    /// Answers before; not there if no group's row was out.
    pub old: Option<Vec<ArrayRef>>,
    pub new: Vec<ArrayRef>,
    /// For each group whether its row was out, and is to be.
    pub presence: Vec<(bool, bool)>,
}

impl Transition {
    /// For each group whose row differs: the old row with weight -1, the new one with +1.
    pub fn changes(self, schema: &SchemaRef) -> Result<Option<ChangeBatch>> {
        let rows = self.presence.len();
        let differ = match &self.old {
            Some(old) => differ(old, &self.new, rows)?,
            None => vec![true; rows],
        };
        let (mut picks, mut weights) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (row, ((was, is), differ)) in self.presence.iter().zip(differ).enumerate() {
            let changed = was != is || differ;
            if *was && changed {
                picks.push((1, row));
                weights.push(-1);
            }
            if *is && changed {
                picks.push((0, row));
                weights.push(1);
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let batch = |answers: Vec<ArrayRef>| -> Result<RecordBatch> {
            Ok(RecordBatch::try_new(schema.clone(), [self.keys.clone(), answers].concat())?)
        };
        let new = batch(self.new)?;
        let old = self.old.map(batch).transpose()?;
        let sides: Vec<&RecordBatch> = [Some(&new), old.as_ref()].into_iter().flatten().collect();
        let changes = interleave_record_batch(&sides, &picks)?;
        ChangeBatch::new(changes, Some(ScalarBuffer::from(weights))).map(Some)
    }
}
