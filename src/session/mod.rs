//! A session: one client's statements against the engine.
//!
//! 1. [`Session::parse`] reads a text (`sql/`), [`Session::describe`] tells a statement's parameters and columns,
//!    [`Session::execute`] runs it.
//! 2. [`statements`] sends what changes the catalog or what runs to the planner and the engine; [`select`] runs queries
//!    over views, [`subscribe`] watches them; [`shown`] answers SHOW, [`running`] EXPLAIN ANALYZE.
//! 3. [`declared`]: the tables and views of a script of Flink's.
//! 4. [`settings`], the transaction [`block`] and open [`cursors`] are what a session remembers between statements;
//!    [`timeout`] is how long each may take.
//! 5. Each answers with a [`response`].
//!
//! What does not live here: the wire (`server/`), and everything that outlives the session.
//!
//! Invariants: a statement is canceled by dropping its future or its stream, and leaves nothing half done that the engine
//! does not finish. A session holds no rows but a cursor's batch at hand: a result is computed as it is read.

mod block;
mod cursors;
mod declared;
mod response;
mod running;
mod select;
pub mod settings;
mod shown;
mod statements;
mod subscribe;
mod timeout;

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

pub use response::{Body, Description, Notice, Response, RowSet, Transaction};
pub use timeout::Timeout;

use crate::catalog::pg::{self, Facts, Known};
use crate::error::Result;
use crate::pipeline::Engine;
use crate::plan::functions;
use crate::sql::ast::{Query, Retrieval, SetStatement, Show, Statement, StatementKind, TransactionStatement};
use crate::sql::{DATABASE, Dialect, parse_each, parse_script};
use crate::types::SqlType;
use block::{Block, Instant};
use cursors::Cursors;
use declared::Declared;
use parking_lot::Mutex;
use settings::{SERVER_VERSION, Settings};

/// What every session finds beside its objects.
static KNOWN: LazyLock<Arc<Known>> =
    LazyLock::new(|| Arc::new(Known { tables: shown::known_tables(), functions: functions::listing() }));

pub struct Session {
    engine: Arc<Engine>,
    client: Client,
    /// Shared with functions that a running query may call (`set_config`).
    settings: Arc<Mutex<Settings>>,
    block: Block,
    cursors: Cursors,
    declared: Declared,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Client {
    pub user: String,
    pub database: String,
    /// `pg_backend_pid()`.
    pub pid: i32,
}

impl Default for Client {
    fn default() -> Self {
        Client { user: "tidemill".into(), database: DATABASE.into(), pid: 0 }
    }
}

impl Client {
    /// What the system tables and functions tell of the session.
    fn facts(&self, settings: &Settings) -> Facts {
        let setting = |s: settings::Shown| pg::Setting {
            name: s.name,
            value: s.value,
            default: s.default,
            description: s.description.into(),
        };
        Facts {
            user: self.user.clone(),
            database: self.database.clone(),
            backend_pid: self.pid,
            version: format!("PostgreSQL {SERVER_VERSION} (Tidemill {})", env!("CARGO_PKG_VERSION")),
            settings: settings.show_all().into_iter().map(setting).collect(),
            known: Arc::clone(&KNOWN),
        }
    }
}

impl Session {
    pub fn new(engine: Arc<Engine>) -> Self {
        Session::of(engine, Client::default())
    }

    pub fn of(engine: Arc<Engine>, client: Client) -> Self {
        Session {
            engine,
            client,
            settings: Arc::default(),
            block: Block::None,
            cursors: Cursors::default(),
            declared: Declared::default(),
        }
    }

    /// The statements of a text; none if there is nothing in it. Places in errors count from the text's beginning, those
    /// in later errors from the statement's ([`Statement::offset`]).
    pub fn parse(&self, text: &str) -> Result<Vec<Statement>> {
        parse_script(text, self.dialect()?)
    }

    /// The same, each statement for itself: what is wrong in one does not hide the others.
    pub fn parse_each(&self, text: &str) -> Result<Vec<Result<Statement>>> {
        Ok(parse_each(text, self.dialect()?))
    }

    fn dialect(&self) -> Result<Dialect> {
        Ok(Dialect::by_name(&self.settings.lock().show(Dialect::SETTING)?).unwrap_or_default())
    }

    /// Types of the statement's parameters ($1 first; `types` are those that the client names) and its columns. May be dropped
    /// at any await.
    pub async fn describe(&self, statement: &Statement, types: &[Option<SqlType>]) -> Result<Description> {
        let timeout = self.settings.lock().statement_timeout().map(Timeout::start);
        match timeout {
            None => self.description(statement, types).await,
            Some(timeout) => timeout.bound(Box::pin(self.description(statement, types))).await,
        }
    }

