//! Statements as typed values that know their places.
//!
//! A place is a character of the statement's own text, counted from 1: what PostgreSQL's `position` field carries.
//! Queries and expressions are sqlparser's; the spans in them are lines and columns of the same text
//! ([`Places`](super::places::Places) turns them into positions).

use std::fmt;
use std::sync::Arc;

use super::dialect::Dialect;
use crate::types::{Column, SqlType};

pub use datafusion::sql::sqlparser::ast::{Expr, Query};

/// One statement of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Exactly as written, without the semicolon and without white space or comments around it.
    pub text: Arc<str>,
    /// Characters of the script in front of `text`: what turns a position in the statement into one in the script.
    pub offset: usize,
    /// Whose text it is.
    pub dialect: Dialect,
    pub kind: StatementKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StatementKind {
    CreateSource(CreateSource),
    CreateSink(CreateSink),
    CreateJob(CreateJob),
    CreateView(CreateView),
    Drop(DropObjects),
    /// Its inner statement is a query, an INSERT, or one of the CREATEs.
    Explain(Explain),
    /// EXPLAIN ANALYZE of a job or a materialized view.
    ExplainAnalyze(ObjectClass, Name),
    Show(Show),
    StopJob(Name),
    CancelJob(Name),
    PauseJob(Name),
    ResumeJob(Name),
    /// `ALTER STREAMING JOB name SET PARALLELISM n`.
    SetParallelism(Name, usize),
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<Query>),
    /// Flink's CREATE TABLE.
    CreateTable(CreateTable),
    /// Flink's `CREATE [TEMPORARY] VIEW`.
    DeclareView(DeclaredView),
    /// Flink's DROP TABLE and DROP VIEW.
    Forget(ForgetDeclared),
    /// INSERTs that make one job, at least one. In our own dialect only within EXPLAIN: as a statement it is refused.
    Submit(Vec<InsertStatement>),
    Set(SetStatement),
    /// `None`: RESET ALL.
    Reset(Option<String>),
    Transaction(TransactionStatement),
    /// DISCARD ALL.
    DiscardAll,
    /// `None`: DEALLOCATE ALL.
    Deallocate(Option<String>),
    Declare(Box<Declare>),
    Fetch(Fetch),
    /// `None`: CLOSE ALL.
    Close(Option<Name>),
    Copy(Box<CopyOut>),
    Subscribe(Box<Subscribe>),
    /// What connection pools send to give back things this session never holds (UNLISTEN *): the answer is its command tag.
    Release(&'static str),
    /// Nothing but white space and comments.
    Empty,
}

/// COPY (...) TO STDOUT.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOut {
    pub rows: Retrieval,
    pub format: CopyFormat,
}

/// How COPY writes rows, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFormat {
    pub form: CopyForm,
    /// Between two values.
    pub delimiter: u8,
    /// What stands for null.
    pub null: String,
    /// The first line names the columns.
    pub header: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyForm {
    /// What would end a value or a line stands behind a backslash.
    Text,
    /// Such a value stands in quotes, and within them a quote behind `escape`.
    Csv { quote: u8, escape: u8 },
}

/// An identifier, folded as PostgreSQL does, and where it stands.
#[derive(Debug, Clone)]
pub struct Name {
    pub value: String,
    pub position: usize,
}

/// Where a name stands does not make it another name.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

/// A value of a WITH clause, still as text: connectors type it at once.
#[derive(Debug, Clone, PartialEq)]
pub struct WithOption {
    /// As written, case kept: `'properties.bootstrap.servers'`.
    pub key: Name,
    pub value: String,
    pub value_position: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    pub name: Name,
    pub ty: SqlType,
    pub not_null: bool,
    pub metadata: Option<MetadataDef>,
    pub generated: Option<Generated>,
}

/// `METADATA [FROM 'key'] [VIRTUAL]`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataDef {
    /// `None`: the column's name.
    pub key: Option<String>,
    /// It cannot be written.
    pub is_virtual: bool,
    pub position: usize,
}

/// GENERATED ALWAYS AS (expression) STORED: the rest of the row tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    pub text: String,
    pub position: usize,
}

/// `name AS expression`: a column that the rest of the row tells.
#[derive(Debug, Clone, PartialEq)]
pub struct ComputedColumn {
    pub name: Name,
    pub expr: Box<Expr>,
    /// Declared columns in front of it.
    pub place: usize,
    pub position: usize,
}

impl ColumnDef {
    pub fn column(&self) -> Column {
        Column { name: self.name.value.clone(), ty: self.ty.clone(), not_null: self.not_null }
    }
}

