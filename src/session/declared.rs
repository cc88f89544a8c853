//! What a script of Flink's declares: tables and views that last as long as the session, as in a Flink session with its own
//! catalog.
//!
//! 1. CREATE TABLE is remembered. The first query that reads the table makes a source of it, the first INSERT a sink: which
//!    of the two it is, its options often do not tell.
//! 2. CREATE VIEW is remembered as a query. Wherever its name stands, the query is meant: it goes in front of the statement,
//!    as WITH.
//! 3. A computed column is a computed column of the source; one that is PROCTIME() is put behind it, by a view.
//! 4. INSERT INTO, and EXECUTE STATEMENT SET, become a streaming job.
//!
//! What does not live here: Flink's words, which `sql/` has read.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{Cte, Ident, Query, TableAlias, TableAliasColumnDef, With, visit_relations};

use super::Session;
use super::response::{Notice, Response};
use super::statements::already_there;
use crate::catalog::define;
use crate::error::{Error, Result, SqlState};
use crate::plan;
use crate::sql::Dialect;
use crate::sql::ast::{
    ColumnDef, ComputedColumn, CreateJob, CreateSink, CreateSource, CreateTable, DeclaredView, DropObjects,
    ForgetDeclared, Generated, InsertStatement, Name, ObjectClass, Statement, TableDef, WithOption,
};
use crate::sql::flink::select_columns;
use crate::types::Column;

/// Tables and views that a session may declare, at most: a script has some hundreds.
const MAX_DECLARED: usize = 10_000;

/// What a session has declared, in its order.
#[derive(Default)]
pub struct Declared {
    tables: Vec<CreateTable>,
    /// Also those that stand for tables with a PROCTIME() column.
    views: Vec<View>,
}

struct View {
    name: String,
    columns: Vec<Name>,
    /// Without places: these would be of another text.
    query: Box<Query>,
}

impl Declared {
    pub fn table(&self, name: &str) -> Option<&CreateTable> {
        self.tables.iter().find(|table| table.name.value == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.table(name).is_some() || self.views.iter().any(|view| view.name == name)
    }

    /// # Errors
    /// 42P07 if the name is taken; whatever the connector refuses both in a source (`as_source`) and in a sink.
    pub fn add_table(&mut self, create: &CreateTable, as_source: Result<CreateSource>) -> Result<()> {
        self.check_free(&create.name)?;
        if let (Err(as_source), Err(as_sink)) =
            (as_source.and_then(|c| define::source(&c)), define::sink(&sink_of(create)))
        {
            // What only one of the two could be is refused as that.
            let other = as_source.message().ends_with("cannot be used for a source");
            return Err(if other { as_sink } else { as_source });
        }
        if create.table.computed.iter().any(ComputedColumn::is_proctime) {
            let query = select_columns(&create.name.value, &create.table)?;
            self.views.push(View { name: create.name.value.clone(), columns: Vec::new(), query });
        }
        self.tables.push(create.clone());
        Ok(())
    }

    /// # Errors
    /// 42P07 if the name is taken.
    pub fn add_view(&mut self, create: &DeclaredView) -> Result<()> {
        self.check_free(&create.name)?;
        let (name, columns) = (create.name.value.clone(), create.columns.clone());
        self.views.push(View { name, columns, query: create.placeless.clone() });
        Ok(())
    }

    fn check_free(&self, name: &Name) -> Result<()> {
        if self.has(&name.value) {
            let message = format!("relation \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicateTable, message).at(name.position));
        }
        if self.tables.len() + self.views.len() >= MAX_DECLARED {
            let message = format!("a session can declare at most {MAX_DECLARED} tables and views");
            let error = Error::new(SqlState::ConfigurationLimitExceeded, message).at(name.position);
            return Err(error.with_hint("DROP those that are no longer needed, or open another session."));
        }
        Ok(())
    }

    /// Whether there was one.
    pub fn forget(&mut self, name: &str, view: bool) -> bool {
        let is_table = self.table(name).is_some();
        if !self.has(name) || view == is_table {
            return false;
        }
        self.tables.retain(|table| table.name.value != name);
        self.views.retain(|view| view.name != name);
        true
    }

    /// A query with the views that it names in front of it, and the declared tables that it reads.
    pub fn inlined(&self, query: &Query) -> (Box<Query>, Vec<&CreateTable>) {
        let mut query = Box::new(query.clone());
        let mut named = relations_of(&query);
        let own: BTreeSet<String> =
            query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.clone()).collect();
        let mut ctes = Vec::new();
        // A view reads only what was declared before it.
        for view in self.views.iter().rev() {
            if named.contains(&view.name) && !own.contains(&view.name) {
                named.extend(relations_of(&view.query));
                ctes.push(cte(view));
            }
        }
        ctes.reverse();
        if !ctes.is_empty() {
            let with = query.with.get_or_insert_with(|| With {
                with_token: AttachedToken::empty(),
                recursive: false,
                cte_tables: Vec::new(),
            });
            with.cte_tables.splice(0..0, ctes);
        }
        let read = self.tables.iter().filter(|table| named.contains(&table.name.value)).collect();
        (query, read)
    }

    /// The same of INSERTs. Tables that are written come second.
    pub fn inlined_inserts(&self, inserts: &[InsertStatement]) -> Inserts<'_> {
        let mut all = Inserts { inserts: Vec::new(), read: Vec::new(), written: Vec::new() };
        for insert in inserts {
            let (query, read) = self.inlined(&insert.query);
            all.read.extend(read);
            all.written.extend(self.table(&insert.target.value));
            all.inserts.push(InsertStatement { query, ..insert.clone() });
        }
        all
    }
}

