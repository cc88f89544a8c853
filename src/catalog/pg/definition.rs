//! Columns of the system catalogs: a line a table in `definitions.txt`, taken from PostgreSQL 15 with what later releases
//! and their psql added. Types are reduced to those a client can tell apart.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch,
    StringViewArray, StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;

use crate::types::{METADATA_KEY, UTC};

pub const PG_CATALOG: &str = "pg_catalog";
pub const INFORMATION_SCHEMA: &str = "information_schema";

/// `[schema.]table column:type[!] ...`; `!`: not null, so a value that nobody gives is the type's zero.
const DEFINITIONS: &str = include_str!("definitions.txt");

/// A value of a system catalog's row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Text(String),
    Texts(Vec<String>),
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Bool(v)
    }
}
impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Value::Int(v)
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::Text(v.to_string())
    }
}
impl From<Vec<String>> for Value {
    fn from(v: Vec<String>) -> Self {
        Value::Texts(v)
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Value::Text(v)
    }
}

/// The columns somebody has a value for.
pub type Row = Vec<(&'static str, Value)>;

/// A table's line.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    columns: &'static str,
}

/// The tables of a schema.
pub fn tables(schema: &str) -> impl Iterator<Item = Table> {
    let wanted = schema.to_string();
    DEFINITIONS.lines().filter_map(move |line| {
        let (name, columns) = line.split_once(' ')?;
        let (schema, name) = name.split_once('.').unwrap_or((PG_CATALOG, name));
        (schema == wanted).then_some(Table { name, columns })
    })
}

pub fn table(schema: &str, name: &str) -> Option<Table> {
    tables(schema).find(|t| t.name == name)
}

impl Table {
    /// Name, type and whether null is refused.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        self.columns.split(' ').filter_map(|column| {
            let (name, ty) = column.split_once(':')?;
            let plain = ty.trim_end_matches('!');
            Some((name, plain, plain.len() < ty.len()))
        })
    }

    /// The rows as one batch.
    pub fn batch(&self, rows: &[Row]) -> Result<RecordBatch, ArrowError> {
        let mut by_name: Vec<HashMap<&str, &Value>> = Vec::with_capacity(rows.len());
        by_name.extend(rows.iter().map(|row| row.iter().map(|(name, value)| (*name, value)).collect()));
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (name, ty, not_null) in self.columns() {
            let values = by_name.iter().map(|row| row.get(name).copied());
            let array = array(ty, not_null, values);
            let field = Field::new(name, array.data_type().clone(), true);
            fields.push(match ty {
                "oid" | "name" | "char" => field.with_metadata([(METADATA_KEY.to_string(), ty.to_string())].into()),
                _ => field,
            });
            arrays.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
    }
}

/// A column; what a row lacks is null, or the type's zero.
fn array<'a>(ty: &str, not_null: bool, values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let zero = not_null.then_some(0);
    let int = |v: Option<&Value>| match v {
        Some(Value::Int(v)) => Some(*v),
        None => zero,
        _ => None,
    };
    match ty {
        "bool" => Arc::new(BooleanArray::from_iter(values.map(|v| match v {
            Some(Value::Bool(v)) => Some(*v),
            None => not_null.then_some(false),
            _ => None,
        }))),
        "int2" => Arc::new(values.map(|v| int(v).map(|v| v as i16)).collect::<Int16Array>()),
        "int4" => Arc::new(values.map(|v| int(v).map(|v| v as i32)).collect::<Int32Array>()),
        "int8" | "oid" => Arc::new(values.map(int).collect::<Int64Array>()),
        "float4" => Arc::new(values.map(|v| int(v).map(|v| v as f32)).collect::<Float32Array>()),
        "float8" => Arc::new(values.map(|v| int(v).map(|v| v as f64)).collect::<Float64Array>()),
        "timestamptz" => {
            let micros: TimestampMicrosecondArray = values.map(int).collect();
            Arc::new(micros.with_timezone(UTC))
        }
        array if array.starts_with('_') => {
            // Privileges and their like, of which there are none; options.
            let mut builder = ListBuilder::new(StringViewBuilder::new());
            values.for_each(|value| match value {
                Some(Value::Texts(texts)) => builder.append_value(texts.iter().map(Some)),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }
        _ => Arc::new(StringViewArray::from_iter(values.map(|v| match v {
            Some(Value::Text(v)) => Some(v.as_str()),
            None => not_null.then_some(""),
            _ => None,
        }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_table() {
        assert!(tables(PG_CATALOG).count() > 60);
        assert!(tables(INFORMATION_SCHEMA).count() > 15);
        for schema in [PG_CATALOG, INFORMATION_SCHEMA] {
            for table in tables(schema) {
                let batch = table.batch(&[Vec::new()]).unwrap();
                assert_eq!(batch.num_columns(), table.columns.split(' ').count(), "{}", table.name);
            }
        }
    }

    #[test]
    fn what_is_not_given_is_null_or_zero() {
        let batch = table(PG_CATALOG, "pg_class").unwrap().batch(&[vec![("relname", "t".into())]]).unwrap();
        let shown = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            arrow::util::display::array_value_to_string(column, 0).unwrap()
        };
        assert_eq!(["relname", "oid", "relhasindex", "relacl", "relkind"].map(shown), ["t", "0", "false", "", ""]);
        assert!(batch.column_by_name("relacl").unwrap().is_null(0));
        assert!(!batch.column_by_name("relkind").unwrap().is_null(0));
    }
}
