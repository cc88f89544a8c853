//! Results as tables in the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::types::SqlType;

/// Rows of a result as text; `None` is null.
pub struct Grid {
    pub names: Vec<String>,
    pub types: Vec<SqlType>,
    pub rows: Vec<Vec<Option<String>>>,
}

impl Grid {
    /// The table, and below it how many rows it has, as psql says it.
    pub fn render(&self) -> String {
        let count = match self.rows.len() {
            1 => "(1 row)".to_string(),
            n => format!("({n} rows)"),
        };
        format!("{}\n{count}", self.table())
    }

    /// The table alone. Numbers stand on the right.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.names);
        for row in &self.rows {
            table.add_row(row.iter().map(|value| value.as_deref().unwrap_or("")));
        }
        for (index, ty) in self.types.iter().enumerate().filter(|(_, ty)| is_number(ty)) {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }
}

fn is_number(ty: &SqlType) -> bool {
    use SqlType as T;
    matches!(ty, T::SmallInt | T::Integer | T::BigInt | T::Real | T::Double | T::Numeric(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_on_the_right() {
        let grid = Grid {
            names: vec!["k".into(), "n".into()],
            types: vec![SqlType::Text, SqlType::BigInt],
            rows: vec![vec![Some("a".into()), Some("1".into())], vec![None, Some("1000".into())]],
        };
        let expected = "\
| k |    n |
|---|------|
| a |    1 |
|   | 1000 |
(2 rows)";
        assert_eq!(grid.render(), expected);
    }
}
