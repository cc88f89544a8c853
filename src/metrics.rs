//! Metrics: one registry for the process.
