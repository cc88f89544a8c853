//! DataFusion's planning errors as PostgreSQL would word them, with SQLSTATE, position and hint. Used for streaming
//! queries and for SELECT alike.

use std::collections::BTreeSet;

use datafusion::common::{Column, Diagnostic, SchemaError, Span};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::tokenizer::Location;

use super::functions::SETS;
use crate::error::{Error, SqlState};
use crate::sql::names::nearest;
use crate::sql::places::Places;
use crate::types::SqlType;

/// How an error about a function that stands where it cannot ends.
pub const MAKES_ROWS: &str = "is not supported here: it makes rows";

/// An error of ours as one that passes through DataFusion.
pub fn through(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What DataFusion says of a statement, as PostgreSQL would say it. `text` is the statement that was planned.
pub fn planning_error(error: DataFusionError, text: &str) -> Error {
    let mut diagnostic = None;
    let error = peel(error, &mut diagnostic);
    let span = diagnostic.as_ref().and_then(|d: &Diagnostic| d.span);
    let places = Places::new(text);
    match error {
        DataFusionError::SchemaError(schema, _) => schema_error(*schema, span, &places),
        DataFusionError::Plan(message) => at(plan_error(&message), span, &places),
        DataFusionError::NotImplemented(message) if message.contains("Unsupported CAST from ") => {
            at(plan_error(&message), span, &places)
        }
        DataFusionError::NotImplemented(message) if message.starts_with("Decimal scale") => {
            at(super::query::settle::overflows(), span, &places)
        }
        DataFusionError::NotImplemented(message) => {
            at(Error::unsupported(sentence(&message), "Rewrite the query without it."), span, &places)
        }
        DataFusionError::Execution(message) if message.starts_with("Scalar subquery returned more than one row") => {
            let message = "more than one row returned by a subquery used as an expression";
            Error::new(SqlState::CardinalityViolation, message)
        }
        DataFusionError::SQL(parse, _) => at(Error::new(SqlState::SyntaxError, parse.to_string()), span, &places),
        DataFusionError::Internal(message) | DataFusionError::Configuration(message) => {
            Error::internal(sentence(&message))
        }
        other => at(Error::from(other), span, &places),
    }
}

/// Takes off contexts and diagnostics; keeps the innermost diagnostic that has a place.
fn peel(error: DataFusionError, diagnostic: &mut Option<Diagnostic>) -> DataFusionError {
    match error {
        DataFusionError::Diagnostic(found, inner) => {
            if diagnostic.as_ref().is_none_or(|d| d.span.is_none()) {
                *diagnostic = Some(*found);
            }
            peel(*inner, diagnostic)
        }
        DataFusionError::Context(_, inner) => peel(*inner, diagnostic),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => peel(first, diagnostic),
            None => DataFusionError::Plan("nothing".into()),
        },
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => peel(inner, diagnostic),
            Err(shared) => DataFusionError::Plan(shared.strip_backtrace()),
        },
        other => other,
    }
}

/// Adds a DataFusion span as a position.
pub fn at(error: Error, span: Option<Span>, places: &Places) -> Error {
    match span {
        Some(span) if span.start.line > 0 => {
            let location = Location { line: span.start.line, column: span.start.column };
            error.at(places.position(location))
        }
        _ => error,
    }
}

fn schema_error(error: SchemaError, span: Option<Span>, places: &Places) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let span = span.or_else(|| field.spans.first());
            at(missing_column(&field, &valid_fields), span, places)
        }
        SchemaError::AmbiguousReference { field } => {
            let span = span.or_else(|| field.spans.first());
            let message = format!("column reference \"{}\" is ambiguous", field.name);
            let hint = "Say which relation is meant, as in relation.column.";
            at(Error::new(SqlState::AmbiguousColumn, message).with_hint(hint), span, places)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            at(duplicate_column(visible(&name)), span, places)
        }
    }
}

