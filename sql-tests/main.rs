//! The one test binary: everything that is judged from outside, as a user would.
//!
//! 1. [`tidy`]: rules for the source tree itself.
//! 2. [`scripts`]: each `*.slt` file of this folder, run in several ways that must all give the same answers.
//! 3. [`kafka`]: jobs from topic to topic, on a real broker.
//! 4. [`psql`]: the real psql and what it shows.
//! 5. [`clients`]: other people's drivers; [`busy`]: what goes on beside SELECTs that take all they can get.
//! 6. [`docs`]: what the README and `examples/` show works when pasted.
//! 7. [`long_ticks`]: ticks that would take for ever.
//! 8. [`operations`]: jobs as whoever runs them sees them, over restarts; [`kills`]: `kill -9`, anywhere; [`faults`]: stored
//!    files that are damaged, and servers that are not alone.
//! 9. [`nexmark`]: the benchmark's queries over the same events in two ways.
//! 10. [`flink_oracle`]: the answers of a real Flink.
//! 11. [`generated`]: statements that nobody wrote.
//!
//! It closes with `N passed, N failed` and fails if anything did. An argument runs only the tests whose names contain
//! it; `--all` runs every script in every way instead of a sample; `TIDEMILL_SEED` repeats a sample; `--scripts` leaves it
//! at the scripts. `--mutants` tests these tests instead ([`mutants`]).

mod answer;
mod bless;
mod busy;
mod clients;
mod database;
mod docs;
mod faults;
mod flink_oracle;
mod generated;
mod host;
mod kafka;
mod kills;
mod long_ticks;
mod mutants;
mod nexmark;
mod operations;
mod psql;
mod script;
mod scripts;
mod server;
mod tally;
mod tidy;
mod variant;

use std::path::PathBuf;
use std::process::ExitCode;

use tally::Tally;

/// What the command line asked for.
struct Request {
    /// Part of the names of the tests to run.
    name: Option<String>,
    /// Every way instead of a sample.
    all: bool,
    /// Nothing but the scripts.
    scripts: bool,
    /// The scripts against an engine with faults.
    mutants: bool,
    /// Nothing but mutated statements, for the process that started this one.
    statements: bool,
    /// What the sample is drawn from.
    seed: u64,
}

impl Request {
    fn read() -> Request {
        // `cargo test` may pass flags meant for libtest (--nocapture, --test-threads): they mean nothing here.
        let (flags, names): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.starts_with("--"));
        let flag = |name: &str| flags.iter().any(|f| f == name);
        let seed = std::env::var("TIDEMILL_SEED").ok().and_then(|s| s.parse().ok());
        Request {
            name: names.into_iter().next(),
            all: flag("--all"),
            scripts: flag("--scripts"),
            mutants: flag("--mutants"),
            statements: flag(generated::mutated::ARGUMENT),
            seed: seed.unwrap_or_else(variant::fresh_seed),
        }
    }
}

/// The source tree: where cargo runs this binary, else where it was built.
fn root() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()))
}

fn main() -> ExitCode {
    let request = Request::read();
    if request.mutants {
        return mutants::run(request.name.as_deref());
    }
    if request.statements {
        return generated::mutated::in_this_process();
    }
    let mut tally = Tally::new(request.name.clone());
    if request.scripts {
        scripts::run(&request, &mut tally);
        return tally.close();
    }
    tidy::run(&mut tally);
    if tally.wants(mutants::IN_PLACE) {
        tally.count(mutants::IN_PLACE, mutants::in_place());
    }
    scripts::run(&request, &mut tally);
    kafka::run(&mut tally);
    psql::run(&mut tally);
    clients::run(&mut tally);
    busy::run(&mut tally);
    docs::run(&mut tally);
    long_ticks::run(&mut tally);
    operations::run(&mut tally);
    kills::run(request.seed, &mut tally);
    faults::run(&mut tally);
    nexmark::run(&mut tally);
    flink_oracle::run(&mut tally);
    generated::run(request.seed, &mut tally);
    tally.close()
}
