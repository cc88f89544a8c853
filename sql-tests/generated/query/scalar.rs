//! Predicates and expressions over a relation's columns, with constants from where the data comes from.

use super::super::data::Values;
use super::{Column, Kind, Writer};

impl Writer<'_> {
    pub(super) fn predicate(&mut self, columns: &[Column], depth: usize) -> String {
        if depth > 0 && self.chance(40) {
            let (left, right) = (self.predicate(columns, depth - 1), self.predicate(columns, depth - 1));
            return match self.rng.below(5) {
                0 => format!("NOT ({left})"),
                1 => format!("({left} AND {right})"),
                _ => format!("({left} OR {right})"),
            };
        }
        let (column, kind) = columns[self.rng.below(columns.len())].clone();
        let same: Vec<&Column> = columns.iter().filter(|(name, k)| *k == kind && *name != column).collect();
        // Rows that pass are worth more than rows that do not: few equalities.
        let comparison = self.one_of(&["=", "<>", "<>", "<", "<=", "<=", ">", ">=", ">="]);
        let (one, other) = (self.constant(kind), self.constant(kind));
        // DataFusion 55, our judge, folds `count IS NULL` in an outer join's ON to false, and pads with 0 instead of null.
        let may_be_null = kind != Kind::Big;
        match self.rng.below(8) {
            0 if may_be_null && self.chance(40) => format!("{column} IS NULL"),
            0 | 1 if may_be_null => format!("{column} IS NOT NULL"),
            2 if !same.is_empty() => format!("{column} {comparison} {}", same[self.rng.below(same.len())].0),
            3 => format!("{column} BETWEEN {one} AND {other}"),
            4 => format!("{column} IN ({one}, {other})"),
            5 if kind == Kind::Text => format!("{column} LIKE '{}'", self.one_of(&["x%", "%z", "_", "%"])),
            6 => format!("{column} IS DISTINCT FROM {one}"),
            7 => format!("coalesce({column}, {one}) {comparison} {other}"),
            _ => format!("{column} {comparison} {one}"),
        }
    }

    fn constant(&mut self, kind: Kind) -> String {
        let values = self.values;
        let number = values.integer(self.rng);
        match kind {
            Kind::Integer | Kind::Big if self.chance(50) => self.rng.below(values.keys).to_string(),
            Kind::Integer | Kind::Big => number.to_string(),
            Kind::Numeric => format!("{number}.5"),
            Kind::Double => format!("CAST({number}.25 AS DOUBLE PRECISION)"),
            Kind::Text => format!("'{}'", Values::text(self.rng)),
            Kind::Time => format!("TIMESTAMP '2020-01-01 00:00:{:02}'", self.rng.below(60)),
        }
    }

    /// A value of a row. None overflows: sums of a hundred of the largest do not.
    pub(super) fn expression(&mut self, columns: &[Column]) -> (String, Kind) {
        let (column, kind) = columns[self.rng.below(columns.len())].clone();
        let constant = self.constant(kind);
        let text = match (self.rng.below(5), kind) {
            (0, _) => format!("coalesce({column}, {constant})"),
            (1, _) => {
                let when = self.predicate(columns, 1);
                format!("CASE WHEN {when} THEN {column} ELSE {constant} END")
            }
            (2, Kind::Integer | Kind::Big) => format!("{column} + {constant}"),
            (3, Kind::Integer | Kind::Big) => format!("abs({column}) % 7"),
            (_, Kind::Integer | Kind::Big | Kind::Numeric | Kind::Double) => format!("- {column}"),
            (2, Kind::Text) => format!("upper({column})"),
            (3, Kind::Text) => format!("{column} || {constant}"),
            (_, Kind::Text) => format!("nullif({column}, {constant})"),
            (_, Kind::Time) => format!("{column} + INTERVAL '1' SECOND"),
        };
        (text, kind)
    }
}
