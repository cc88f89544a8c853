//! Windows: as functions over streams, and as arithmetic over tables.
//!
//! `{tumble a 10}`, `{hop a 5 10}` and `{cumulate a 5 10}` say slide or step and size in seconds, `{session a 10 k}` the gap and
//! the column by which sessions are apart; without it all rows are in the same ones.

use super::{Column, Kind, Relation, Side, Writer, columns_of};

const EPOCH: &str = "TIMESTAMP '1970-01-01 00:00:00'";

/// A table or its windows.
pub(super) fn written(table: &str, side: Side) -> String {
    let words: Vec<&str> = table.split(' ').collect();
    match (side, words.as_slice()) {
        (Side::Stream, ["tumble", table, size]) => format!("tumble({table}, ts, INTERVAL '{size} seconds')"),
        (Side::Stream, [function @ ("hop" | "cumulate"), table, step, size]) => {
            format!("{function}({table}, ts, INTERVAL '{step} seconds', INTERVAL '{size} seconds')")
        }
        (Side::Stream, ["session", table, gap]) => format!("session({table}, ts, INTERVAL '{gap} seconds')"),
        (Side::Stream, ["session", table, gap, by]) => {
            format!("session(TABLE {table} PARTITION BY {by}, ts, INTERVAL '{gap} seconds')")
        }
        (Side::Stream, _) => table.to_string(),
        (Side::Batch, ["tumble", table, size]) => hops(table, size, size),
        (Side::Batch, ["hop", table, slide, size]) => hops(table, slide, size),
        (Side::Batch, ["cumulate", table, step, size]) => cumulated(table, step, size),
        (Side::Batch, ["session", table, gap, by @ ..]) => sessions(table, gap, by.first().copied()),
        (Side::Batch, _) => format!("all_{table}"),
    }
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(1)
}

/// A row is in the window that began last, and in those before it that have not ended.
fn hops(table: &str, slide: &str, size: &str) -> String {
    let (slide, size) = (number(slide), number(size));
    let back = |i: usize| {
        let before = i * slide;
        let start = format!("date_bin(INTERVAL '{slide} seconds', ts, {EPOCH}) - INTERVAL '{before} seconds'");
        format!(
            "SELECT *, {start} AS window_start, {start} + INTERVAL '{size} seconds' AS window_end FROM all_{table} \
             WHERE ts < {start} + INTERVAL '{size} seconds'"
        )
    };
    format!("({})", (0..size.div_ceil(slide)).map(back).collect::<Vec<_>>().join(" UNION ALL "))
}

/// A row is in those windows from its last start that end behind it.
fn cumulated(table: &str, step: &str, size: &str) -> String {
    let (step, size) = (number(step), number(size));
    let start = format!("date_bin(INTERVAL '{size} seconds', ts, {EPOCH})");
    let until = |i: usize| {
        let end = format!("{start} + INTERVAL '{} seconds'", (i * step).min(size));
        format!("SELECT *, {start} AS window_start, {end} AS window_end FROM all_{table} WHERE ts < {end}")
    };
    format!("({})", (1..=size.div_ceil(step)).map(until).collect::<Vec<_>>().join(" UNION ALL "))
}

/// A session begins where the row before is further away than the gap.
fn sessions(table: &str, gap: &str, by: Option<&str>) -> String {
    let by = by.map(|by| format!("PARTITION BY {by} ")).unwrap_or_default();
    let within = if by.is_empty() { "PARTITION BY nr".to_string() } else { format!("{}, nr", by.trim_end()) };
    let gap = format!("INTERVAL '{gap} seconds'");
    let before = format!("SELECT *, lag(ts) OVER ({by}ORDER BY ts, id) AS before FROM all_{table}");
    let numbered = format!(
        "SELECT *, sum(CASE WHEN ts <= before + {gap} THEN 0 ELSE 1 END) OVER ({by}ORDER BY ts, id ROWS BETWEEN UNBOUNDED \
         PRECEDING AND CURRENT ROW) AS nr FROM ({before}) AS with_before"
    );
    format!(
        "(SELECT *, min(ts) OVER ({within}) AS window_start, max(ts) OVER ({within}) + {gap} AS window_end \
         FROM ({numbered}) AS numbered)"
    )
}

impl Writer<'_> {
    pub(super) fn window(&mut self) -> Relation {
        let table = self.one_of(&["a", "b"]);
        let size = self.one_of(&[1, 5, 10, 60]);
        let function = match self.rng.below(4) {
            0 => format!("{{tumble {table} {size}}}"),
            1 => format!("{{hop {table} {} {size}}}", self.one_of(&[3, 5])),
            2 => format!("{{cumulate {table} {size} {}}}", size * self.one_of(&[2, 3])),
            _ => format!("{{hop {table} {} {}}}", size, size * self.one_of(&[2, 3])),
        };
        let (alias, seen) = self.windows_of(table);
        let condition = self.condition(&seen, 20);
        let (more_keys, more_list, more_columns) = self.grouping(&seen);
        let from = format!("{function} AS {alias}{condition}");
        self.by_window(&from, &alias, &seen, (more_keys, more_list, more_columns))
    }

    /// Grouped by what sets its sessions apart, and nothing else.
    pub(super) fn session(&mut self) -> Relation {
        let table = self.one_of(&["a", "b"]);
        let gap = self.one_of(&[1, 3, 10]);
        let (alias, seen) = self.windows_of(table);
        let condition = self.condition(&seen, 20);
        let by = if self.chance(70) { Some(self.one_of(&[("k", Kind::Integer), ("g", Kind::Text)])) } else { None };
        let (mut keys, mut list, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        let function = match by {
            Some((by, kind)) => {
                let name = self.name("c");
                keys.push(format!("{alias}.{by}"));
                list.push(format!("{alias}.{by} AS {name}"));
                columns.push((name, kind));
                format!("{{session {table} {gap} {by}}}")
            }
            None => format!("{{session {table} {gap}}}"),
        };
        let from = format!("{function} AS {alias}{condition}");
        self.by_window(&from, &alias, &seen, (keys, list, columns))
    }

    fn windows_of(&mut self, table: &str) -> (String, Vec<Column>) {
        let alias = self.name("q");
        let seen = columns_of(table).into_iter().map(|(n, kind)| (format!("{alias}.{n}"), kind)).collect();
        (alias, seen)
    }

    fn by_window(
        &mut self,
        from: &str,
        alias: &str,
        seen: &[Column],
        (more_keys, more_list, more_columns): (Vec<String>, Vec<String>, Vec<Column>),
    ) -> Relation {
        let names = [self.name("c"), self.name("c")];
        let borders = [format!("{alias}.window_start"), format!("{alias}.window_end")];
        let mut list: Vec<String> = borders.iter().zip(&names).map(|(b, n)| format!("{b} AS {n}")).collect();
        list.extend(more_list);
        let mut columns: Vec<Column> = names.into_iter().map(|name| (name, Kind::Time)).collect();
        columns.extend(more_columns);
        let keys = borders.into_iter().chain(more_keys).collect();
        Relation { windowed: true, ..self.grouped(from, seen, keys, list, columns) }
    }
}
