//! What a schema may be. It comes over the network, and the library unfolds it: each use of a named type becomes a copy of
//! it, each level a level of the stack. So its size is counted unfolded before the library sees it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::error::{Error, Result, SqlState};

/// How deep types may lie in each other: far more than people write, few enough for any stack.
const MAX_DEPTH: usize = 64;

/// Types of an unfolded schema: three for each column that may be null, each with buffers of up to 16 KB if it is wanted.
const MAX_TYPES: usize = 4096;

/// A type, unfolded.
#[derive(Debug, Clone, Copy)]
struct Extent {
    types: usize,
    depth: usize,
    /// Its values take no bytes.
    is_empty: bool,
}

impl Extent {
    const LEAF: Extent = Extent { types: 1, depth: 1, is_empty: false };

    fn with(self, inner: Extent) -> Extent {
        Extent {
            types: self.types.saturating_add(inner.types),
            depth: self.depth.max(inner.depth.saturating_add(1)),
            is_empty: self.is_empty && inner.is_empty,
        }
    }
}

/// The names of the fields of a record's schema, in their order.
///
/// # Errors
/// 22P04 for what is no schema of a record, 0A000 for one that is recursive, too large, or has arrays of values that take no
/// bytes (a message of a few bytes could hold billions of these).
pub fn check(text: &str) -> Result<Vec<String>> {
    let schema: Value = serde_json::from_str(text).map_err(|e| invalid(format!("it is not JSON: {e}")))?;
    let fields = schema.as_object().filter(|object| object.get("type").and_then(Value::as_str) == Some("record"));
    let fields = fields.ok_or_else(|| unsupported("is no record", "A column is a record's field."))?;
    let names = fields.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = names.iter().map(|field| field.get("name").and_then(Value::as_str).map(str::to_string));
    let names = names.collect::<Option<Vec<_>>>().ok_or_else(|| invalid("a field has no name"))?;
    Walk::default().extent(&schema, 0)?;
    Ok(names)
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(SqlState::BadCopyFileFormat, format!("invalid Avro schema: {what}"))
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::unsupported(format!("an Avro schema that {what} is not supported"), hint)
}

#[derive(Default)]
struct Walk {
    /// By name without namespace: the largest of that name, so that namespaces need not be understood.
    named: HashMap<String, Extent>,
}

impl Walk {
    fn extent(&mut self, ty: &Value, depth: usize) -> Result<Extent> {
        let too_large = || unsupported("is so large", "Split the message's type.");
        if depth > MAX_DEPTH {
            return Err(too_large());
        }
        let extent = match ty {
            Value::String(name) => self.by_name(name)?,
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.extent(branch, depth + 1));
                branches.collect::<Result<Vec<_>>>()?.into_iter().fold(Extent::LEAF, Extent::with)
            }
            Value::Object(object) => self.object(object, depth)?,
            other => return Err(invalid(format!("{other} is no type"))),
        };
        if extent.types > MAX_TYPES || extent.depth > MAX_DEPTH { Err(too_large()) } else { Ok(extent) }
    }

    fn by_name(&self, name: &str) -> Result<Extent> {
        match name {
            "null" => Ok(Extent { is_empty: true, ..Extent::LEAF }),
            "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string" => Ok(Extent::LEAF),
            name => self.named.get(own_name(name)).copied().ok_or_else(|| {
                let hint = "Types must be defined where they are first used, and not hold themselves.";
                unsupported(&format!("uses type \"{name}\" before its definition ends"), hint)
            }),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, depth: usize) -> Result<Extent> {
        let ty = object.get("type").ok_or_else(|| invalid("a type is missing"))?;
        let Value::String(kind) = ty else { return self.extent(ty, depth + 1) };
        let part = |name: &str| object.get(name).ok_or_else(|| invalid(format!("\"{kind}\" lacks \"{name}\"")));
        let extent = match kind.as_str() {
            "array" | "map" => {
                let items = self.extent(part(if kind == "array" { "items" } else { "values" })?, depth + 1)?;
                if kind == "array" && items.is_empty {
                    return Err(unsupported("has arrays of empty values", "Give the array's items a value."));
                }
                return Ok(Extent::LEAF.with(items));
            }
            "enum" => Extent::LEAF,
            "fixed" => Extent { is_empty: part("size")?.as_u64() == Some(0), ..Extent::LEAF },
            "record" | "error" => {
                let fields = part("fields")?.as_array().ok_or_else(|| invalid("\"fields\" is no list"))?;
                let mut extent = Extent { is_empty: true, ..Extent::LEAF };
                for field in fields {
                    let ty = field.get("type").ok_or_else(|| invalid("a field has no type"))?;
                    extent = extent.with(self.extent(ty, depth + 1)?);
                    if extent.types > MAX_TYPES {
                        break;
                    }
                }
                extent
            }
            name => return self.by_name(name),
        };
        let name = part("name")?.as_str().ok_or_else(|| invalid("a name is no text"))?;
        let known = self.named.entry(own_name(name).to_string()).or_insert(extent);
        *known = Extent {
            types: known.types.max(extent.types),
            depth: known.depth.max(extent.depth),
            is_empty: known.is_empty || extent.is_empty,
        };
        Ok(extent)
    }
}