/// INSERTs that name no view any more, and the declared tables that they read and write.
pub struct Inserts<'a> {
    pub inserts: Vec<InsertStatement>,
    pub read: Vec<&'a CreateTable>,
    pub written: Vec<&'a CreateTable>,
}

/// The last parts of the names of all relations in a query.
fn relations_of(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _ = visit_relations(query, |relation| {
        let name = relation.0.last().and_then(|part| part.as_ident());
        names.extend(name.map(|ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => crate::sql::names::fold(&ident.value),
        }));
        ControlFlow::<()>::Continue(())
    });
    names
}

fn cte(view: &View) -> Cte {
    let ident = |name: &str| Ident::with_quote('"', name);
    let column = |name: &Name| TableAliasColumnDef { name: ident(&name.value), data_type: None };
    let columns = view.columns.iter().map(column).collect();
    Cte {
        alias: TableAlias { explicit: false, name: ident(&view.name), columns, at: None },
        query: view.query.clone(),
        from: None,
        materialized: None,
        closing_paren_token: AttachedToken::empty(),
    }
}

/// The source that a table is, when it is read.
///
/// # Errors
/// What its computed columns are refused for.
fn source_of(create: &CreateTable) -> Result<CreateSource> {
    let brought: Vec<Column> = create.table.columns.iter().map(ColumnDef::column).collect();
    let mut columns = create.table.columns.clone();
    // From the last on, so that places stay right.
    for computed in create.table.computed.iter().rev().filter(|computed| !computed.is_proctime()) {
        let text = computed.expr.to_string();
        let ty =
            plan::type_of_computed(&create.name.value, &brought, &text).map_err(|e| e.moved_to(computed.position))?;
        let generated = Some(Generated { text, position: computed.position });
        let column = ColumnDef { name: computed.name.clone(), ty, not_null: false, metadata: None, generated };
        columns.insert(computed.place.min(columns.len()), column);
    }
    let TableDef { primary_key, watermark, .. } = create.table.clone();
    let table = TableDef { columns, primary_key, watermark, computed: Vec::new() };
    let options = options_of(&create.options, "sink.");
    Ok(CreateSource { name: create.name.clone(), if_not_exists: false, table, options })
}

