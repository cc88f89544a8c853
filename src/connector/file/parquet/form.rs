//! Rows as they lie in a file, for whoever else reads it: jsonb is text there, and a uuid says that it is one.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::error::{Error, Result};
use crate::format::outward::{json_text, nullable, outward};
use crate::types::{Column, SqlType};

/// The rows of a sink, and what they are in a file.
#[derive(Debug, Clone)]
pub struct Form {
    types: Vec<SqlType>,
    /// The rows as they are written.
    pub rows: SchemaRef,
    /// The same as a Parquet schema.
    pub file: SchemaDescriptor,
}

impl Form {
    /// # Errors
    /// If Parquet has no such schema.
    pub fn new(columns: &[Column]) -> Result<Form> {
        let field = |column: &Column| {
            let written = outward(&new_empty_array(&column.ty.to_arrow()), &column.ty, &leaf)?;
            Ok(nullable(&column.name, &written))
        };
        let rows = Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?));
        let types = columns.iter().map(|column| column.ty.clone()).collect::<Vec<_>>();
        let file = file_schema(&rows, &types).map_err(|e| {
            Error::unsupported(format!("no Parquet file has such columns: {e}"), "Declare them otherwise.")
        })?;
        Ok(Form { types, rows, file })
    }

    /// # Errors
    /// If these are not rows of the columns.
    pub fn write(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().iter().zip(&self.types).map(|(column, ty)| outward(column, ty, &leaf));
        Ok(RecordBatch::try_new(Arc::clone(&self.rows), columns.collect::<Result<Vec<_>>>()?)?)
    }
}

fn leaf(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    if *ty == SqlType::Jsonb { json_text(array) } else { Ok(Arc::clone(array)) }
}

/// As Arrow's own mapping has it, with what Arrow's types do not say.
fn file_schema(rows: &SchemaRef, types: &[SqlType]) -> Result<SchemaDescriptor, ParquetError> {
    // So that lists are named as the specification wants it.
    let plain = ArrowSchemaConverter::new().with_coerce_types(true).convert(rows)?;
    let fields = plain.root_schema().get_fields().iter().zip(types);
    let fields = fields.map(|(field, ty)| annotated(field, ty)).collect::<Result<Vec<_>, _>>()?;
    let root = Type::group_type_builder(plain.name()).with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn annotated(node: &TypePtr, ty: &SqlType) -> Result<TypePtr, ParquetError> {
    match ty {
        SqlType::Uuid => logical(node, LogicalType::Uuid),
        SqlType::Jsonb => logical(node, LogicalType::Json),
        SqlType::Row(fields) => {
            let types = fields.iter().map(|(_, ty)| ty);
            let nodes = children(node).iter().zip(types).map(|(node, ty)| annotated(node, ty));
            with_children(node, nodes.collect::<Result<_, _>>()?)
        }
        // A list is a group of one repeated group of one element.
        SqlType::Array(item) => {
            let repeated = children(node).iter().map(|repeated| {
                let element = children(repeated).iter().map(|element| annotated(element, item));
                with_children(repeated, element.collect::<Result<_, _>>()?)
            });
            with_children(node, repeated.collect::<Result<_, _>>()?)
        }
        _ => Ok(Arc::clone(node)),
    }
}

fn children(node: &Type) -> &[TypePtr] {
    if node.is_group() { node.get_fields() } else { &[] }
}

fn with_children(node: &TypePtr, children: Vec<TypePtr>) -> Result<TypePtr, ParquetError> {
    let info = node.get_basic_info();
    let group = Type::group_type_builder(node.name()).with_repetition(info.repetition());
    let group = group.with_logical_type(info.logical_type_ref().cloned()).with_converted_type(info.converted_type());
    Ok(Arc::new(group.with_fields(children).build()?))
}

fn logical(node: &TypePtr, logical: LogicalType) -> Result<TypePtr, ParquetError> {
    let Type::PrimitiveType { basic_info, physical_type, type_length, .. } = &**node else {
        return Ok(Arc::clone(node));
    };
    let leaf = Type::primitive_type_builder(node.name(), *physical_type).with_length(*type_length);
    Ok(Arc::new(leaf.with_repetition(basic_info.repetition()).with_logical_type(Some(logical)).build()?))
}
