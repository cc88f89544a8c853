//! What exists: names, kinds, columns, dependencies.
//!
//! 1. [`define`] types a CREATE statement: its columns are checked, its WITH options become a connector's own.
//! 2. [`Catalog`] gives the new [`object`] an id, writes the whole catalog to its [`mod@file`], and only then shows it.
//! 3. Readers hold a [`CatalogSnapshot`]: it never changes under them. Names are resolved against it, and what a DROP
//!    takes with it is found there ([`dependencies`]).
//!
//! What does not live here: running anything. Whoever creates or drops a job starts or stops it.
//!
//! Invariants: a name is unique across all kinds (there is one schema); an id is never used twice; an object depends on
//! older ones only, so falling ids are an order in which dropping is allowed; what a reader can see is on disk.

mod current;
pub mod define;
mod dependencies;
mod file;
pub mod object;
pub mod pg;
mod restart;
mod snapshot;

pub use current::Catalog;
pub use dependencies::Dropped;
pub use object::{
    ComputedColumn, Ended, EpochSettings, JobObject, JobOptions, NewObject, Object, ObjectId, ObjectKind, OnError,
    SinkObject, SourceObject, Starts, ViewObject, Wanted, WatermarkClause,
};
pub use restart::RestartStrategy;
pub use snapshot::CatalogSnapshot;

#[cfg(test)]
mod tests;
