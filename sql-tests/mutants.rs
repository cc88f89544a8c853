//! Mutants: the engine with one operator's logic taken out, each of which the scripts must notice. `./dev mutants` runs
//! them; CI does not, for it takes minutes.
//!
//! 1. `mutants.txt` lists them: a name, a file, and an expression of it with what takes its place.
//! 2. [`plant`] copies the source tree, where each such expression becomes a choice between itself and its mutant, made
//!    by an environment variable: one build serves all of them ("mutant schemata": Untch, Offutt and Harrold, 1993).
//! 3. [`build`] builds that copy beside the real one, on the same dependencies.
//! 4. Each mutant runs the scripts, first in [`FIRST_WAY`] and then, if too few records failed, in the whole sample of
//!    ways that [`SEED`] draws. The distinct records that fail are counted, whatever the way, the closing checks of scripts
//!    apart from them; a run ends when they are enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Records (and closing checks of scripts) that must fail without an operator's logic: one would be chance.
const MUST_FAIL: usize = 5;

/// The name of the test that they still have their places.
pub const IN_PLACE: &str = "mutants::in_place";

/// Names the mutant that a build of the copy is to be.
const VARIABLE: &str = "TIDEMILL_MUTANT";

/// The ways that scripts run in are drawn from this: every mutant is judged alike. This sample has three shards with each
/// kind of cut (rows of one partition reach several only with more than one chunk a tick), and rehearsed recovery.
const SEED: &str = "26";

/// What tells the way of the sample that notices most: many rows in a tick, several shards, and state that is always
/// read back.
const FIRST_WAY: &str = "parallelism 3, natural cuts, state evicted";

/// Mutants running side by side: scripts wait more than they compute.
const AT_ONCE: usize = 4;

/// After this a mutant hangs: scripts take a minute or two in one way, those that ask again for what never comes a few
/// more.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What cargo wants to see of the source tree.
const COPIED: &[&str] = &["Cargo.toml", "Cargo.lock", "src", "sql-tests", "benches"];

/// Begins the copy's `lib.rs`: a choice leaves parentheses and names unused.
const LENIENCE: &str = "#![allow(unused)]\n";

/// Ends the copy's `lib.rs`.
const CHOICE: &str = r#"
pub mod mutant {
    pub fn is(name: &str) -> bool {
        static NAME: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var("TIDEMILL_MUTANT").ok());
        NAME.as_deref() == Some(name)
    }
}
"#;

#[derive(Debug)]
struct Mutant {
    name: String,
    /// From the root.
    file: String,
    /// Expressions and what takes their place.
    edits: Vec<(String, String)>,
}

/// What failed in a run of all scripts.
#[derive(Debug, Default)]
struct Failures {
    /// `sql-tests/NAME.slt:LINE`, whatever the way.
    records: BTreeSet<String>,
    /// What is no record: a script's closing check, a hang.
    others: BTreeSet<String>,
}

impl Failures {
    fn are_enough(&self) -> bool {
        self.records.len() + self.others.len() >= MUST_FAIL
    }
}