fn missing_column(field: &Column, valid: &[Column]) -> Error {
    if let Some(relation) = &field.relation {
        let known: BTreeSet<&str> = valid.iter().filter_map(|c| c.relation.as_ref()).map(|r| r.table()).collect();
        if !known.contains(relation.table()) {
            let message = format!("missing FROM-clause entry for table \"{}\"", relation.table());
            let error = Error::new(SqlState::UndefinedTable, message);
            return match nearest(relation.table(), known) {
                Some(near) => error.with_hint(format!("Perhaps you meant to reference the table \"{near}\".")),
                None => error,
            };
        }
    }
    let shown = match &field.relation {
        Some(relation) => format!("column {}.{} does not exist", relation.table(), field.name),
        None => format!("column \"{}\" does not exist", field.name),
    };
    let error = Error::new(SqlState::UndefinedColumn, shown);
    let names = valid.iter().map(|c| c.name.as_str());
    let Some(near) = nearest(&field.name, names) else { return error };
    let relation = valid.iter().find(|c| c.name == near).and_then(|c| c.relation.as_ref());
    let near = visible(near);
    let near = relation.map_or(near.to_string(), |r| format!("{}.{near}", r.table()));
    error.with_hint(format!("Perhaps you meant to reference the column \"{near}\"."))
}

pub fn duplicate_column(name: &str) -> Error {
    Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once"))
        .with_hint("Give one of them another name with AS.")
}

/// A name without the mark by which [`super::query::naming`] tells equal names apart.
pub fn visible(name: &str) -> &str {
    name.split(super::query::naming::MARK).next().unwrap_or(name)
}

