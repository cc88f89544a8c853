//! Tidemill: a streaming SQL engine in one binary. The modules stand in the order of the path that a statement and its
//! data take; each imports only from those below it (a test holds that).

// Folders tell their story in terms of their files, which need not be public.
#![allow(rustdoc::private_intra_doc_links)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::dbg_macro,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unsafe_code
)]

pub mod cli;
pub mod server;
pub mod session;

pub mod pipeline;
pub mod table;

pub mod checkpoint;

pub mod dataflow;
pub mod operator;
pub mod state;

pub mod catalog;
pub mod plan;

pub mod connector;
pub mod format;

pub mod sql;
pub mod store;

pub mod change;

pub mod clock;
pub mod error;
pub mod failpoint;
pub mod memory;
pub mod metrics;
pub mod types;
