//! Benchmarks, a number each: `./dev bench [NAME]`. They measure, they do not judge a run by its speed; but one that did
//! not reach its end, or lost a row, says so and fails.
//!
//! NAME is a benchmark's, or part of the names of some.
//!
//! A core is a CPU second of this whole process, threads of libraries included; engines run at parallelism 1 unless said.
//! What runs on one core and on two runs in a process of its own (`cores`).

mod bids;
mod cores;
mod decode;
mod engine;
mod join;
mod kafka;
mod measure;
mod nexmark;
mod serve;

use std::process::ExitCode;

/// As in the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A benchmark's name and what it does.
type Bench = (&'static str, fn() -> Result<(), String>);

const BENCHES: &[Bench] = &[
    ("generator", bids::generator),
    ("tumble", engine::tumble),
    ("join", engine::join),
    ("top_n", engine::top_n),
    ("dedup", engine::dedup),
    ("interval_join_10", join::few_rows_a_key),
    ("interval_join_10000", join::many_rows_a_key),
    ("hop", engine::hop),
    ("nexmark_q0", || nexmark::query(0)),
    ("nexmark_q1", || nexmark::query(1)),
    ("nexmark_q3", || nexmark::query(3)),
    ("nexmark_q4", || nexmark::query(4)),
    ("nexmark_q5", || nexmark::query(5)),
    ("nexmark_q7", || nexmark::query(7)),
    ("nexmark_q8", || nexmark::query(8)),
    ("nexmark_q9", || nexmark::query(9)),
    ("nexmark_q18", || nexmark::query(18)),
    ("nexmark_q20", || nexmark::query(20)),
    ("json_decode", decode::json),
    ("kafka_json", kafka::kafka_json),
    ("startup", serve::startup),
    ("at_rest", serve::at_rest),
];

fn main() -> ExitCode {
    // Cargo adds --bench; what else there is chooses by name.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [cores::PART, cores, part @ ..] = &wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return run_part(cores, part);
    }
    let mut failed = 0;
    measure::print_machine();
    let is_name = |wanted: &str| BENCHES.iter().any(|(name, _)| *name == wanted);
    let matches = |wanted: &str, name: &str| if is_name(wanted) { name == wanted } else { name.contains(wanted) };
    for (name, run) in BENCHES {
        if !wanted.is_empty() && !wanted.iter().any(|w| matches(w, name)) {
            continue;
        }
        if let Err(error) = run() {
            failed += 1;
            println!("{name}: failed: {error}");
        }
    }
    ExitCode::from(u8::from(failed > 0))
}

/// What [`cores::on`] starts.
fn run_part(cores: &str, part: &[&str]) -> ExitCode {
    let told = cores::tell(cores, |cores| match part {
        ["generator"] => bids::made_on(cores),
        ["nexmark", number] => nexmark::part(number, cores),
        _ => Err(format!("there is no part {part:?}")),
    });
    if let Err(error) = &told {
        eprintln!("{error}");
    }
    ExitCode::from(u8::from(told.is_err()))
}
