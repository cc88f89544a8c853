//! The real psql against a server: what a person sees, to the letter.
//!
//! 1. `setup.sql` makes what the other scripts look at. Each script of this folder is given to psql's standard input as
//!    PostgreSQL's own regression tests are (`psql -X -a`), and what psql writes to either output must be the `.out`
//!    beside it. `TIDEMILL_BLESS=1` rewrites that.
//! 2. [`terminal`]: psql at a terminal, where Ctrl-C and Tab can be pressed.
//!
//! All share one server, the terminal's tests first, then the scripts in the order of their names; each has its own session.

mod terminal;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{Access, Host};
use crate::script;
use crate::tally::Tally;
use crate::variant::{Backend, Cuts, Variant, Way};

pub use terminal::endless;

const SETUP: &str = "setup";
/// A test at a terminal.
type AtTerminal = fn(SocketAddr) -> Result<(), String>;

const AT_TERMINAL: [(&str, AtTerminal); 3] = [
    ("psql::ctrl_c", terminal::ctrl_c),
    ("psql::subscription", terminal::subscription),
    ("psql::tab_completion", terminal::tab_completion),
];

pub fn run(tally: &mut Tally) {
    let result = scripts().and_then(|scripts| {
        let wanted = scripts.iter().any(|script| tally.wants(&name(script)));
        if !wanted && !AT_TERMINAL.iter().any(|(name, _)| tally.wants(name)) {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
        let done = runtime.block_on(run_all(&scripts, tally));
        runtime.shutdown_background();
        done
    });
    if let Err(why) = result {
        tally.fail(format_args!("psql: {why}"));
    }
}

fn folder() -> PathBuf {
    script::folder().join("psql")
}

/// `setup.sql` first, the others by name.
fn scripts() -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder()).map_err(|e| e.to_string())?;
    let paths = entries.filter_map(|e| e.ok().map(|e| e.path()));
    let mut scripts: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "sql")).collect();
    scripts.sort_by_key(|path| (!is_setup(path), path.clone()));
    Ok(scripts)
}

fn is_setup(script: &Path) -> bool {
    script.file_stem().is_some_and(|stem| stem == SETUP)
}

fn name(script: &Path) -> String {
    format!("psql::{}", script.file_stem().unwrap_or_default().to_string_lossy())
}

async fn run_all(scripts: &[PathBuf], tally: &mut Tally) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let way =
        Variant { way: Way::Wire, parallelism: 1, cuts: Cuts::Natural, backend: Backend::Memory, rehearsed: None };
    let host = Host::start(way, dir.path()).await?;
    let (_, Access::Wire(server)) = host.access().await? else { return Err("there is no server".into()) };
    for script in scripts.iter().filter(|script| is_setup(script) || tally.wants(&name(script))).collect::<Vec<_>>() {
        tally.count(&name(script), run_script(script, server));
        // What was created has read its input before the next script looks.
        host.settle().await;
        if is_setup(script) {
            for (name, test) in AT_TERMINAL.iter().filter(|(name, _)| tally.wants(name)).collect::<Vec<_>>() {
                tally.count(name, test(server));
            }
        }
    }
    host.shutdown().await;
    Ok(())
}

/// Arguments and surroundings under which psql always says the same.
fn settle_psql(command: &mut Command, server: SocketAddr) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8").env("TERM", "dumb");
    command.env("PGHOST", server.ip().to_string()).env("PGPORT", server.port().to_string());
    command.env("PGUSER", "ann").env("PGDATABASE", "tidemill").env("PGAPPNAME", "psql");
    command.env("PGCLIENTENCODING", "UTF8").env("PGCONNECT_TIMEOUT", "10");
}

/// Runs one script and compares what psql shows.
fn run_script(script: &Path, server: SocketAddr) -> Result<(), String> {
    let problem = |e: std::io::Error| format!("{}: {e}", script.display());
    let mut psql = Command::new("psql");
    settle_psql(&mut psql, server);
    psql.args(["-X", "-a", "-v"]).arg(format!("folder={}", folder().display()));
    // One file for both outputs, so that each error stands below its statement.
    let screen = tempfile::NamedTempFile::new().map_err(problem)?;
    psql.stdout(screen.as_file().try_clone().map_err(problem)?);
    psql.stderr(screen.as_file().try_clone().map_err(problem)?);
    psql.stdin(std::fs::File::open(script).map_err(problem)?);
    psql.status().map_err(|e| format!("psql: {e}"))?;
    let seen = std::fs::read_to_string(screen.path()).map_err(problem)?;
    let seen = seen.lines().map(|line| without_time(line) + "\n").collect::<String>();
    let expected_path = script.with_extension("out");
    if std::env::var_os("TIDEMILL_BLESS").is_some() {
        return std::fs::write(&expected_path, seen).map_err(problem);
    }
    let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
    compare(&expected, &seen).map_err(|why| format!("{}: {why}", expected_path.display()))
}

/// What \timing shows, without the figure: that is another one each time.
fn without_time(line: &str) -> String {
    match line.strip_prefix("Time: ").and_then(|time| time.strip_suffix(" ms")) {
        Some(figure) if figure.parse::<f64>().is_ok() => "Time: (some) ms".into(),
        _ => line.into(),
    }
}

/// Says where two outputs first differ.
fn compare(expected: &str, seen: &str) -> Result<(), String> {
    if expected == seen {
        return Ok(());
    }
    let (expected, seen): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), seen.lines().collect());
    let same = expected.iter().zip(&seen).take_while(|(expected, seen)| expected == seen).count();
    let excerpt = |lines: &[&str]| lines.iter().skip(same).take(12).map(|l| format!("  {l}\n")).collect::<String>();
    Err(format!("line {}: psql shows\n{}instead of\n{}", same + 1, excerpt(&seen), excerpt(&expected)))
}
