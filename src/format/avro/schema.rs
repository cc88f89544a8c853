//! The schema of a sink's columns, as Flink makes it: a record of fields that may be null.

use serde_json::{Value, json};

use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// Flink's name of the record, so that both write under one subject.
const RECORD: &str = "record";
const NAMESPACE: &str = "org.apache.flink.avro.generated";

/// # Errors
/// 42602 for a name that Avro does not allow.
pub fn of_columns(columns: &[(String, SqlType)]) -> Result<String> {
    let mut record = record(RECORD, columns)?;
    if let Some(record) = record.as_object_mut() {
        record.insert("namespace".into(), NAMESPACE.into());
    }
    Ok(record.to_string())
}

/// Rows within rows are named after their place.
fn record(name: &str, fields: &[(String, SqlType)]) -> Result<Value> {
    let field = |(column, ty): &(String, SqlType)| {
        check_name(column)?;
        let ty = type_of(ty, &format!("{name}_{column}"))?;
        Ok(json!({ "name": column, "type": ["null", ty], "default": null }))
    };
    let fields = fields.iter().map(field).collect::<Result<Vec<_>>>()?;
    Ok(json!({ "type": "record", "name": name, "fields": fields }))
}

fn type_of(ty: &SqlType, name: &str) -> Result<Value> {
    let logical = |ty: &str, logical: &str| json!({ "type": ty, "logicalType": logical });
    Ok(match ty {
        SqlType::Boolean => json!("boolean"),
        SqlType::SmallInt | SqlType::Integer => json!("int"),
        SqlType::BigInt => json!("long"),
        SqlType::Real => json!("float"),
        SqlType::Double => json!("double"),
        SqlType::Numeric(precision, scale) => {
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        SqlType::Bytea => json!("bytes"),
        SqlType::Date => logical("int", "date"),
        SqlType::Time(0..=3) => logical("int", "time-millis"),
        SqlType::Time(_) => logical("long", "time-micros"),
        SqlType::Timestamp(0..=3) => logical("long", "local-timestamp-millis"),
        SqlType::Timestamp(_) => logical("long", "local-timestamp-micros"),
        SqlType::TimestampTz(0..=3) => logical("long", "timestamp-millis"),
        SqlType::TimestampTz(_) => logical("long", "timestamp-micros"),
        SqlType::Uuid => logical("string", "uuid"),
        SqlType::Row(fields) => record(name, fields)?,
        SqlType::Array(item) => json!({ "type": "array", "items": ["null", type_of(item, name)?] }),
        // Intervals were refused.
        SqlType::Text | SqlType::Varchar(_) | SqlType::Jsonb | SqlType::Interval => json!("string"),
    })
}

/// Names in Avro are letters, digits and underscores of ASCII, no digit first.
fn check_name(name: &str) -> Result<()> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(legal) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() {
        return Ok(());
    }
    Err(Error::new(SqlState::InvalidName, format!("column \"{name}\" cannot be the name of an Avro field"))
        .with_hint("Avro's names are letters, digits and underscores of ASCII, and begin with no digit."))
}
