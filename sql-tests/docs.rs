//! What the README and `examples/` show works when pasted, and the commands do what `docs/operations.md` says.

use std::process::{Command, Output};

use crate::root;
use crate::tally::Tally;

/// The binary that cargo has built beside this one.
const TIDEMILL: &str = env!("CARGO_BIN_EXE_tidemill");

type Check = fn() -> Result<(), String>;

pub fn run(tally: &mut Tally) {
    let tests: &[(&str, Check)] = &[
        ("docs::readme_tour", readme_tour),
        ("docs::examples_run", examples_run),
        ("docs::examples_check", examples_check),
        ("docs::errors_have_places", errors_have_places),
        ("docs::failed_job_fails_the_script", failed_job_fails_the_script),
        ("docs::demo_moves", demo_moves),
    ];
    for (name, test) in tests.iter().filter(|(name, _)| tally.wants(name)).collect::<Vec<_>>() {
        tally.count(name, test());
    }
}

/// All statements of the README, in one session.
fn readme_tour() -> Result<(), String> {
    let readme = std::fs::read_to_string(root().join("README.md")).map_err(|e| e.to_string())?;
    let script: String =
        readme.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>().join("\n");
    let output = run_script(&script)?;
    let shown = success(&output)?;
    // Four customers have a hundred thousand orders, six thousand a minute.
    for part in ["| customer | orders |", "2026-01-01 00:00:00 |   6000 |", "per_minute_out", "(4 rows)"] {
        if !shown.contains(part) {
            return Err(format!("the tour does not show \"{part}\":\n{shown}"));
        }
    }
    Ok(())
}

fn examples_run() -> Result<(), String> {
    for name in ["revenue.sql", "customers.sql", "changes.sql"] {
        let output = tidemill(&["run", &format!("examples/{name}")])?;
        success(&output).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// Nothing is started and nothing is connected to: the Kafka example needs no broker for this.
fn examples_check() -> Result<(), String> {
    for entry in std::fs::read_dir(root().join("examples")).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|e| e == "sql") {
            let output = tidemill(&["check", &path.to_string_lossy()])?;
            let shown = success(&output).map_err(|e| format!("{}: {e}", path.display()))?;
            if !shown.contains("State:") {
                return Err(format!("{}: no operator's state is shown:\n{shown}", path.display()));
            }
        }
    }
    Ok(())
}

fn errors_have_places() -> Result<(), String> {
    let script = "SELECT 1;\n\nSELECT\n  nope;\n";
    let output = run_script(script)?;
    let shown = String::from_utf8_lossy(&output.stderr);
    let expected = "script.sql:4:3: ERROR:  column \"nope\" does not exist (42703)\nLINE 4:   nope;\n          ^";
    if output.status.code() != Some(1) || !shown.contains(expected) {
        return Err(format!("{}, and not \"{expected}\":\n{shown}", output.status));
    }
    Ok(())
}

fn failed_job_fails_the_script() -> Result<(), String> {
    let script = "CREATE SOURCE s (n INT) WITH ('connector' = 'generator', 'number-of-rows' = '10', 'fields.n.kind' = 'sequence');
        CREATE SINK k (n INT) WITH ('connector' = 'blackhole');
        CREATE STREAMING JOB j AS INSERT INTO k SELECT 1 / (n - 5) FROM s;";
    let output = run_script(script)?;
    let shown = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(1) || !shown.contains("division by zero (22012)") {
        return Err(format!("{}:\n{shown}", output.status));
    }
    Ok(())
}

fn demo_moves() -> Result<(), String> {
    let output = tidemill(&["demo", "--seconds", "6", "--listen", "127.0.0.1:0"])?;
    let shown = success(&output)?;
    for part in ["psql -h 127.0.0.1 -p ", "| window_start", "orders in, "] {
        if !shown.contains(part) {
            return Err(format!("the demo does not show \"{part}\":\n{shown}"));
        }
    }
    Ok(())
}

fn tidemill(arguments: &[&str]) -> Result<Output, String> {
    Command::new(TIDEMILL).args(arguments).current_dir(root()).output().map_err(|e| format!("{TIDEMILL}: {e}"))
}

fn run_script(script: &str) -> Result<Output, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = dir.path().join("script.sql");
    std::fs::write(&path, script).map_err(|e| e.to_string())?;
    tidemill(&["run", &path.to_string_lossy()])
}

/// What a command that ended well has printed.
fn success(output: &Output) -> Result<String, String> {
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(shown.into_owned()) } else { Err(format!("{}\n{shown}\n{said}", output.status)) }
}
