//! Errors as psql prints them: the line of the script they are about, with a caret at the place.

use std::fmt::Write;

use crate::error::Error;

/// A place in a text, as editors count: line and column from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// The script that a statement comes from.
pub struct Script<'a> {
    /// As the user called it.
    pub name: &'a str,
    pub text: &'a str,
}

impl Script<'_> {
    /// The place of the character at `index`, counted from 0.
    pub fn place(&self, index: usize) -> Place {
        let mut place = Place { line: 1, column: 1 };
        for c in self.text.chars().take(index) {
            if c == '\n' {
                place = Place { line: place.line + 1, column: 1 };
            } else {
                place.column += 1;
            }
        }
        place
    }

    /// `error` of the statement that begins `offset` characters into the script.
    pub fn report(&self, error: &Error, offset: usize) -> String {
        let place = self.place(offset + error.position().map_or(0, |p| p - 1));
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ =
            write!(out, "{}:{}:{}: ERROR:  {} ({})", self.name, place.line, place.column, error, error.state().code());
        if error.position().is_some()
            && let Some(line) = self.text.lines().nth(place.line - 1)
        {
            let head = format!("LINE {}: ", place.line);
            let _ = write!(out, "\n{head}{line}\n{}^", margin(&head, line, place.column));
        }
        out.push_str(&details(error));
        out
    }
}

/// Blanks up to the caret: tabs stay tabs, so that the caret stands right whatever their width.
fn margin(head: &str, line: &str, column: usize) -> String {
    let before = line.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' });
    head.chars().map(|_| ' ').chain(before).collect()
}

/// An error that belongs to no text.
pub fn report(error: &Error) -> String {
    format!("ERROR:  {error} ({}){}", error.state().code(), details(error))
}

fn details(error: &Error) -> String {
    let mut out = String::new();
    for (label, text) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
        if let Some(text) = text {
            let _ = write!(out, "\n{label}:  {text}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SqlState;

    fn check(text: &str, offset: usize, error: Error, expected: &str) {
        assert_eq!(Script { name: "t.sql", text }.report(&error, offset), expected);
    }

    #[test]
    fn the_caret_stands_at_the_place() {
        let error = || Error::new(SqlState::UndefinedColumn, "column \"x\" does not exist").at(8);
        check(
            "SELECT x",
            0,
            error(),
            "t.sql:1:8: ERROR:  column \"x\" does not exist (42703)\nLINE 1: SELECT x\n               ^",
        );
        check(
            "SELECT 1;\n\tSELECT x;",
            11,
            error().with_hint("Try y."),
            "t.sql:2:9: ERROR:  column \"x\" does not exist (42703)\nLINE 2: \tSELECT x;\n        \t       ^\nHINT:  Try y.",
        );
    }

    #[test]
    fn places_count_characters() {
        let error = Error::new(SqlState::SyntaxError, "syntax error").at(4);
        check("é😀 x", 0, error, "t.sql:1:4: ERROR:  syntax error (42601)\nLINE 1: é😀 x\n           ^");
    }

    #[test]
    fn without_a_place_the_statement_is_named() {
        let error = Error::new(SqlState::IoError, "disk full").with_detail("No space.");
        check("SELECT 1;\nSELECT 2", 10, error, "t.sql:2:1: ERROR:  disk full (58030)\nDETAIL:  No space.");
    }
}