/// Messages of `DataFusionError::Plan`, told apart by their wording: it has nothing else.
fn plan_error(message: &str) -> Error {
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        return unknown_function(rest);
    }
    if message.contains("must appear in the GROUP BY clause or must be part of an aggregate") {
        let column = message.split("column \"").nth(1).and_then(|rest| rest.split('"').next());
        return not_grouped(visible(column.unwrap_or("?")));
    }
    if let Some(rest) = message.strip_prefix("HAVING clause references: ") {
        let column = rest.split(' ').next().unwrap_or(rest);
        return not_grouped(column);
    }
    if let Some(name) = message.split("Field ").nth(1).and_then(|rest| rest.strip_suffix(" not found in struct")) {
        let message = format!("column \"{name}\" not found in data type row");
        return Error::new(SqlState::UndefinedColumn, message);
    }
    if let Some(name) = message.strip_prefix("Invalid qualifier ") {
        return Error::new(SqlState::UndefinedTable, format!("missing FROM-clause entry for table \"{name}\""));
    }
    if message.starts_with("Unary operator '-' only supports") {
        return Error::new(SqlState::UndefinedFunction, "operator does not exist: - for a value of this type")
            .with_hint("Numbers and intervals can be negated.");
    }
    if let Some(rest) = message.split("Unsupported CAST from ").nth(1) {
        return cannot_cast(rest);
    }
    if let Some(rest) = message.strip_prefix("Cannot find column with position ") {
        let position = rest.split(' ').next().unwrap_or_default();
        return no_such_position("GROUP BY", position);
    }
    if let Some(rest) = message.split("rder by column out of bounds, specified: ").nth(1) {
        return no_such_position("ORDER BY", rest.split(',').next().unwrap_or_default());
    }
    if message.contains("rder by index starts at 1") {
        return no_such_position("ORDER BY", "0");
    }
    if message.starts_with("LIMIT must be") {
        return Error::new(SqlState::InvalidRowCountInLimitClause, "LIMIT must not be negative");
    }
    if message.starts_with("OFFSET must be") {
        return Error::new(SqlState::InvalidRowCountInResultOffsetClause, "OFFSET must not be negative");
    }
    if message.starts_with("SELECT DISTINCT ON expressions must match") {
        return Error::new(SqlState::InvalidColumnReference, message)
            .with_hint("ORDER BY the columns of DISTINCT ON first, and then by what chooses among their rows.");
    }
    if let Some(rest) = message.strip_prefix("Expected ")
        && let Some((clause, _)) = rest.split_once(" to be an integer or null, but got ")
    {
        let message = format!("argument of {clause} must be type bigint");
        return Error::new(SqlState::DatatypeMismatch, message).with_hint("Write a whole number.");
    }
    if let Some(rest) = message.strip_prefix("Order by column out of bounds, specified: ") {
        let position = rest.split(',').next().unwrap_or_default();
        let message = format!("ORDER BY position {position} is not in select list");
        return Error::new(SqlState::InvalidColumnReference, message);
    }
    if message.starts_with("Cannot create filter with non-boolean predicate") {
        return not_boolean("WHERE", message.rsplit("returning ").next().unwrap_or_default());
    }
    if let Some(ty) = message.strip_prefix("Join condition must be boolean type, but got ") {
        return not_boolean("JOIN/ON", ty);
    }
    if let Some(op) = message.strip_suffix(" queries have different number of columns") {
        let message = format!("each {op} query must have the same number of columns");
        return Error::new(SqlState::SyntaxError, message);
    }
    if message.starts_with("Too many columns! The subquery should only return one column") {
        return Error::new(SqlState::SyntaxError, "subquery has too many columns");
    }
    if message.starts_with("Unary operator 'NOT' requires a boolean") {
        return not_boolean("NOT", message.rsplit("got ").next().unwrap_or_default());
    }
    if message.contains("unique expression names") {
        let name = message.split(" AS ").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?");
        return duplicate_column(visible(name.trim()));
    }
    if message.starts_with("Argument ") && message.contains(" to grouping function is not in grouping columns ") {
        return super::lower::not_a_key();
    }
    if message.contains("nested aggregate") || message.contains("cannot be nested") {
        return Error::new(SqlState::GroupingError, "aggregate function calls cannot be nested");
    }
    if message.contains("No function matches") || message.contains("Failed to coerce arguments") {
        return wrong_arguments(message);
    }
    if message.contains("Aggregate functions are not allowed in the WHERE") {
        return aggregate_in_where();
    }
    if message.contains("Cannot infer common") || message.contains("Cannot coerce") || message.contains("coerce") {
        return Error::new(SqlState::DatatypeMismatch, sentence(message))
            .with_hint("Add an explicit cast, as in CAST(x AS text).");
    }
    Error::new(SqlState::SyntaxError, sentence(message))
}

fn no_such_position(clause: &str, position: &str) -> Error {
    Error::new(SqlState::InvalidColumnReference, format!("{clause} position {position} is not in select list"))
}

pub fn aggregate_in_where() -> Error {
    Error::new(SqlState::GroupingError, "aggregate functions are not allowed in WHERE")
        .with_hint("Conditions on the result of an aggregate belong into HAVING.")
}

/// `Int64 to Boolean`, by Arrow's names.
fn cannot_cast(types: &str) -> Error {
    let short = |name: &str| match name.trim().parse::<arrow::datatypes::DataType>() {
        Ok(ty) => type_name(&ty),
        Err(_) if name.starts_with("Struct") => "row".into(),
        Err(_) => name.to_string(),
    };
    let (from, to) = types.rsplit_once(" to ").unwrap_or((types, "?"));
    Error::new(SqlState::CannotCoerce, format!("cannot cast type {} to {}", short(from), short(to)))
}

fn not_boolean(clause: &str, arrow_type: &str) -> Error {
    let ty = arrow_type.parse().map_or_else(|_| arrow_type.to_string(), |t| type_name(&t));
    Error::new(SqlState::DatatypeMismatch, format!("argument of {clause} must be type boolean, not type {ty}"))
}

fn not_grouped(column: &str) -> Error {
    let message = format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
    Error::new(SqlState::GroupingError, message)
}

