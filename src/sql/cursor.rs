//! A cursor over a statement's tokens: what our own statements are read with. Queries and expressions are handed to
//! sqlparser in between.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, SetExpr, Visit, Visitor};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::ast::Name;
use super::dialect::Dialect;
use super::names;
use super::places::Places;
use super::{dialect, flink, refuse, syntax};
use crate::error::{Error, Result, SqlState};

/// The one schema, and the name by which we call the database, which answers to any: both may be written in front of a name.
pub const SCHEMA: &str = "public";
pub const DATABASE: &str = "tidemill";

pub(super) struct Cursor<'a> {
    parser: Parser<'static>,
    places: Places<'a>,
    dialect: Dialect,
    /// A `>>` was read of which one `>` is still to come (`ROW<a ROW<b INT>>`).
    half_open: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, dialect: Dialect) -> Result<Self> {
        let places = Places::new(text);
        let tokens = dialect::tokenize(text, dialect).map_err(|e| syntax::from_tokenizer(&places, &e))?;
        Ok(Cursor { parser: dialect::parser(tokens), places, dialect, half_open: false })
    }

    pub fn is_flink(&self) -> bool {
        self.dialect == Dialect::Flink
    }

    /// The next token.
    pub fn peek(&self) -> &TokenWithSpan {
        self.parser.peek_token_ref()
    }

    /// The token `n` further on.
    pub fn ahead(&self, n: usize) -> &Token {
        &self.parser.peek_nth_token_ref(n).token
    }

    pub fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// Where the next token stands.
    pub fn position(&self) -> usize {
        self.places.position(self.peek().span.start)
    }

    pub fn location(&self) -> Location {
        self.peek().span.start
    }

    /// What was read since `start`, as written.
    pub fn text_since(&self, start: Location) -> &'a str {
        self.places.slice(start, self.parser.get_current_token().span.end)
    }

    /// A syntax error at the next token.
    pub fn unexpected(&self) -> Error {
        syntax::at_token(&self.places, self.peek())
    }

    /// The unquoted word `n` tokens ahead, as written.
    pub fn word(&self, n: usize) -> Option<&str> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(w) if w.quote_style.is_none() => Some(&w.value),
            _ => None,
        }
    }

    /// Whether these key words (given in capitals) come next.
    pub fn at(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(n).is_some_and(|w| w.eq_ignore_ascii_case(word)))
    }

    pub fn take(&mut self, words: &[&str]) -> bool {
        let found = self.at(words);
        if found {
            for _ in words {
                self.parser.advance_token();
            }
        }
        found
    }

    pub fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.take(&[word]) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    pub fn at_token(&self, token: &Token) -> bool {
        self.peek().token == *token
    }

    pub fn take_token(&mut self, token: &Token) -> bool {
        let found = self.at_token(token);
        if found {
            self.parser.advance_token();
        }
        found
    }

    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Whether the statement ends here: with its text, or with its semicolon.
    pub fn at_end(&self) -> bool {
        matches!(self.peek().token, Token::EOF | Token::SemiColon)
    }

    pub fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// An identifier: quoted as it stands, unquoted folded (not in Flink's text, where case counts) and not reserved.
    pub fn name(&mut self) -> Result<Name> {
        let position = self.position();
        let value = match &self.peek().token {
            Token::Word(w) if w.quote_style.is_some() => w.value.clone(),
            Token::Word(w) if names::is_reserved(&names::fold(&w.value)) => return Err(self.unexpected()),
            Token::Word(w) if self.is_flink() => w.value.clone(),
            Token::Word(w) => names::fold(&w.value),
            _ => return Err(self.unexpected()),
        };
        if value.is_empty() {
            let message = "zero-length delimited identifier at or near \"\"\"\"";
            return Err(Error::new(SqlState::SyntaxError, message).at(position));
        }
        self.parser.advance_token();
        Ok(Name { value, position })
    }

    /// The name of a table-like thing, with or without its schema and database.
    pub fn object_name(&mut self) -> Result<Name> {
        let mut parts = vec![self.name()?];
        while self.take_token(&Token::Period) {
            parts.push(self.name()?);
        }
        let position = parts.first().map_or(1, |part| part.position);
        let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>();
        match written.as_slice() {
            // Whatever a client connects to is the one database.
            [name] | [SCHEMA, name] | [_, SCHEMA, name] => Ok(Name { value: name.to_string(), position }),
            [schema, _] | [_, schema, _] => {
                let message = format!("schema \"{schema}\" does not exist");
                let hint = format!("There is one schema, \"{SCHEMA}\"; leave it out.");
                Err(Error::new(SqlState::InvalidSchemaName, message).with_hint(hint).at(position))
            }
            _ => Err(Error::unsupported(
                format!("improper qualified name (too many dotted names): \"{}\"", written.join(".")),
                format!("There is one database, with one schema, \"{SCHEMA}\"; leave both out."),
            )
            .at(position)),
        }
    }

    /// `( item, ... )`.
    pub fn parenthesized<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let items = self.list(&mut item)?;
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// `item, ...`, at least one.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.is_balanced() && self.take_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A string literal, if one comes next.
    pub fn take_string(&mut self) -> Option<String> {
        let text = match &self.peek().token {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) | Token::UnicodeStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return None,
        };
        self.parser.advance_token();
        Some(text)
    }

    pub fn string(&mut self) -> Result<String> {
        self.take_string().ok_or_else(|| self.unexpected())
    }

    /// An unsigned integer of at most `max`.
    pub fn integer(&mut self, max: u32) -> Result<u32> {
        let Token::Number(digits, _) = &self.peek().token else {
            return Err(self.unexpected());
        };
        match digits.parse::<u32>() {
            Ok(n) if n <= max => {
                self.parser.advance_token();
                Ok(n)
            }
            _ => Err(Error::new(SqlState::InvalidParameterValue, format!("\"{digits}\" is not between 0 and {max}"))
                .at(self.position())),
        }
    }

    /// The `>` that closes ROW<...> or ARRAY<...>.
    pub fn expect_closing_angle(&mut self) -> Result<()> {
        if std::mem::take(&mut self.half_open) || self.take_token(&Token::Gt) {
            return Ok(());
        }
        self.expect_token(&Token::ShiftRight)?;
        self.half_open = true;
        Ok(())
    }

    /// Whether a type that must be over is: nothing is left of a `>>`.
    pub fn is_balanced(&self) -> bool {
        !self.half_open
    }

    pub fn expr(&mut self) -> Result<Box<Expr>> {
        let mut expr = self.parser.parse_expr().map_err(|e| self.parse_error(e))?;
        if self.is_flink() {
            flink::query::rewrite_expr(&mut expr)?;
        }
        Ok(Box::new(expr))
    }

    /// What sqlparser says. Where it gives up for depth, it says no place: it has come this far.
    fn parse_error(&self, error: ParserError) -> Error {
        let error = syntax::from_parser(&self.places, error);
        match error.state() {
            SqlState::StatementTooComplex => error.at(self.position()),
            _ => error,
        }
    }

    /// sqlparser takes a reserved word for a relation's name: `SELECT FROM WHERE`.
    fn check_relations(&self, query: &Query) -> Result<()> {
        struct Reserved;
        impl Visitor for Reserved {
            type Break = TokenWithSpan;
            fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<TokenWithSpan> {
                let idents = relation.0.iter().filter_map(|part| part.as_ident());
                let reserved =
                    |ident: &&Ident| ident.quote_style.is_none() && names::is_reserved(&names::fold(&ident.value));
                match { idents }.find(reserved) {
                    Some(ident) if ident.span.start.line > 0 => ControlFlow::Break(TokenWithSpan {
                        token: Token::make_word(&ident.value, None),
                        span: ident.span,
                    }),
                    _ => ControlFlow::Continue(()),
                }
            }
        }
        match query.visit(&mut Reserved) {
            ControlFlow::Break(token) => Err(syntax::at_token(&self.places, &token)),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// A query: SELECT, VALUES, TABLE, WITH, or one in parentheses.
    pub fn query(&mut self) -> Result<Box<Query>> {
        if self.at(&["TABLE"]) {
            self.spell_out_table();
        }
        let position = self.position();
        let parsed = self.parser.parse_query();
        let mut query = parsed.map_err(|e| {
            let error = self.parse_error(e);
            let tokens = dialect::tokenize(self.places.text(), self.dialect).unwrap_or_default();
            refuse::in_query(error, &tokens, &self.places)
        })?;
        dialect::without_nothing(&mut query);
        self.check_relations(&query)?;
        let query = if self.is_flink() { flink::query::rewrite(query)? } else { query };
        if self.at(&["MATCH_RECOGNIZE"]) {
            return Err(refuse::match_recognize().at(self.position()));
        }
        match *query.body {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Error::unsupported(
                    "a WITH clause in front of a statement that changes data is not supported",
                    "Put the WITH clause inside: INSERT INTO sink WITH ... SELECT ...",
                )
                .at(position))
            }
            _ => Ok(query),
        }
    }

    /// TABLE t reads as SELECT * FROM t.
    fn spell_out_table(&mut self) {
        let mut tokens = dialect::select_all_from(self.next().span);
        loop {
            let token = self.next();
            if token.token == Token::EOF {
                break;
            }
            tokens.push(token);
        }
        self.parser = dialect::parser(tokens);
    }
}
