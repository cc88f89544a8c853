//! Tables and views as people see them.
//!
//! 1. [`view`]: a materialized view's rows, changed once a tick, read from snapshots that cost nothing to take.
//! 2. [`database`]: what a SELECT sees: the snapshots of all views as of one tick.
//!
//! What does not live here: how a view's changes are computed (`dataflow/`), when (`pipeline/`), and SELECT (`session/`).
//!
//! Invariant: a [`DatabaseSnapshot`] never shows two views at different ticks.

pub mod database;
pub mod view;

pub use database::{Database, DatabaseSnapshot, ViewEntry, ViewState, view_failed};
pub use view::{View, ViewSnapshot};
