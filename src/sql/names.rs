//! Names: folding, reserved words, limits, and the nearest known one.

use crate::error::{Error, Result, SqlState};

use super::ast::Name;

/// Bytes of a name (PostgreSQL's NAMEDATALEN - 1; there a longer name is cut, here it is refused).
pub const MAX_NAME_BYTES: usize = 63;

/// PostgreSQL's reserved key words: no name of a column or table unless quoted.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Unquoted names are lower-cased; as in PostgreSQL over UTF-8, ASCII letters only.
pub fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// `name` is folded already.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

/// A name as it must be written in SQL.
pub fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Checks a name that is about to be given to something.
pub fn check(name: &Name) -> Result<()> {
    if name.value.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let message = format!("name \"{}\" is too long", name.value);
    let hint = format!("A name has at most {MAX_NAME_BYTES} bytes; this one has {}.", name.value.len());
    Err(Error::new(SqlState::NameTooLong, message).with_hint(hint).at(name.position))
}

/// The candidate that `name` was most likely meant to be: at most a third of its letters differ, and some do not.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit && *distance < name.chars().count().min(candidate.chars().count())
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insertion, deletion, replacement, swap of neighbours) between two words: optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted() {
        assert!(RESERVED.is_sorted());
        assert!(is_reserved("window") && !is_reserved("job"));
    }

    #[test]
    fn nearest_name() {
        let names = ["orders", "order_lines", "customers"];
        assert_eq!(nearest("oders", names), Some("orders"));
        assert_eq!(nearest("ordesr", names), Some("orders"));
        assert_eq!(nearest("Orders", names), Some("orders"));
        assert_eq!(nearest("payments", names), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("ba", ["ab"]), Some("ab"));
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(quoted("orders_2"), "orders_2");
        assert_eq!(quoted("Orders"), "\"Orders\"");
        assert_eq!(quoted("select"), "\"select\"");
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
