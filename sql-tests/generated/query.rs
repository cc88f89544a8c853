//! Random queries, as text: relations over relations, each of one of the shapes that streaming queries have.
//!
//! What the streaming form and the batch form write differently stands in braces: `{a}` is a table, `{tumble a 10}` are
//! windows of it ([`windows`]). Whatever the shape, the rows of an answer follow from the rows of the tables: numbering and
//! limits order by a unique key last.

use super::choices::Choices;
use super::data::Values;

/// Joins a query may have: each multiplies rows.
const MAX_JOINS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Over the sources.
    Stream,
    /// Over views `all_*` that hold the final tables.
    Batch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    /// Counts and sums of integers.
    Big,
    Numeric,
    Double,
    Text,
    Time,
}

impl Kind {
    fn is_number(self) -> bool {
        !matches!(self, Kind::Text | Kind::Time)
    }
}

type Column = (String, Kind);

/// A SELECT, not in parentheses, whose columns have names that no other relation has.
struct Relation {
    text: String,
    columns: Vec<Column>,
    /// Columns of which no two rows have the same values.
    key: Option<Vec<String>>,
    windowed: bool,
}

pub struct Query {
    text: String,
    emit: &'static str,
}

impl Query {
    pub fn draw(rng: &mut Choices, values: Values) -> Query {
        let mut writer = Writer { rng, values, names: 0, joins: 0 };
        let depth = 1 + writer.rng.below(3);
        let relation = writer.relation(depth);
        let emits: &[&str] = match relation.windowed {
            true => &["", "EMIT ON UPDATE", "EMIT ON WINDOW CLOSE"],
            false => &["", "", "EMIT ON UPDATE"],
        };
        Query { emit: writer.one_of(emits), text: relation.text }
    }

    pub fn text(&self, side: Side) -> String {
        let mut text = String::new();
        let mut parts = self.text.split(['{', '}']);
        while let Some(plain) = parts.next() {
            text.push_str(plain);
            if let Some(table) = parts.next() {
                text.push_str(&windows::written(table, side));
            }
        }
        match side {
            Side::Stream if !self.emit.is_empty() => format!("{text} {}", self.emit),
            _ => text,
        }
    }
}

struct Writer<'a> {
    rng: &'a mut Choices,
    values: Values,
    names: usize,
    joins: usize,
}

