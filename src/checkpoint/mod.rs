//! Epochs: how a pipeline's state and output become durable together, and are found again.
//!
//! 1. [`agent`]: [`Checkpoints`], by which a pipeline opens its commit log, recovers, and ends epochs.
//! 2. [`protocol`] decides what to do next; the agent does it. Whatever can go wrong is decided there.
//! 3. [`commit`] is what a commit says, [`frame`] how it is written, [`names`] what files are called.
//! 4. [`delta`]: sorted entries of state, written, read and merged.
//!
//! What does not live here: what state is and how it is frozen (`state/`), what an image holds (`pipeline/`), the store
//! (`store/`).
//!
//! Invariants:
//! - An epoch is true from the instant its commit is there, and everything that the commit names is there before it.
//! - Of two processes that run one pipeline, one commits nothing any more.
//! - What is read has the digest that its commit says, or there is an error.
//!
//! **Failpoints**, at which tests end the process : `checkpoint::open::before-fence`, `::after-fence`;
//! `checkpoint::delta::before`, `::after`; `checkpoint::outbox::before`, `::after`; `checkpoint::commit::before`,
//! `::after`; `checkpoint::merge::before`, `::between` (one of its files is written), `::after`;
//! `checkpoint::collect::before`, `::between` (one file is gone), `::after`; and in a folder's store
//! `store::file::written`, `::synced`, `::named` (not yet durable).

pub mod agent;
pub mod commit;
pub mod delta;
pub mod frame;
pub mod names;
mod options;
pub mod protocol;

/// What to do where stored files are missing or damaged.
const NOTHING_IS_SKIPPED: &str = "Nothing is skipped: put the pipeline's folder back from a copy, or drop the job and create it anew, which begins without state.";

pub use agent::{
    Checkpoints, Committed, EpochContent, EpochError, OutboxPart, OutboxReader, Recovered, StateReader, Status,
    StepTimes,
};
pub use commit::ProcessId;
pub use delta::{Cursor, Entries, Merged, SortedEntries};
pub use options::EpochOptions;
