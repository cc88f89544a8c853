//! TODO-pipeline
