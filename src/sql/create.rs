//! CREATE SOURCE, SINK, STREAMING JOB, MATERIALIZED VIEW, and INSERT within a job.

use std::collections::HashSet;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{
    ColumnDef, CreateJob, CreateSink, CreateSource, CreateView, EmitClause, EmitWhen, Generated, InsertStatement,
    Length, MetadataDef, Name, StatementKind, TableDef, WatermarkDef, WithOption,
};
use super::cursor::Cursor;
use super::{names, refuse};
use crate::error::{Error, Result, SqlState};

/// PostgreSQL's limit.
const MAX_COLUMNS: usize = 1600;

impl Cursor<'_> {
    /// Behind CREATE.
    pub fn create(&mut self) -> Result<StatementKind> {
        if self.take(&["SOURCE"]) {
            self.create_source().map(StatementKind::CreateSource)
        } else if self.take(&["SINK"]) {
            self.create_sink().map(StatementKind::CreateSink)
        } else if self.take(&["STREAMING", "JOB"]) {
            self.create_job().map(StatementKind::CreateJob)
        } else if self.take(&["MATERIALIZED", "VIEW"]) {
            self.create_view().map(StatementKind::CreateView)
        } else {
            Err(refuse::create(self))
        }
    }

    fn create_source(&mut self) -> Result<CreateSource> {
        let (if_not_exists, name) = self.new_object()?;
        let table = self.table_def("source")?;
        let options = self.with_clause()?;
        Ok(CreateSource { name, if_not_exists, table, options })
    }

    fn create_sink(&mut self) -> Result<CreateSink> {
        let (if_not_exists, name) = self.new_object()?;
        let table = self.table_def("sink")?;
        let options = self.with_clause()?;
        Ok(CreateSink { name, if_not_exists, table, options })
    }

    fn create_job(&mut self) -> Result<CreateJob> {
        let (if_not_exists, name) = self.new_object()?;
        let options = self.with_clause()?;
        self.expect(&["AS"])?;
        if !self.take_token(&Token::LParen) {
            if !self.at(&["INSERT"]) {
                return Err(self.job_without_insert());
            }
            return Ok(CreateJob { name, if_not_exists, options, inserts: vec![self.insert()?] });
        }
        let mut inserts = Vec::new();
        loop {
            if !self.at(&["INSERT"]) {
                return Err(self.job_without_insert());
            }
            inserts.push(self.insert()?);
            // A last semicolon is allowed.
            let more = self.take_token(&Token::SemiColon);
            if self.take_token(&Token::RParen) {
                return Ok(CreateJob { name, if_not_exists, options, inserts });
            }
            if !more {
                return Err(self.unexpected());
            }
        }
    }

    fn job_without_insert(&self) -> Error {
        if self.at(&["SELECT"]) || self.at(&["WITH"]) || self.at(&["VALUES"]) {
            self.unexpected().with_hint(
                "A streaming job writes into a sink: AS INSERT INTO sink SELECT .... \
                 To read the result with SELECT, use CREATE MATERIALIZED VIEW.",
            )
        } else {
            self.unexpected()
        }
    }

    fn create_view(&mut self) -> Result<CreateView> {
        let (if_not_exists, name) = self.new_object()?;
        let columns = if self.at_token(&Token::LParen) { self.new_columns()? } else { Vec::new() };
        if self.at(&["WITH"]) {
            return Err(Error::unsupported(
                "a materialized view has no options",
                "Leave the WITH clause out: CREATE MATERIALIZED VIEW name AS SELECT ....",
            )
            .at(self.position()));
        }
        self.expect(&["AS"])?;
        let query = self.query()?;
        let emit = self.emit_clause()?;
        let position = self.position();
        if self.take(&["WITH", "NO", "DATA"]) {
            let hint = "Leave WITH NO DATA out: a materialized view fills by itself.";
            return Err(Error::unsupported("WITH NO DATA is not supported", hint).at(position));
        }
        let _ = self.take(&["WITH", "DATA"]);
        Ok(CreateView { name, if_not_exists, columns, query, emit })
    }

    /// INSERT INTO sink [(columns)] query [EMIT ...].
    pub fn insert(&mut self) -> Result<InsertStatement> {
        self.expect(&["INSERT"])?;
        if self.at(&["OVERWRITE"]) {
            let hint = "Use INSERT INTO: sinks are appended to.";
            return Err(Error::unsupported("INSERT OVERWRITE is not supported", hint).at(self.position()));
        }
        self.expect(&["INTO"])?;
        let target = self.object_name()?;
        let begins_query = |word: Option<&str>| {
            word.is_some_and(|w| ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|k| w.eq_ignore_ascii_case(k)))
        };
        let columns =
            if self.at_token(&Token::LParen) && !begins_query(self.word(1)) { self.new_columns()? } else { Vec::new() };
        if self.at(&["DEFAULT", "VALUES"]) {
            let hint = "Give the rows with VALUES (...).";
            return Err(Error::unsupported("DEFAULT VALUES is not supported", hint).at(self.position()));
        }
        let query = self.query()?;
        let emit = self.emit_clause()?;
        for clause in ["ON", "RETURNING"] {
            if self.at(&[clause]) {
                return Err(Error::unsupported(
                    format!("INSERT ... {clause} is not supported"),
                    "A sink takes every row as it comes; what becomes of equal keys is a property of the sink.",
                )
                .at(self.position()));
            }
        }
        Ok(InsertStatement { target, columns, query, emit })
    }

    /// `[EMIT ON WINDOW CLOSE | EMIT ON UPDATE | EMIT EVERY INTERVAL ...] [ALLOWED LATENESS INTERVAL ...]`.
    fn emit_clause(&mut self) -> Result<EmitClause> {
        let position = self.position();
        let mut clause = EmitClause { position, ..EmitClause::default() };
        if self.take(&["EMIT"]) {
            clause.when = Some(if self.take(&["ON", "UPDATE"]) {
                EmitWhen::OnUpdate
            } else if self.take(&["ON", "WINDOW", "CLOSE"]) {
                EmitWhen::OnWindowClose
            } else if self.take(&["EVERY"]) {
                EmitWhen::Every(Length { interval: self.expr()?, position })
            } else {
                let _ = self.take(&["ON"]) && self.take(&["WINDOW"]);
                let hint = "Write EMIT ON WINDOW CLOSE, EMIT ON UPDATE or EMIT EVERY INTERVAL '1' MINUTE.";
                return Err(self.unexpected().with_hint(hint));
            });
        }
        let position = self.position();
        if self.take(&["ALLOWED", "LATENESS"]) {
            clause.lateness = Some(Length { interval: self.expr()?, position });
        }
        Ok(clause)
    }

    pub(super) fn new_object(&mut self) -> Result<(bool, Name)> {
        let if_not_exists = self.take(&["IF", "NOT", "EXISTS"]);
        let name = self.object_name()?;
        names::check(&name)?;
        Ok((if_not_exists, name))
    }

    /// `(name, ...)`, each once.
    pub(super) fn new_columns(&mut self) -> Result<Vec<Name>> {
        let columns = self.parenthesized(|cursor| cursor.name())?;
        let mut seen = HashSet::new();
        for column in &columns {
            names::check(column)?;
            if !seen.insert(column.value.as_str()) {
                return Err(twice(column));
            }
        }
        Ok(columns)
    }

    /// `(columns, PRIMARY KEY, WATERMARK)`.
    pub(super) fn table_def(&mut self, noun: &str) -> Result<TableDef> {
        let (columns, primary_key, computed) = (Vec::new(), Vec::new(), Vec::new());
        let mut table = TableDef { columns, primary_key, watermark: None, computed };
        let position = self.position();
        let listed = self.take_token(&Token::LParen) && !self.at_token(&Token::RParen);
        loop {
            if !listed {
                break;
            }
            if self.at(&["WATERMARK", "FOR"]) && noun == "sink" {
                let hint = "Event time is a property of sources; leave the WATERMARK clause out.";
                return Err(self.unexpected().with_hint(hint));
            }
            self.table_element(&mut table)?;
            if !self.take_token(&Token::Comma) {
                self.expect_token(&Token::RParen)?;
                break;
            }
        }
        if table.columns.is_empty() {
            let message = format!("a {noun} needs at least one column");
            let hint = format!("Declare them: CREATE {} name (column type, ...) WITH (...).", noun.to_uppercase());
            return Err(Error::new(SqlState::SyntaxError, message).with_hint(hint).at(position));
        }
        check_table(&table)?;
        Ok(table)
    }

    fn table_element(&mut self, table: &mut TableDef) -> Result<()> {
        if self.at(&["WATERMARK", "FOR"]) {
            let position = self.position();
            let watermark = self.watermark()?;
            if table.watermark.replace(watermark).is_some() {
                let message = "WATERMARK specified more than once";
                return Err(Error::new(SqlState::InvalidTableDefinition, message).at(position));
            }
            return Ok(());
        }
        let position = self.position();
        if self.take(&["CONSTRAINT"]) {
            self.name()?;
        }
        if self.take(&["PRIMARY", "KEY"]) {
            let key = self.parenthesized(|cursor| cursor.name())?;
            self.enforcement()?;
            return set_primary_key(table, key, position);
        }
        for clause in ["UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "LIKE"] {
            // As in PostgreSQL only some of these are reserved: a column may be called "exclude".
            if self.at(&[clause]) && (names::is_reserved(&names::fold(clause)) || clause == "LIKE") {
                let hint = "Rows are taken as they come; filter them in the query.";
                return Err(Error::unsupported(format!("{clause} is not supported"), hint).at(position));
            }
        }
        if self.is_flink() && self.word(1).is_some_and(|word| word.eq_ignore_ascii_case("AS")) {
            let computed = self.computed_column(table.columns.len())?;
            table.computed.push(computed);
            return Ok(());
        }
        let column = self.column_def(table)?;
        table.columns.push(column);
        Ok(())
    }

    fn column_def(&mut self, table: &mut TableDef) -> Result<ColumnDef> {
        let name = self.name()?;
        names::check(&name)?;
        if self.at(&["AS"]) {
            return Err(Error::unsupported(
                "a computed column without a type is not supported",
                "Write name type GENERATED ALWAYS AS (expression) STORED, or SET sql_dialect = 'flink'.",
            )
            .at(name.position));
        }
        let mut column = ColumnDef { ty: self.column_type()?, name, not_null: false, metadata: None, generated: None };
        loop {
            let position = self.position();
            if self.take(&["NOT", "NULL"]) {
                column.not_null = true;
            } else if self.take(&["NULL"]) {
            } else if self.take(&["PRIMARY", "KEY"]) {
                self.enforcement()?;
                set_primary_key(table, vec![column.name.clone()], position)?;
            } else if self.take(&["COMMENT"]) {
                self.string()?;
            } else if self.at(&["METADATA"]) && column.metadata.is_none() {
                column.metadata = Some(self.metadata()?);
            } else if self.take(&["GENERATED", "ALWAYS", "AS"]) {
                self.expect_token(&Token::LParen)?;
                let (position, start) = (self.position(), self.location());
                let expr = self.expr()?;
                let text = if self.is_flink() { expr.to_string() } else { self.text_since(start).to_string() };
                self.expect_token(&Token::RParen)?;
                let _kind = self.take(&["STORED"]) || self.take(&["VIRTUAL"]);
                column.generated = Some(Generated { text, position });
            } else if let Some(clause) = ["DEFAULT", "GENERATED", "UNIQUE", "REFERENCES", "CHECK", "COLLATE"]
                .into_iter()
                .find(|clause| self.at(&[clause]))
            {
                let hint = "Rows are taken as they come; use coalesce(), CASE and WHERE in the query.";
                return Err(Error::unsupported(format!("{clause} is not supported"), hint).at(position));
            } else {
                return Ok(column);
            }
        }
    }

    /// `METADATA [FROM 'key'] [VIRTUAL]`.
    fn metadata(&mut self) -> Result<MetadataDef> {
        let position = self.position();
        self.expect(&["METADATA"])?;
        let key = if self.take(&["FROM"]) { Some(self.string()?) } else { None };
        Ok(MetadataDef { key, is_virtual: self.take(&["VIRTUAL"]), position })
    }

    fn enforcement(&mut self) -> Result<()> {
        let position = self.position();
        if self.take(&["ENFORCED"]) {
            let hint = "Write NOT ENFORCED, or leave it out: keys of external data are taken on trust.";
            return Err(Error::unsupported("an ENFORCED primary key is not supported", hint).at(position));
        }
        let _ = self.take(&["NOT", "ENFORCED"]);
        Ok(())
    }

    fn watermark(&mut self) -> Result<WatermarkDef> {
        self.expect(&["WATERMARK", "FOR"])?;
        let column = self.name()?;
        self.expect(&["AS"])?;
        let (position, start) = (self.position(), self.location());
        let expr = self.expr()?;
        // Flink's names and functions are written as ours.
        let text = if self.is_flink() { expr.to_string() } else { self.text_since(start).to_string() };
        Ok(WatermarkDef { column, expr, text, position })
    }

    /// WITH ('key' = 'value', ...). Whether one is missing or given twice is for whoever types them to say.
    pub(super) fn with_clause(&mut self) -> Result<Vec<WithOption>> {
        if self.at(&["PARTITIONED", "BY"]) {
            let hint = "Leave it out: the files of a sink are one sequence.";
            return Err(Error::unsupported("PARTITIONED BY is not supported yet", hint).at(self.position()));
        }
        if !self.take(&["WITH"]) {
            return Ok(Vec::new());
        }
        self.parenthesized(|cursor| {
            let position = cursor.position();
            let key = Name { value: cursor.option_key()?, position };
            cursor.expect_token(&Token::Eq)?;
            let value_position = cursor.position();
            let value = cursor.option_value()?;
            Ok(WithOption { key, value, value_position })
        })
    }

    /// 'a.b', or a.b without quotes.
    fn option_key(&mut self) -> Result<String> {
        if let Some(key) = self.take_string() {
            return Ok(key);
        }
        let mut key = self.name()?.value;
        while self.take_token(&Token::Period) {
            key = format!("{key}.{}", self.name()?);
        }
        Ok(key)
    }

    /// 'text', or a number or true/false without quotes.
    pub fn option_value(&mut self) -> Result<String> {
        if let Some(value) = self.take_string() {
            return Ok(value);
        }
        let sign = if self.take_token(&Token::Minus) { "-" } else { "" };
        let value = match &self.peek().token {
            Token::Number(digits, _) => format!("{sign}{digits}"),
            Token::Word(w) if sign.is_empty() && ["true", "false"].contains(&names::fold(&w.value).as_str()) => {
                names::fold(&w.value)
            }
            _ => {
                return Err(self.unexpected().with_hint("Values stand in single quotes: 'key' = 'value'."));
            }
        };
        self.next();
        Ok(value)
    }
}