/// The sink that a table is, when it is written: what is computed, or VIRTUAL, is not.
pub fn sink_of(create: &CreateTable) -> CreateSink {
    let TableDef { mut columns, primary_key, .. } = create.table.clone();
    columns.retain(|column| column.metadata.as_ref().is_none_or(|metadata| !metadata.is_virtual));
    let table = TableDef { columns, primary_key, watermark: None, computed: Vec::new() };
    let options = options_of(&create.options, "scan.");
    CreateSink { name: create.name.clone(), if_not_exists: false, table, options }
}

/// Connectors by our names, and no options of the other role.
fn options_of(options: &[WithOption], other_role: &str) -> Vec<WithOption> {
    const CONNECTORS: [(&str, &str); 3] = [("filesystem", "file"), ("datagen", "generator"), ("nexmark", "generator")];
    let mut ours = Vec::new();
    for option in options.iter().filter(|option| !option.key.value.starts_with(other_role)) {
        let mut option = option.clone();
        let known = CONNECTORS.iter().find(|(flink, _)| option.key.value == "connector" && option.value == *flink);
        if let Some((flink, name)) = known {
            option.value = (*name).to_string();
            if *flink == "nexmark" {
                let key = Name { value: "kind".into(), position: option.key.position };
                ours.push(WithOption { key, value: "nexmark".into(), value_position: option.value_position });
            }
        }
        ours.push(option);
    }
    ours
}

impl Session {
    pub(super) async fn create_table(&mut self, create: &CreateTable) -> Result<Response> {
        if let Some(answer) = self.is_taken(&create.name, create.if_not_exists, "CREATE TABLE")? {
            return Ok(answer);
        }
        let as_source = self.source_of(create).await;
        self.declared.add_table(create, as_source)?;
        Ok(Response::command("CREATE TABLE"))
    }

    async fn source_of(&self, table: &CreateTable) -> Result<CreateSource> {
        let table = table.clone();
        self.engine.queries().plan(move || source_of(&table)).await
    }

    /// The view is planned once, to see whether it can be.
    pub(super) async fn declare_view(&mut self, statement: &Statement, create: &DeclaredView) -> Result<Response> {
        if let Some(answer) = self.is_taken(&create.name, create.if_not_exists, "CREATE VIEW")? {
            return Ok(answer);
        }
        let query = self.settled_query(statement, &create.query).await?;
        let (catalog, text) = (self.engine.catalog(), Arc::clone(&statement.text));
        let columns = move || Ok(plan::query::plan_query(&*catalog, &text, &query)?.schema().fields().len());
        let columns = self.engine.queries().plan(columns).await?;
        if !create.columns.is_empty() && create.columns.len() != columns {
            let message = format!("the view names {} columns, but its query has {columns}", create.columns.len());
            return Err(Error::new(SqlState::SyntaxError, message).at(create.name.position));
        }
        self.declared.add_view(create)?;
        Ok(Response::command("CREATE VIEW"))
    }

    fn is_taken(&self, name: &Name, if_not_exists: bool, tag: &str) -> Result<Option<Response>> {
        if if_not_exists && self.declared.has(&name.value) {
            return Ok(Some(Response::command(tag)));
        }
        already_there(&self.engine.catalog(), name, if_not_exists, tag)
    }

    /// DROP TABLE, DROP VIEW: a table goes with the source or the sink that it became.
    pub(super) async fn forget(&mut self, forget: &ForgetDeclared) -> Result<Response> {
        let (tag, noun) = if forget.view { ("DROP VIEW", "view") } else { ("DROP TABLE", "table") };
        let catalog = self.engine.catalog();
        let object = catalog.find(&forget.name.value).map(|object| object.class());
        let class = object.filter(|class| !forget.view && matches!(class, ObjectClass::Source | ObjectClass::Sink));
        if let Some(class) = class {
            let names = vec![forget.name.clone()];
            self.drop(&DropObjects { class, names, if_exists: false, cascade: false }).await?;
        }
        let declared = self.declared.forget(&forget.name.value, forget.view);
        if declared || class.is_some() || forget.if_exists {
            return Ok(Response::command(tag));
        }
        let message = format!("{noun} \"{}\" does not exist", forget.name);
        Err(Error::new(SqlState::UndefinedTable, message).at(forget.name.position))
    }

