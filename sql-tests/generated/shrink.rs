//! From a failure to the smallest query over the fewest rows that fails likewise, kept as a script.

use std::fmt::Write;
use std::path::PathBuf;

use super::data::{Data, SOURCES};
use super::query::Side;
use super::streaming::Case;

/// Tries before it stays as it is: each takes a fraction of a second.
const TRIES: usize = 400;

/// Where scripts are kept that generated statements have found.
fn folder() -> PathBuf {
    crate::script::folder().join("generated/cases")
}

/// Shrinks a case that fails for the reason `why`, writes it down, and says where.
pub async fn keep(seed: u64, case: &Case, why: &str) -> Result<String, String> {
    let mut search = Search { sort: sort(why), tries: 0 };
    let mut smallest = Case::with_data(case, case.data.clone());
    loop {
        let before = size(&smallest);
        smallest = search.fewer_rows(smallest).await;
        smallest = search.simpler_query(smallest).await;
        if size(&smallest) >= before || search.tries >= TRIES {
            break;
        }
    }
    let script = script(seed, &smallest, why).await?;
    let path = folder().join(format!("seed_{seed}.slt"));
    std::fs::create_dir_all(folder()).map_err(|e| e.to_string())?;
    std::fs::write(&path, &script).map_err(|e| e.to_string())?;
    Ok(format!("kept as {} after {} tries:\n{script}", path.display(), search.tries))
}

/// What makes two failures alike: how the message begins, without the way it was run in.
fn sort(why: &str) -> String {
    let message = why.lines().nth(1).or_else(|| why.lines().next()).unwrap_or_default();
    message.chars().take(12).collect()
}

fn size(case: &Case) -> usize {
    case.data.a.len() + case.data.b.len() + case.data.c.len() + case.query.text(Side::Stream).len()
}

struct Search {
    /// Of the failure that is wanted.
    sort: String,
    tries: usize,
}

impl Search {
    /// `Err` gives the larger case back.
    async fn smaller(&mut self, large: &Case, small: Case) -> Option<Case> {
        if self.tries >= TRIES || size(&small) >= size(large) {
            return None;
        }
        self.tries += 1;
        let failure = small.failure().await?;
        (sort(&failure) == self.sort).then_some(small)
    }

    /// Leaves out rows: half of a table, then a quarter, in the end one by one. What happens to a row of `c` goes together.
    async fn fewer_rows(&mut self, mut case: Case) -> Case {
        for table in 0..3 {
            let mut part = rows(&case.data, table).len().div_ceil(2);
            while part > 0 {
                let mut from = 0;
                while from < rows(&case.data, table).len() {
                    let ids = rows(&case.data, table);
                    let gone = &ids[from..(from + part).min(ids.len())];
                    let fewer = case.with_data(without(&case.data, table, gone));
                    match self.smaller(&case, fewer).await {
                        Some(smaller) => case = smaller,
                        None => from += part,
                    }
                }
                part = if part == 1 { 0 } else { part.div_ceil(2) };
            }
        }
        case
    }

    /// Takes choices away, or takes the first of what there was to choose from.
    async fn simpler_query(&mut self, mut case: Case) -> Case {
        for part in [16, 8, 4, 2, 1] {
            let mut from = 0;
            while from < case.choices.len() {
                let to = (from + part).min(case.choices.len());
                let mut less = case.choices.clone();
                less.drain(from..to);
                let mut first = case.choices.clone();
                first[from..to].fill(0);
                let mut found = None;
                for choices in [less, first] {
                    if found.is_none() && choices != case.choices {
                        found = self.smaller(&case, case.with_choices(choices)).await;
                    }
                }
                match found {
                    Some(smaller) => case = smaller,
                    None => from += part,
                }
            }
        }
        case
    }
}

/// What rows a table has, by their places or ids.
fn rows(data: &Data, table: usize) -> Vec<usize> {
    match table {
        0 => (0..data.a.len()).collect(),
        1 => (0..data.b.len()).collect(),
        _ => {
            let mut ids: Vec<usize> = data.c.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        }
    }
}

fn without(data: &Data, table: usize, gone: &[usize]) -> Data {
    let kept = |lines: &[String]| -> Vec<String> {
        let lines = lines.iter().enumerate().filter(|(place, _)| !gone.contains(place));
        lines.map(|(_, line)| line.clone()).collect()
    };
    let mut data = data.clone();
    match table {
        0 => data.a = kept(&data.a),
        1 => data.b = kept(&data.b),
        _ => data.c.retain(|(id, _)| !gone.contains(id)),
    }
    data
}

/// The case as a script, with the answer of the batch query.
async fn script(seed: u64, case: &Case, why: &str) -> Result<String, String> {
    let mut text = String::from("# stateless\n");
    let why: Vec<&str> = why.lines().take(2).collect();
    let _ = writeln!(text, "# Found by generated statements, seed {seed}: {}\n", why.join(": "));
    for (name, content) in case.data.files() {
        let _ = writeln!(text, "file {name}\n{content}");
    }
    for source in SOURCES {
        let _ = writeln!(text, "statement ok\n{source};\n");
    }
    let query = case.query.text(Side::Stream);
    let _ = writeln!(text, "statement ok\nCREATE MATERIALIZED VIEW answer AS\n{query};\n");
    let expected = case.expected().await?;
    let mut rows: Vec<Vec<&str>> = expected.iter().map(|row| row.split(" | ").collect()).collect();
    rows.sort();
    let types = "T".repeat(rows.first().map_or(1, Vec::len));
    let rows: String = rows.into_iter().map(|row| row.join(" ") + "\n").collect();
    let _ = writeln!(text, "query {types} rowsort\nSELECT * FROM answer;\n----\n{rows}");
    Ok(text)
}
