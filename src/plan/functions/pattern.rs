//! Parts of texts: by regular expressions, and by separators.
//!
//! - `regexp_substr(text, pattern [, start [, n [, flags [, group]]]])`: PostgreSQL's.
//! - `regexp_extract(text, pattern [, group])`, `split_index(text, separator, index)`: Flink's. Groups count from 0, which is
//!   the whole match; parts count from 0.

use arrow::array::ArrayRef;
use regex::{Regex, RegexBuilder};

use super::define::{Call, at};
use crate::error::{Error, Result, SqlState};

/// Bytes that a compiled expression may take: `(a{1000}){1000}` would take gigabytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// In Java a dot is no line's end.
const JAVA: &str = "p";

/// The expression that was compiled last: most often there is only one.
#[derive(Default)]
struct Compiled(Option<(String, String, Regex)>);

impl Compiled {
    fn get(&mut self, pattern: &str, flags: &str) -> Result<&Regex> {
        let known = |(p, f, _): &(String, String, Regex)| p == pattern && f == flags;
        let entry = match self.0.take().filter(known) {
            Some(entry) => entry,
            None => (pattern.to_string(), flags.to_string(), compile(pattern, flags)?),
        };
        Ok(&self.0.insert(entry).2)
    }
}

fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    // As in PostgreSQL a dot is a line's end too, unless told otherwise.
    builder.size_limit(MAX_REGEX_BYTES).dot_matches_new_line(true);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            'n' | 'm' => builder.dot_matches_new_line(false).multi_line(true),
            'p' => builder.dot_matches_new_line(false).multi_line(false),
            'w' => builder.dot_matches_new_line(true).multi_line(true),
            's' => builder.dot_matches_new_line(true).multi_line(false),
            'x' => builder.ignore_whitespace(true),
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                let error = Error::new(SqlState::InvalidParameterValue, message);
                return Err(error.with_hint("i, c, n (or m), p, w, s and x are supported."));
            }
        };
    }
    builder.build().map_err(|error| {
        let said = error.to_string();
        Error::invalid_pattern(said.lines().last().unwrap_or_default().trim_start_matches("error: "))
    })
}

fn invalid(parameter: &str, value: i32) -> Error {
    Error::new(SqlState::InvalidParameterValue, format!("invalid value for parameter \"{parameter}\": {value}"))
}

/// What stands in place `index` of the row, or the default where the call has no such argument; `None` is null.
fn number_or(call: &Call<'_>, index: usize, row: usize, default: i32) -> Result<Option<i32>> {
    if index < call.count() { Ok(at(call.integers(index)?, row)) } else { Ok(Some(default)) }
}

pub fn regexp_substr(call: Call<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    let all_flags = if call.count() > 4 { Some(call.texts(4)?) } else { None };
    call.text_of_each(|row| {
        let Some((text, pattern)) = at(texts, row).zip(at(patterns, row)) else { return Ok(None) };
        let flags = all_flags.map_or(Some(""), |flags| at(flags, row));
        let numbers = (number_or(&call, 2, row, 1)?, number_or(&call, 3, row, 1)?, number_or(&call, 5, row, 0)?);
        let ((Some(start), Some(nth), Some(group)), Some(flags)) = (numbers, flags) else { return Ok(None) };
        let [from, nth, group] =
            [("start", start, 1), ("n", nth, 1), ("subexpr", group, 0)].map(|(name, value, least)| {
                usize::try_from(value).ok().filter(|v| *v >= least).ok_or_else(|| invalid(name, value))
            });
        let (from, nth, group) = (from?, nth?, group?);
        let begin = text.char_indices().nth(from - 1).map_or(text.len(), |(at, _)| at);
        let searched = if from - 1 > text.chars().count() { None } else { text.get(begin..) };
        let regex = compiled.get(pattern, flags)?;
        let found = searched.and_then(|text| regex.captures_iter(text).nth(nth - 1));
        Ok(found.and_then(|found| found.get(group)).map(|part| part.as_str()))
    })
}

