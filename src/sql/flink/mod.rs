//! Flink's text: `SET sql_dialect = 'flink'`.
//!
//! 1. Statements that Flink has and PostgreSQL has not are read here: CREATE TABLE with connector options, CREATE VIEW,
//!    INSERT and EXECUTE STATEMENT SET. All others are those of our own dialect.
//! 2. [`query`] rewrites every query and expression: names keep their case, functions and null order become PostgreSQL's.
//!
//! What does not live here: what a table or a view of such a script stands for (`session/`), and any meaning of its own: the
//! typed statements are the same, and so is the plan.

pub mod query;

use datafusion::sql::sqlparser::tokenizer::{Span, Token};

use super::ast::{
    ComputedColumn, CreateTable, DeclaredView, Expr, ForgetDeclared, InsertStatement, Query, StatementKind, TableDef,
};
use super::cursor::Cursor;
use super::dialect::{self, Dialect};
use super::names::quoted;
use super::refuse;
use crate::error::{Error, Result, SqlState};

impl Cursor<'_> {
    /// A statement that only Flink has, if one begins here.
    pub fn flink_statement(&mut self) -> Result<Option<StatementKind>> {
        if self.take(&["CREATE", "TABLE"]) || self.take(&["CREATE", "TEMPORARY", "TABLE"]) {
            return self.create_table().map(StatementKind::CreateTable).map(Some);
        }
        if self.take(&["CREATE", "VIEW"]) || self.take(&["CREATE", "TEMPORARY", "VIEW"]) {
            return self.declare_view().map(StatementKind::DeclareView).map(Some);
        }
        for (words, view) in [(&["TABLE"], false), (&["VIEW"], true)] {
            let (kind, temporary) = (["DROP", words[0]], ["DROP", "TEMPORARY", words[0]]);
            if self.take(&kind) || self.take(&temporary) {
                let if_exists = self.take(&["IF", "EXISTS"]);
                let name = self.object_name()?;
                return Ok(Some(StatementKind::Forget(ForgetDeclared { view, name, if_exists })));
            }
        }
        if self.take(&["EXECUTE", "STATEMENT", "SET"]) {
            return self.inserts().map(StatementKind::Submit).map(Some);
        }
        if self.at(&["EXECUTE", "INSERT"]) {
            self.expect(&["EXECUTE"])?;
        }
        if self.at(&["INSERT"]) {
            return Ok(Some(StatementKind::Submit(vec![self.insert()?])));
        }
        if self.at(&["BEGIN", "STATEMENT", "SET"]) {
            let hint = "Write EXECUTE STATEMENT SET BEGIN INSERT ...; INSERT ...; END.";
            return Err(refuse::unsupported(self, "BEGIN STATEMENT SET", hint));
        }
        Ok(None)
    }

    /// STATEMENT SET BEGIN ... END, behind EXPLAIN.
    pub fn statement_set(&mut self) -> Result<Vec<InsertStatement>> {
        self.expect(&["STATEMENT", "SET"])?;
        self.inserts()
    }

    /// BEGIN INSERT ...; INSERT ...; END.
    fn inserts(&mut self) -> Result<Vec<InsertStatement>> {
        self.expect(&["BEGIN"])?;
        let mut inserts = Vec::new();
        loop {
            inserts.push(self.insert()?);
            self.expect_token(&Token::SemiColon)?;
            if self.take(&["END"]) {
                return Ok(inserts);
            }
        }
    }

    fn create_table(&mut self) -> Result<CreateTable> {
        let (if_not_exists, name) = self.new_object()?;
        let table = match self.at_token(&Token::LParen) {
            true => self.table_def("table")?,
            false => return Err(self.unexpected_behind_table()),
        };
        let _comment = self.take(&["COMMENT"]) && self.take_string().is_some();
        let options = self.with_clause()?;
        match self.at_end() {
            true => Ok(CreateTable { name, if_not_exists, table, options }),
            false => Err(self.unexpected_behind_table()),
        }
    }

    fn unexpected_behind_table(&self) -> Error {
        let clauses = [
            ("AS", "Declare the columns, and INSERT INTO the table as a statement of its own."),
            ("WITH", "Declare the columns: CREATE TABLE name (column type, ...) WITH (...)."),
            ("LIKE", "Declare the columns and the options again."),
            ("DISTRIBUTED", "Leave it out: rows are spread by the keys that a query needs."),
        ];
        match clauses.into_iter().find(|(word, _)| self.at(&[word])) {
            Some((word, hint)) => {
                Error::unsupported(format!("CREATE TABLE ... {word} is not supported"), hint).at(self.position())
            }
            None => self.unexpected(),
        }
    }

    fn declare_view(&mut self) -> Result<DeclaredView> {
        let (if_not_exists, name) = self.new_object()?;
        let columns = if self.at_token(&Token::LParen) { self.new_columns()? } else { Vec::new() };
        let _comment = self.take(&["COMMENT"]) && self.take_string().is_some();
        self.expect(&["AS"])?;
        let start = self.location();
        let query = self.query()?;
        let placeless = query::rewrite(parsed(self.text_since(start), Dialect::Flink)?)?;
        Ok(DeclaredView { name, if_not_exists, columns, query, placeless })
    }

    /// `name AS expression [COMMENT 'text']`.
    pub fn computed_column(&mut self, place: usize) -> Result<ComputedColumn> {
        let name = self.name()?;
        super::names::check(&name)?;
        self.expect(&["AS"])?;
        let position = self.position();
        let expr = self.expr()?;
        let _comment = self.take(&["COMMENT"]) && self.take_string().is_some();
        Ok(ComputedColumn { name, expr, place, position })
    }
}

/// `SELECT column, PROCTIME() AS column FROM name`: a table with all its columns over the source that has the others.
pub fn select_columns(name: &str, table: &TableDef) -> Result<Box<Query>> {
    let mut items = Vec::with_capacity(table.columns.len() + table.computed.len());
    for (at, column) in table.columns.iter().map(Some).chain([None]).enumerate() {
        items.extend(table.computed.iter().filter(|computed| computed.place == at).map(|computed| {
            let name = quoted(&computed.name.value);
            // What is no time of processing is a column of the source.
            if computed.is_proctime() { format!("{} AS {name}", computed.expr) } else { name }
        }));
        items.extend(column.map(|column| quoted(&column.name.value)));
    }
    parsed(&format!("SELECT {} FROM {}", items.join(", "), quoted(name)), Dialect::Postgres)
}

/// A query with no place in it, for use in another statement than its own.
fn parsed(text: &str, dialect: Dialect) -> Result<Box<Query>> {
    let unreadable = |e: &dyn std::fmt::Display| Error::new(SqlState::SyntaxError, e.to_string());
    let mut tokens = dialect::tokenize(text, dialect).map_err(|e| unreadable(&e))?;
    tokens.iter_mut().for_each(|token| token.span = Span::empty());
    dialect::parser(tokens).parse_query().map_err(|e| unreadable(&e))
}

impl ComputedColumn {
    /// Whether it is PROCTIME(), which no source has.
    pub fn is_proctime(&self) -> bool {
        matches!(self.expr.as_ref(), Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("proctime"))
    }
}