/// Runs those mutants whose names contain `name`.
pub fn run(name: Option<&str>) -> ExitCode {
    match run_all(name) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether each mutant still has its place in the source: a quick look, for every test run.
pub fn in_place() -> Result<(), String> {
    let mutants = listed()?;
    for file in mutants.iter().map(|mutant| &mutant.file).collect::<BTreeSet<_>>() {
        let text = fs::read_to_string(crate::root().join(file)).map_err(|e| format!("{file}: {e}"))?;
        mutate(text, &mutants.iter().filter(|mutant| mutant.file == *file).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn listed() -> Result<Vec<Mutant>, String> {
    let list = crate::script::folder().join("mutants.txt");
    read(&fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?)
}

fn run_all(name: Option<&str>) -> Result<bool, String> {
    let mutants = listed()?;
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let target = this.ancestors().nth(3).ok_or("cargo's target directory is not where it should be")?;
    let copy = target.join("mutants");
    plant(&mutants, &copy)?;
    let binary = build(&copy, target)?;

    let healthy = scripts(&binary, "", "")?;
    if !healthy.records.is_empty() || !healthy.others.is_empty() {
        return Err(format!("the scripts fail without a mutant: {healthy:?}"));
    }
    let chosen: Vec<&Mutant> = mutants.iter().filter(|m| name.is_none_or(|n| m.name.contains(n))).collect();
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(chosen.len()) {
            scope.spawn(|| {
                while let Some(mutant) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let (is_noticed, line) = verdict(mutant, look_for(&binary, &mutant.name));
                    println!("{line}");
                    verdicts.lock().insert(mutant.name.as_str(), is_noticed);
                }
            });
        }
    });
    let verdicts = verdicts.into_inner();
    let survived: Vec<_> = verdicts.iter().filter(|(_, is_noticed)| !**is_noticed).map(|(name, _)| *name).collect();
    println!("{} mutants, {} noticed by fewer than {MUST_FAIL}", verdicts.len(), survived.len());
    survived.iter().for_each(|name| println!("  {name}"));
    Ok(survived.is_empty() && !verdicts.is_empty())
}

/// What fails with `mutant`.
fn look_for(binary: &Path, mutant: &str) -> Result<Failures, String> {
    let first = scripts(binary, mutant, FIRST_WAY)?;
    if first.are_enough() { Ok(first) } else { scripts(binary, mutant, "") }
}

/// Whether enough failed, and a row of the table in docs/internals/testing.md.
fn verdict(mutant: &Mutant, failures: Result<Failures, String>) -> (bool, String) {
    match failures {
        Err(why) => (false, format!("{}: {why}", mutant.name)),
        Ok(failures) => {
            let (records, others) = (failures.records.len(), failures.others.len());
            let mut line = format!("| `{}` | {records} | {others} |", mutant.name);
            let is_noticed = failures.are_enough();
            if !is_noticed {
                let _ = write!(line, " {:?}", failures.records);
            }
            (is_noticed, line)
        }
    }
}

/// Reads the list: blocks with `NAME FILE` and pairs of `- EXPRESSION` and `+ EXPRESSION`; `#` begins a comment.
fn read(text: &str) -> Result<Vec<Mutant>, String> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("sql-tests/mutants.txt:{}: {what}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(old) = line.strip_prefix("- ") {
            let mutant = mutants.last_mut().ok_or_else(|| wrong("a name comes first"))?;
            mutant.edits.push((old.to_string(), String::new()));
        } else if let Some(new) = line.strip_prefix("+ ") {
            let edit = mutants.last_mut().and_then(|m| m.edits.last_mut()).filter(|(_, new)| new.is_empty());
            edit.ok_or_else(|| wrong("what it takes the place of comes first"))?.1 = new.to_string();
        } else {
            let (name, file) = line.split_once(' ').ok_or_else(|| wrong("a name and a file are wanted"))?;
            if mutants.iter().any(|m| m.name == name) {
                return Err(wrong("a mutant of that name was there before"));
            }
            mutants.push(Mutant { name: name.into(), file: file.into(), edits: Vec::new() });
        }
    }
    Ok(mutants)
}

/// Copies the source tree with all mutants in it. Files that stay as they were are not touched, so that cargo builds
/// only what it must.
fn plant(mutants: &[Mutant], copy: &Path) -> Result<(), String> {
    let mut pending: Vec<PathBuf> = COPIED.iter().map(PathBuf::from).collect();
    let mut planted = 0;
    while let Some(path) = pending.pop() {
        let (from, to) = (crate::root().join(&path), copy.join(&path));
        let problem = |e: std::io::Error| format!("{}: {e}", from.display());
        if from.is_dir() {
            fs::create_dir_all(&to).map_err(problem)?;
            let entries = fs::read_dir(&from).map_err(problem)?;
            pending.extend(entries.filter_map(|e| e.ok().map(|e| path.join(e.file_name()))));
            continue;
        }
        let shown = path.to_string_lossy().replace('\\', "/");
        let mut content = fs::read(&from).map_err(problem)?;
        let of_file: Vec<&Mutant> = mutants.iter().filter(|m| m.file == shown).collect();
        if !of_file.is_empty() {
            content = mutate(String::from_utf8_lossy(&content).into_owned(), &of_file)?.into_bytes();
            planted += of_file.len();
        }
        match shown.as_str() {
            "src/lib.rs" => content = [LENIENCE.as_bytes(), &content, CHOICE.as_bytes()].concat(),
            // Cargo tells what it built by name and version: of one version, the copy's binary would be taken for the real one.
            "Cargo.toml" | "Cargo.lock" => content = renumbered(&String::from_utf8_lossy(&content))?.into_bytes(),
            _ => {}
        }
        if fs::read(&to).ok().as_ref() != Some(&content) {
            fs::write(&to, content).map_err(problem)?;
        }
    }
    if planted < mutants.len() {
        return Err("sql-tests/mutants.txt names a file that is not there".into());
    }
    Ok(())
}