fn twice(column: &Name) -> Error {
    Error::new(SqlState::DuplicateColumn, format!("column \"{column}\" specified more than once")).at(column.position)
}

fn set_primary_key(table: &mut TableDef, key: Vec<Name>, position: usize) -> Result<()> {
    if !table.primary_key.is_empty() {
        let message = "multiple primary keys are not allowed";
        return Err(Error::new(SqlState::InvalidTableDefinition, message).at(position));
    }
    table.primary_key = key;
    Ok(())
}

/// What must hold of the elements together.
fn check_table(table: &TableDef) -> Result<()> {
    let mut seen = HashSet::new();
    let columns = table.columns.iter().map(|column| &column.name);
    for name in columns.chain(table.computed.iter().map(|column| &column.name)) {
        if !seen.insert(name.value.as_str()) {
            return Err(twice(name));
        }
    }
    if table.columns.len() > MAX_COLUMNS {
        let message = format!("tables can have at most {MAX_COLUMNS} columns");
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    let watermarked = table.watermark.iter().map(|watermark| &watermark.column);
    for name in table.primary_key.iter().chain(watermarked) {
        if !seen.contains(name.value.as_str()) {
            let message = format!("column \"{name}\" does not exist");
            let error = Error::new(SqlState::UndefinedColumn, message).at(name.position);
            return Err(match names::nearest(&name.value, seen.iter().copied()) {
                Some(near) => error.with_hint(format!("Perhaps you meant the column \"{near}\".")),
                None => error,
            });
        }
    }
    Ok(())
}
