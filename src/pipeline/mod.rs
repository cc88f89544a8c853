//! The life of a pipeline: one dataflow with its own ticks, state and failures. A streaming job over sources is one; all
//! materialized views, and the jobs that read views, share one (the database pipeline), so that they tick together.
//!
//! 1. [`engine`]: what runs in this process; creates, stops and drops on behalf of sessions. [`config`]: how it runs.
//! 2. [`opener`] and [`reading`]: a source is opened, and read: what a tick takes of each partition, some of it `ahead` of time, and its watermarks.
//! 3. [`core`]: scans and the fragments they feed; one tick: cut, decode, judge (`input`), run, apply (`member`).
//! 4. [`tick_loop`]: when the next tick is due: input, a timer, a command; runs it on the worker pool, a turn at a time.
//! 5. [`starting`], [`launch`]: a streaming job is brought up; [`job`] takes its [`orders`]; [`runner`]: its task, a loop of
//!    [`ticks`] whose results go to sinks; [`restarts`]: when one that has failed is started again.
//! 6. [`database`]: the database pipeline: a tick loop whose results are views, which come and go.
//!    [`follow`]: a job that reads views runs there, too; [`subscribe`]: and whatever somebody watches.
//! 7. [`outbox`] and [`delivery`]: results wait, bounded, and are handed to a sink in order, in parts.
//! 8. [`status`] and [`meter`]: what SHOW JOBS and the metrics tell.
//! 9. [`image`] and [`recovery`]: a pipeline is taken down between two ticks, and gone on with; [`rehearsal`]: for tests, now and
//!    then.
//! 10. [`durability`] and [`epochs`]: where pipelines are stored, when an epoch ends, and bringing one back; [`history`]: what
//!     SHOW EPOCHS tells of them.
//! 11. [`queries`]: the threads that SELECTs are computed on, apart from all of these.
//!
//! What does not live here: SQL text, names in statements (`session/`), and how a tick goes through operators (`dataflow/`).
//!
//! Invariants: a failure in one job or view stops that one alone; a job's results are handed on in order, a tick's whole or in
//! parts of a bounded size; a view's tick is seen whole; nothing waits in an unbounded queue.

mod ahead;
mod config;
pub mod core;
pub mod database;
pub mod dead_letters;
mod delivery;
pub mod durability;
pub mod engine;
pub mod epochs;
pub mod follow;
pub mod history;
pub mod image;
mod input;
pub mod job;
mod launch;
pub mod member;
pub mod meter;
mod opener;
mod orders;
pub mod outbox;
mod queries;
pub mod reading;
pub mod recovery;
pub mod rehearsal;
pub mod restarts;
mod runner;
mod starting;
pub mod status;
pub mod subscribe;
pub mod tick_loop;
pub mod ticks;

#[cfg(test)]
mod tests;

pub use config::{EngineConfig, Work};
pub use engine::Engine;
pub use reading::CutPolicy;
pub use rehearsal::RehearsalPlan;
pub use status::{JobState, JobStatus, ViewStatus};
