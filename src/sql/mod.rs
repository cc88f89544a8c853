//! From text to typed statements.
//!
//! 1. [`ast`]: what a statement is.
//! 2. [`places`]: lines and columns, bytes, and positions as people count them.

pub mod ast;
pub mod places;
