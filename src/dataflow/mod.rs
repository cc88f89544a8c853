//! TODO-dataflow
