//! What exists: names, kinds, columns, dependencies.

pub mod object;
pub mod pg;

pub use object::{
    JobObject, Object, ObjectId, ObjectKind, OnError, SinkObject, SourceObject, Starts, ViewObject, Wanted,
    WatermarkClause,
};
