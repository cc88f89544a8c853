//! What a CREATE statement said besides names and types of columns, where `\d+` has a place for it: WITH options are the
//! relation's options, and what is special about a column is its description.

use crate::catalog::{Object, ObjectKind};
use crate::sql::ast::{ColumnDef, StatementKind, TableDef, WithOption};
use crate::sql::parse_statement;

/// Words in the names of options whose values are nobody's business.
const SECRETS: [&str; 6] = ["password", "secret", "token", "user-info", "jaas", "key.pem"];

/// `name=value` of each WITH option, in the order of the statement.
pub fn options(object: &Object) -> Vec<String> {
    let shown = |options: &[WithOption]| options.iter().map(option).collect();
    match parse_statement(&object.definition).map(|statement| statement.kind) {
        Ok(StatementKind::CreateSource(create)) => shown(&create.options),
        Ok(StatementKind::CreateSink(create)) => shown(&create.options),
        Ok(StatementKind::CreateJob(create)) => shown(&create.options),
        _ => Vec::new(),
    }
}

fn option(option: &WithOption) -> String {
    let name = option.key.value.as_str();
    let lower = name.to_ascii_lowercase();
    let secret = SECRETS.iter().any(|word| lower.contains(word)) || has_credentials(&option.value);
    format!("{name}={}", if secret { "***" } else { &option.value })
}

/// `http://name:password@host`.
fn has_credentials(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')))
}

/// What is special about the column in this place, counted from 1.
pub fn remark(object: &Object, place: i64) -> Option<String> {
    if !matches!(object.kind, ObjectKind::Source(_) | ObjectKind::Sink(_)) {
        return None;
    }
    let table = match parse_statement(&object.definition).ok()?.kind {
        StatementKind::CreateSource(create) => create.table,
        StatementKind::CreateSink(create) => create.table,
        _ => return None,
    };
    let column = table.columns.get(usize::try_from(place).ok()?.checked_sub(1)?)?;
    let remarks = remarks(&table, column);
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn remarks(table: &TableDef, column: &ColumnDef) -> Vec<String> {
    let is_this = |name: &str| name == column.name.value;
    let mut all = Vec::new();
    if table.primary_key.iter().any(|key| is_this(&key.value)) {
        all.push("PRIMARY KEY".to_string());
    }
    if let Some(metadata) = &column.metadata {
        all.push(format!("METADATA FROM '{}'", metadata.key.as_deref().unwrap_or(&column.name.value)));
    }
    if let Some(generated) = &column.generated {
        all.push(format!("GENERATED ALWAYS AS ({})", generated.text));
    }
    if let Some(watermark) = table.watermark.as_ref().filter(|watermark| is_this(&watermark.column.value)) {
        all.push(format!("WATERMARK AS {}", watermark.text));
    }
    all
}