/// Without its namespace.
fn own_name(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, own)| own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(schema: &str, expected: &str) {
        let message = check(schema).expect_err(schema).message().to_string();
        assert!(message.contains(expected), "{message} does not contain {expected}");
    }

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
    }

    #[test]
    fn names_of_fields_in_order() {
        let schema = record(
            r#"{"name":"b","type":["null","string"]},{"name":"A","type":{"type":"record","name":"x.N","fields":[]}},
               {"name":"c","type":"x.N"},{"name":"d","type":{"type":"int","logicalType":"date"}},
               {"name":"e","type":{"type":"array","items":{"type":"enum","name":"E","symbols":["Z"]}}}"#,
        );
        assert_eq!(check(&schema).unwrap(), ["b", "A", "c", "d", "e"]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        refused("{", "it is not JSON");
        refused("\"int\"", "is no record");
        refused(r#"[{"type":"record","name":"R","fields":[]}]"#, "is no record");
        refused(&record(r#"{"type":"int"}"#), "a field has no name");
        refused(&record(r#"{"name":"a"}"#), "a field has no type");
        refused(&record(r#"{"name":"a","type":7}"#), "7 is no type");
        refused(&record(r#"{"name":"a","type":{"type":"array"}}"#), "\"array\" lacks \"items\"");
    }

    #[test]
    fn what_would_unfold_without_bound_is_refused() {
        refused(&record(r#"{"name":"next","type":["null","R"]}"#), "uses type \"R\" before its definition ends");
        refused(&record(r#"{"name":"a","type":"unknown"}"#), "uses type \"unknown\"");
        let nested = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(70), "}".repeat(70));
        refused(&record(&format!(r#"{{"name":"a","type":{nested}}}"#)), "is so large");
        // Each record holds the one before twice: 2^40 in the end.
        let doubled =
            (1..40).fold(r#"{"name":"f0","type":{"type":"record","name":"R0","fields":[]}}"#.to_string(), |all, n| {
                let before = n - 1;
                let fields = format!(r#"{{"name":"a","type":"R{before}"}},{{"name":"b","type":"R{before}"}}"#);
                format!(r#"{all},{{"name":"f{n}","type":{{"type":"record","name":"R{n}","fields":[{fields}]}}}}"#)
            });
        refused(&record(&doubled), "is so large");
        let chain =
            (1..100).fold(r#"{"name":"f0","type":{"type":"record","name":"R0","fields":[]}}"#.to_string(), |all, n| {
                let field = format!(r#"{{"name":"a","type":"R{}"}}"#, n - 1);
                format!(r#"{all},{{"name":"f{n}","type":{{"type":"record","name":"R{n}","fields":[{field}]}}}}"#)
            });
        refused(&record(&chain), "is so large");
        let empty = r#"{"name":"a","type":{"type":"array","items":{"type":"record","name":"E","fields":[{"name":"n","type":"null"}]}}}"#;
        refused(&record(empty), "has arrays of empty values");
    }
}
