//! What SHOW answers, and what the tables of schema `tidemill` hold: the same rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;

use super::settings::Settings;
use crate::catalog::pg::KnownTable;
use crate::catalog::{CatalogSnapshot, Object, ObjectKind};
use crate::change::Watermark;
use crate::clock::Micros;
use crate::connector::Takes;
use crate::error::Result;
use crate::pipeline::Engine;
use crate::pipeline::history::{EpochRecord, EpochState};
use crate::pipeline::status::{Counts, JobStatus};
use crate::sql::ast::ObjectClass;
use crate::sql::names::quoted;
use crate::table::{DatabaseSnapshot, ViewState};
use crate::types::{Column, SqlType, UTC};

/// The tables of that schema and the objects that each lists.
pub const TABLES: &[(&str, ObjectClass)] = &[
    ("jobs", ObjectClass::Job),
    ("materialized_views", ObjectClass::View),
    ("sinks", ObjectClass::Sink),
    ("sources", ObjectClass::Source),
];

/// The tables as the system catalogs list them.
pub fn known_tables() -> Vec<KnownTable> {
    let column = |field: &Field| Column { name: field.name().clone(), ty: SqlType::from_field(field), not_null: false };
    let known = |(name, class): &(&'static str, ObjectClass)| KnownTable {
        name,
        columns: schema_of_objects(*class).fields().iter().map(|field| column(field)).collect(),
    };
    TABLES.iter().map(known).collect()
}

type Row = Vec<ScalarValue>;

/// SHOW JOBS, SHOW SOURCES, ...
pub fn objects(class: ObjectClass, engine: &Engine) -> Result<RecordBatch> {
    let catalog = engine.catalog();
    match class {
        ObjectClass::Job => jobs(engine.jobs()),
        ObjectClass::View => views(engine),
        ObjectClass::Source => sources(&catalog),
        ObjectClass::Sink => sinks(&catalog),
    }
}

pub fn schema_of_objects(class: ObjectClass) -> SchemaRef {
    let columns = match class {
        ObjectClass::Job => JOB_COLUMNS,
        ObjectClass::View => VIEW_COLUMNS,
        ObjectClass::Source => SOURCE_COLUMNS,
        ObjectClass::Sink => SINK_COLUMNS,
    };
    schema(columns)
}

const JOB_COLUMNS: &[(&str, SqlType)] = &[
    ("name", SqlType::Text),
    ("state", SqlType::Text),
    ("reason", SqlType::Text),
    ("parallelism", SqlType::Integer),
    ("input_rows", SqlType::BigInt),
    ("output_rows", SqlType::BigInt),
    ("delivered_rows", SqlType::BigInt),
    ("late_rows", SqlType::BigInt),
    ("bad_rows", SqlType::BigInt),
    ("state_bytes", SqlType::BigInt),
    ("watermark", SqlType::Timestamp(6)),
    ("ticks", SqlType::BigInt),
    ("started", SqlType::TimestampTz(6)),
    ("restarts", SqlType::BigInt),
    ("next_restart", SqlType::TimestampTz(6)),
];

fn jobs(mut jobs: Vec<JobStatus>) -> Result<RecordBatch> {
    jobs.sort_by(|a, b| a.name.cmp(&b.name));
    let row = |job: JobStatus| -> Row {
        let JobStatus { name, state, reason, parallelism, started, counts, delivered_rows, restarts, .. } = job;
        vec![
            text(name),
            text(state.to_string()),
            optional_text(reason.map(|r| r.message().to_string())),
            ScalarValue::Int32(i32::try_from(parallelism).ok()),
            count(counts.input_rows),
            count(counts.output_rows),
            count(delivered_rows),
            count(counts.late_rows),
            count(counts.bad_rows),
            count(counts.state_bytes as u64),
            watermark(&counts),
            count(counts.ticks),
            ScalarValue::TimestampMicrosecond(Some(started), Some(UTC.into())),
            count(restarts),
            ScalarValue::TimestampMicrosecond(job.next_restart, Some(UTC.into())),
        ]
    };
    table(JOB_COLUMNS, jobs.into_iter().map(row).collect())
}

