//! What exists: names, kinds, columns, dependencies.

pub mod object;

pub use object::{
    JobObject, Object, ObjectId, ObjectKind, OnError, SinkObject, SourceObject, Starts, ViewObject, Wanted,
    WatermarkClause,
};
