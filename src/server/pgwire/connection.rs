//! One connection after its start: messages in, answers out, one at a time.
//!
//! 1. [`Connection::run`] takes a message. An error in the extended protocol makes it skip all that follows, up to Sync.
//! 2. A statement runs under [`Guards`]: Ctrl-C, the server's end and the client's going away each drop what runs.
//! 3. Before each ReadyForQuery, settings that changed are reported; then everything is flushed.

use std::sync::Arc;

use bytes::BytesMut;
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use pgwire::messages::response::TransactionStatus;

use super::Context;
use super::cancel::Key;
use super::conversation::{Conversation, Deallocated};
use super::encode::Format;
use super::encode::copy::Lines;
use super::extended::{PortalState, Prepares};
use super::message::{self, Bind, Message, Target};
use super::reply::{self, Plain, Severity};
use super::rows::{Failure, Guards, Rows, Shape, admin_shutdown, columns_of};
use super::socket::{FLUSH_BYTES, Socket};
use super::startup::REPORTED;
use crate::error::{Error, Result, SqlState};
use crate::session::{Body, Response, RowSet, Transaction};
use crate::sql::ast::CopyFormat;

pub struct Connection<C: Conversation> {
    socket: Socket,
    session: C,
    key: Key,
    context: Arc<Context>,
    prepares: Prepares<C::Statement>,
    /// Values of [`REPORTED`] as the client knows them.
    reported: Vec<Option<String>>,
    /// After an error in the extended protocol, until Sync.
    skipping: bool,
}

impl<C: Conversation> Connection<C> {
    pub fn new(socket: Socket, session: C, key: Key, context: Arc<Context>) -> Self {
        let reported = vec![None; REPORTED.len()];
        Connection { socket, session, key, context, prepares: Prepares::default(), reported, skipping: false }
    }

