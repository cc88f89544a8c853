//! Rows of `pg_catalog`'s tables. What is not named in [`FILLED`] has none, ever.

use super::definition::{self, INFORMATION_SCHEMA, PG_CATALOG, Row, Value};
use super::known::{KnownFunction, TIDEMILL, TIDEMILL_OID};
use super::{World, columns, declared, noun};
use crate::catalog::{Object, ObjectKind};
use crate::types::{Column, SqlType};

/// Object ids of PostgreSQL's own things, as every PostgreSQL has them.
pub const PG_CATALOG_OID: i64 = 11;
pub const PUBLIC_OID: i64 = 2200;
pub const INFORMATION_SCHEMA_OID: i64 = 13_000;
pub const OWNER_OID: i64 = 10;
pub const SCHEMAS: [(i64, &str); 4] = [
    (PG_CATALOG_OID, PG_CATALOG),
    (PUBLIC_OID, "public"),
    (INFORMATION_SCHEMA_OID, INFORMATION_SCHEMA),
    (TIDEMILL_OID, TIDEMILL),
];
const DATABASE_OID: i64 = 5;
const DEFAULT_TABLESPACE_OID: i64 = 1663;
const UTF8: i64 = 6;

/// System catalogs themselves get ids from here on in `pg_class`, by their place in the definitions.
const SYSTEM_CLASS_OID: i64 = 1_000;

/// Built-in types, a line each: oid name length by-value kind category preferred element array align storage collation and
/// the four functions that read and write it.
const TYPES: &str = include_str!("types.txt");

