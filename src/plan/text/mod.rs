//! The stored text of stream plans. A restart runs this text; nothing is planned anew, so an upgrade cannot reshape a
//! job under its state.
//!
//! 1. [`lexer`]: words, quoted names, strings, numbers, symbols.
//! 2. [`types`]: types by their SQL names.
//! 3. [`expr`]: expressions as SQL whose every type is written out.
//! 4. [`plan`]: one line a node.
//!
//! Invariants: reading what was written gives an equal plan; a text of a version that is not known, or that was
//! damaged, is an error, never a guess. A fixture of every version is kept in `testdata/` and read by a test.

pub mod expr;
mod expr_reader;
mod lexer;
pub mod plan;
mod plan_reader;
mod types;