    /// Serves the client until it leaves, the server stops or the protocol is broken.
    pub async fn run(mut self) {
        let end = self.serve().await;
        match end {
            // Nobody is there to take what is left.
            Err(Failure::Gone) => return,
            Err(Failure::Statement(e) | Failure::Fatal(e)) => {
                reply::error(&e, Severity::Fatal, &mut self.socket.output);
            }
            Ok(()) => {}
        }
        self.socket.close().await;
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        reply::authenticated(&mut self.socket.output)?;
        self.report_settings()?;
        reply::key_data(self.key.pid, self.key.secret, &mut self.socket.output)?;
        self.ready().await?;
        loop {
            let message = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return Err(Failure::Fatal(admin_shutdown())),
                message = self.socket.next(message::message) => message.map_err(Failure::Fatal)?,
            };
            match message {
                None | Some(Message::Terminate) => return Ok(()),
                Some(message) => self.handle(message).await?,
            }
        }
    }

    async fn handle(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Query(text) => {
                self.prepares.close_unnamed();
                let done = self.simple(&text).await;
                self.answer_failure(done)?;
                self.ready().await
            }
            Message::NotUtf8 { simple: true, error } => {
                self.answer_failure(Err(error.into()))?;
                self.ready().await
            }
            Message::Sync => {
                self.skipping = false;
                if self.session.transaction() == Transaction::Idle {
                    self.prepares.close_portals();
                }
                self.ready().await
            }
            Message::FunctionCall => {
                let refused =
                    Error::unsupported("the function call message is not supported", "Use SELECT function(...).");
                self.answer_failure(Err(refused.into()))?;
                self.ready().await
            }
            Message::Copy | Message::Password | Message::Terminate => Ok(()),
            _ if self.skipping => Ok(()),
            Message::Flush => Ok(self.socket.flush().await?),
            message => {
                let done = self.extended(message).await;
                self.skipping = done.is_err();
                self.answer_failure(done)?;
                if self.socket.output.len() >= FLUSH_BYTES {
                    self.socket.flush().await?;
                }
                Ok(())
            }
        }
    }

    /// Tells the client about a failed statement; what ends the connection goes on up.
    fn answer_failure(&mut self, done: Result<(), Failure>) -> Result<(), Failure> {
        if let Err(Failure::Statement(e)) = done {
            self.session.fail();
            reply::error(&e, Severity::Error, &mut self.socket.output);
            return Ok(());
        }
        done
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        self.report_settings()?;
        let status = match self.session.transaction() {
            Transaction::Idle => TransactionStatus::Idle,
            Transaction::InBlock => TransactionStatus::Transaction,
            Transaction::Failed => TransactionStatus::Error,
        };
        reply::ready(status, &mut self.socket.output)?;
        Ok(self.socket.flush().await?)
    }

    fn report_settings(&mut self) -> Result<()> {
        for (known, name) in self.reported.iter_mut().zip(REPORTED) {
            let Some(value) = self.session.setting(name) else { continue };
            if known.as_ref() != Some(&value) {
                reply::parameter_status(name, &value, &mut self.socket.output)?;
                *known = Some(value);
            }
        }
        Ok(())
    }

    fn zone(&self) -> Tz {
        self.session.setting("TimeZone").and_then(|z| z.parse().ok()).unwrap_or(Tz::UTC)
    }

    /// Several statements, each with its own answer; an error stops the rest.
    async fn simple(&mut self, text: &str) -> Result<(), Failure> {
        let statements = self.session.parse(text)?;
        if statements.is_empty() {
            return Ok(reply::plain(Plain::EmptyQuery, &mut self.socket.output)?);
        }
        for statement in &statements {
            let command = C::command(statement);
            let done = self.simple_statement(statement, &command).await;
            self.count(&command, &done);
            done.map_err(|e| e.in_text(C::offset(statement)))?;
        }
        Ok(())
    }

    async fn simple_statement(&mut self, statement: &C::Statement, command: &str) -> Result<(), Failure> {
        let guard = self.key.statement();
        let guards = Guards { cancel: guard.token.clone(), shutdown: self.context.shutdown.clone() };
        let body = self.execute(statement, &[], &guards).await?;
        match body {
            Body::Empty => self.plain(Plain::EmptyQuery)?,
            Body::Command(tag) => reply::command_complete(&tag, &mut self.socket.output)?,
            Body::Rows(set) => {
                let formats = vec![Format::Text; set.schema.fields().len()];
                reply::row_description(&columns_of(&set.schema), &formats, &mut self.socket.output)?;
                let mut rows = self.rows(set, Shape::Rows(formats));
                let (sent, _) = rows.send(&mut self.socket, &guards, None).await?;
                reply::command_complete(&rows_tag(command, sent), &mut self.socket.output)?;
            }
            Body::Copy(set, format) => self.copy_out(set, format, &guards).await?,
        }
        Ok(())
    }

    fn rows(&self, set: RowSet, shape: Shape) -> Rows {
        Rows::new(set, shape, self.zone(), self.context.watcher_patience)
    }

    async fn copy_out(&mut self, set: RowSet, format: CopyFormat, guards: &Guards) -> Result<(), Failure> {
        reply::copy_out(set.schema.fields().len(), &mut self.socket.output)?;
        let lines = Lines::new(format);
        lines.put_header(&set.schema, &mut self.socket.output)?;
        let mut rows = self.rows(set, Shape::Lines(lines));
        let (sent, _) = rows.send(&mut self.socket, guards, None).await?;
        reply::copy_done(&mut self.socket.output)?;
        Ok(reply::command_complete(&rows_tag("COPY", sent), &mut self.socket.output)?)
    }

    /// Runs a statement up to its answer's beginning, and passes its notices on.
    async fn execute(
        &mut self,
        statement: &C::Statement,
        parameters: &[ScalarValue],
        guards: &Guards,
    ) -> Result<Body, Failure> {
        let deallocated = C::deallocates(statement);
        if let Some(Deallocated::One(name)) = deallocated
            && self.session.transaction() != Transaction::Failed
            && self.prepares.deallocate(name)
        {
            return Ok(Body::Command("DEALLOCATE".into()));
        }
        let work = self.session.execute(statement, parameters);
        let Response { notices, body } = guards.run(&mut self.socket, work).await?;
        if deallocated == Some(Deallocated::All) {
            self.prepares.deallocate_all();
        }
        for notice in &notices {
            reply::notice(&notice.what, notice.severity, &mut self.socket.output);
        }
        Ok(body)
    }

    async fn extended(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Parse { name, text, types } => {
                let guard = self.key.statement();
                let guards = Guards { cancel: guard.token.clone(), shutdown: self.context.shutdown.clone() };
                let parse = self.prepares.parse(&self.session, name, &text, &types);
                guards.run(&mut self.socket, parse).await?;
                self.plain(Plain::ParseComplete)
            }
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(Target::Statement(name)) => self.describe_statement(&name),
            Message::Describe(Target::Portal(name)) => self.describe_portal(&name),
            Message::Execute { portal, max_rows } => self.execute_portal(&portal, max_rows).await,
            Message::NotUtf8 { error, .. } => Err(error.into()),
            Message::Close(target) => {
                match target {
                    Target::Statement(name) => self.prepares.close_statement(&name),
                    Target::Portal(name) => self.prepares.close_portal(&name),
                }
                self.plain(Plain::CloseComplete)
            }
            // `handle` has answered all others.
            _ => Ok(()),
        }
    }

    fn plain(&mut self, answer: Plain) -> Result<(), Failure> {
        Ok(reply::plain(answer, &mut self.socket.output)?)
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let zone = self.zone();
        self.prepares.bind(bind, zone)?;
        self.plain(Plain::BindComplete)
    }

    fn describe_statement(&mut self, name: &str) -> Result<(), Failure> {
        let prepared = self.prepares.statement(name)?;
        let out = &mut self.socket.output;
        reply::parameter_description(&prepared.oids, out)?;
        match &prepared.description.columns {
            // Not bound yet, so the formats are not known.
            Some(columns) => describe(columns, &vec![Format::Text; columns.fields().len()], out)?,
            None => reply::plain(Plain::NoData, out)?,
        }
        Ok(())
    }

    fn describe_portal(&mut self, name: &str) -> Result<(), Failure> {
        let out = &mut self.socket.output;
        if let Some(columns) = self.session.cursor_columns(name) {
            let text = vec![Format::Text; columns.fields().len()];
            return Ok(describe(&columns, &text, out)?);
        }
        let portal = self.prepares.portal(name)?;
        match &portal.columns {
            Some(columns) => describe(columns, &portal.formats, out)?,
            None => reply::plain(Plain::NoData, out)?,
        }
        Ok(())
    }

    async fn execute_portal(&mut self, name: &str, max_rows: usize) -> Result<(), Failure> {
        let guard = self.key.statement();
        let guards = Guards { cancel: guard.token.clone(), shutdown: self.context.shutdown.clone() };
        // Taken out while it runs: what fails half-way cannot be run on.
        let state = std::mem::replace(&mut self.prepares.portal(name)?.state, PortalState::Done(None));
        match state {
            PortalState::Empty => {
                self.prepares.portal(name)?.state = PortalState::Empty;
                self.plain(Plain::EmptyQuery)
            }
            PortalState::Ready { statement, parameters } => {
                let command = C::command(&statement);
                let done = self.start_portal(name, &statement, &parameters, &command, max_rows, &guards).await;
                self.count(&command, &done);
                done.map_err(|e| e.in_text(C::offset(&statement)))
            }
            PortalState::Running { rows, command } => {
                rows.resume();
                self.run_portal(name, rows, command, max_rows, &guards).await
            }
            PortalState::Done(Some(command)) => {
                let tag = rows_tag(&command, 0);
                self.prepares.portal(name)?.state = PortalState::Done(Some(command));
                Ok(reply::command_complete(&tag, &mut self.socket.output)?)
            }
            PortalState::Done(None) => {
                let message = format!("portal \"{name}\" cannot be run");
                Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message).into())
            }
        }
    }

    async fn start_portal(
        &mut self,
        name: &str,
        statement: &C::Statement,
        parameters: &[ScalarValue],
        command: &str,
        max_rows: usize,
        guards: &Guards,
    ) -> Result<(), Failure> {
        let body = self.execute(statement, parameters, guards).await?;
        match body {
            Body::Empty => self.plain(Plain::EmptyQuery),
            Body::Command(tag) => Ok(reply::command_complete(&tag, &mut self.socket.output)?),
            Body::Copy(set, format) => self.copy_out(set, format, guards).await,
            Body::Rows(set) => {
                let portal = self.prepares.portal(name)?;
                // The client was told these columns; after a DROP and CREATE between it may be others now.
                let told = portal.columns.as_deref().map(columns_of);
                if told.as_ref() != Some(&columns_of(&set.schema)) {
                    let message = "cached plan must not change result type";
                    return Err(Error::unsupported(message, "Prepare the statement again.").into());
                }
                let shape = Shape::Rows(portal.formats.clone());
                let rows = self.rows(set, shape);
                self.run_portal(name, rows, command.to_string(), max_rows, guards).await
            }
        }
    }

    async fn run_portal(
        &mut self,
        name: &str,
        mut rows: Rows,
        command: String,
        max_rows: usize,
        guards: &Guards,
    ) -> Result<(), Failure> {
        let limit = (max_rows > 0).then_some(max_rows);
        let (sent, finished) = rows.send(&mut self.socket, guards, limit).await?;
        let portal = self.prepares.portal(name)?;
        if finished {
            let tag = rows_tag(&command, sent);
            portal.state = PortalState::Done(Some(command));
            Ok(reply::command_complete(&tag, &mut self.socket.output)?)
        } else {
            portal.state = PortalState::Running { rows, command };
            self.plain(Plain::PortalSuspended)
        }
    }

    fn count(&self, command: &str, done: &Result<(), Failure>) {
        let outcome = match done {
            Ok(()) => "ok",
            Err(Failure::Statement(e) | Failure::Fatal(e)) => e.state().code(),
            Err(Failure::Gone) => SqlState::ConnectionFailure.code(),
        };
        self.context.metrics.statement(command, outcome);
    }
}

fn describe(columns: &arrow::datatypes::Schema, formats: &[Format], out: &mut BytesMut) -> Result<()> {
    reply::row_description(&columns_of(columns), formats, out)
}

/// PostgreSQL counts rows in the tags of commands that fetch, and in no other.
fn rows_tag(command: &str, rows: usize) -> String {
    match command {
        "SELECT" | "VALUES" | "TABLE" | "WITH" => format!("SELECT {rows}"),
        "FETCH" | "COPY" => format!("{command} {rows}"),
        other => other.to_string(),
    }
}