    async fn description(&self, statement: &Statement, types: &[Option<SqlType>]) -> Result<Description> {
        self.block.admit(&statement.kind)?;
        let rows = |schema: SchemaRef| Ok(Description { parameters: Vec::new(), columns: Some(schema) });
        match &statement.kind {
            StatementKind::Query(query) => {
                let (query, _) = self.declared.inlined(query);
                let (parameters, schema) = self.select(&statement.text, &query).describe(types).await?;
                Ok(Description { parameters, columns: Some(schema) })
            }
            StatementKind::Declare(declare) => {
                let parameters = match &declare.rows {
                    Retrieval::Query(query) => {
                        let (query, _) = self.declared.inlined(query);
                        self.select(&statement.text, &query).describe(types).await?.0
                    }
                    Retrieval::Subscribe(_) => Vec::new(),
                };
                Ok(Description { parameters, columns: None })
            }
            StatementKind::Fetch(fetch) if !fetch.moves => rows(self.cursors.columns(&fetch.cursor)?),
            StatementKind::Subscribe(subscribe) => rows(self.describe_subscribe(&statement.text, subscribe).await?),
            StatementKind::Show(Show::Objects(class)) => rows(shown::schema_of_objects(*class)),
            StatementKind::Show(Show::Epochs(..)) => rows(shown::schema_of_epochs()),
            StatementKind::Show(Show::All) => rows(shown::all_settings(&self.settings.lock())?.schema()),
            StatementKind::Show(Show::Setting(name)) => rows(self.show_setting(name)?.schema()),
            StatementKind::Explain(_) | StatementKind::ExplainAnalyze(..) => rows(shown::plan("")?.schema()),
            _ => Ok(Description { parameters: Vec::new(), columns: None }),
        }
    }

    /// Runs a statement. May be dropped at any await.
    pub async fn execute(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        let timeout = self.settings.lock().statement_timeout().map(Timeout::start);
        // On the heap: it is as large as what the largest of all statements keeps while it waits.
        let work = Box::pin(self.run(statement, parameters));
        let answer = match &timeout {
            None => work.await,
            Some(timeout) => timeout.bound(work).await,
        };
        match (answer, timeout) {
            (Ok(response), None) => Ok(response),
            (Ok(response), Some(timeout)) => Ok(timeout.bound_rows(response)),
            (Err(error), _) => {
                self.fail();
                Err(error)
            }
        }
    }

