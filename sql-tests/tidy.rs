//! Rules for the source tree that no compiler holds. Each is a function from a file to the places that break it.
//!
//! The rules read text, not syntax: rustfmt has made the layout regular (CI checks that first), so lines are enough.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tally::Tally;

/// The rooms of `src/`, from the top of the house to its ground. A room imports only from those behind it.
const ROOMS: &[&[&str]] = &[
    &["cli"],
    &["server"],
    &["session"],
    &["pipeline"],
    &["table"],
    &["checkpoint"],
    &["dataflow"],
    &["operator"],
    &["state"],
    &["plan"],
    &["catalog"],
    &["connector"],
    &["format"],
    &["sql"],
    &["store"],
    &["change"],
    &["error", "clock", "failpoint", "memory", "metrics", "types"],
];

/// Crates that only some folders may name.
const CONFINED: &[(&str, &[&str])] = &[
    ("pgwire", &["src/server/"]),
    ("axum", &["src/server/"]),
    ("rdkafka", &["src/connector/kafka/", "sql-tests/kafka/", "benches/"]),
    ("arrow_avro", &["src/format/avro/"]),
    ("arrow_ipc", &["src/change/"]),
    ("ureq", &["src/connector/schema_registry.rs"]),
    ("rocksdb", &["src/state/"]),
    ("object_store", &["src/store/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("comfy_table", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
];

/// Text that non-test code must not hold, and the remedy. Clippy denies the like; this also sees macros and new lints'
/// gaps.
const BANNED: &[(&str, &str)] = &[
    (".unwrap()", "return an Error"),
    (".expect(\"", "return an Error"),
    ("panic!(", "return an Error"),
    ("todo!(", "do it or refuse it"),
    ("unimplemented!(", "refuse it with Error::unsupported"),
    ("dbg!(", "use tracing"),
    ("rand::", "chance is an input: take a seed"),
    ("thread_rng", "chance is an input: take a seed"),
];

/// Text that no file may hold at all.
const BANNED_EVERYWHERE: &[(&str, &str)] =
    &[("TODO", "finish it, or write it down in docs/"), ("FIXME", "fix it"), ("XXX:", "say it in words")];

/// Rooms at and above which the machine's clock may be read (with an `#[expect]` that gives the reason).
const TIMED: &[&str] = &["src/clock.rs", "src/pipeline/", "src/server/", "src/cli/", "src/connector/kafka/"];

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 100;

/// A text file of the tree.
struct File {
    /// From the root, with slashes.
    path: String,
    text: String,
}

impl File {
    /// Code lines with their numbers: no comments, and nothing from `#[cfg(test)] mod` at the file's end on.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.tests_from();
        self.lines().filter(move |(n, l)| *n < tests && !l.trim_start().starts_with("//"))
    }

    /// All lines that are no comments, tests too.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, l)| (i + 1, l))
    }

    /// The line where the file's tests begin.
    fn tests_from(&self) -> usize {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return 0;
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let begins = |w: &[&str]| w[0] == "#[cfg(test)]" && (w[1].starts_with("mod ") || w[1].starts_with("pub mod "));
        lines.windows(2).position(begins).map_or(usize::MAX, |i| i + 1)
    }

    fn is_src(&self) -> bool {
        self.path.starts_with("src/")
    }

    fn at(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

type Rule = (&'static str, fn(&File, &mut Vec<String>));

/// Rules for every Rust file.
const RULES: &[Rule] = &[
    ("imports_point_down", imports_point_down),
    ("crates_stay_in_their_rooms", crates_stay_in_their_rooms),
    ("nothing_banned", nothing_banned),
    ("time_comes_from_outside", time_comes_from_outside),
    ("files_are_short", files_are_short),
    ("functions_are_short", functions_are_short),
    ("folders_introduce_themselves", folders_introduce_themselves),
    ("no_utils", no_utils),
];

pub fn run(tally: &mut Tally) {
    let root = &crate::root();
    let rust = read_tree(root, &["src", "sql-tests", "benches"], "rs");
    for (name, rule) in RULES {
        let test = format!("tidy::{name}");
        if tally.wants(&test) {
            let mut broken = Vec::new();
            rust.iter().for_each(|f| rule(f, &mut broken));
            tally.count(&test, verdict(broken));
        }
    }
    let mut documents = read_tree(root, &["docs"], "md");
    documents.extend(read_file(root, &root.join("README.md")));
    if tally.wants("tidy::links_resolve") {
        let mut broken = Vec::new();
        documents.iter().for_each(|f| links_resolve(root, f, &mut broken));
        tally.count("tidy::links_resolve", verdict(broken));
    }
    if tally.wants("tidy::dependencies_have_reasons") {
        tally.count("tidy::dependencies_have_reasons", dependencies_have_reasons(root));
    }
}

fn verdict(broken: Vec<String>) -> Result<(), String> {
    if broken.is_empty() { Ok(()) } else { Err(format!("{} places\n  {}", broken.len(), broken.join("\n  "))) }
}

fn imports_point_down(file: &File, broken: &mut Vec<String>) {
    let Some(room) = file.path.strip_prefix("src/").and_then(|p| p.split(['/', '.']).next()) else { return };
    let Some(level) = ROOMS.iter().position(|level| level.contains(&room)) else {
        if !["lib", "main"].contains(&room) {
            broken.push(file.at(1, format_args!("room \"{room}\" has no place in the order of rooms")));
        }
        return;
    };
    for (number, line) in file.code() {
        for named in line.split("crate::").skip(1) {
            let other: String = named.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let other_level = ROOMS.iter().position(|level| level.contains(&other.as_str()));
            if other != room && other_level.is_some_and(|o| o <= level && !(o == level && level + 1 == ROOMS.len())) {
                broken.push(file.at(number, format_args!("{room} imports {other}, which stands above it")));
            }
        }
    }
}

fn crates_stay_in_their_rooms(file: &File, broken: &mut Vec<String>) {
    for (name, rooms) in CONFINED {
        if rooms.iter().any(|room| file.path.starts_with(room)) {
            continue;
        }
        for (number, line) in file.code().filter(|(_, l)| names_crate(l, name)) {
            broken.push(file.at(number, format_args!("{name} is named only in {}: {}", rooms.join(", "), line.trim())));
        }
    }
}

/// Whether `line` has the path `name::` at a word's beginning.
fn names_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '"'))
}