/// What stands between the parentheses of CREATE SOURCE and CREATE SINK.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDef {
    pub columns: Vec<ColumnDef>,
    /// PRIMARY KEY (...) [NOT ENFORCED]; empty if there is none.
    pub primary_key: Vec<Name>,
    pub watermark: Option<WatermarkDef>,
    /// Only of Flink's tables.
    pub computed: Vec<ComputedColumn>,
}

/// WATERMARK FOR column AS expr.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkDef {
    pub column: Name,
    pub expr: Box<Expr>,
    /// The expression as written, and where it begins.
    pub text: String,
    pub position: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateSource {
    pub name: Name,
    pub if_not_exists: bool,
    pub table: TableDef,
    pub options: Vec<WithOption>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateSink {
    pub name: Name,
    pub if_not_exists: bool,
    /// Never with a watermark.
    pub table: TableDef,
    pub options: Vec<WithOption>,
}

/// CREATE TABLE name (columns) WITH (...). Whether it is a source or a sink, its use shows.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    pub name: Name,
    pub if_not_exists: bool,
    pub table: TableDef,
    pub options: Vec<WithOption>,
}

/// A query under a name: wherever the name stands, the query is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredView {
    pub name: Name,
    pub if_not_exists: bool,
    /// Names for the query's columns; empty: the query's own.
    pub columns: Vec<Name>,
    pub query: Box<Query>,
    /// The same without places, which are only right in this statement.
    pub placeless: Box<Query>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ForgetDeclared {
    /// DROP VIEW, not DROP TABLE.
    pub view: bool,
    pub name: Name,
    pub if_exists: bool,
}

/// CREATE STREAMING JOB name [WITH (...)] AS INSERT ... | AS (INSERT ...; INSERT ...).
#[derive(Debug, Clone, PartialEq)]
pub struct CreateJob {
    pub name: Name,
    pub if_not_exists: bool,
    pub options: Vec<WithOption>,
    /// At least one.
    pub inserts: Vec<InsertStatement>,
}

/// INSERT INTO sink [(columns)] query [EMIT ...].
#[derive(Debug, Clone, PartialEq)]
pub struct InsertStatement {
    pub target: Name,
    /// Empty: the sink's columns in their order.
    pub columns: Vec<Name>,
    pub query: Box<Query>,
    pub emit: EmitClause,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    pub name: Name,
    pub if_not_exists: bool,
    /// Names for the query's columns; empty: the query's own.
    pub columns: Vec<Name>,
    pub query: Box<Query>,
    pub emit: EmitClause,
}

/// When a window's answer appears, and how long late rows correct it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EmitClause {
    /// None: as the statement has it by itself.
    pub when: Option<EmitWhen>,
    /// ALLOWED LATENESS.
    pub lateness: Option<Length>,
    pub position: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EmitWhen {
    OnWindowClose,
    OnUpdate,
    /// EMIT EVERY: open windows now and then.
    Every(Length),
}

/// An interval of an EMIT clause, and where what it belongs to begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Length {
    pub interval: Box<Expr>,
    pub position: usize,
}

/// What the keywords of DROP and SHOW can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectClass {
    Source,
    Sink,
    Job,
    View,
}