const VIEW_COLUMNS: &[(&str, SqlType)] = &[
    ("name", SqlType::Text),
    ("state", SqlType::Text),
    ("reason", SqlType::Text),
    ("rows", SqlType::BigInt),
    ("input_rows", SqlType::BigInt),
    ("late_rows", SqlType::BigInt),
    ("bad_rows", SqlType::BigInt),
    ("state_bytes", SqlType::BigInt),
    ("watermark", SqlType::Timestamp(6)),
    ("ticks", SqlType::BigInt),
];

fn views(engine: &Engine) -> Result<RecordBatch> {
    let database: Arc<DatabaseSnapshot> = engine.database();
    let mut views = engine.views();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rows: Vec<Row> = Vec::new();
    for view in views {
        let entry = database.view(view.id);
        let state = match (&view.failed, entry.map(|entry| &entry.state)) {
            (Some(_), _) | (None, Some(ViewState::Failed(_))) => "FAILED",
            (None, Some(ViewState::Ready)) => "READY",
            (None, None) if view.running.is_none() => "PAUSED",
            (None, Some(ViewState::Filling) | None) => "FILLING",
        };
        let shown = entry.and_then(|entry| entry.rows(&view.name).ok()).map(|rows| rows.num_rows());
        rows.push(vec![
            text(view.name),
            text(state),
            optional_text(view.failed.map(|r| r.message().to_string())),
            ScalarValue::Int64(shown.and_then(|rows| i64::try_from(rows).ok())),
            count(view.counts.input_rows),
            count(view.counts.late_rows),
            count(view.counts.bad_rows),
            count(view.counts.state_bytes as u64),
            watermark(&view.counts),
            count(view.counts.ticks),
        ]);
    }
    table(VIEW_COLUMNS, rows)
}

const SOURCE_COLUMNS: &[(&str, SqlType)] =
    &[("name", SqlType::Text), ("columns", SqlType::Text), ("watermark", SqlType::Text)];

fn sources(catalog: &CatalogSnapshot) -> Result<RecordBatch> {
    let row = |object: &Arc<Object>| -> Row {
        let watermark = match &object.kind {
            ObjectKind::Source(source) => source.watermark.as_ref().and_then(|clause| {
                let column = source.columns.get(clause.column)?;
                Some(format!("{} AS {}", quoted(&column.name), clause.expr))
            }),
            _ => None,
        };
        vec![text(object.name.as_str()), text(columns(object.columns())), optional_text(watermark)]
    };
    table(SOURCE_COLUMNS, by_name(catalog, ObjectClass::Source).iter().map(row).collect())
}

const SINK_COLUMNS: &[(&str, SqlType)] =
    &[("name", SqlType::Text), ("columns", SqlType::Text), ("takes_changes", SqlType::Boolean)];

fn sinks(catalog: &CatalogSnapshot) -> Result<RecordBatch> {
    let row = |object: &Arc<Object>| -> Row {
        let changes = matches!(&object.kind, ObjectKind::Sink(sink) if sink.sink.takes() != Takes::Appends);
        vec![text(object.name.as_str()), text(columns(object.columns())), ScalarValue::Boolean(Some(changes))]
    };
    table(SINK_COLUMNS, by_name(catalog, ObjectClass::Sink).iter().map(row).collect())
}

const EPOCH_COLUMNS: &[(&str, SqlType)] = &[
    ("epoch", SqlType::BigInt),
    ("state", SqlType::Text),
    ("reason", SqlType::Text),
    ("started", SqlType::TimestampTz(6)),
    ("duration_ms", SqlType::Double),
    ("stall_ms", SqlType::Double),
    ("freeze_ms", SqlType::Double),
    ("drain_ms", SqlType::Double),
    ("upload_ms", SqlType::Double),
    ("commit_ms", SqlType::Double),
    ("entries", SqlType::BigInt),
    ("new_bytes", SqlType::BigInt),
    ("outbox_bytes", SqlType::BigInt),
    ("total_bytes", SqlType::BigInt),
];

