//! Statements as text of our own dialect: how those of Flink's are kept, so that whoever reads them again needs no other.

use super::ast::{
    CreateJob, CreateSink, CreateSource, CreateView, EmitClause, EmitWhen, InsertStatement, MetadataDef, Name,
    TableDef, WithOption,
};
use super::column_type::to_sql;
use super::names::quoted;

pub fn create_source(create: &CreateSource) -> String {
    format!("CREATE SOURCE {} {}{}", quoted(&create.name.value), table(&create.table), options(&create.options))
}

pub fn create_sink(create: &CreateSink) -> String {
    format!("CREATE SINK {} {}{}", quoted(&create.name.value), table(&create.table), options(&create.options))
}

pub fn create_job(create: &CreateJob) -> String {
    let inserts: Vec<String> = create.inserts.iter().map(insert).collect();
    let inserts = match inserts.as_slice() {
        [one] => one.clone(),
        all => format!("({})", all.join(";\n")),
    };
    format!("CREATE STREAMING JOB {}{} AS\n{inserts}", quoted(&create.name.value), options(&create.options))
}

pub fn create_view(create: &CreateView) -> String {
    let emit = emit(&create.emit);
    format!(
        "CREATE MATERIALIZED VIEW {}{} AS\n{}{emit}",
        quoted(&create.name.value),
        columns(&create.columns),
        create.query
    )
}

fn insert(insert: &InsertStatement) -> String {
    let emit = emit(&insert.emit);
    format!("INSERT INTO {}{}\n{}{emit}", quoted(&insert.target.value), columns(&insert.columns), insert.query)
}

fn emit(clause: &EmitClause) -> String {
    let when = match &clause.when {
        None => String::new(),
        Some(EmitWhen::OnWindowClose) => " EMIT ON WINDOW CLOSE".into(),
        Some(EmitWhen::OnUpdate) => " EMIT ON UPDATE".into(),
        Some(EmitWhen::Every(every)) => format!(" EMIT EVERY {}", every.interval),
    };
    let lateness = clause.lateness.as_ref().map(|l| format!(" ALLOWED LATENESS {}", l.interval));
    format!("{when}{}", lateness.unwrap_or_default())
}

fn columns(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(&name.value)).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

fn table(table: &TableDef) -> String {
    let columns = table.columns.iter().map(|column| {
        let not_null = if column.not_null { " NOT NULL" } else { "" };
        let generated = column.generated.as_ref();
        let generated = generated.map(|g| format!(" GENERATED ALWAYS AS ({}) STORED", g.text)).unwrap_or_default();
        let metadata = column.metadata.as_ref().map(metadata).unwrap_or_default();
        format!("{} {}{metadata}{not_null}{generated}", quoted(&column.name.value), to_sql(&column.ty))
    });
    let key: Vec<String> = table.primary_key.iter().map(|name| quoted(&name.value)).collect();
    let key = (!key.is_empty()).then(|| format!("PRIMARY KEY ({}) NOT ENFORCED", key.join(", ")));
    let watermark = table.watermark.as_ref();
    let watermark = watermark.map(|w| format!("WATERMARK FOR {} AS {}", quoted(&w.column.value), w.text));
    let elements: Vec<String> = columns.chain(key).chain(watermark).collect();
    format!("({})", elements.join(", "))
}

fn metadata(metadata: &MetadataDef) -> String {
    let key = metadata.key.as_ref().map(|key| format!(" FROM {}", text(key))).unwrap_or_default();
    format!(" METADATA{key}{}", if metadata.is_virtual { " VIRTUAL" } else { "" })
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn options(options: &[WithOption]) -> String {
    let options: Vec<String> = options.iter().map(|o| format!("{} = {}", text(&o.key.value), text(&o.value))).collect();
    if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) }
}
