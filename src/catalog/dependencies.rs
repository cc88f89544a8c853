//! What an object's dependencies tell: what a DROP takes with it, what comes to an end by itself.

use std::collections::BTreeSet;

use super::object::{Object, ObjectId, ObjectKind};
use super::snapshot::CatalogSnapshot;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::DropObjects;

/// Dependents that an error or a notice lists by name; of more only the number is told (as PostgreSQL does).
const MAX_LISTED: usize = 100;

/// What a DROP statement comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// In an order in which each may go: dependents first.
    pub ids: Vec<ObjectId>,
    /// Names that do not exist, of a DROP ... IF EXISTS.
    pub skipped: Vec<String>,
    /// What CASCADE adds to the named ones.
    pub cascaded: Vec<String>,
}

impl CatalogSnapshot {
    /// # Errors
    /// 42P01 and 42809 as [`CatalogSnapshot::resolve`]; 2BP01 if others depend on the objects and CASCADE was not given.
    pub fn plan_drop(&self, drop: &DropObjects) -> Result<Dropped> {
        let mut named = BTreeSet::new();
        let mut skipped = Vec::new();
        for name in &drop.names {
            if drop.if_exists && self.find(&name.value).is_none() {
                skipped.push(name.value.clone());
            } else {
                let object = self.resolve(name, drop.class).map_err(|e| say_how_to_drop(self, &name.value, e))?;
                named.insert(object.id);
            }
        }
        let all = self.with_dependents(&named);
        if !drop.cascade
            && let Some(blocked) = named.iter().find(|id| self.dependents(**id).any(|d| !named.contains(&d.id)))
        {
            return Err(self.still_needed(*blocked, &named, drop.names.len()));
        }
        let extra = all.iter().rev().filter(|id| !named.contains(id));
        let cascaded = extra.filter_map(|id| self.get(*id)).map(|object| object.describe()).collect();
        Ok(Dropped { ids: all.into_iter().rev().collect(), skipped, cascaded })
    }

    /// Whether all that the object reads, itself and through views, has an end.
    pub fn is_bounded(&self, id: ObjectId) -> bool {
        let Some(object) = self.get(id) else { return true };
        match &object.kind {
            ObjectKind::Source(source) => source.source.is_bounded(),
            ObjectKind::Sink(_) | ObjectKind::View(_) | ObjectKind::Job(_) => {
                object.depends_on.iter().all(|id| self.is_bounded(*id))
            }
        }
    }

    /// The closure of `named` under "is depended on by".
    fn with_dependents(&self, named: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        let mut all = named.clone();
        // Dependents are younger: one pass from old to new finds them all.
        for object in self.objects() {
            if object.depends_on.iter().any(|id| all.contains(id)) {
                all.insert(object.id);
            }
        }
        all
    }

    fn still_needed(&self, blocked: ObjectId, named: &BTreeSet<ObjectId>, count: usize) -> Error {
        let subject = match self.get(blocked) {
            Some(object) if count == 1 => object.describe(),
            _ => "desired object(s)".to_string(),
        };
        let message = format!("cannot drop {subject} because other objects depend on it");
        // Only what leads to the named objects is a reason.
        let involved = self.with_dependents(named);
        let dependents = involved.iter().filter(|id| !named.contains(id)).filter_map(|id| self.get(*id));
        let mut lines = Vec::new();
        for object in dependents {
            let on = object.depends_on.iter().filter(|id| involved.contains(id)).filter_map(|id| self.get(*id));
            lines.extend(on.map(|on| format!("{} depends on {}", object.describe(), on.describe())));
        }
        let detail = shorten(&lines);
        Error::new(SqlState::DependentObjectsStillExist, message)
            .with_detail(detail)
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
    }
}

impl Dropped {
    /// What CASCADE tells: message and detail, as PostgreSQL words them.
    pub fn cascade_notice(&self) -> Option<(String, Option<String>)> {
        match self.cascaded.as_slice() {
            [] => None,
            [one] => Some((format!("drop cascades to {one}"), None)),
            many => {
                let lines: Vec<String> = many.iter().map(|object| format!("drop cascades to {object}")).collect();
                Some((format!("drop cascades to {} other objects", many.len()), Some(shorten(&lines))))
            }
        }
    }
}

fn shorten(lines: &[String]) -> String {
    let mut listed = lines.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>();
    if lines.len() > MAX_LISTED {
        listed.push(format!("and {} other objects", lines.len() - MAX_LISTED));
    }
    listed.join("\n")
}

fn say_how_to_drop(catalog: &CatalogSnapshot, name: &str, error: Error) -> Error {
    match (error.state(), catalog.find(name)) {
        (SqlState::WrongObjectType, Some(object)) => error.with_hint(how_to_drop(object)),
        _ => error,
    }
}

fn how_to_drop(object: &Object) -> String {
    format!("Use DROP {} to remove a {}.", object.class().keywords(), object.class().noun())
}
