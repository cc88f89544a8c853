//! Runs stream plans, tick by tick, on the worker pool.
//!
//! 1. [`scan`]: input chunks become change batches, without those that NOT NULL forbids ([`required`]); rows behind their
//!    partition's watermark get their judge.
//! 2. [`watermark`]: the watermark of a source: the minimum over partitions that are not idle.
//! 3. [`stages`]: a plan is cut at its exchanges.
//! 4. [`shard`]: one stage in one shard: operators pushed and pulled, a turn at a time, resumable anywhere.
//! 5. [`exchange`]: rows go to the shard that owns their key group.
//! 6. [`fragment`]: a running plan: a tick goes through its stages, its results leave in parts.
//! 7. [`image`]: a fragment between two ticks, taken down and gone on with in another life.
//! 8. [`pool`]: the process's one worker pool.
//!
//! What does not live here: when a tick is cut and what becomes of its result (`pipeline/`), and what operators compute.
//! No locks and no channels between operators.
//!
//! Invariants: all operators of a fragment see the same cut; the order of everything is fixed by stage, shard and
//! sequence; what is in flight is bounded in bytes.

pub mod exchange;
pub mod fragment;
pub mod image;
pub mod pool;
pub mod required;
pub mod scan;
pub mod shard;
pub mod stages;
pub mod watermark;

pub use fragment::{Advance, Fragment, FragmentStats, OperatorStats, ScanInput};
pub use image::FragmentImage;
pub use pool::WorkerPool;
