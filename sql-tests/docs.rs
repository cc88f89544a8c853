//! What the README and `examples/` show works when pasted, and the commands do what `docs/operations.md` says.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::root;
use crate::server::{LOOK_AGAIN, Running, TIDEMILL};
use crate::tally::Tally;

const PATIENCE: Duration = Duration::from_secs(60);

type Check = fn() -> Result<(), String>;

pub fn run(tally: &mut Tally) {
    let tests: &[(&str, Check)] = &[
        ("docs::readme_tour", readme_tour),
        ("docs::examples_run", examples_run),
        ("docs::examples_check", examples_check),
        ("docs::errors_have_places", errors_have_places),
        ("docs::failed_job_fails_the_script", failed_job_fails_the_script),
        ("docs::endless_scripts", endless_scripts),
        ("docs::unreadable_scripts", unreadable_scripts),
        ("docs::all_errors_are_checked", all_errors_are_checked),
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

/// An endless script answers its SELECTs, shows progress, tells of a failure when it happens, and in the end.
fn endless_scripts() -> Result<(), String> {
    let script = "CREATE SOURCE g (n BIGINT) WITH ('connector' = 'generator', 'rows-per-second' = '1000', 'fields.n.kind' = 'sequence');
        CREATE SOURCE b (n BIGINT) WITH ('connector' = 'generator', 'number-of-rows' = '5000', 'fields.n.kind' = 'sequence');
        CREATE SINK k (n BIGINT) WITH ('connector' = 'blackhole');
        CREATE MATERIALIZED VIEW e AS SELECT count(*) AS c FROM g;
        CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c FROM b;
        CREATE STREAMING JOB fine AS INSERT INTO k SELECT n FROM g;
        SELECT 'all ' || c AS bounded FROM v;
        SELECT c >= 0 AS endless FROM e;";
    let (status, shown, said) = interrupted(script, "rows read, 1 jobs running, 2 views")?;
    if status != Some(0) || !shown.contains("| all 5000") || !shown.contains("endless") {
        return Err(format!("it ended with {status:?}:\n{shown}\n{said}"));
    }
    let failing = format!("{script} CREATE STREAMING JOB bad AS INSERT INTO k SELECT 1 / (n - 50) FROM g;");
    let (status, shown, said) = interrupted(&failing, "ERROR:  streaming job \"bad\": expression \"")?;
    match status == Some(1) && said.contains("fine is RUNNING") {
        true => Ok(()),
        false => Err(format!("it ended with {status:?}:\n{shown}\n{said}")),
    }
}

/// Runs a script until it says `line` to standard error, then as if Ctrl-C were pressed. Gives its exit code and outputs.
fn interrupted(script: &str, line: &str) -> Result<(Option<i32>, String, String), String> {
    let problem = |e: std::io::Error| e.to_string();
    let (dir, path) = written(script)?;
    let (shown, said) = (dir.path().join("shown"), dir.path().join("said"));
    let file = |path: &Path| std::fs::File::create(path).map_err(problem);
    let mut command = Command::new(TIDEMILL);
    command.arg("run").arg(&path).current_dir(root()).stdout(file(&shown)?).stderr(file(&said)?);
    let mut running = Running(command.spawn().map_err(problem)?);
    let text = |path: &Path| std::fs::read_to_string(path).map_err(problem);
    let end = Instant::now() + PATIENCE;
    while !text(&said)?.contains(line) {
        if Instant::now() > end || running.0.try_wait().map_err(problem)?.is_some() {
            return Err(format!("it does not say \"{line}\":\n{}\n{}", text(&shown)?, text(&said)?));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    running.signal("INT")?;
    let status = running.0.wait().map_err(problem)?;
    Ok((status.code(), text(&shown)?, text(&said)?))
}

fn unreadable_scripts() -> Result<(), String> {
    for command in ["run", "check"] {
        let output = tidemill(&[command, "no/such.sql"])?;
        if output.status.code() != Some(2) {
            return Err(format!("tidemill {command} no/such.sql: {}", output.status));
        }
    }
    Ok(())
}

fn all_errors_are_checked() -> Result<(), String> {
    let (_dir, path) = written("SELECT nope;\nSELEC 1;\nSELECT 1;\nSELECT none;\nSELECT 'open;\nSELECT hidden;")?;
    let output = tidemill(&["check", &path.to_string_lossy()])?;
    let said = String::from_utf8_lossy(&output.stderr);
    let places: Vec<&str> =
        said.lines().filter_map(|line| line.split("script.sql:").nth(1)?.split(": ERROR").next()).collect();
    match output.status.code() == Some(1) && places == ["1:8", "2:1", "4:8", "5:8"] && said.contains("4 errors") {
        true => Ok(()),
        false => Err(format!("{}, at {places:?}:\n{said}", output.status)),
    }
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
    let (_dir, path) = written(script)?;
    tidemill(&["run", &path.to_string_lossy()])
}

fn written(script: &str) -> Result<(TempDir, PathBuf), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = dir.path().join("script.sql");
    std::fs::write(&path, script).map_err(|e| e.to_string())?;
    Ok((dir, path))
}

/// What a command that ended well has printed.
fn success(output: &Output) -> Result<String, String> {
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(shown.into_owned()) } else { Err(format!("{}\n{shown}\n{said}", output.status)) }
}
