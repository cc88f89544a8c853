//! From a typed statement to a stream plan.
//!
//! 1. [`stream`]: the stream plan itself: what `dataflow/` runs.
//! 2. [`scalar`]: expressions in it: typed, printable, compiled to DataFusion's physical expressions.
//!
//! What does not live here: running anything. DataFusion gives parsing, planning, optimising and expressions; its
//! `ExecutionPlan` never runs a job.

pub mod scalar;
pub mod stream;

pub use scalar::Scalar;
pub use stream::{
    AggregateCall, AggregateFunction, Changelog, Distribution, Emit, EventTime, Input, Node, NodeIndex, Op, OperatorId,
    Output, ScanWatermark, StreamPlan, Target, WindowSpec,
};
