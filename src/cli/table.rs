//! Results as tables in the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::server::grid::Grid;
use crate::types::SqlType;

/// The table, and below it how many rows it has, as psql says it.
pub fn with_count(grid: &Grid) -> String {
    let count = match grid.rows.len() {
        1 => "(1 row)".to_string(),
        n => format!("({n} rows)"),
    };
    format!("{}\n{count}", plain(grid))
}

/// The table alone. Numbers stand on the right.
pub fn plain(grid: &Grid) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(&grid.names);
    for row in &grid.rows {
        table.add_row(row.iter().map(|value| value.as_deref().unwrap_or("")));
    }
    for (index, _) in grid.types.iter().enumerate().filter(|(_, ty)| is_number(ty)) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
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
        assert_eq!(with_count(&grid), expected);
    }
}
