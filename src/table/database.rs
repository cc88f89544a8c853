//! What readers see: all views as of one tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::datatypes::SchemaRef;

use crate::catalog::ObjectId;
use crate::error::{Error, SqlState};

use super::view::ViewSnapshot;

/// The one place where the tick loop publishes and readers look: a pointer swap, never a lock.
#[derive(Debug, Default)]
pub struct Database(ArcSwap<DatabaseSnapshot>);

/// All views as of the end of tick `tick`.
#[derive(Debug, Clone, Default)]
pub struct DatabaseSnapshot {
    pub tick: u64,
    views: BTreeMap<ObjectId, ViewEntry>,
}

#[derive(Debug, Clone)]
pub struct ViewEntry {
    pub state: ViewState,
    rows: ViewSnapshot,
}

#[derive(Debug, Clone)]
pub enum ViewState {
    /// Hidden: its sources are read to what was their end when it began, and to where the other views of them are.
    Filling,
    Ready,
    /// Stopped at its last good tick.
    Failed(Error),
}

impl Database {
    pub fn publish(&self, snapshot: DatabaseSnapshot) {
        self.0.store(Arc::new(snapshot));
    }

    pub fn snapshot(&self) -> Arc<DatabaseSnapshot> {
        self.0.load_full()
    }
}

impl DatabaseSnapshot {
    pub fn insert(&mut self, id: ObjectId, entry: ViewEntry) {
        self.views.insert(id, entry);
    }

    pub fn remove(&mut self, id: ObjectId) {
        self.views.remove(&id);
    }

    pub fn view(&self, id: ObjectId) -> Option<&ViewEntry> {
        self.views.get(&id)
    }

    pub fn views(&self) -> impl Iterator<Item = (ObjectId, &ViewEntry)> {
        self.views.iter().map(|(id, entry)| (*id, entry))
    }
}

impl ViewEntry {
    pub fn new(state: ViewState, rows: ViewSnapshot) -> Self {
        ViewEntry { state, rows }
    }

    pub fn filling(schema: SchemaRef) -> Self {
        ViewEntry { state: ViewState::Filling, rows: ViewSnapshot::empty(schema) }
    }

    /// The rows, if they may be shown.
    ///
    /// # Errors
    /// While the view fills, or after it failed: with the reason and what to do.
    pub fn rows(&self, name: &str) -> Result<&ViewSnapshot, Error> {
        match &self.state {
            ViewState::Ready => Ok(&self.rows),
            ViewState::Filling => Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("materialized view \"{name}\" is still being filled"),
            )
            .with_hint("SHOW MATERIALIZED VIEWS tells how far it is; try again in a while.")),
            ViewState::Failed(reason) => Err(view_failed(name, reason)),
        }
    }
}

/// What readers of a failed view are told.
pub fn view_failed(name: &str, reason: &Error) -> Error {
    let message = format!("materialized view \"{name}\" has failed: {}", reason.message());
    Error::new(SqlState::ObjectNotInPrerequisiteState, message)
        .with_detail(format!("SQLSTATE of the failure: {}", reason.state().code()))
        .with_hint("Drop it and create it again once the cause is removed.")
}