    async fn run(&mut self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Response> {
        self.block.admit(&statement.kind)?;
        let text = &statement.text;
        match &statement.kind {
            StatementKind::CreateSource(create) => self.create_source(statement, create).await,
            StatementKind::CreateSink(create) => self.create_sink(statement, create).await,
            StatementKind::CreateJob(create) => self.create_job(statement, create).await,
            StatementKind::CreateView(create) => self.create_view(statement, create).await,
            StatementKind::CreateTable(create) => self.create_table(create).await,
            StatementKind::DeclareView(create) => self.declare_view(statement, create).await,
            StatementKind::Forget(forget) => self.forget(forget).await,
            StatementKind::Submit(inserts) => self.submit(statement, inserts).await,
            StatementKind::Drop(drop) => self.drop(drop).await,
            StatementKind::StopJob(name) | StatementKind::CancelJob(name) => self.stop(name, &statement.kind).await,
            StatementKind::PauseJob(name) | StatementKind::ResumeJob(name) => self.pause(name, &statement.kind).await,
            StatementKind::SetParallelism(name, parallelism) => self.set_parallelism(name, *parallelism).await,
            StatementKind::Query(query) => answer(Body::Rows(self.run_query(text, query, parameters).await?)),
            StatementKind::Declare(declare) => self.declare(text, declare, parameters).await,
            StatementKind::Fetch(fetch) => self.fetch(fetch).await,
            StatementKind::Close(name) => {
                match name {
                    Some(name) => self.cursors.close(name)?,
                    None => self.cursors.close_all(),
                }
                Ok(Response::command(statement.kind.command_tag().unwrap_or_default()))
            }
            StatementKind::Copy(copy) => {
                answer(Body::Copy(self.retrieve(text, &copy.rows, &[]).await?, copy.format.clone()))
            }
            StatementKind::Subscribe(subscribe) => answer(Body::Rows(self.subscribe(text, subscribe).await?)),
            StatementKind::Explain(explain) => rows(shown::plan(&self.explain(statement, explain).await?)?),
            StatementKind::ExplainAnalyze(class, name) => rows(shown::plan(&self.explain_analyze(*class, name)?)?),
            StatementKind::Show(Show::Objects(class)) => rows(shown::objects(*class, &self.engine)?),
            StatementKind::Show(Show::Epochs(class, name)) => rows(self.show_epochs(*class, name)?),
            StatementKind::Show(Show::All) => rows(shown::all_settings(&self.settings.lock())?),
            StatementKind::Show(Show::Setting(name)) => rows(self.show_setting(name)?),
            StatementKind::Set(set) => self.run_set(set),
            StatementKind::Reset(name) => {
                match name {
                    Some(name) => self.settings.lock().set(name, None)?,
                    None => self.settings.lock().reset_all(),
                }
                Ok(Response::command("RESET"))
            }
            StatementKind::Transaction(transaction) => Ok(self.run_transaction(transaction)),
            StatementKind::DiscardAll => {
                self.cursors.close_all();
                self.settings.lock().reset_all();
                self.declared = Declared::default();
                Ok(Response::command("DISCARD ALL"))
            }
            StatementKind::Deallocate(name) => statements::deallocate(name.as_deref()),
            StatementKind::Release(tag) => Ok(Response::command(*tag)),
            StatementKind::Empty => answer(Body::Empty),
        }
    }

    async fn run_query(&mut self, text: &Arc<str>, query: &Query, parameters: &[ScalarValue]) -> Result<RowSet> {
        let (query, _) = self.declared.inlined(query);
        let selected = self.select(text, &query).run(parameters).await?;
        if let Block::Open(open) = &mut self.block {
            open.instant.get_or_insert(selected.instant);
        }
        Ok(RowSet { schema: selected.schema, stream: selected.stream, timeout: None, live: false })
    }

    fn run_transaction(&mut self, statement: &TransactionStatement) -> Response {
        let committed = matches!(statement, TransactionStatement::Commit) && matches!(self.block, Block::Open(_));
        let was_in_block = !matches!(self.block, Block::None);
        let response = self.block.run(statement, &mut self.settings.lock());
        if was_in_block && matches!(self.block, Block::None) {
            self.cursors.end_block(committed);
        }
        response
    }

    /// The statement's command in capitals: its tag where it returns rows, and its label in metrics.
    pub fn command(statement: &Statement) -> &'static str {
        match &statement.kind {
            StatementKind::Query(_) => "SELECT",
            StatementKind::Show(_) => "SHOW",
            StatementKind::Explain(_) | StatementKind::ExplainAnalyze(..) => "EXPLAIN",
            StatementKind::Fetch(fetch) if !fetch.moves => "FETCH",
            StatementKind::Copy(_) => "COPY",
            StatementKind::Subscribe(_) => "SUBSCRIBE",
            StatementKind::Empty => "",
            other => other.command_tag().unwrap_or_default(),
        }
    }

    /// The columns of an open cursor.
    pub fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.cursors.columns_of(name)
    }

    pub fn transaction(&self) -> Transaction {
        self.block.state()
    }

    /// Something failed outside of `execute` (a bad text, a canceled statement, a broken row): an open block has failed
    /// with it, and so have its cursors.
    pub fn fail(&mut self) {
        if self.block.fail() {
            self.cursors.end_block(false);
        }
    }

    /// The present value of a setting, if there is one of that name.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.lock().show(name).ok()
    }

    /// What the client asked for when it connected.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.settings.lock().set(name, Some(value))
    }

    fn show_setting(&self, name: &str) -> Result<RecordBatch> {
        let settings = self.settings.lock();
        let value = settings.show(name)?;
        let shown = settings.show_all().into_iter().find(|s| s.name.eq_ignore_ascii_case(name));
        shown::setting(&shown.map_or_else(|| name.to_string(), |s| s.name), value)
    }

    fn run_set(&mut self, set: &SetStatement) -> Result<Response> {
        let mut settings = self.settings.lock();
        let before = settings.clone();
        settings.set(&set.name, set.value.as_deref()).map_err(|e| e.at(set.name_position))?;
        let warning = if set.local { self.block.note_local(&set.name) } else { None };
        if warning.is_some() {
            *settings = before;
        }
        Ok(Response::command("SET").with(warning))
    }

    /// What the open block has looked at already.
    fn instant(&self) -> Option<Instant> {
        match &self.block {
            Block::Open(open) => open.instant.clone(),
            _ => None,
        }
    }
}

fn rows(batch: RecordBatch) -> Result<Response> {
    let schema = batch.schema();
    let stream = futures::stream::iter([Ok(batch)]);
    let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
    answer(Body::Rows(RowSet { schema, stream, timeout: None, live: false }))
}

fn answer(body: Body) -> Result<Response> {
    Ok(Response { notices: Vec::new(), body })
}
