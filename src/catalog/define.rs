//! CREATE statements, typed: columns checked, options handed to their connector.
//!
//! The same code reads a statement when it is given and when the catalog is loaded again.

use std::num::NonZeroUsize;

use crate::catalog::object::{ComputedColumn, OnError, SinkObject, SourceObject, WatermarkClause};
use crate::connector::options::OptionReader;
use crate::connector::registry;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, CreateJob, CreateSink, CreateSource, TableDef};
use crate::types::{Column, SqlType};

/// More shards than this never help on one machine: there are 256 key groups.
pub const MAX_PARALLELISM: usize = 256;

/// Job options as types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobOptions {
    pub parallelism: Option<usize>,
}

/// # Errors
/// 0A000 for a primary key, 42804 for an event time that is no timestamp, and what the
/// connector refuses.
pub fn source(create: &CreateSource) -> Result<SourceObject> {
    let name = &create.name;
    let columns = columns(&create.table);
    if let Some(key) = create.table.primary_key.first() {
        return Err(Error::unsupported(
            format!("source \"{name}\" cannot have a primary key"),
            "Every row of a source is a new row; leave the key out, and use GROUP BY with the newest value in the query.",
        )
        .at(key.position));
    }
    let watermark = create.table.watermark.as_ref().map(|w| watermark(w, &columns)).transpose()?;
    let computed: Vec<ComputedColumn> = computed(&create.table);
    let brought = create.table.columns.iter().filter(|column| column.generated.is_none());
    let brought: Vec<Column> = brought.map(ast::ColumnDef::column).collect();
    let registry::SourceDefinition { source, idle_timeout, on_error } =
        registry::source(&brought, create.options.clone())?;
    let on_error: OnError = on_error;
    Ok(SourceObject { columns, computed, watermark, source, idle_timeout, on_error })
}

/// # Errors
/// As [`source`].
pub fn sink(create: &CreateSink) -> Result<SinkObject> {
    if let Some(generated) = create.table.columns.iter().find_map(|column| column.generated.as_ref()) {
        let hint = "Compute it in the query that writes into the sink.";
        let message = "a sink cannot have computed columns";
        return Err(Error::unsupported(message, hint).at(generated.position));
    }
    let columns = columns(&create.table);
    let index = |name: &ast::Name| columns.iter().position(|column| column.name == name.value);
    let key: Vec<usize> = create.table.primary_key.iter().filter_map(index).collect();
    let sink = registry::sink(&columns, &key, create.options.clone())?;
    Ok(SinkObject { columns, sink })
}

/// # Errors
/// 22023 for options that are unknown or ill-typed.
pub fn job(create: &CreateJob) -> Result<JobOptions> {
    let mut options = OptionReader::new(create.options.clone())?;
    let parallelism = options.optional::<NonZeroUsize>("parallelism")?.map(NonZeroUsize::get);
    if parallelism.is_some_and(|n| n > MAX_PARALLELISM) {
        let hint =
            format!("At most {MAX_PARALLELISM} shards can share the key groups; left out, it is the number of cores.");
        return Err(options.error("parallelism", "too high a parallelism").with_hint(hint));
    }
    options.finish()?;
    Ok(JobOptions { parallelism })
}

fn computed(table: &TableDef) -> Vec<ComputedColumn> {
    let computed = |(column, def): (usize, &ast::ColumnDef)| {
        def.generated.as_ref().map(|generated| ComputedColumn { column, expr: generated.text.clone() })
    };
    table.columns.iter().enumerate().filter_map(computed).collect()
}

fn columns(table: &TableDef) -> Vec<Column> {
    table.columns.iter().map(ast::ColumnDef::column).collect()
}

fn watermark(clause: &ast::WatermarkDef, columns: &[Column]) -> Result<WatermarkClause> {
    let found = columns.iter().enumerate().find(|(_, column)| column.name == clause.column.value);
    let Some((index, column)) = found else {
        let message = format!("column \"{}\" named in WATERMARK does not exist", clause.column);
        return Err(Error::new(SqlState::UndefinedColumn, message).at(clause.column.position));
    };
    if !matches!(column.ty, SqlType::Timestamp(_) | SqlType::TimestampTz(_)) {
        let message = format!("the watermark column \"{}\" must be of type timestamp, not {}", column.name, column.ty);
        return Err(Error::new(SqlState::DatatypeMismatch, message)
            .with_hint("Declare the column as TIMESTAMP(3), or TIMESTAMP(3) WITH TIME ZONE.")
            .at(clause.column.position));
    }
    Ok(WatermarkClause { column: index, expr: clause.text.clone() })
}
