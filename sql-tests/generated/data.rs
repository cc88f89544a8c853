//! Random inputs: two streams that only grow and a table whose rows come, change and go.
//!
//! Values are drawn from few (many duplicates, many partners) or many, with and without nulls. Rows of the streams lie up to
//! [`OUT_OF_ORDER_MS`] out of order, which is less than what their watermarks allow, so no row is late.

use std::fmt::Write;
use std::path::Path;

use crate::variant::Rng;

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
    pub fn draw(rng: &mut Rng) -> Values {
        Values {
            keys: [2, 5, 30][rng.below(3)],
            range: [3, 100, 1_000_000][rng.below(3)],
            nulls: [0, 10, 30][rng.below(3)],
        }
    }

    fn or_null(&self, rng: &mut Rng, value: String) -> String {
        if rng.below(100) < self.nulls { "null".into() } else { value }
    }

    pub fn integer(&self, rng: &mut Rng) -> i64 {
        rng.below(2 * self.range + 1) as i64 - self.range as i64
    }

    pub fn text(rng: &mut Rng) -> &'static str {
        ["x", "y", "zz", "X", "", "x%"][rng.below(6)]
    }

    /// The members of a row's JSON behind `id`, without a time.
    fn members(&self, rng: &mut Rng, numeric: bool) -> String {
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

/// The inputs of one query.
pub struct Data {
    a: String,
    b: String,
    c: String,
    /// How many rows `a`, `b` and `c` have in the end.
    pub rows: [usize; 3],
}

impl Data {
    pub fn draw(rng: &mut Rng, values: &Values) -> Data {
        let counts: [usize; 3] =
            std::array::from_fn(|_| if rng.below(40) == 0 { 0 } else { 5 + rng.below(MAX_ROWS - 4) });
        let (a, b) = (stream(rng, values, counts[0], true), stream(rng, values, counts[1], false));
        let (c, live) = changes(rng, values, counts[2]);
        Data { a, b, c, rows: [counts[0], counts[1], live] }
    }

    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        [("a.jsonl", &self.a), ("b.jsonl", &self.b), ("c.jsonl", &self.c)]
            .into_iter()
            .try_for_each(|(name, text)| std::fs::write(dir.join(name), text))
    }
}

fn stream(rng: &mut Rng, values: &Values, rows: usize, wide: bool) -> String {
    let mut text = String::new();
    let (step_ms, grain_ms) = ([0, 300, 3_000][rng.below(3)], [1, 500, 5_000][rng.below(3)]);
    let mut now_ms = rng.below(20_000);
    for id in 0..rows {
        now_ms += rng.below(step_ms + 1);
        // Later than the latest allowed, a time would make others late.
        let ts_ms = (now_ms + rng.below(OUT_OF_ORDER_MS + 1)).next_multiple_of(grain_ms).min(now_ms + OUT_OF_ORDER_MS);
        let members = values.members(rng, wide);
        let _ = write!(text, "{{\"id\":{id},{members}");
        if wide {
            let quarters = values.integer(rng) as f64 / 4.0;
            let quarters = values.or_null(rng, format!("{quarters:?}"));
            let _ = write!(text, ",\"d\":{quarters}");
        }
        let (minutes, seconds, ms) = (ts_ms / 60_000, ts_ms / 1_000 % 60, ts_ms % 1_000);
        let _ = writeln!(text, ",\"ts\":\"2020-01-01 00:{minutes:02}:{seconds:02}.{ms:03}\"}}");
    }
    text
}

/// Change events, and how many rows are left of them.
fn changes(rng: &mut Rng, values: &Values, events: usize) -> (String, usize) {
    let mut text = String::new();
    let mut live: Vec<(usize, String)> = Vec::new();
    for id in 0..events {
        let chance = if live.is_empty() { 0 } else { rng.below(10) };
        let row = format!("{{\"id\":{id},{}}}", values.members(rng, true));
        let event = match chance {
            0..6 => {
                live.push((id, row.clone()));
                format!("{{\"before\":null,\"after\":{row},\"op\":\"c\"}}")
            }
            6..8 => {
                let index = rng.below(live.len());
                let (id, old) = &mut live[index];
                let new = format!("{{\"id\":{id},{}}}", values.members(rng, true));
                let old = std::mem::replace(old, new.clone());
                format!("{{\"before\":{old},\"after\":{new},\"op\":\"u\"}}")
            }
            _ => {
                let index = rng.below(live.len());
                let (_, old) = live.swap_remove(index);
                format!("{{\"before\":{old},\"after\":null,\"op\":\"d\"}}")
            }
        };
        let _ = writeln!(text, "{event}");
    }
    (text, live.len())
}
