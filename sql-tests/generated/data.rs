//! Random inputs: two streams that only grow and a table whose rows come, change and go.
//!
//! Values are drawn from few (many duplicates, many partners) or many, with and without nulls. Rows of the streams lie up to
//! [`OUT_OF_ORDER_MS`] out of order, which is less than what their watermarks allow, so no row is late.

use std::fmt::Write;
use std::path::Path;

use super::choices::Choices;

/// The sources over the files.
pub const SOURCES: [&str; 3] = [
    "CREATE SOURCE a (id INT, k INT, g TEXT, v INT, n NUMERIC(10,2), d DOUBLE PRECISION, ts TIMESTAMP(3), \
     WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) \
     WITH ('connector' = 'file', 'path' = '$DIR/a.jsonl', 'format' = 'json')",
    "CREATE SOURCE b (id INT, k INT, g TEXT, v INT, ts TIMESTAMP(3), \
     WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) \
     WITH ('connector' = 'file', 'path' = '$DIR/b.jsonl', 'format' = 'json')",
    "CREATE SOURCE c (id INT, k INT, g TEXT, v INT, n NUMERIC(10,2)) \
     WITH ('connector' = 'file', 'path' = '$DIR/c.jsonl', 'format' = 'debezium-json')",
];

const OUT_OF_ORDER_MS: usize = 9_999;
const MAX_ROWS: usize = 40;

/// What the columns' values are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Values {
    /// `k` is below this.
    pub keys: usize,
    /// `v` lies between minus this and this.
    pub range: usize,
    /// Of a hundred values this many are null.
    nulls: usize,
}

impl Values {
    pub fn draw(rng: &mut Choices) -> Values {
        Values {
            keys: [2, 5, 30][rng.below(3)],
            range: [3, 100, 1_000_000][rng.below(3)],
            nulls: [0, 10, 30][rng.below(3)],
        }
    }

    fn or_null(&self, rng: &mut Choices, value: String) -> String {
        if rng.below(100) < self.nulls { "null".into() } else { value }
    }

    pub fn integer(&self, rng: &mut Choices) -> i64 {
        rng.below(2 * self.range + 1) as i64 - self.range as i64
    }

    pub fn text(rng: &mut Choices) -> &'static str {
        ["x", "y", "zz", "X", "", "x%"][rng.below(6)]
    }

    /// The members of a row's JSON behind `id`, without a time.
    fn members(&self, rng: &mut Choices, numeric: bool) -> String {
        let key = rng.below(self.keys).to_string();
        let key = self.or_null(rng, key);
        let text = format!("\"{}\"", Self::text(rng));
        let text = self.or_null(rng, text);
        let value = self.integer(rng).to_string();
        let value = self.or_null(rng, value);
        let mut members = format!("\"k\":{key},\"g\":{text},\"v\":{value}");
        if numeric {
            let cents = self.integer(rng);
            let number = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
            let number = self.or_null(rng, number);
            let _ = write!(members, ",\"n\":{number}");
        }
        members
    }
}

/// The inputs of one query: lines of their files.
#[derive(Debug, Clone)]
pub struct Data {
    pub a: Vec<String>,
    pub b: Vec<String>,
    /// What happens to each row of `c`, by its id.
    pub c: Vec<(usize, String)>,
}

impl Data {
    pub fn draw(rng: &mut Choices, values: &Values) -> Data {
        let counts: [usize; 3] =
            std::array::from_fn(|_| if rng.below(40) == 1 { 0 } else { 5 + rng.below(MAX_ROWS - 4) });
        let (a, b) = (stream(rng, values, counts[0], true), stream(rng, values, counts[1], false));
        Data { a, b, c: changes(rng, values, counts[2]) }
    }

    /// Name and content of each file.
    pub fn files(&self) -> [(&'static str, String); 3] {
        let c = self.c.iter().map(|(_, line)| line.as_str()).collect();
        [("a.jsonl", self.a.concat()), ("b.jsonl", self.b.concat()), ("c.jsonl", c)]
    }

    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        self.files().into_iter().try_for_each(|(name, text)| std::fs::write(dir.join(name), text))
    }

    /// How many rows `a`, `b` and `c` have in the end.
    pub fn rows(&self) -> [usize; 3] {
        let (came, went): (Vec<&str>, Vec<&str>) = self
            .c
            .iter()
            .map(|(_, line)| line.as_str())
            .filter(|line| !line.contains("\"op\":\"u\""))
            .partition(|line| line.contains("\"op\":\"c\""));
        [self.a.len(), self.b.len(), came.len() - went.len()]
    }
}

fn stream(rng: &mut Choices, values: &Values, rows: usize, wide: bool) -> Vec<String> {
    let mut lines = Vec::with_capacity(rows);
    let (step_ms, grain_ms) = ([0, 300, 3_000][rng.below(3)], [1, 500, 5_000][rng.below(3)]);
    let mut now_ms = rng.below(20_000);
    for id in 0..rows {
        now_ms += rng.below(step_ms + 1);
        // Later than the latest allowed, a time would make others late.
        let ts_ms = (now_ms + rng.below(OUT_OF_ORDER_MS + 1)).next_multiple_of(grain_ms).min(now_ms + OUT_OF_ORDER_MS);
        let members = values.members(rng, wide);
        let mut text = format!("{{\"id\":{id},{members}");
        if wide {
            let quarters = values.integer(rng) as f64 / 4.0;
            let quarters = values.or_null(rng, format!("{quarters:?}"));
            let _ = write!(text, ",\"d\":{quarters}");
        }
        let (minutes, seconds, ms) = (ts_ms / 60_000, ts_ms / 1_000 % 60, ts_ms % 1_000);
        let _ = writeln!(text, ",\"ts\":\"2020-01-01 00:{minutes:02}:{seconds:02}.{ms:03}\"}}");
        lines.push(text);
    }
    lines
}

/// Change events, each with the id of its row.
fn changes(rng: &mut Choices, values: &Values, events: usize) -> Vec<(usize, String)> {
    let mut lines = Vec::with_capacity(events);
    let mut live: Vec<(usize, String)> = Vec::new();
    for id in 0..events {
        let chance = if live.is_empty() { 0 } else { rng.below(10) };
        let row = format!("{{\"id\":{id},{}}}", values.members(rng, true));
        let (id, event) = match chance {
            0..6 => {
                live.push((id, row.clone()));
                (id, format!("{{\"before\":null,\"after\":{row},\"op\":\"c\"}}"))
            }
            6..8 => {
                let index = rng.below(live.len());
                let (id, old) = &mut live[index];
                let new = format!("{{\"id\":{id},{}}}", values.members(rng, true));
                let old = std::mem::replace(old, new.clone());
                (*id, format!("{{\"before\":{old},\"after\":{new},\"op\":\"u\"}}"))
            }
            _ => {
                let index = rng.below(live.len());
                let (id, old) = live.swap_remove(index);
                (id, format!("{{\"before\":{old},\"after\":null,\"op\":\"d\"}}"))
            }
        };
        lines.push((id, format!("{event}\n")));
    }
    lines
}