pub fn schema_of_epochs() -> SchemaRef {
    schema(EPOCH_COLUMNS)
}

/// SHOW EPOCHS: the newest first.
pub fn epochs(epochs: Vec<EpochRecord>) -> Result<RecordBatch> {
    let row = |record: EpochRecord| -> Row {
        let EpochRecord { epoch, state, ended, steps, entries, state_bytes, outbox_bytes, total_bytes } = record;
        let is_complete = matches!(state, EpochState::Complete);
        let if_complete = |value: ScalarValue, none: ScalarValue| if is_complete { value } else { none };
        let millis = |time: Duration| ScalarValue::Float64(Some(time.as_micros() as f64 / 1000.0));
        let later = |time| if_complete(millis(time), ScalarValue::Float64(None));
        let stored = |bytes| if_complete(count(bytes), ScalarValue::Int64(None));
        let (state, reason) = match state {
            EpochState::Writing => ("WRITING", None),
            EpochState::Complete => ("COMPLETE", None),
            EpochState::Failed(error) => ("FAILED", Some(error.message().to_string())),
        };
        vec![
            count(epoch),
            text(state),
            optional_text(reason),
            ScalarValue::TimestampMicrosecond(Some(ended), Some(UTC.into())),
            later(steps.total),
            millis(steps.stall),
            millis(steps.freeze),
            millis(steps.drain),
            later(steps.upload),
            later(steps.commit),
            count(entries),
            stored(state_bytes),
            stored(outbox_bytes),
            stored(total_bytes),
        ]
    };
    table(EPOCH_COLUMNS, epochs.into_iter().rev().map(row).collect())
}

/// One column of that name, one value.
pub fn setting(name: &str, value: String) -> Result<RecordBatch> {
    table(&[(name, SqlType::Text)], vec![vec![text(value)]])
}

pub fn all_settings(settings: &Settings) -> Result<RecordBatch> {
    let columns = [("name", SqlType::Text), ("setting", SqlType::Text), ("description", SqlType::Text)];
    let shown = settings.show_all().into_iter();
    table(&columns, shown.map(|s| vec![text(s.name), text(s.value), text(s.description)]).collect())
}

/// EXPLAIN's answer, a row a line.
pub fn plan(lines: &str) -> Result<RecordBatch> {
    table(&[("QUERY PLAN", SqlType::Text)], lines.lines().map(|line| vec![text(line)]).collect())
}

fn by_name(catalog: &CatalogSnapshot, class: ObjectClass) -> Vec<Arc<Object>> {
    let mut objects: Vec<_> = catalog.of_class(class).cloned().collect();
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    objects
}

fn columns(columns: &[Column]) -> String {
    let column = |c: &Column| format!("{} {}{}", quoted(&c.name), c.ty, if c.not_null { " not null" } else { "" });
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8View(Some(value.into()))
}

fn optional_text(value: Option<String>) -> ScalarValue {
    ScalarValue::Utf8View(value)
}

fn count(n: u64) -> ScalarValue {
    ScalarValue::Int64(i64::try_from(n).ok())
}

/// Null before the first one, infinite behind a bounded input's end.
fn watermark(counts: &Counts) -> ScalarValue {
    let at: Option<Micros> = counts.watermark.filter(|w| *w != Watermark::END).map(|w| w.0);
    ScalarValue::TimestampMicrosecond(at, None)
}

fn schema(columns: &[(&str, SqlType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, ty)| ty.field(name)).collect::<Vec<Field>>()))
}

fn table(columns: &[(&str, SqlType)], rows: Vec<Row>) -> Result<RecordBatch> {
    let mut values: Vec<Vec<ScalarValue>> = columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        values.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    let array = |(values, (_, ty)): (Vec<ScalarValue>, &(&str, SqlType))| -> Result<ArrayRef> {
        if values.is_empty() { Ok(new_empty_array(&ty.to_arrow())) } else { Ok(ScalarValue::iter_to_array(values)?) }
    };
    let arrays = values.into_iter().zip(columns).map(array).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema(columns), arrays)?)
}
