//! A whole result as text: for the command line, where rows are shown and not sent.

use arrow::datatypes::Schema;
use bytes::{Buf, BytesMut};
use chrono_tz::Tz;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::pgwire::encode::{Format, RowEncoder};
use super::pgwire::wire_type::WireType;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// Rows a grid holds, at most: it is made for people to read.
const MAX_ROWS: usize = 1_000_000;

/// Values as PostgreSQL prints them; `None` is null.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    pub names: Vec<String>,
    pub types: Vec<SqlType>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Grid {
    /// Reads a result to its end.
    pub async fn collect(schema: &Schema, mut stream: SendableRecordBatchStream, zone: Tz) -> Result<Grid> {
        let types: Vec<WireType> = schema.fields().iter().map(|f| WireType::of(f)).collect();
        let formats = vec![Format::Text; types.len()];
        let mut rows = Vec::new();
        let mut message = BytesMut::new();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let encoder = RowEncoder::new(&batch, &types, &formats, zone)?;
            if rows.len() + encoder.rows() > MAX_ROWS {
                return Err(too_many());
            }
            for row in 0..encoder.rows() {
                message.clear();
                encoder.put_row(row, &mut message)?;
                rows.push(values(&message)?);
            }
        }
        Ok(Grid {
            names: schema.fields().iter().map(|f| f.name().clone()).collect(),
            types: types.into_iter().map(|ty| ty.sql).collect(),
            rows,
        })
    }
}

/// The values of a `DataRow` message: type, length, number of columns, then a length and bytes for each.
fn values(mut message: &[u8]) -> Result<Vec<Option<String>>> {
    let broken = || Error::internal("a row was written with another length than it says");
    message = message.get(5..).ok_or_else(broken)?;
    let count = message.try_get_u16().map_err(|_| broken())?;
    let value = |message: &mut &[u8]| -> Result<Option<String>> {
        let Ok(length) = usize::try_from(message.try_get_i32().map_err(|_| broken())?) else { return Ok(None) };
        let (bytes, rest) = message.split_at_checked(length).ok_or_else(broken)?;
        *message = rest;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    };
    (0..count).map(|_| value(&mut message)).collect()
}

fn too_many() -> Error {
    Error::new(SqlState::ConfigurationLimitExceeded, format!("the result has more than {MAX_ROWS} rows"))
        .with_hint("Add a LIMIT, or aggregate.")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringViewArray};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    #[tokio::test]
    async fn values_are_as_postgresql_prints_them() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("n", Arc::new(Int64Array::from(vec![-1, 7]))),
            ("t", Arc::new(StringViewArray::from(vec!["", "é"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = batch.schema();
        let stream = futures::stream::iter([Ok(batch.clone()), Ok(batch.slice(1, 1))]);
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
        let grid = Grid::collect(&schema, stream, Tz::UTC).await.unwrap();
        let row = |values: [Option<&str>; 3]| values.map(|v| v.map(str::to_string)).to_vec();
        let second = row([None, Some("7"), Some("é")]);
        assert_eq!(grid.rows, [row([Some("t"), Some("-1"), Some("")]), second.clone(), second]);
    }
}
