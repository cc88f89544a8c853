//! The commands. Each is a thin shell: it opens an engine, hands statements to a session, and prints what comes back.
//!
//! 1. [`main`] reads the command line and starts the runtime.
//! 2. [`serve`]: PostgreSQL's protocol and HTTP over an engine with a data directory.
//! 3. [`mod@run`]: a script against an engine in memory, to its end.
//! 4. [`check`]: a script planned and explained, nothing started.
//! 5. [`demo`]: a generator, a window, and a table that moves.
//! 6. [`client`] runs statements, [`report`] words errors, [`table`] draws results, [`signals`] waits for Ctrl-C and SIGTERM.
//!
//! What does not live here: anything that a session over the wire could not do as well.
//!
//! What stays true: results go to standard output, everything else to standard error; exit codes are those of [`Exit`].

mod check;
mod client;
mod demo;
mod report;
mod run;
mod serve;
mod signals;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// What a command leaves behind, for scripts. `docs/operations.md` lists the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// A statement or a job failed.
    Failed = 1,
    /// The command line is wrong (clap ends with the same), or names a script that cannot be read.
    Usage = 2,
    /// What the command needs before it can begin is not there.
    CannotStart = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A streaming SQL engine in one binary.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve psql and drivers
    Serve(serve::Serve),
    /// Watch a windowed answer move in the terminal
    Demo(demo::Demo),
    /// Run a script to its end
    Run(run::Run),
    /// Plan a script and show what state it would keep; start nothing
    Check(check::Check),
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    #[cfg(debug_assertions)]
    if let Err(wrong) = std::env::var("TIDEMILL_FAILPOINT").map_or(Ok(()), |place| crate::failpoint::arm(&place)) {
        eprintln!("ERROR:  {wrong}");
        return Exit::CannotStart.into();
    }
    // The main thread's stack is what the shell gave it.
    let main = std::thread::Builder::new().name("main".into()).stack_size(STACK_BYTES);
    let exit = main.spawn(|| run(arguments.command)).map(std::thread::JoinHandle::join);
    match exit {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => no_threads(&error).into(),
    }
}

fn no_threads(error: &std::io::Error) -> Exit {
    eprintln!("ERROR:  threads cannot be started: {error}");
    Exit::CannotStart
}

fn run(command: Command) -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return no_threads(&error),
    };
    let exit = runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve.run().await,
            Command::Demo(demo) => demo.run().await,
            Command::Run(run) => run.run().await,
            Command::Check(check) => check.run().await,
        }
    });
    // Blocking calls of connectors may still be on their way: nobody waits for them any more.
    runtime.shutdown_background();
    exit
}

/// Stack of a thread that runs statements: syntax trees are copied and dropped there, as deep as the longest chain of
/// operators ([`crate::sql::parse::MAX_TOKENS`] has two for each level), at up to 5 KB a level. Only what is used is ever
/// backed by memory.
pub const STACK_BYTES: usize = 64 << 20;