impl Writer<'_> {
    fn chance(&mut self, percent: usize) -> bool {
        self.rng.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.below(choices.len())]
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn relation(&mut self, depth: usize) -> Relation {
        if depth == 0 {
            return self.base();
        }
        match self.rng.below(22) {
            0..3 => self.projection(depth),
            3..7 => self.group(depth),
            7..10 => self.window(),
            10..11 => self.session(),
            11..15 if self.joins < MAX_JOINS => self.join(depth),
            15..16 if self.joins < MAX_JOINS => self.interval_join(),
            16..17 if self.joins < MAX_JOINS => self.existence(depth),
            17..18 if self.joins < MAX_JOINS => self.comparison(depth),
            18..19 => self.set_operation(depth),
            19..20 => self.distinct(depth),
            20..22 => self.top_n(depth),
            _ => self.group(depth),
        }
    }

    fn table(&mut self) -> (&'static str, Vec<Column>) {
        let table = self.one_of(&["a", "b", "c", "c"]);
        (table, columns_of(table))
    }

    fn base(&mut self) -> Relation {
        let (table, columns) = self.table();
        let named: Vec<(String, Column)> = columns.into_iter().map(|(n, kind)| (n, (self.name("c"), kind))).collect();
        let list: Vec<String> = named.iter().map(|(old, (new, _))| format!("{old} AS {new}")).collect();
        let text = format!("SELECT {} FROM {{{table}}}", list.join(", "));
        let key = named.first().map(|(_, (id, _))| vec![id.clone()]);
        Relation { text, key, columns: named.into_iter().map(|(_, column)| column).collect(), windowed: false }
    }

    /// The relation as an item of FROM, and its columns as seen through the item's name.
    fn item(&mut self, relation: &Relation) -> (String, Vec<Column>) {
        let alias = self.name("q");
        let seen = relation.columns.iter().map(|(name, kind)| (format!("{alias}.{name}"), *kind)).collect();
        (format!("({}) AS {alias}", relation.text), seen)
    }

    /// WHERE, mostly.
    fn condition(&mut self, columns: &[Column], percent: usize) -> String {
        if self.chance(percent) { format!(" WHERE {}", self.predicate(columns, 2)) } else { String::new() }
    }

    fn projection(&mut self, depth: usize) -> Relation {
        let input = self.relation(depth - 1);
        let (item, seen) = self.item(&input);
        let keeps_key = self.chance(60);
        let mut list = Vec::new();
        let (mut columns, mut key) = (Vec::new(), Vec::new());
        for ((name, kind), (reference, _)) in input.columns.iter().zip(&seen) {
            let is_key = input.key.as_ref().is_some_and(|key| key.contains(name));
            if is_key && keeps_key {
                key.push(name.clone());
            } else if self.chance(35) && (keeps_key || !columns.is_empty()) {
                continue;
            }
            list.push(format!("{reference} AS {name}"));
            columns.push((name.clone(), *kind));
        }
        for _ in 0..self.rng.below(3) {
            let (text, kind) = self.expression(&seen);
            let name = self.name("c");
            list.push(format!("{text} AS {name}"));
            columns.push((name, kind));
        }
        if list.is_empty() {
            return input;
        }
        let condition = self.condition(&seen, 50);
        let text = format!("SELECT {} FROM {item}{condition}", list.join(", "));
        let key = (keeps_key && input.key.is_some()).then_some(key);
        Relation { text, columns, key, windowed: false }
    }

    fn group(&mut self, depth: usize) -> Relation {
        let input = self.relation(depth - 1);
        let (item, seen) = self.item(&input);
        let condition = self.condition(&seen, 20);
        let (keys, list, columns) = self.grouping(&seen);
        self.grouped(&format!("{item}{condition}"), &seen, keys, list, columns)
    }

    /// Up to two keys: their texts, the SELECT list and the columns that they make.
    fn grouping(&mut self, seen: &[Column]) -> (Vec<String>, Vec<String>, Vec<Column>) {
        let (mut keys, mut list, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..[0, 1, 1, 1, 2][self.rng.below(5)] {
            let (reference, kind) = seen[self.rng.below(seen.len())].clone();
            if kind == Kind::Double {
                continue;
            }
            let text = if kind == Kind::Integer && self.chance(30) { format!("{reference} % 3") } else { reference };
            let name = self.name("c");
            list.push(format!("{text} AS {name}"));
            columns.push((name, kind));
            keys.push(text);
        }
        (keys, list, columns)
    }

    /// GROUP BY with aggregates behind the keys of `list`.
    fn grouped(
        &mut self,
        from: &str,
        seen: &[Column],
        keys: Vec<String>,
        mut list: Vec<String>,
        mut columns: Vec<Column>,
    ) -> Relation {
        let key = columns.iter().map(|(name, _)| name.clone()).collect();
        for _ in 0..1 + self.rng.below(3) {
            let (text, kind) = self.aggregate(seen);
            let name = self.name("c");
            list.push(format!("{text} AS {name}"));
            columns.push((name, kind));
        }
        let grouping = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let having = match self.rng.below(5) {
            0 => format!(" HAVING count(*) > {}", self.rng.below(3)),
            _ => String::new(),
        };
        let text = format!("SELECT {} FROM {from}{grouping}{having}", list.join(", "));
        Relation { text, columns, key: Some(key), windowed: false }
    }

    fn aggregate(&mut self, seen: &[Column]) -> (String, Kind) {
        let filter = match self.chance(20) {
            true => format!(" FILTER (WHERE {})", self.predicate(seen, 1)),
            false => String::new(),
        };
        let (reference, kind) = seen[self.rng.below(seen.len())].clone();
        let distinct = if self.chance(20) { "DISTINCT " } else { "" };
        let (text, kind) = match self.rng.below(6) {
            0 => ("count(*)".into(), Kind::Big),
            1 => (format!("count({distinct}{reference})"), Kind::Big),
            2 => (format!("min({reference})"), kind),
            3 => (format!("max({reference})"), kind),
            4 if kind.is_number() => {
                let sum = if kind == Kind::Integer { Kind::Big } else { kind };
                (format!("sum({distinct}{reference})"), if kind == Kind::Big { Kind::Numeric } else { sum })
            }
            5 if kind.is_number() => {
                (format!("avg({distinct}{reference})"), if kind == Kind::Double { kind } else { Kind::Numeric })
            }
            _ => ("count(*)".into(), Kind::Big),
        };
        (format!("{text}{filter}"), kind)
    }

    /// Equalities of columns of the same kind, and sometimes more.
    fn on(&mut self, left: &[Column], right: &[Column]) -> String {
        let pairs: Vec<(&Column, &Column)> = left
            .iter()
            .flat_map(|l| right.iter().map(move |r| (l, r)))
            .filter(|(l, r)| l.1 == r.1 && l.1 != Kind::Double)
            .collect();
        let both: Vec<Column> = left.iter().chain(right).cloned().collect();
        if pairs.is_empty() {
            return self.predicate(&both, 1);
        }
        let (l, r) = pairs[self.rng.below(pairs.len())];
        let mut on = match self.chance(15) {
            true => format!("{} IS NOT DISTINCT FROM {}", l.0, r.0),
            false => format!("{} = {}", l.0, r.0),
        };
        if self.chance(30) {
            on = format!("{on} AND {}", self.predicate(&both, 1));
        }
        on
    }

    fn join(&mut self, depth: usize) -> Relation {
        self.joins += 1;
        let (left, right) = (self.relation(depth - 1), self.second(depth));
        let ((left_item, l), (right_item, r)) = (self.item(&left), self.item(&right));
        let kind = self.one_of(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let on = self.on(&l, &r);
        let columns: Vec<Column> = left.columns.iter().chain(&right.columns).cloned().collect();
        let seen: Vec<Column> = l.into_iter().chain(r).collect();
        let list: Vec<String> = seen.iter().zip(&columns).map(|((r, _), (n, _))| format!("{r} AS {n}")).collect();
        let condition = self.condition(&seen, 20);
        let text = format!("SELECT {} FROM {left_item} {kind} {right_item} ON {on}{condition}", list.join(", "));
        let key = match (left.key, right.key) {
            (Some(left), Some(right)) if kind != "FULL JOIN" => Some(left.into_iter().chain(right).collect()),
            _ => None,
        };
        Relation { text, columns, key, windowed: false }
    }

    /// The second input of a query of that depth: often a table.
    fn second(&mut self, depth: usize) -> Relation {
        if self.chance(50) { self.base() } else { self.relation(depth - 1) }
    }

    fn interval_join(&mut self) -> Relation {
        self.joins += 1;
        let (left, right) = (self.one_of(&["a", "b"]), self.one_of(&["a", "b"]));
        let (l, r) = (self.name("q"), self.name("q"));
        let qualified = |alias: &str, table: &str| -> Vec<Column> {
            columns_of(table).into_iter().map(|(name, kind)| (format!("{alias}.{name}"), kind)).collect()
        };
        let (left_seen, right_seen) = (qualified(&l, left), qualified(&r, right));
        let seen: Vec<Column> = left_seen.into_iter().chain(right_seen).collect();
        let columns: Vec<Column> = seen.iter().map(|(_, kind)| (self.name("c"), *kind)).collect();
        let list: Vec<String> = seen.iter().zip(&columns).map(|((r, _), (n, _))| format!("{r} AS {n}")).collect();
        let kind = self.one_of(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let (before, after) = (self.one_of(&[0, 2, 10]), self.one_of(&[0, 5, 20]));
        let more = if self.chance(30) { format!(" AND {}", self.predicate(&seen, 1)) } else { String::new() };
        let text = format!(
            "SELECT {} FROM {{{left}}} AS {l} {kind} {{{right}}} AS {r} ON {l}.k = {r}.k AND {l}.ts BETWEEN \
             {r}.ts - INTERVAL '{before}' SECOND AND {r}.ts + INTERVAL '{after}' SECOND{more}",
            list.join(", ")
        );
        Relation { text, columns, key: None, windowed: false }
    }

    /// `[NOT] EXISTS` and `[NOT] IN`.
    fn existence(&mut self, depth: usize) -> Relation {
        self.joins += 1;
        let (input, other) = (self.relation(depth - 1), self.second(depth));
        let ((item, seen), (other_item, others)) = (self.item(&input), self.item(&other));
        let not = self.one_of(&["", "NOT "]);
        let pair = seen.iter().flat_map(|l| others.iter().map(move |r| (l, r))).find(|(l, r)| l.1 == r.1);
        let test = match pair {
            Some(((l, _), (r, _))) if self.chance(40) => format!("{l} {not}IN (SELECT {r} FROM {other_item})"),
            _ => format!("{not}EXISTS (SELECT 1 FROM {other_item} WHERE {})", self.on(&seen, &others)),
        };
        let list: Vec<String> = seen.iter().zip(&input.columns).map(|((r, _), (n, _))| format!("{r} AS {n}")).collect();
        let text = format!("SELECT {} FROM {item} WHERE {test}", list.join(", "));
        Relation { text, columns: input.columns, key: input.key, windowed: false }
    }

    /// A comparison with a sub-query that gives one value, in WHERE or as a column.
    fn comparison(&mut self, depth: usize) -> Relation {
        self.joins += 1;
        let (input, other) = (self.relation(depth - 1), self.second(depth));
        let ((item, seen), (other_item, others)) = (self.item(&input), self.item(&other));
        let (value, kind) = self.aggregate(&others);
        let tie = match self.chance(60) {
            true => format!(" WHERE {}", self.on(&seen, &others)),
            false => self.condition(&others, 30),
        };
        let query = format!("(SELECT {value} FROM {other_item}{tie})");
        let mut columns = input.columns;
        let mut list: Vec<String> = seen.iter().zip(&columns).map(|((r, _), (n, _))| format!("{r} AS {n}")).collect();
        let like: Vec<&Column> =
            seen.iter().filter(|(_, k)| *k == kind || (k.is_number() && kind.is_number())).collect();
        let condition = match like.is_empty() || self.chance(40) {
            true => {
                let name = self.name("c");
                list.push(format!("{query} AS {name}"));
                columns.push((name, kind));
                String::new()
            }
            false => {
                let comparison = self.one_of(&["=", "<", "<=", ">", ">="]);
                format!(" WHERE {} {comparison} {query}", like[self.rng.below(like.len())].0)
            }
        };
        let text = format!("SELECT {} FROM {item}{condition}", list.join(", "));
        Relation { text, columns, key: input.key, windowed: false }
    }

    fn set_operation(&mut self, depth: usize) -> Relation {
        let (left, right) = (self.relation(depth - 1), self.second(depth));
        let ((left_item, l), (right_item, r)) = (self.item(&left), self.item(&right));
        let mut free = r;
        let (mut lefts, mut rights, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (reference, kind) in l {
            let Some(index) = free.iter().position(|(_, k)| *k == kind && kind != Kind::Double) else { continue };
            let name = self.name("c");
            lefts.push(format!("{reference} AS {name}"));
            rights.push(free.swap_remove(index).0);
            columns.push((name, kind));
        }
        if columns.is_empty() {
            return left;
        }
        let operation = self.one_of(&["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
        let (lefts, rights) = (lefts.join(", "), rights.join(", "));
        let text = format!("SELECT {lefts} FROM {left_item} {operation} SELECT {rights} FROM {right_item}");
        let distinct = operation != "UNION ALL";
        let key = distinct.then(|| columns.iter().map(|(name, _)| name.clone()).collect());
        Relation { text, columns, key, windowed: false }
    }

    fn distinct(&mut self, depth: usize) -> Relation {
        let input = self.relation(depth - 1);
        let (item, seen) = self.item(&input);
        let (mut list, mut columns) = (Vec::new(), Vec::new());
        for ((reference, kind), (name, _)) in seen.iter().zip(&input.columns) {
            if *kind != Kind::Double && (list.is_empty() || (list.len() < 3 && self.chance(30))) {
                list.push(format!("{reference} AS {name}"));
                columns.push((name.clone(), *kind));
            }
        }
        if list.is_empty() {
            return input;
        }
        let condition = self.condition(&seen, 20);
        let text = format!("SELECT DISTINCT {} FROM {item}{condition}", list.join(", "));
        let key = columns.iter().map(|(name, _)| name.clone()).collect();
        Relation { text, columns, key: Some(key), windowed: false }
    }

    fn top_n(&mut self, depth: usize) -> Relation {
        let mut input = self.relation(depth - 1);
        if input.key.is_none() {
            input = self.base();
        }
        let (item, seen) = self.item(&input);
        let (by, kind) = seen[self.rng.below(seen.len())].clone();
        let direction = self.one_of(&["", " DESC", " DESC NULLS LAST", " NULLS FIRST"]);
        let alias = item.rsplit(' ').next().unwrap_or_default().to_string();
        let ties: Vec<String> = input.key.iter().flatten().map(|name| format!(", {alias}.{name}")).collect();
        let order = format!("{by}{direction}{}", ties.concat());
        let list: Vec<String> = seen.iter().zip(&input.columns).map(|((r, _), (n, _))| format!("{r} AS {n}")).collect();
        let (limit, list) = (1 + self.rng.below(4), list.join(", "));
        if kind != Kind::Double && self.chance(25) {
            let offset = if self.chance(30) { " OFFSET 1" } else { "" };
            let text = format!("SELECT {list} FROM {item} ORDER BY {order} LIMIT {limit}{offset}");
            // In parentheses it can stand beside UNION.
            let text = format!("SELECT * FROM ({text}) AS {}", self.name("q"));
            return Relation { text, columns: input.columns, key: input.key, windowed: false };
        }
        let partition = match seen[self.rng.below(seen.len())].clone() {
            (reference, kind) if kind != Kind::Double && self.chance(75) => format!("PARTITION BY {reference} "),
            _ => String::new(),
        };
        let function = self.one_of(&["ROW_NUMBER", "ROW_NUMBER", "RANK", "DENSE_RANK"]);
        let order = if function == "ROW_NUMBER" { order } else { format!("{by}{direction}") };
        let (rank, outer) = (self.name("c"), self.name("q"));
        let mut columns = input.columns;
        let shown = if self.chance(50) {
            columns.push((rank.clone(), Kind::Big));
            "*".to_string()
        } else {
            columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ")
        };
        let text = format!(
            "SELECT {shown} FROM (SELECT {list}, {function}() OVER ({partition}ORDER BY {order}) AS {rank} \
             FROM {item}) AS {outer} WHERE {rank} <= {limit}"
        );
        Relation { text, columns, key: input.key, windowed: false }
    }
}

mod scalar;
mod windows;

fn columns_of(table: &str) -> Vec<Column> {
    let columns: &[(&str, Kind)] = match table {
        "a" => &[
            ("id", Kind::Integer),
            ("k", Kind::Integer),
            ("g", Kind::Text),
            ("v", Kind::Integer),
            ("n", Kind::Numeric),
            ("d", Kind::Double),
            ("ts", Kind::Time),
        ],
        "b" => {
            &[("id", Kind::Integer), ("k", Kind::Integer), ("g", Kind::Text), ("v", Kind::Integer), ("ts", Kind::Time)]
        }
        _ => &[
            ("id", Kind::Integer),
            ("k", Kind::Integer),
            ("g", Kind::Text),
            ("v", Kind::Integer),
            ("n", Kind::Numeric),
        ],
    };
    columns.iter().map(|(name, kind)| ((*name).to_string(), *kind)).collect()
}