/// PostgreSQL's functions that give a row for each part of a value, and what does without them.
const SET_RETURNING: &[(&str, &str)] = &[
    ("jsonb_object_keys", "Ask for the keys that matter: j ? 'key', j -> 'key'."),
    ("jsonb_each", "Take the fields that matter: j -> 'key'."),
    ("jsonb_each_text", "Take the fields that matter: j ->> 'key'."),
    ("jsonb_array_elements", "Take elements by their places: j -> 0; jsonb_array_length says how many there are."),
    (
        "jsonb_array_elements_text",
        "Take elements by their places: j ->> 0; jsonb_array_length says how many there are.",
    ),
    ("jsonb_to_record", "Take the fields that matter, and cast them: (j ->> 'key')::integer."),
    ("jsonb_to_recordset", "Take elements by their places, and cast their fields."),
    ("jsonb_path_query", "Follow the path by its steps: j #> '{a,b}'."),
    ("regexp_matches", "regexp_substr gives one match, or a group of it."),
    ("regexp_split_to_table", "split_part gives one part."),
    ("string_to_table", "split_part gives one part, string_to_array all of them as an array."),
];

fn unknown_function(rest: &str) -> Error {
    let name = rest.split('\'').next().unwrap_or(rest);
    if SETS.contains(&name) {
        let message = format!("{name} {MAKES_ROWS}");
        return Error::unsupported(message, "SELECT ... FROM generate_series(first, last [, step]).");
    }
    if let Some((name, hint)) = SET_RETURNING.iter().find(|(known, _)| *known == name) {
        return Error::unsupported(format!("set-returning function {name} is not supported"), *hint);
    }
    let error = Error::new(SqlState::UndefinedFunction, format!("function {name} does not exist"));
    match rest.split("Did you mean '").nth(1).and_then(|r| r.split('\'').next()) {
        // DataFusion always offers one, however far away.
        Some(near) if nearest(name, [near]).is_some() => {
            error.with_hint(format!("Perhaps you meant the function \"{near}\"."))
        }
        _ => error.with_hint("No function of that name is known."),
    }
}

fn wrong_arguments(message: &str) -> Error {
    let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
    let call = message
        .split("types '")
        .nth(1)
        .and_then(|rest| rest.split("'.").next())
        .or_else(|| message.split("call to '").nth(1).and_then(|rest| rest.split('\'').next()))
        .or_else(|| message.split('\'').nth(1));
    let message = match call {
        Some(call) => format!("function {} does not exist", call_as_postgres(call)),
        None => sentence(message),
    };
    Error::new(SqlState::UndefinedFunction, message).with_hint(hint)
}

/// `upper(Int32)` as `upper(integer)`.
fn call_as_postgres(call: &str) -> String {
    let Some((name, arguments)) = call.split_once('(') else { return call.to_string() };
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    if arguments.is_empty() {
        return format!("{name}()");
    }
    let types: Vec<String> = arguments
        .split(", ")
        .map(|t| match t.parse::<arrow::datatypes::DataType>() {
            Ok(t) => type_name(&t),
            Err(_) => t.to_string(),
        })
        .collect();
    format!("{name}({})", types.join(", "))
}

/// A type's name as error messages show it: numeric without precision, as PostgreSQL does.
pub fn type_name(data_type: &arrow::datatypes::DataType) -> String {
    match SqlType::from_arrow(data_type) {
        SqlType::Numeric(..) => "numeric".into(),
        _ if data_type.is_null() => "unknown".into(),
        other => other.to_string(),
    }
}

/// PostgreSQL's style: no capital, no full stop, one line.
fn sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or(message).trim_end_matches('.');
    let mut chars = line.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => line.to_string(),
    }
}

/// `operator does not exist: text + integer`.
pub fn no_operator(left: &str, op: &str, right: &str) -> Error {
    Error::new(SqlState::UndefinedFunction, format!("operator does not exist: {left} {op} {right}"))
        .with_hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}