impl ObjectClass {
    /// As in a sentence: "materialized view".
    pub fn noun(self) -> &'static str {
        match self {
            ObjectClass::Source => "source",
            ObjectClass::Sink => "sink",
            ObjectClass::Job => "streaming job",
            ObjectClass::View => "materialized view",
        }
    }

    /// As in a statement and its command tag: "MATERIALIZED VIEW".
    pub fn keywords(self) -> &'static str {
        match self {
            ObjectClass::Source => "SOURCE",
            ObjectClass::Sink => "SINK",
            ObjectClass::Job => "STREAMING JOB",
            ObjectClass::View => "MATERIALIZED VIEW",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct DropObjects {
    pub class: ObjectClass,
    /// At least one.
    pub names: Vec<Name>,
    pub if_exists: bool,
    pub cascade: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    pub verbose: bool,
    pub statement: Box<StatementKind>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Show {
    /// SHOW JOBS, SHOW SOURCES, ...
    Objects(ObjectClass),
    /// SHOW EPOCHS FOR a job or a materialized view.
    Epochs(ObjectClass, Name),
    /// A setting by its lower-cased name.
    Setting(String),
    /// Every setting.
    All,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SetStatement {
    /// Lower-cased.
    pub name: String,
    pub name_position: usize,
    /// A list is joined by ", " as PostgreSQL shows it; `None` stands for DEFAULT.
    pub value: Option<String>,
    /// SET LOCAL: until the transaction block ends.
    pub local: bool,
}

/// What gives rows: once, or as they change.
#[derive(Debug, Clone, PartialEq)]
pub enum Retrieval {
    Query(Box<Query>),
    Subscribe(Subscribe),
}

/// `SUBSCRIBE [TO] view | (query) [WITH (SNAPSHOT = false, PROGRESS)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    pub what: Subscribed,
    pub options: Vec<WithOption>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Subscribed {
    View(Name),
    Query(Box<Query>),
}

/// DECLARE name CURSOR [WITH HOLD] FOR ....
#[derive(Debug, Clone, PartialEq)]
pub struct Declare {
    pub name: Name,
    /// The cursor outlives its transaction block.
    pub hold: bool,
    pub rows: Retrieval,
}

/// FETCH and MOVE.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetch {
    pub cursor: Name,
    /// `None`: ALL.
    pub count: Option<u32>,
    /// MOVE: the rows are passed over.
    pub moves: bool,
    pub options: Vec<WithOption>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum TransactionStatement {
    /// BEGIN, START TRANSACTION, with any modes.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SET TRANSACTION, SET SESSION CHARACTERISTICS: every mode there is is kept anyway.
    Modes,
}

impl StatementKind {
    /// The command tag of statements that return no rows; `None` for those that do.
    pub fn command_tag(&self) -> Option<&'static str> {
        Some(match self {
            StatementKind::CreateSource(_) => "CREATE SOURCE",
            StatementKind::CreateSink(_) => "CREATE SINK",
            StatementKind::CreateJob(_) => "CREATE STREAMING JOB",
            StatementKind::CreateView(_) => "CREATE MATERIALIZED VIEW",
            StatementKind::Drop(drop) => match drop.class {
                ObjectClass::Source => "DROP SOURCE",
                ObjectClass::Sink => "DROP SINK",
                ObjectClass::Job => "DROP STREAMING JOB",
                ObjectClass::View => "DROP MATERIALIZED VIEW",
            },
            StatementKind::StopJob(_) => "STOP STREAMING JOB",
            StatementKind::CancelJob(_) => "CANCEL STREAMING JOB",
            StatementKind::PauseJob(_) => "PAUSE STREAMING JOB",
            StatementKind::ResumeJob(_) => "RESUME STREAMING JOB",
            StatementKind::SetParallelism(..) => "ALTER STREAMING JOB",
            StatementKind::CreateTable(_) => "CREATE TABLE",
            StatementKind::DeclareView(_) => "CREATE VIEW",
            StatementKind::Forget(ForgetDeclared { view: true, .. }) => "DROP VIEW",
            StatementKind::Forget(_) => "DROP TABLE",
            StatementKind::Submit(_) => "INSERT",
            StatementKind::Set(_) => "SET",
            StatementKind::Reset(_) => "RESET",
            StatementKind::Transaction(TransactionStatement::Begin) => "BEGIN",
            StatementKind::Transaction(TransactionStatement::Commit) => "COMMIT",
            StatementKind::Transaction(TransactionStatement::Rollback) => "ROLLBACK",
            StatementKind::Transaction(TransactionStatement::Modes) => "SET",
            StatementKind::DiscardAll => "DISCARD ALL",
            StatementKind::Deallocate(Some(_)) => "DEALLOCATE",
            StatementKind::Deallocate(None) => "DEALLOCATE ALL",
            StatementKind::Declare(_) => "DECLARE CURSOR",
            StatementKind::Fetch(fetch) if fetch.moves => "MOVE",
            StatementKind::Close(Some(_)) => "CLOSE CURSOR",
            StatementKind::Close(None) => "CLOSE CURSOR ALL",
            StatementKind::Release(tag) => tag,
            StatementKind::Explain(_)
            | StatementKind::ExplainAnalyze(..)
            | StatementKind::Show(_)
            | StatementKind::Query(_)
            | StatementKind::Fetch(_)
            | StatementKind::Copy(_)
            | StatementKind::Subscribe(_)
            | StatementKind::Empty => return None,
        })
    }

    /// Whether it changes what exists or what runs: refused inside a transaction block.
    pub fn is_ddl(&self) -> bool {
        matches!(
            self,
            StatementKind::CreateSource(_)
                | StatementKind::CreateSink(_)
                | StatementKind::CreateJob(_)
                | StatementKind::CreateView(_)
                | StatementKind::Drop(_)
                | StatementKind::StopJob(_)
                | StatementKind::CancelJob(_)
                | StatementKind::PauseJob(_)
                | StatementKind::ResumeJob(_)
                | StatementKind::SetParallelism(..)
                | StatementKind::CreateTable(_)
                | StatementKind::DeclareView(_)
                | StatementKind::Forget(_)
                | StatementKind::Submit(_)
        )
    }
}
