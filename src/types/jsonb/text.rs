//! jsonb as text.

use std::fmt::Write;

use super::{Kind, Value, decimal};
use crate::types::put;

/// What stands between the parts of arrays and objects.
struct Style {
    comma: &'static str,
    colon: &'static str,
}

const POSTGRES: Style = Style { comma: ", ", colon: ": " };
const COMPACT: Style = Style { comma: ",", colon: ":" };

/// As PostgreSQL prints it: `{"a": 1, "b": [true, null]}`.
pub fn text(bytes: &[u8], out: &mut impl Write) {
    write(Value(bytes), &POSTGRES, out);
}

/// Without blanks, as JSON goes over a wire.
pub fn compact(bytes: &[u8], out: &mut impl Write) {
    write(Value(bytes), &COMPACT, out);
}

fn write(value: Value<'_>, style: &Style, out: &mut impl Write) {
    match value.kind() {
        // Damaged bytes are shown as nothing.
        None | Some(Kind::Null) => put(out, "null"),
        Some(Kind::Boolean(value)) => put(out, if value { "true" } else { "false" }),
        Some(Kind::Number(number)) => decimal::text(number, out),
        Some(Kind::String(text)) => quoted(text, out),
        Some(Kind::Array(elements)) => {
            put(out, "[");
            for (index, element) in elements.enumerate() {
                put(out, if index == 0 { "" } else { style.comma });
                write(element, style, out);
            }
            put(out, "]");
        }
        Some(Kind::Object(fields)) => {
            put(out, "{");
            for (index, (name, value)) in fields.enumerate() {
                put(out, if index == 0 { "" } else { style.comma });
                quoted(name, out);
                put(out, style.colon);
                write(value, style, out);
            }
            put(out, "}");
        }
    }
}

fn quoted(text: &str, out: &mut impl Write) {
    put(out, "\"");
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\u{1f}')) {
        let (plain, special) = rest.split_at(at);
        put(out, plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => put(out, "\\\""),
            Some('\\') => put(out, "\\\\"),
            Some('\n') => put(out, "\\n"),
            Some('\r') => put(out, "\\r"),
            Some('\t') => put(out, "\\t"),
            Some('\u{8}') => put(out, "\\b"),
            Some('\u{c}') => put(out, "\\f"),
            Some(other) => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
            None => {}
        }
        rest = chars.as_str();
    }
    put(out, rest);
    put(out, "\"");
}