/// Cargo.toml or Cargo.lock, with another version of our own crate.
fn renumbered(manifest: &str) -> Result<String, String> {
    let own = concat!("name = \"tidemill\"\nversion = \"", env!("CARGO_PKG_VERSION"));
    if !manifest.contains(own) {
        return Err("Cargo.toml or Cargo.lock does not begin our crate with its name and version".into());
    }
    Ok(manifest.replacen(own, &format!("{own}-mutants"), 1))
}

/// The file's text, with choices.
fn mutate(mut text: String, mutants: &[&Mutant]) -> Result<String, String> {
    let mut places: Vec<(usize, &str, String)> = Vec::new();
    for mutant in mutants {
        for (old, new) in &mutant.edits {
            let mut found = text.match_indices(old.as_str());
            let (Some((at, _)), None) = (found.next(), found.next()) else {
                return Err(format!("{}: \"{old}\" should be in {} once", mutant.name, mutant.file));
            };
            places.push((at, old, format!("(if crate::mutant::is(\"{}\") {{ {new} }} else {{ {old} }})", mutant.name)));
        }
    }
    // From the end, so that places in front stay right.
    places.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    for pair in places.windows(2) {
        if let [(behind, ..), (at, old, new)] = pair
            && at + old.len() > *behind
        {
            return Err(format!("two mutants overlap: {new}"));
        }
    }
    for (at, old, new) in places {
        text.replace_range(at..at + old.len(), &new);
    }
    Ok(text)
}

/// Builds the copy's sql-tests, and gives their binary.
fn build(copy: &Path, target: &Path) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--test", "sql", "--no-run", "--message-format", "json-render-diagnostics"]);
    command.current_dir(copy).env("CARGO_TARGET_DIR", target).env_remove("CARGO_MANIFEST_DIR");
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("cargo: {e}"))?;
    let binaries = String::from_utf8_lossy(&output.stdout).lines().filter_map(binary_named).collect::<Vec<_>>();
    match binaries.into_iter().next_back() {
        Some(binary) if output.status.success() => Ok(binary),
        _ => Err("a mutant does not compile".into()),
    }
}

/// The test binary that a message of cargo's names.
fn binary_named(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    (message.get("target")?.get("name")? == "sql").then_some(())?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

/// Runs the real tree's scripts against `mutant`, the empty one being none, in those ways of the sample whose description
/// contains `ways`, until enough fail.
#[expect(clippy::disallowed_methods, reason = "the end of another process is looked for now and then")]
fn scripts(binary: &Path, mutant: &str, ways: &str) -> Result<Failures, String> {
    let log = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    let stderr = log.reopen().map_err(|e| e.to_string())?;
    let mut command = Command::new(binary);
    command.arg("--scripts").env(VARIABLE, mutant).env("TIDEMILL_SEED", SEED).env("CARGO_MANIFEST_DIR", crate::root());
    command.env("TIDEMILL_WAYS", ways);
    let mut child = command.stdout(Stdio::null()).stderr(stderr).spawn().map_err(|e| e.to_string())?;
    let failures = || fs::read_to_string(log.path()).map(|text| failures(&text)).map_err(|e| e.to_string());
    let step = Duration::from_millis(500);
    let mut waited = Duration::ZERO;
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        let seen = failures()?;
        if seen.are_enough() || waited >= PATIENCE {
            child.kill().and_then(|()| child.wait()).map_err(|e| e.to_string())?;
            return if seen.are_enough() { Ok(seen) } else { Err(format!("hangs; {seen:?}")) };
        }
        std::thread::sleep(step);
        waited += step;
    }
    failures()
}

/// Reads what a run of the scripts complained of.
fn failures(log: &str) -> Failures {
    let mut failures = Failures::default();
    for what in log.lines().filter_map(|line| line.strip_prefix("FAILED ")) {
        let place = what.split(" (").next().unwrap_or(what);
        if place.starts_with("sql-tests/") && place.contains(".slt:") {
            failures.records.insert(place.to_string());
        } else {
            failures.others.insert(what.split(':').next().unwrap_or(what).split(" (").next().unwrap_or(what).into());
        }
    }
    failures
}
