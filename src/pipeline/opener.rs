//! Opening a source for a pipeline, as the catalog has it then.

use std::sync::Arc;

use crate::catalog::{Catalog, CatalogSnapshot, ObjectKind, SourceObject};
use crate::clock::SharedClock;
use crate::connector::{ReaderContext, Waker};
use crate::error::{Error, Result, SqlState};
use crate::memory::Budget;
use crate::metrics::Metrics;

use super::dead_letters::DeadLetters;
use super::reading::{OpenReading, Reading};

/// Opens sources for a pipeline.
#[derive(Clone)]
pub(super) struct Opener {
    pub pipeline: String,
    pub catalog: Arc<Catalog>,
    pub clock: SharedClock,
    pub metrics: Arc<Metrics>,
    pub budget: Arc<Budget>,
    pub waker: Waker,
}

impl Opener {
    pub fn into_open(self) -> OpenReading {
        let metrics = self.metrics.job(&self.pipeline);
        Box::new(move |name, wanted| {
            let object = source_of(&self.catalog.snapshot(), name)?;
            let letters = object.dead_letters.clone().map(|sink| {
                let metrics = metrics.sink(&format!("dead letters of {name}"));
                let account = self.budget.account();
                DeadLetters::start(&self.pipeline, name, sink, metrics, Arc::clone(&self.waker), account)
            });
            let context = ReaderContext { waker: Arc::clone(&self.waker), clock: Arc::clone(&self.clock) };
            Reading::open(name, &object, wanted, context, letters)
        })
    }
}

/// The source of that name.
///
/// # Errors
/// 42P01 if there is none.
pub(super) fn source_of(catalog: &CatalogSnapshot, name: &str) -> Result<SourceObject> {
    match catalog.find(name).map(|object| &object.kind) {
        Some(ObjectKind::Source(source)) => Ok(source.clone()),
        _ => Err(Error::new(SqlState::UndefinedTable, format!("source \"{name}\" does not exist"))),
    }
}
