//! Window table functions alone: each row with window_start, window_end and window_time (the last instant: end - 1 unit)
//! appended, once for each window it falls into.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimestampMicrosecondType};

use super::chunks::Chunks;
use super::slices::{Slices, Spans};
use super::{CHUNK_ROWS, Operator, Pull, TickEnd};
use crate::change::ChangeBatch;
use crate::error::{Error, Result, SqlState};
use crate::plan::EventTime;

pub struct Window {
    schema: SchemaRef,
    time: EventTime,
    slices: Slices,
    input: Chunks,
    /// The chunk whose rows are being repeated.
    repeating: Option<Repeating>,
}

struct Repeating {
    batch: ChangeBatch,
    spans: Spans,
    /// The next row, and the end of its next window (none: its first).
    row: usize,
    next: Option<i64>,
}

impl Window {
    pub fn new(slices: Slices, time: EventTime, schema: &SchemaRef) -> Self {
        Window { schema: Arc::clone(schema), time, slices, input: Chunks::default(), repeating: None }
    }

    fn begin(&self, batch: ChangeBatch) -> Result<Repeating> {
        let mut spans = Spans::default();
        self.slices.spans(event_times(&batch, self.time)?, &mut spans)?;
        Ok(Repeating { batch, spans, row: 0, next: None })
    }

    /// The next rows, each for one of its windows.
    fn repeat(&self, repeating: &mut Repeating) -> Result<Option<ChangeBatch>> {
        let Repeating { batch, spans, row, next } = repeating;
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        while let (Some(first), Some(last)) = (spans.firsts.get(*row), spans.lasts.get(*row))
            && ends.len() < CHUNK_ROWS
        {
            let end = next.unwrap_or(*first);
            if end > *last {
                (*row, *next) = (*row + 1, None);
                continue;
            }
            rows.push(*row as u32);
            ends.push(end);
            (*row, *next) = if end == *last { (*row + 1, None) } else { (*row, Some(self.slices.end_behind(end)?)) };
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let once = rows.len() == batch.num_rows() && self.slices.is_tumbling();
        let batch = if once { batch.clone() } else { batch.take(&UInt32Array::from(rows))? };
        let mut columns = batch.rows().columns().to_vec();
        columns.extend(window_columns(
            &ends,
            &self.slices,
            self.time.unit,
            self.schema.fields().iter().skip(columns.len()),
        )?);
        batch.with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?).map(Some)
    }
}

/// The event times of a batch's rows, in microseconds.
///
/// # Errors
/// `23502` if one is null.
pub(super) fn event_times(batch: &ChangeBatch, time: EventTime) -> Result<&[i64]> {
    let column = batch.rows().columns().get(time.column);
    let column = column.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let column = column.ok_or_else(|| Error::internal("the event time is no timestamp"))?;
    if column.null_count() > 0 {
        let schema = batch.schema();
        let name = schema.fields().get(time.column).map_or("", |f| f.name());
        return Err(Error::new(SqlState::NotNullViolation, format!("null value in event-time column \"{name}\""))
            .with_hint("Filter such rows out in front of the window: WHERE ... IS NOT NULL."));
    }
    Ok(column.values())
}

/// window_start, window_end and window_time of windows that are named `ends`, as columns of the types that come first in
/// `fields`.
pub(super) fn window_columns<'a>(
    ends: &[i64],
    slices: &Slices,
    unit: i64,
    fields: impl Iterator<Item = &'a FieldRef>,
) -> Result<Vec<ArrayRef>> {
    let mut columns = [(); 3].map(|()| Vec::with_capacity(ends.len()));
    // Rows of one window come together: its borders are computed once.
    let mut known = None;
    for end in ends {
        let (of, (start, end)) = known.filter(|(of, _)| of == end).unwrap_or_else(|| (*end, slices.borders(*end)));
        known = Some((of, (start, end)));
        columns.iter_mut().zip([start, end, end.wrapping_sub(unit)]).for_each(|(column, time)| column.push(time));
    }
    columns.into_iter().zip(fields).map(|(times, field)| timestamps(times, field.data_type())).collect()
}

/// A column of times of this type.
pub(super) fn timestamps(times: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    if !PrimitiveArray::<TimestampMicrosecondType>::is_compatible(data_type) {
        return Err(Error::internal("a window's column is no timestamp"));
    }
    Ok(Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(times).with_data_type(data_type.clone())))
}

impl Operator for Window {
    fn push(&mut self, _port: usize, batch: ChangeBatch) -> Result<()> {
        self.input.put(batch)
    }

    fn end_tick(&mut self, _tick: &TickEnd) -> Result<()> {
        Ok(())
    }

    fn pull(&mut self) -> Result<Pull> {
        loop {
            let mut repeating = match self.repeating.take() {
                Some(repeating) => repeating,
                None => match self.input.next() {
                    Some(batch) => self.begin(batch)?,
                    None => return Ok(Pull::Done),
                },
            };
            if let Some(chunk) = self.repeat(&mut repeating)? {
                self.repeating = Some(repeating);
                return Ok(Pull::Batch(chunk));
            }
        }
    }
}
