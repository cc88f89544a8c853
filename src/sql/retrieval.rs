//! How rows are taken: cursors (DECLARE, FETCH, MOVE, CLOSE) and SUBSCRIBE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{Declare, Fetch, Retrieval, StatementKind, Subscribe, Subscribed, WithOption};
use super::cursor::Cursor;
use super::{names, refuse};
use crate::error::Result;

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
    pub(super) fn retrieval(&mut self) -> Result<Retrieval> {
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
}
