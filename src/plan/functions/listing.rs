//! The functions as PostgreSQL's catalog lists them: names, what they take and what they give.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{AggregateUDF, Documentation, ScalarUDF, Signature};

use super::define::Defined;
use super::{Functions, functions};
use crate::catalog::pg::KnownFunction;
use crate::plan::errors::type_name;
use crate::types::SqlType;

/// Parts of the names of functions that only plans call.
const INTERNAL: [&str; 4] = ["tidemill_", "extract_", "_in_zone", "_checked"];

/// Types that aggregates are asked for.
const TRIED: [SqlType; 8] = [
    SqlType::SmallInt,
    SqlType::Integer,
    SqlType::BigInt,
    SqlType::Numeric(38, 16),
    SqlType::Real,
    SqlType::Double,
    SqlType::Boolean,
    SqlType::Text,
];

/// All that may be called, by name.
pub fn listing() -> Vec<KnownFunction> {
    let Functions { scalar, aggregate, window } = functions();
    let is_public = |name: &&String| !INTERNAL.iter().any(|part| name.contains(part));
    let mut all: Vec<KnownFunction> = Vec::new();
    for name in scalar.keys().filter(is_public) {
        all.extend(scalar.get(name).into_iter().flat_map(|function| scalar_forms(name, function)));
    }
    for (name, function) in aggregate.iter().filter(|(name, _)| is_public(name)) {
        all.extend(aggregate_forms(name, function));
    }
    all.extend(window.keys().map(|name| known(name, String::new(), "bigint".into(), "w")));
    all.sort();
    all.dedup();
    all
}

fn known(name: &str, arguments: String, result: String, kind: &'static str) -> KnownFunction {
    KnownFunction { name: name.to_string(), arguments, result, kind }
}

/// An aggregate of one argument takes every type or some; of others what the documentation says.
fn aggregate_forms(name: &str, function: &AggregateUDF) -> Vec<KnownFunction> {
    let tried = TRIED.map(|ty| ty.to_arrow());
    let takes = |ty: &&DataType| function.coerce_types(&[(*ty).clone()]).is_ok_and(|taken| taken == [(*ty).clone()]);
    let taken = tried.iter().filter(takes);
    let forms: Vec<(String, String)> = taken
        .filter_map(|ty| Some((type_name(ty), type_name(&function.return_type(std::slice::from_ref(ty)).ok()?))))
        .collect();
    if forms.len() < tried.len() && !forms.is_empty() {
        return forms.into_iter().map(|(argument, result)| known(name, argument, result, "a")).collect();
    }
    let result = match forms.as_slice() {
        [(_, first), rest @ ..] if rest.iter().all(|(_, result)| result == first) => first.clone(),
        _ => "any".into(),
    };
    let arguments = arguments_of(function.documentation());
    vec![known(name, if arguments.is_empty() { "any".into() } else { arguments }, result, "a")]
}

fn scalar_forms(name: &str, function: &Arc<ScalarUDF>) -> Vec<KnownFunction> {
    if let Some(defined) = function.inner().downcast_ref::<Defined>() {
        return defined.forms().map(|(arguments, result)| known(name, arguments, result, "f")).collect();
    }
    // What plans call and nobody else has no documentation.
    let Some(documentation) = function.documentation() else { return Vec::new() };
    let result = result_of(function.signature(), |types| function.return_type(types).ok());
    vec![known(name, arguments_of(Some(documentation)), result, "f")]
}

/// What stands between the parentheses of the documentation's example of a call.
fn arguments_of(documentation: Option<&Documentation>) -> String {
    let example = documentation.map_or("", |documentation| documentation.syntax_example.as_str());
    let inner = example.lines().next().and_then(|line| line.split_once('(')).map_or("", |(_, rest)| rest);
    inner.rsplit_once(')').map_or(inner, |(inner, _)| inner).to_string()
}

/// The type of the result if all that DataFusion says a function takes give the same; else it depends on what is given.
fn result_of(signature: &Signature, result: impl Fn(&[DataType]) -> Option<DataType>) -> String {
    let examples = signature.type_signature.get_example_types();
    let ours = |ty: &DataType| SqlType::from_arrow(ty).to_arrow() == *ty;
    let mut results: Vec<String> = examples
        .iter()
        .filter(|types| types.iter().all(ours))
        .filter_map(|types| result(types))
        .map(|ty| type_name(&ty))
        .collect();
    results.dedup();
    match results.as_slice() {
        [one] => one.clone(),
        _ => "any".into(),
    }
}
