//! How rows are taken: cursors (DECLARE, FETCH, MOVE, CLOSE), COPY ... TO STDOUT, and SUBSCRIBE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Declare, Fetch, Retrieval, StatementKind, Subscribe, Subscribed, WithOption};
use super::cursor::Cursor;
use super::{names, refuse};
use crate::error::{Error, Result};

/// More rows than one FETCH may name; there is ALL.
const MAX_FETCH: u32 = i32::MAX as u32;

/// What PostgreSQL's cursors can besides going forward.
const BACKWARD: [&str; 6] = ["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"];

/// Behind SUBSCRIBE's query: words of other systems, and what to do without them.
const SUBSCRIBE_CLAUSES: [(&[&str], &str); 4] = [
    (&["ENVELOPE"], "Every change is a row with tidemill_diff: +1 came, -1 went."),
    (&["WITHIN", "TIMESTAMP"], "Sort the rows of a tick where they are read."),
    (&["AS", "OF"], "It begins with the rows that are there now; WITH (SNAPSHOT = false) leaves them out."),
    (&["UP", "TO"], "End it by canceling the statement, or by closing its cursor."),
];

impl Cursor<'_> {
    /// Behind SUBSCRIBE.
    pub fn subscribe(&mut self) -> Result<Subscribe> {
        let _ = self.take(&["TO"]);
        let what = if self.at_token(&Token::LParen) {
            Subscribed::Query(self.query()?)
        } else if ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| self.at(&[word])) {
            let hint = "Put the query in parentheses: SUBSCRIBE (SELECT ...).";
            return Err(self.unexpected().with_hint(hint));
        } else {
            Subscribed::View(self.object_name()?)
        };
        let options = self.flags()?;
        if let Some((words, hint)) = SUBSCRIBE_CLAUSES.into_iter().find(|(words, _)| self.at(words)) {
            return Err(refuse::unsupported(self, &format!("SUBSCRIBE ... {}", words.join(" ")), hint));
        }
        Ok(Subscribe { what, options })
    }

    /// WITH (name [= value], ...); a name alone is true.
    fn flags(&mut self) -> Result<Vec<WithOption>> {
        if !self.take(&["WITH"]) {
            return Ok(Vec::new());
        }
        self.parenthesized(|cursor| {
            let key = cursor.name()?;
            let equals = cursor.take_token(&Token::Eq);
            let value_position = cursor.position();
            let bare = !equals && (cursor.at_token(&Token::Comma) || cursor.at_token(&Token::RParen));
            let value = if bare { "true".into() } else { cursor.option_value()? };
            Ok(WithOption { key, value, value_position })
        })
    }

    /// A query or SUBSCRIBE.
    fn retrieval(&mut self) -> Result<Retrieval> {
        if self.take(&["SUBSCRIBE"]) {
            return Ok(Retrieval::Subscribe(self.subscribe()?));
        }
        if self.at_token(&Token::LParen) || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| self.at(&[word])) {
            return Ok(Retrieval::Query(self.query()?));
        }
        Err(self.unexpected())
    }

    /// Behind DECLARE: `name [NO SCROLL] [INSENSITIVE] CURSOR [WITH | WITHOUT HOLD] FOR query`.
    pub fn declare(&mut self) -> Result<StatementKind> {
        let name = self.name()?;
        loop {
            let hint = "Leave it out: drivers ask for binary values when they fetch.";
            match () {
                () if self.at(&["BINARY"]) => return Err(refuse::unsupported(self, "DECLARE ... BINARY", hint)),
                () if self.at(&["SCROLL"]) => {
                    let hint = "Leave it out: a cursor goes forward only.";
                    return Err(refuse::unsupported(self, "DECLARE ... SCROLL", hint));
                }
                () if self.take(&["NO", "SCROLL"]) || self.take(&["INSENSITIVE"]) || self.take(&["ASENSITIVE"]) => {}
                () => break,
            }
        }
        self.expect(&["CURSOR"])?;
        let hold = self.take(&["WITH", "HOLD"]);
        let _ = !hold && self.take(&["WITHOUT", "HOLD"]);
        self.expect(&["FOR"])?;
        Ok(StatementKind::Declare(Box::new(Declare { name, hold, rows: self.retrieval()? })))
    }

    /// Behind FETCH and MOVE: `[NEXT | [FORWARD] [count | ALL]] [FROM | IN] name [WITH (timeout = '1s')]`.
    pub fn fetch(&mut self, moves: bool) -> Result<StatementKind> {
        let command = if moves { "MOVE" } else { "FETCH" };
        // A word that ends the statement is the cursor's name, whatever it says.
        let is_name = |cursor: &Self| {
            let with = cursor.word(1).is_some_and(|word| names::fold(word) == "with");
            with || matches!(cursor.ahead(1), Token::EOF | Token::SemiColon)
        };
        let direction = BACKWARD.into_iter().find(|word| self.at(&[word]) && !is_name(self));
        let back = direction.or_else(|| self.at_token(&Token::Minus).then_some("BACKWARD"));
        if let Some(back) = back {
            let hint = format!("A cursor goes forward only: {command} [FORWARD] [count | ALL] FROM name.");
            return Err(refuse::unsupported(self, &format!("{command} {back}"), &hint));
        }
        let keyword = |cursor: &mut Self, word: &str| !is_name(cursor) && cursor.take(&[word]);
        let count = if keyword(self, "NEXT") {
            Some(1)
        } else {
            let _ = keyword(self, "FORWARD");
            if matches!(self.peek().token, Token::Number(..)) {
                Some(self.integer(MAX_FETCH)?)
            } else if self.take(&["ALL"]) {
                None
            } else {
                Some(1)
            }
        };
        let _ = self.take(&["FROM"]) || self.take(&["IN"]);
        let cursor = self.name()?;
        let options = self.flags()?;
        Ok(StatementKind::Fetch(Fetch { cursor, count, moves, options }))
    }

    /// Behind CLOSE.
    pub fn close(&mut self) -> Result<StatementKind> {
        Ok(StatementKind::Close(if self.take(&["ALL"]) { None } else { Some(self.name()?) }))
    }

    /// Behind COPY: `(query) TO STDOUT [[WITH] (FORMAT text)]`.
    pub fn copy(&mut self) -> Result<StatementKind> {
        if !self.take_token(&Token::LParen) {
            return Err(self.copy_of_table()?);
        }
        let rows = self.retrieval()?;
        self.expect_token(&Token::RParen)?;
        if !self.take(&["TO", "STDOUT"]) {
            let hint = "What is copied goes to the client: COPY (...) TO STDOUT; in psql, \\copy (...) TO 'file'.";
            return Err(if self.at(&["TO"]) {
                refuse::unsupported(self, "COPY to a file", hint)
            } else {
                self.unexpected()
            });
        }
        let _ = self.take(&["WITH"]);
        if self.at_token(&Token::LParen) {
            self.parenthesized(Cursor::copy_option)?;
        } else if ["CSV", "BINARY", "DELIMITER", "NULL", "HEADER"].iter().any(|word| self.at(&[word])) {
            return Err(other_format(self.position()));
        }
        Ok(StatementKind::Copy(Box::new(rows)))
    }

    fn copy_option(&mut self) -> Result<()> {
        let position = self.position();
        let option = self.name()?;
        let plain = option.value == "format" && (self.take(&["TEXT"]) || self.take_string().as_deref() == Some("text"));
        if plain { Ok(()) } else { Err(other_format(position)) }
    }

    /// COPY name ...: the refusal.
    fn copy_of_table(&mut self) -> Result<Error> {
        let position = self.position();
        let name = self.object_name()?;
        let _ = self.at_token(&Token::LParen) && self.parenthesized(|cursor| cursor.name()).is_ok();
        if self.at(&["FROM"]) {
            let hint = "To load data, declare CREATE SOURCE ... WITH ('connector' = 'file', ...).";
            return Ok(Error::unsupported("COPY FROM is not supported", hint).at(position));
        }
        if !self.at(&["TO"]) {
            return Ok(self.unexpected());
        }
        let hint = format!("Try COPY (SELECT * FROM {}) TO STDOUT.", names::quoted(&name.value));
        Ok(Error::unsupported("COPY of a whole relation is not supported", hint).at(position))
    }
}

fn other_format(position: usize) -> Error {
    let hint =
        "COPY writes text: a line a row, tabs between the values, \\N for null. For CSV: psql --csv -c 'SELECT ...'.";
    Error::unsupported("this COPY option is not supported", hint).at(position)
}
