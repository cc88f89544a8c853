//! Transaction blocks: SELECTs that see one tick. What a block sets is taken back when it fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::response::{Notice, Response, Transaction};
use super::settings::Settings;
use crate::catalog::CatalogSnapshot;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{StatementKind, TransactionStatement};
use crate::table::DatabaseSnapshot;

/// What every SELECT of a block sees: taken by the first.
#[derive(Clone)]
pub struct Instant {
    pub catalog: Arc<CatalogSnapshot>,
    pub database: Arc<DatabaseSnapshot>,
}

#[derive(Default)]
pub enum Block {
    #[default]
    None,
    Open(Open),
    Failed {
        before: Settings,
    },
}

#[derive(Default)]
pub struct Open {
    /// `None` until the first SELECT.
    pub instant: Option<Instant>,
    /// Settings as BEGIN found them.
    before: Settings,
    /// Set with SET LOCAL: taken back at the end, whatever that is.
    local: BTreeSet<String>,
}

impl Block {
    pub fn state(&self) -> Transaction {
        match self {
            Block::None => Transaction::Idle,
            Block::Open(_) => Transaction::InBlock,
            Block::Failed { .. } => Transaction::Failed,
        }
    }

    /// Whether the statement may run where the session stands.
    ///
    /// # Errors
    /// 25P02 in a failed block; 25001 for what changes the catalog inside a block.
    pub fn admit(&self, statement: &StatementKind) -> Result<()> {
        let ends = matches!(
            statement,
            StatementKind::Transaction(TransactionStatement::Commit | TransactionStatement::Rollback)
        );
        match self {
            Block::Failed { .. } if !ends => {
                let message = "current transaction is aborted, commands ignored until end of transaction block";
                Err(Error::new(SqlState::InFailedSqlTransaction, message).with_hint("Send ROLLBACK, and begin again."))
            }
            Block::Open(_) if statement.is_ddl() || matches!(statement, StatementKind::DiscardAll) => {
                let command = statement.command_tag().unwrap_or("this statement");
                let message = format!("{command} cannot run inside a transaction block");
                Err(Error::new(SqlState::ActiveSqlTransaction, message)
                    .with_hint("Send COMMIT first: a block may hold SELECTs only.")
                    .at(1))
            }
            _ => Ok(()),
        }
    }

    /// Something failed. Answers whether a block was open, which has failed with it.
    pub fn fail(&mut self) -> bool {
        let Block::Open(open) = self else { return false };
        *self = Block::Failed { before: std::mem::take(&mut open.before) };
        true
    }

    /// BEGIN, COMMIT, ROLLBACK.
    pub fn run(&mut self, statement: &TransactionStatement, settings: &mut Settings) -> Response {
        let none_in_progress =
            || Notice::warning(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
        match (statement, std::mem::take(self)) {
            (TransactionStatement::Begin, Block::None) => {
                *self = Block::Open(Open { before: settings.clone(), ..Open::default() });
                Response::command("BEGIN")
            }
            (TransactionStatement::Begin, there) => {
                *self = there;
                let state = SqlState::ActiveSqlTransaction;
                let warning = Notice::warning(state, "there is already a transaction in progress");
                Response::command("BEGIN").with(Some(warning))
            }
            (TransactionStatement::Modes, there) => {
                *self = there;
                Response::command("SET")
            }
            (TransactionStatement::Commit, Block::Open(open)) => {
                open.local.iter().for_each(|name| settings.restore(name, &open.before));
                Response::command("COMMIT")
            }
            (TransactionStatement::Rollback, Block::Open(Open { before, .. })) => {
                *settings = before;
                Response::command("ROLLBACK")
            }
            // COMMIT of a failed block rolls back, as in PostgreSQL.
            (_, Block::Failed { before }) => {
                *settings = before;
                Response::command("ROLLBACK")
            }
            (TransactionStatement::Commit, Block::None) => Response::command("COMMIT").with(Some(none_in_progress())),
            (TransactionStatement::Rollback, Block::None) => {
                Response::command("ROLLBACK").with(Some(none_in_progress()))
            }
        }
    }

    /// Remembers a SET LOCAL; a warning if there is no block for it to end with.
    pub fn note_local(&mut self, name: &str) -> Option<Notice> {
        match self {
            Block::Open(open) => {
                open.local.insert(name.to_string());
                None
            }
            _ => Some(Notice::warning(
                SqlState::NoActiveSqlTransaction,
                "SET LOCAL can only be used in transaction blocks",
            )),
        }
    }
}
