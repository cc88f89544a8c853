//! Syntax errors in PostgreSQL's words, whoever found them.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, TokenizerError};

use super::dialect::{Dialect, tokenize};
use super::places::Places;
use crate::error::{Error, SqlState};

/// `syntax error at or near "..."` at this token.
pub fn at_token(places: &Places, token: &TokenWithSpan) -> Error {
    let position = places.position(token.span.start);
    if token.token == Token::EOF {
        return Error::new(SqlState::SyntaxError, "syntax error at end of input").at(position);
    }
    let text = places.slice(token.span.start, token.span.end);
    Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{text}\"")).at(position)
}

/// What sqlparser says, which tells the place only in its text: `Expected: ..., found: x at Line: 1, Column: 8`.
pub fn from_parser(places: &Places, error: ParserError) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .with_hint("Split it with WITH or with a materialized view in between.");
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (said, location) = split_place(&message);
    let token = match location {
        Some(location) => token_meant(places, said, location),
        None if said.contains("found: EOF") || said.is_empty() => TokenWithSpan::new_eof(),
        None => return Error::new(SqlState::SyntaxError, format!("syntax error: {said}")),
    };
    let error = at_token(places, &token);
    let expected = said.strip_prefix("Expected: ").or_else(|| said.strip_prefix("Expected "));
    match expected.and_then(|rest| rest.split(", found: ").next()) {
        Some(expected) => error.with_detail(format!("Expected {expected}.")),
        None if said.is_empty() => error,
        None => error.with_detail(said.to_string()),
    }
}

/// The token that sqlparser complains of: now and then it names one and gives the place of the next.
fn token_meant(places: &Places, said: &str, location: Location) -> TokenWithSpan {
    let found = said.rsplit_once(", found: ").map(|(_, found)| found);
    // Of Flink's text, where back quotes are told apart: in PostgreSQL's they are errors already.
    let mut tokens = tokenize(places.text(), Dialect::Flink).unwrap_or_default();
    tokens.retain(|token| token.span.start <= location);
    let named = tokens.iter().rev().find(|token| found.is_some_and(|found| token.token.to_string() == found));
    named.or(tokens.last()).cloned().unwrap_or_else(TokenWithSpan::new_eof)
}

/// What the tokenizer could not read.
pub fn from_tokenizer(places: &Places, error: &TokenizerError) -> Error {
    let what = error.message.as_str();
    let what = if what.contains("dollar-quoted") {
        "unterminated dollar-quoted string"
    } else if what.contains("string literal") || what.contains("Unterminated encoded string") {
        "unterminated quoted string"
    } else if what.contains("close delimiter") {
        "unterminated quoted identifier"
    } else if what.contains("comment") {
        "unterminated /* comment"
    } else {
        "syntax error"
    };
    // A comment's error stands at the end of the text: there is nothing to quote.
    let rest: String = places.text()[places.byte(error.location)..].lines().next().unwrap_or_default().into();
    let message = if rest.is_empty() { what.to_string() } else { format!("{what} at or near \"{rest}\"") };
    Error::new(SqlState::SyntaxError, message).at(places.position(error.location))
}

fn split_place(message: &str) -> (&str, Option<Location>) {
    let found = || {
        let (said, place) = message.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        Some((said, Location { line: line.parse().ok()?, column: column.parse().ok()? }))
    };
    found().map_or((message, None), |(said, location)| (said, Some(location)))
}
