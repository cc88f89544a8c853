//! Rows of `information_schema`'s tables.

use super::definition::{INFORMATION_SCHEMA, PG_CATALOG, Row, Value};
use super::functions::format_type;
use super::known::TIDEMILL;
use super::{World, columns, noun};
use crate::catalog::ObjectKind;
use crate::types::{Column, SqlType};

pub fn of(name: &str, world: &World) -> Vec<Row> {
    let relations = || world.objects.iter().filter(|o| !matches!(o.kind, ObjectKind::Job(_)));
    match name {
        "tables" => {
            let known = world.facts.known.tables.iter().map(|t| table(world, (TIDEMILL, t.name), "view"));
            relations().map(|o| table(world, ("public", &o.name), noun(o))).chain(known).collect()
        }
        "columns" => {
            let known = world.facts.known.tables.iter();
            let known = known.flat_map(|t| table_columns(world, (TIDEMILL, t.name), &t.columns));
            relations().flat_map(|o| table_columns(world, ("public", &o.name), columns(o))).chain(known).collect()
        }
        "views" => relations()
            .filter(|o| matches!(o.kind, ObjectKind::View(_)))
            .map(|o| {
                let mut row = place(world, ("public", &o.name));
                row.push(("view_definition", o.definition.as_str().into()));
                row.extend(["is_updatable", "is_insertable_into"].map(|c| (c, "NO".into())));
                row
            })
            .collect(),
        "schemata" => [PG_CATALOG, "public", INFORMATION_SCHEMA, TIDEMILL].map(|schema| schemata(world, schema)).into(),
        "information_schema_catalog_name" => vec![vec![("catalog_name", database(world))]],
        "enabled_roles" | "applicable_roles" => vec![vec![("role_name", world.facts.user.as_str().into())]],
        "character_sets" => vec![vec![
            ("character_set_name", "UTF8".into()),
            ("character_repertoire", "UCS".into()),
            ("form_of_use", "UTF8".into()),
            ("default_collate_catalog", database(world)),
        ]],
        _ => Vec::new(),
    }
}

fn database(world: &World) -> Value {
    world.facts.database.as_str().into()
}

fn place(world: &World, (schema, name): (&str, &str)) -> Row {
    vec![("table_catalog", database(world)), ("table_schema", schema.into()), ("table_name", name.into())]
}

fn table(world: &World, name: (&str, &str), noun: &str) -> Row {
    let mut row = place(world, name);
    row.push(("table_type", noun.to_uppercase().into()));
    row.extend(["is_insertable_into", "is_typed"].map(|c| (c, "NO".into())));
    row
}

fn schemata(world: &World, schema: &str) -> Row {
    vec![
        ("catalog_name", database(world)),
        ("schema_name", schema.into()),
        ("schema_owner", world.facts.user.as_str().into()),
    ]
}

fn table_columns(world: &World, name: (&str, &str), columns: &[Column]) -> Vec<Row> {
    let row = |(index, column): (usize, &Column)| {
        let mut row = place(world, name);
        let yes_no = |yes: bool| Value::from(if yes { "YES" } else { "NO" });
        let udt = super::rows::type_name(i64::from(column.ty.oid())).unwrap_or("record");
        row.extend([
            ("column_name", column.name.as_str().into()),
            ("ordinal_position", Value::Int(index as i64 + 1)),
            ("is_nullable", yes_no(!column.not_null)),
            ("data_type", data_type(&column.ty).into()),
            ("udt_catalog", database(world)),
            ("udt_schema", PG_CATALOG.into()),
            ("udt_name", udt.into()),
            ("dtd_identifier", (index + 1).to_string().into()),
            ("is_self_referencing", "NO".into()),
            ("is_identity", "NO".into()),
            ("is_generated", "NEVER".into()),
            ("is_updatable", "NO".into()),
        ]);
        row.extend(limits(&column.ty));
        row
    };
    columns.iter().enumerate().map(row).collect()
}

/// The type's name without its modifiers, and ARRAY for arrays: as the standard has it.
fn data_type(ty: &SqlType) -> String {
    match ty {
        SqlType::Array(_) => "ARRAY".to_string(),
        SqlType::Row(_) => "record".to_string(),
        ty => format_type(i64::from(ty.oid()), -1),
    }
}

fn limits(ty: &SqlType) -> Row {
    let int = |v: i64| Value::Int(v);
    let binary = |bits: i64| {
        vec![("numeric_precision", int(bits)), ("numeric_precision_radix", int(2)), ("numeric_scale", int(0))]
    };
    match ty {
        SqlType::SmallInt => binary(16),
        SqlType::Integer => binary(32),
        SqlType::BigInt => binary(64),
        SqlType::Real => binary(24).into_iter().take(2).collect(),
        SqlType::Double => binary(53).into_iter().take(2).collect(),
        SqlType::Numeric(p, s) => vec![
            ("numeric_precision", int(i64::from(*p))),
            ("numeric_precision_radix", int(10)),
            ("numeric_scale", int(i64::from(*s))),
        ],
        SqlType::Varchar(Some(n)) => {
            vec![("character_maximum_length", int(i64::from(*n))), ("character_octet_length", int(i64::from(*n) * 4))]
        }
        SqlType::Text | SqlType::Varchar(None) => vec![("character_octet_length", int(1 << 30))],
        SqlType::Timestamp(p) | SqlType::TimestampTz(p) | SqlType::Time(p) => {
            vec![("datetime_precision", int(i64::from(*p)))]
        }
        SqlType::Date => vec![("datetime_precision", int(0))],
        SqlType::Interval => vec![("datetime_precision", int(6))],
        _ => Vec::new(),
    }
}