pub fn regexp_extract(call: Call<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let (texts, patterns) = (call.texts(0)?, call.texts(1)?);
    call.text_of_each(|row| {
        let Some((text, pattern)) = at(texts, row).zip(at(patterns, row)) else { return Ok(None) };
        let Some(group) = number_or(&call, 2, row, 0)? else { return Ok(None) };
        let found = compiled.get(pattern, JAVA)?.captures(text);
        let group = usize::try_from(group).ok();
        Ok(found.and_then(|found| found.get(group?)).map(|part| part.as_str()))
    })
}

/// An empty text has no parts; without a separator, white space separates.
pub fn split_index(call: Call<'_>) -> Result<ArrayRef> {
    let (texts, separators, indices) = (call.texts(0)?, call.texts(1)?, call.integers(2)?);
    call.text_of_each(|row| {
        let ((Some(text), Some(separator)), Some(index)) = ((at(texts, row), at(separators, row)), at(indices, row))
        else {
            return Ok(None);
        };
        Ok(match usize::try_from(index) {
            Err(_) => None,
            Ok(_) if text.is_empty() => None,
            Ok(index) if separator.is_empty() => text.split(char::is_whitespace).nth(index),
            Ok(index) => text.split(separator).nth(index),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, AsArray, Int32Array, StringViewArray};

    use super::*;

    fn check(function: fn(Call<'_>) -> Result<ArrayRef>, arguments: &[&str], expected: &str) {
        let argument = |text: &&str| -> ArrayRef {
            match text.parse::<i32>() {
                Ok(number) => Arc::new(Int32Array::from(vec![number])),
                Err(_) => Arc::new(StringViewArray::from(vec![(*text != "null").then_some(*text)])),
            }
        };
        let arguments: Vec<ArrayRef> = arguments.iter().map(argument).collect();
        let shown = match function(Call::new(&arguments, 1)) {
            Ok(array) if array.is_null(0) => "null".to_string(),
            Ok(array) => array.as_string_view().value(0).to_string(),
            Err(error) => format!("{}: {}", error.state().code(), error.message()),
        };
        assert_eq!(shown, expected, "{arguments:?}");
    }

    #[test]
    fn parts_of_texts() {
        check(regexp_substr, &["foobarbaz", "b.."], "bar");
        check(regexp_substr, &["foobarbaz", "b..", "1", "2"], "baz");
        check(regexp_substr, &["foobarbaz", "b..", "5"], "baz");
        check(regexp_substr, &["foobarbaz", "B(.)(.)", "1", "1", "i", "2"], "r");
        check(regexp_substr, &["foobarbaz", "B", "1", "1", "", "0"], "null");
        check(regexp_substr, &["foobarbaz", "b(x)?", "1", "1", "", "1"], "null");
        check(regexp_substr, &["null", "b"], "null");
        check(regexp_substr, &["äöü", "ü", "3"], "ü");
        check(regexp_substr, &["ab", "x*", "4"], "null");
        check(regexp_substr, &["a", "a", "0"], "22023: invalid value for parameter \"start\": 0");
        check(regexp_substr, &["a", "(", "1"], "2201B: invalid regular expression: unclosed group");
        check(regexp_substr, &["a", "a", "1", "1", "q"], "22023: invalid regular expression option: \"q\"");
        check(regexp_extract, &["http://x/?a=1&b=2", "(&|^)b=([^&]*)", "2"], "2");
        check(regexp_extract, &["foothebar", "foo(.*?)(bar)"], "foothebar");
        check(regexp_extract, &["foothebar", "foo(.*?)(bar)", "3"], "null");
        check(split_index, &["a/b//c", "/", "2"], "");
        check(split_index, &["a/b//c", "/", "3"], "c");
        check(split_index, &["a/b//c", "/", "4"], "null");
        check(split_index, &["a/b", "/", "-1"], "null");
        check(split_index, &["", "/", "0"], "null");
    }
}
