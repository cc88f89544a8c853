//! From text to typed statements.
//!
//! 1. [`parse`] cuts a script into statements at its semicolons; each keeps its text and its offset.
//! 2. A [`cursor`] walks a statement's tokens. Our own statements are read first, by hand ([`create`], [`retrieval`], [`copy`],
//!    [`variables`], [`column_type`]); [`refuse`] answers what people will try and Tidemill does not do.
//! 3. Queries and expressions are sqlparser's, in our [`dialect`] of PostgreSQL, with our own interval [`literal`]s; whoever rewrites them makes [`calls`].
//! 4. Text of Flink's ([`flink`]) becomes the same, query by query; [`mod@print`] writes a statement as it is kept.
//! 5. The result is an [`ast::Statement`] that knows its [`places`]; [`names`] are folded and checked.
//! 6. [`syntax`] turns what the parsers say into PostgreSQL's wording.
//!
//! What does not live here: whether a name exists (`catalog/`), whether an option is known (`connector/`), what a query
//! means, and what DataFusion says of it (`plan/`).
//!
//! Invariants: an error about a text has a position in it, counted in characters from 1; nothing here knows state,
//! settings or time, so that the same text always reads the same.

pub mod ast;
pub mod calls;
pub mod column_type;
mod copy;
mod create;
mod cursor;
pub mod dialect;
pub mod flink;
mod literal;
pub mod names;
pub mod parse;
pub mod places;
pub mod print;
mod refuse;
mod retrieval;
mod syntax;
mod variables;

pub use ast::{Name, Statement, StatementKind};
pub use cursor::{DATABASE, SCHEMA};
pub use dialect::Dialect;
pub use parse::{parse_each, parse_script, parse_statement};

#[cfg(test)]
mod tests;