    /// INSERT INTO, EXECUTE STATEMENT SET: a job with a name of its own.
    pub(super) async fn submit(&mut self, statement: &Statement, inserts: &[InsertStatement]) -> Result<Response> {
        let name = self.name_of_job(inserts);
        let parallelism = self.setting("parallelism.default").map(|value| WithOption {
            key: Name { value: "parallelism".into(), position: 1 },
            value,
            value_position: 1,
        });
        let name = Name { value: name, position: 1 };
        let options = parallelism.into_iter().collect();
        let create = CreateJob { name, if_not_exists: false, options, inserts: inserts.to_vec() };
        let response = self.create_job(statement, &create).await?;
        Ok(response.with(Some(Notice::info(format!("streaming job \"{}\" is running", create.name)))))
    }

    /// What `pipeline.name` says, or after the first table that is written.
    fn name_of_job(&self, inserts: &[InsertStatement]) -> String {
        if let Some(name) = self.setting("pipeline.name") {
            return name;
        }
        let target = inserts.first().map_or("", |insert| insert.target.value.as_str());
        let catalog = self.engine.catalog();
        let first = format!("insert_into_{target}");
        let numbered = (2_u64..).map(|number| format!("{first}_{number}"));
        let mut names = std::iter::once(first.clone()).chain(numbered);
        names.find(|name| catalog.find(name).is_none()).unwrap_or(first)
    }

    /// A query that names no declared view any more, with a source for each declared table that it reads.
    pub(super) async fn settled_query(&self, statement: &Statement, query: &Query) -> Result<Box<Query>> {
        let (query, read) = self.declared.inlined(query);
        self.make_sources(statement, read).await?;
        Ok(query)
    }

    /// The same of INSERTs, with a sink for each declared table that they write.
    pub(super) async fn settled_inserts(
        &self,
        statement: &Statement,
        inserts: &[InsertStatement],
    ) -> Result<Vec<InsertStatement>> {
        let Inserts { inserts, read, written } = self.declared.inlined_inserts(inserts);
        self.make_sources(statement, read).await?;
        for table in written {
            if self.is_there(table, ObjectClass::Sink)? {
                continue;
            }
            self.create_sink(&in_flink(statement), &sink_of(table)).await?;
        }
        Ok(inserts)
    }

    async fn make_sources(&self, statement: &Statement, tables: Vec<&CreateTable>) -> Result<()> {
        for table in tables {
            if self.is_there(table, ObjectClass::Source)? {
                continue;
            }
            self.create_source(&in_flink(statement), &self.source_of(table).await?).await?;
        }
        Ok(())
    }

    /// Whether a table has become what it is used as.
    ///
    /// # Errors
    /// 0A000 if it has become the other.
    fn is_there(&self, table: &CreateTable, wanted: ObjectClass) -> Result<bool> {
        match self.engine.catalog().find(&table.name.value).map(|object| object.class()) {
            None => Ok(false),
            Some(class) if class == wanted => Ok(true),
            Some(class) => {
                let message = format!("table \"{}\" is a {} already", table.name, class.noun());
                let hint = "A table is read or written: to do both, declare it twice, under two names.";
                Err(Error::unsupported(message, hint))
            }
        }
    }
}

/// The statement of an object that is kept as text of our own, whoever's text makes it.
fn in_flink(statement: &Statement) -> Statement {
    Statement { dialect: Dialect::Flink, ..statement.clone() }
}
