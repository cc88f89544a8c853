//! CREATE statements, typed: columns checked, options handed to their connector.
//!
//! The same code reads a statement when it is given and when the catalog is loaded again.

use std::num::NonZeroUsize;

use crate::catalog::object::{ComputedColumn, EpochSettings, JobOptions, SinkObject, SourceObject, WatermarkClause};
use crate::catalog::restart::RestartStrategy;
use crate::change::Changelog;
use crate::connector::declared::{Declared, MetadataColumn};
use crate::connector::options::OptionReader;
use crate::connector::registry;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, CreateJob, CreateSink, CreateSource, TableDef};
use crate::sql::parse::MAX_PARALLELISM;
use crate::types::{Column, SqlType};

/// # Errors
/// 0A000 for a primary key where rows do not replace each other, 42804 for an event time that is no timestamp, and what the
/// connector refuses.
pub fn source(create: &CreateSource) -> Result<SourceObject> {
    let name = &create.name;
    let columns = columns(&create.table);
    let watermark = create.table.watermark.as_ref().map(|w| watermark(w, &columns)).transpose()?;
    let computed: Vec<ComputedColumn> = computed(&create.table);
    // The connector knows nothing of columns that it does not bring.
    let mut table = create.table.clone();
    table.columns.retain(|column| column.generated.is_none());
    let brought = self::columns(&table);
    let key = primary_key(&table, &brought);
    let declared = Declared { columns: &brought, metadata: &metadata(&table) };
    let registry::SourceDefinition { source, idle_timeout, on_error, dead_letters } =
        registry::source(declared, &key, create.options.clone()).map_err(|e| e.at(name.position))?;
    if let Some(generated) = create.table.columns.iter().find_map(|column| column.generated.as_ref())
        && !source.key().is_empty()
    {
        let hint = "Compute them in the query: SELECT ..., expression AS name FROM ....";
        let message = "computed columns of a source with a primary key are not supported yet";
        return Err(Error::unsupported(message, hint).at(generated.position));
    }
    if let Some(key) = create.table.primary_key.first()
        && source.key().is_empty()
    {
        let hint = match source.changelog() {
            Changelog::AppendOnly => {
                "Every row of this source is a new row: leave the key out. With 'connector' = 'upsert-kafka' a key's message \
                 replaces the one before; a query can take each key's newest row by ROW_NUMBER()."
            }
            _ => "Its messages say themselves which rows go: leave the key out.",
        };
        return Err(Error::unsupported(format!("source \"{name}\" cannot have a primary key"), hint).at(key.position));
    }
    Ok(SourceObject { columns, computed, watermark, source, idle_timeout, on_error, dead_letters })
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
    let key = primary_key(&create.table, &columns);
    let declared = Declared { columns: &columns, metadata: &metadata(&create.table) };
    let sink = registry::sink(declared, &key, create.options.clone()).map_err(|e| e.at(create.name.position))?;
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
    let restart = RestartStrategy::read(&mut options)?;
    let epochs = EpochSettings {
        interval: options.optional("epoch.interval")?,
        min_pause: options.optional("epoch.min-pause")?,
        timeout: options.optional("epoch.timeout")?,
        tolerable_failures: options.optional("epoch.tolerable-failures")?,
        retained: options.optional("epoch.retained")?,
        base_threshold: options.optional("epoch.base-threshold")?,
    };
    if epochs.retained.is_some_and(|kept| kept.get() < 2) {
        let hint = "Two at least are kept, so that the chain between them can be checked.";
        return Err(options.error("epoch.retained", "too few epochs are kept").with_hint(hint));
    }
    if epochs.base_threshold.is_some_and(|threshold| !threshold.is_finite() || threshold <= 0.0) {
        let hint = "It is how many times as large as all state the changes on top of it may become, such as 1.0.";
        return Err(options.error("epoch.base-threshold", "not a threshold").with_hint(hint));
    }
    options.finish()?;
    Ok(JobOptions { parallelism, epochs, restart, altered_parallelism: None })
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

/// Which of `columns` the primary key names.
fn primary_key(table: &TableDef, columns: &[Column]) -> Vec<usize> {
    let index = |name: &ast::Name| columns.iter().position(|column| column.name == name.value);
    table.primary_key.iter().filter_map(index).collect()
}

/// The METADATA columns among them.
fn metadata(table: &TableDef) -> Vec<MetadataColumn> {
    let metadata = |(column, def): (usize, &ast::ColumnDef)| {
        let ast::MetadataDef { key, is_virtual, position } = def.metadata.clone()?;
        let key = key.unwrap_or_else(|| def.name.value.clone());
        Some(MetadataColumn { column, key, is_virtual, position })
    };
    table.columns.iter().enumerate().filter_map(metadata).collect()
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
