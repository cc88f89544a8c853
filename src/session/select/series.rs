//! `generate_series(first, last [, step])` in FROM: DataFusion's, with PostgreSQL's column name.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Query, TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};

use crate::sql::names::fold;

const GENERATE_SERIES: &str = "generate_series";

/// Whether a name in FROM is that of the function; no relation can be read that is called so.
pub fn is_series(reference: &TableReference) -> bool {
    reference.table() == GENERATE_SERIES && reference.schema().is_none_or(|schema| schema == "pg_catalog")
}

/// Names the column of each series: as its alias, else as the function.
pub fn name_columns(query: &mut Query) {
    struct Naming;
    impl VisitorMut for Naming {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, alias, args: Some(_), .. } = factor
                && last_name(name).is_some_and(|name| fold(&name.value) == GENERATE_SERIES)
            {
                let alias = alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: Ident::new(GENERATE_SERIES),
                    columns: Vec::new(),
                    at: None,
                });
                if alias.columns.is_empty() {
                    alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut Naming);
}

fn last_name(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}
