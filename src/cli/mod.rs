//! The commands. Each is a thin shell: it opens an engine, hands statements to a session, and prints what comes back.
//!
//! 1. [`main`] reads the command line and starts the runtime.
//! 2. [`serve`]: PostgreSQL's protocol and HTTP over an engine with a data directory.
//! 3. [`run`]: a script against an engine in memory, to its end.
//! 4. [`check`]: a script planned and explained, nothing started.
//! 5. [`demo`]: a generator, a window, and a table that moves.
//! 6. [`report`] words errors, [`table`] draws results, [`signals`] waits for Ctrl-C and SIGTERM.
//!
//! What does not live here: anything that a session over the wire could not do as well.
//!
//! What stays true: results go to standard output, everything else to standard error; exit codes are those of [`Exit`].

mod report;
mod table;

/// What a command leaves behind, for scripts. `docs/operations.md` lists the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// A statement or a job failed.
    Failed = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// The server could not start.
    CannotStart = 3,
}