/// The tables that can have rows.
const FILLED: [&str; 21] = [
    "pg_am",
    "pg_attribute",
    "pg_authid",
    "pg_class",
    "pg_database",
    "pg_matviews",
    "pg_namespace",
    "pg_proc",
    "pg_roles",
    "pg_settings",
    "pg_shadow",
    "pg_stat_activity",
    "pg_stat_all_tables",
    "pg_stat_database",
    "pg_stat_user_tables",
    "pg_tables",
    "pg_tablespace",
    "pg_timezone_names",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// Whether a table of `pg_catalog` never has a row.
pub fn always_empty(name: &str) -> bool {
    !FILLED.contains(&name) && definition::table(PG_CATALOG, name).is_some()
}

pub fn of(name: &str, world: &World) -> Vec<Row> {
    let user = || Value::from(world.facts.user.as_str());
    match name {
        "pg_am" => vec![vec![("oid", Value::Int(2)), ("amname", "tidemill".into()), ("amtype", "t".into())]],
        "pg_attribute" => {
            let known = world.facts.known.tables().flat_map(|(oid, table)| attributes(oid.into(), &table.columns));
            world.objects.iter().flat_map(|o| attributes(oid(o), columns(o))).chain(known).collect()
        }
        "pg_authid" | "pg_roles" => vec![role(user())],
        "pg_user" | "pg_shadow" => vec![vec![
            ("usename", user()),
            ("usesysid", OWNER_OID.into()),
            ("usecreatedb", true.into()),
            ("usesuper", true.into()),
            ("userepl", false.into()),
            ("usebypassrls", true.into()),
        ]],
        "pg_class" => {
            world.objects.iter().map(|o| class(o)).chain(known_classes(world)).chain(system_classes()).collect()
        }
        "pg_database" => vec![database(world)],
        "pg_namespace" => namespaces(),
        "pg_proc" => functions(world),
        "pg_settings" => settings(world),
        "pg_stat_activity" => vec![vec![
            ("datid", DATABASE_OID.into()),
            ("datname", world.facts.database.as_str().into()),
            ("pid", i64::from(world.facts.backend_pid).into()),
            ("usesysid", OWNER_OID.into()),
            ("usename", user()),
            ("state", "active".into()),
            ("backend_type", "client backend".into()),
        ]],
        "pg_stat_all_tables" | "pg_stat_user_tables" => tables(world)
            .map(|o| vec![("relid", oid(o)), ("schemaname", "public".into()), ("relname", o.name.as_str().into())])
            .collect(),
        "pg_stat_database" => {
            vec![vec![("datid", DATABASE_OID.into()), ("datname", world.facts.database.as_str().into())]]
        }
        "pg_tables" => tables(world)
            .map(|o| {
                let name = o.name.as_str().into();
                let mut row = vec![("schemaname", "public".into()), ("tablename", name), ("tableowner", user())];
                row.extend(["hasindexes", "hasrules", "hastriggers", "rowsecurity"].map(|c| (c, false.into())));
                row
            })
            .collect(),
        "pg_tablespace" => vec![vec![
            ("oid", DEFAULT_TABLESPACE_OID.into()),
            ("spcname", "pg_default".into()),
            ("spcowner", OWNER_OID.into()),
        ]],
        "pg_timezone_names" => vec![vec![("name", "UTC".into()), ("abbrev", "UTC".into()), ("is_dst", false.into())]],
        "pg_type" => types(),
        "pg_views" => of_kind(world, |k| matches!(k, ObjectKind::Job(_)))
            .map(|o| {
                let name = o.name.as_str().into();
                vec![
                    ("schemaname", "public".into()),
                    ("viewname", name),
                    ("viewowner", user()),
                    ("definition", o.definition.as_str().into()),
                ]
            })
            .collect(),
        "pg_matviews" => of_kind(world, |k| matches!(k, ObjectKind::View(_)))
            .map(|o| {
                vec![
                    ("schemaname", "public".into()),
                    ("matviewname", o.name.as_str().into()),
                    ("matviewowner", user()),
                    ("hasindexes", false.into()),
                    ("ispopulated", true.into()),
                    ("definition", o.definition.as_str().into()),
                ]
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn oid(object: &Object) -> Value {
    Value::Int(i64::from(object.id.0))
}

fn of_kind(world: &World, kind: fn(&ObjectKind) -> bool) -> impl Iterator<Item = &Object> {
    world.objects.iter().map(AsRef::as_ref).filter(move |o: &&Object| kind(&o.kind))
}

fn tables(world: &World) -> impl Iterator<Item = &Object> {
    of_kind(world, |k| matches!(k, ObjectKind::Source(_) | ObjectKind::Sink(_)))
}

fn relkind(object: &Object) -> &'static str {
    match &object.kind {
        ObjectKind::Source(_) | ObjectKind::Sink(_) => "r",
        ObjectKind::View(_) => "m",
        ObjectKind::Job(_) => "v",
    }
}

fn class(object: &Object) -> Row {
    let options = declared::options(object);
    let mut row = vec![
        ("oid", oid(object)),
        ("relname", object.name.as_str().into()),
        ("relnamespace", PUBLIC_OID.into()),
        ("relowner", OWNER_OID.into()),
        ("relam", Value::Int(2)),
        ("reltuples", Value::Int(-1)),
        ("relpersistence", "p".into()),
        ("relkind", relkind(object).into()),
        ("relnatts", (columns(object).len() as i64).into()),
        ("relispopulated", true.into()),
        ("relreplident", "d".into()),
    ];
    if !options.is_empty() {
        row.push(("reloptions", options.into()));
    }
    row
}

fn known_classes(world: &World) -> impl Iterator<Item = Row> {
    world.facts.known.tables().map(|(oid, table)| {
        vec![
            ("oid", oid.into()),
            ("relname", table.name.into()),
            ("relnamespace", TIDEMILL_OID.into()),
            ("relowner", OWNER_OID.into()),
            ("reltuples", Value::Int(-1)),
            ("relpersistence", "p".into()),
            ("relkind", "v".into()),
            ("relnatts", (table.columns.len() as i64).into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]
    })
}

fn functions(world: &World) -> Vec<Row> {
    let row = |(oid, function): (i64, &KnownFunction)| {
        vec![
            ("oid", oid.into()),
            ("proname", function.name.as_str().into()),
            ("pronamespace", PG_CATALOG_OID.into()),
            ("proowner", OWNER_OID.into()),
            ("prokind", function.kind.into()),
            ("provolatile", "i".into()),
            ("proparallel", "s".into()),
        ]
    };
    world.facts.known.functions().map(row).collect()
}

/// The system catalogs, so that tools which look up `'pg_class'::regclass` find them.
fn system_classes() -> impl Iterator<Item = Row> {
    let schemas = [(PG_CATALOG, PG_CATALOG_OID), (INFORMATION_SCHEMA, INFORMATION_SCHEMA_OID)];
    let named = schemas.into_iter().flat_map(|(schema, oid)| definition::tables(schema).map(move |t| (t, oid)));
    named.enumerate().map(|(place, (table, namespace))| {
        vec![
            ("oid", (SYSTEM_CLASS_OID + place as i64).into()),
            ("relname", table.name.into()),
            ("relnamespace", namespace.into()),
            ("relowner", OWNER_OID.into()),
            ("relpersistence", "p".into()),
            ("relkind", "r".into()),
            ("relnatts", (table.columns().count() as i64).into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]
    })
}

/// The id of a system catalog in `pg_class`.
pub fn system_class_oid(name: &str) -> Option<i64> {
    let names = [PG_CATALOG, INFORMATION_SCHEMA].into_iter().flat_map(definition::tables).map(|t| t.name);
    names.enumerate().find(|(_, n)| *n == name).map(|(place, _)| SYSTEM_CLASS_OID + place as i64)
}

/// The reverse of [`system_class_oid`].
pub fn system_class_name(oid: i64) -> Option<&'static str> {
    let place = usize::try_from(oid - SYSTEM_CLASS_OID).ok()?;
    [PG_CATALOG, INFORMATION_SCHEMA].into_iter().flat_map(definition::tables).map(|t| t.name).nth(place)
}

/// Whether it is the id of a system catalog that is found without its schema.
pub fn is_searched(oid: i64) -> bool {
    system_class_name(oid).is_some_and(|name| definition::table(PG_CATALOG, name).is_some())
}

fn attributes(relation: Value, columns: &[Column]) -> Vec<Row> {
    let attribute = |(place, column): (usize, &Column)| {
        let line = type_line(i64::from(column.ty.oid()));
        let word = |n: usize| line.and_then(|l| l.split(' ').nth(n)).unwrap_or_default();
        vec![
            ("attrelid", relation.clone()),
            ("attname", column.name.as_str().into()),
            ("atttypid", i64::from(column.ty.oid()).into()),
            ("attlen", word(2).parse().unwrap_or(-1i64).into()),
            ("attnum", (place as i64 + 1).into()),
            ("attcacheoff", Value::Int(-1)),
            ("atttypmod", modifier(&column.ty).into()),
            ("attndims", i64::from(matches!(column.ty, SqlType::Array(_))).into()),
            ("attbyval", (word(3) == "t").into()),
            ("attalign", word(9).into()),
            ("attstorage", word(10).into()),
            ("attnotnull", column.not_null.into()),
            ("attislocal", true.into()),
            ("attstattarget", Value::Int(-1)),
            ("attcollation", word(11).parse().unwrap_or(0i64).into()),
        ]
    };
    columns.iter().enumerate().map(attribute).collect()
}

/// `atttypmod`, as PostgreSQL packs it.
pub fn modifier(ty: &SqlType) -> i64 {
    match ty {
        SqlType::Varchar(Some(n)) => i64::from(*n) + 4,
        SqlType::Numeric(p, s) => ((i64::from(*p) << 16) | (i64::from(*s) & 0x7ff)) + 4,
        SqlType::Timestamp(p) | SqlType::TimestampTz(p) if *p < 6 => i64::from(*p),
        SqlType::Array(item) => modifier(item),
        _ => -1,
    }
}

fn role(name: Value) -> Row {
    let mut row = vec![("oid", OWNER_OID.into()), ("rolname", name), ("rolconnlimit", Value::Int(-1))];
    let granted = ["rolsuper", "rolinherit", "rolcreaterole", "rolcreatedb", "rolcanlogin", "rolbypassrls"];
    row.extend(granted.map(|c| (c, Value::Bool(true))));
    row.push(("rolreplication", false.into()));
    row
}

fn database(world: &World) -> Row {
    vec![
        ("oid", DATABASE_OID.into()),
        ("datname", world.facts.database.as_str().into()),
        ("datdba", OWNER_OID.into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", Value::Int(-1)),
        ("dattablespace", DEFAULT_TABLESPACE_OID.into()),
        ("datcollate", "C".into()),
        ("datctype", "C.UTF-8".into()),
    ]
}

fn namespaces() -> Vec<Row> {
    SCHEMAS
        .map(|(oid, name)| vec![("oid", oid.into()), ("nspname", name.into()), ("nspowner", OWNER_OID.into())])
        .into()
}

fn settings(world: &World) -> Vec<Row> {
    let setting = |s: &super::Setting| {
        let source = if s.value == s.default { "default" } else { "session" };
        vec![
            ("name", s.name.as_str().into()),
            ("setting", s.value.as_str().into()),
            ("category", "Tidemill".into()),
            ("short_desc", s.description.as_str().into()),
            ("context", "user".into()),
            ("vartype", "string".into()),
            ("source", source.into()),
            ("boot_val", s.default.as_str().into()),
            ("reset_val", s.default.as_str().into()),
            ("pending_restart", false.into()),
        ]
    };
    world.facts.settings.iter().map(setting).collect()
}

fn type_line(oid: i64) -> Option<&'static str> {
    TYPES.lines().find(|l| l.split(' ').next().and_then(|o| o.parse().ok()) == Some(oid))
}

/// A built-in type's name in `pg_type`.
pub fn type_name(oid: i64) -> Option<&'static str> {
    type_line(oid)?.split(' ').nth(1)
}

/// A built-in type by its name in `pg_type`.
pub fn type_oid(name: &str) -> Option<i64> {
    TYPES.lines().find(|l| l.split(' ').nth(1) == Some(name))?.split(' ').next()?.parse().ok()
}

/// The element type of a built-in array type.
pub fn element_oid(oid: i64) -> Option<i64> {
    type_line(oid)?.split(' ').nth(7)?.parse().ok().filter(|e| *e != 0)
}

fn types() -> Vec<Row> {
    let row = |line: &'static str| {
        let words: Vec<&'static str> = line.split(' ').collect();
        let word = |n: usize| words.get(n).copied().unwrap_or_default();
        let int = |n: usize| Value::Int(word(n).parse().unwrap_or_default());
        let truth = |n: usize| Value::Bool(word(n) == "t");
        let array = word(5) == "A";
        vec![
            ("oid", int(0)),
            ("typname", word(1).into()),
            ("typnamespace", PG_CATALOG_OID.into()),
            ("typowner", OWNER_OID.into()),
            ("typlen", int(2)),
            ("typbyval", truth(3)),
            ("typtype", word(4).into()),
            ("typcategory", word(5).into()),
            ("typispreferred", truth(6)),
            ("typisdefined", true.into()),
            ("typdelim", ",".into()),
            ("typsubscript", if array { "array_subscript_handler" } else { "-" }.into()),
            ("typelem", int(7)),
            ("typarray", int(8)),
            ("typalign", word(9).into()),
            ("typstorage", word(10).into()),
            ("typcollation", int(11)),
            ("typinput", word(12).into()),
            ("typoutput", word(13).into()),
            ("typreceive", word(14).into()),
            ("typsend", word(15).into()),
            ("typmodin", "-".into()),
            ("typmodout", "-".into()),
            ("typanalyze", "-".into()),
            ("typtypmod", Value::Int(-1)),
        ]
    };
    TYPES.lines().map(row).collect()
}

/// What psql shows in its column "Type".
pub fn kind_of(world: &World, oid: i64) -> Option<&'static str> {
    match world.object(oid) {
        Some(object) => Some(noun(object)),
        None if world.facts.known.table(oid).is_some() => Some("view"),
        None => system_class_name(oid).map(|_| "table"),
    }
}