fn nothing_banned(file: &File, broken: &mut Vec<String>) {
    // This file names what it bans.
    if file.path == "sql-tests/tidy.rs" {
        return;
    }
    for (number, line) in file.lines() {
        for (text, remedy) in BANNED_EVERYWHERE.iter().filter(|(text, _)| line.contains(text)) {
            broken.push(file.at(number, format_args!("{text}: {remedy}")));
        }
    }
    for (number, line) in file.code().filter(|_| file.is_src()) {
        for (text, remedy) in BANNED.iter().filter(|(text, _)| line.contains(text)) {
            broken.push(file.at(number, format_args!("{text}: {remedy}")));
        }
    }
}

fn time_comes_from_outside(file: &File, broken: &mut Vec<String>) {
    if !file.is_src() || TIMED.iter().any(|room| file.path.starts_with(room)) {
        return;
    }
    for (number, line) in file.code() {
        if ["SystemTime::now", "Instant::now", "thread::sleep", "time::sleep", "Utc::now", "Local::now"]
            .iter()
            .any(|text| line.contains(text))
        {
            broken.push(file.at(number, "time is an input: take a Clock"));
        }
    }
}

fn files_are_short(file: &File, broken: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if lines > MAX_FILE_LINES {
        broken.push(file.at(lines, format_args!("{lines} lines, more than {MAX_FILE_LINES}: one concept a file")));
    }
}

/// A function begins at a line with `fn` and ends at the brace that stands as far left as it.
fn functions_are_short(file: &File, broken: &mut Vec<String>) {
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in file.code() {
        match &open {
            Some((from, closing, name)) if line == closing => {
                let lines = number - from + 1;
                if lines > MAX_FUNCTION_LINES {
                    broken
                        .push(file.at(*from, format_args!("{name} has {lines} lines, more than {MAX_FUNCTION_LINES}")));
                }
                open = None;
            }
            Some(_) => {}
            None => {
                if let Some(name) = function_name(line).filter(|_| !line.trim_end().ends_with(['}', ';'])) {
                    let indent = &line[..line.len() - line.trim_start().len()];
                    open = Some((number, format!("{indent}}}"), name.to_string()));
                }
            }
        }
    }
}

/// The name of the function that `line` begins to define.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    let only_modifiers = before.split_whitespace().all(|w| modifiers.contains(&w) || w.starts_with("pub(in"));
    let name = after.split(['(', '<']).next()?;
    (only_modifiers && !name.is_empty()).then_some(name)
}

fn folders_introduce_themselves(file: &File, broken: &mut Vec<String>) {
    if file.is_src() && (file.path.ends_with("/mod.rs") || file.path == "src/lib.rs") && !file.text.starts_with("//! ")
    {
        broken.push(file.at(1, "open with `//!`: what lives here, what does not, how data flows, what stays true"));
    }
}

fn no_utils(file: &File, broken: &mut Vec<String>) {
    let vague = |part: &str| ["util", "utils", "helpers", "common", "misc"].contains(&part);
    if file.path.trim_end_matches(".rs").split('/').any(vague) {
        broken.push(file.at(1, "name it after what it does"));
    }
}

/// Every relative link of a document leads to a file.
fn links_resolve(root: &Path, file: &File, broken: &mut Vec<String>) {
    for (number, line) in file.lines() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
            if !root.join(folder).join(target).exists() {
                broken.push(file.at(number, format_args!("the link to {target} leads nowhere")));
            }
        }
    }
}

/// Every dependency of Cargo.toml is explained in docs/internals/dependencies.md.
fn dependencies_have_reasons(root: &Path) -> Result<(), String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"));
    let (manifest, reasons) = (read("Cargo.toml")?, read("docs/internals/dependencies.md")?);
    let mut section = "";
    let mut missing = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once(" = ")
            && !name.starts_with(' ')
            && !reasons.contains(&format!("`{name}`"))
        {
            missing.push(format!("{name} has no reason in docs/internals/dependencies.md"));
        }
    }
    verdict(missing)
}

/// All files with that extension in the folders, in the order of their names.
fn read_tree(root: &Path, folders: &[&str], extension: &str) -> Vec<File> {
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| collect(&root.join(folder), extension, &mut paths));
    paths.sort();
    paths.iter().filter_map(|path| read_file(root, path)).collect()
}

fn read_file(root: &Path, path: &Path) -> Option<File> {
    let text = fs::read_to_string(path).ok()?;
    let path = path.strip_prefix(root).ok()?.to_string_lossy().replace('\\', "/");
    Some(File { path, text })
}

fn collect(folder: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|e| e.ok().map(|e| e.path())) {
        if path.is_dir() {
            collect(&path, extension, paths);
        } else if path.extension().is_some_and(|e| e == extension) {
            paths.push(path);
        }
    }
}
