//! The catalog as it was at one instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::object::{NewObject, Object, ObjectId};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{Name, ObjectClass};
use crate::sql::names;

/// The first id that is given: below are those of PostgreSQL's own objects.
const FIRST_ID: u32 = 16_384;

#[derive(Debug, Clone)]
pub struct CatalogSnapshot {
    objects: BTreeMap<ObjectId, Arc<Object>>,
    names: BTreeMap<String, ObjectId>,
    next_id: u32,
}

impl Default for CatalogSnapshot {
    fn default() -> Self {
        CatalogSnapshot { objects: BTreeMap::new(), names: BTreeMap::new(), next_id: FIRST_ID }
    }
}

impl CatalogSnapshot {
    pub fn get(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.objects.get(&id)
    }

    /// By its name, folded already.
    pub fn find(&self, name: &str) -> Option<&Arc<Object>> {
        self.get(*self.names.get(name)?)
    }

    /// Everything there is, oldest first.
    pub fn objects(&self) -> impl DoubleEndedIterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    pub fn of_class(&self, class: ObjectClass) -> impl Iterator<Item = &Arc<Object>> {
        self.objects().filter(move |object| object.class() == class)
    }

    /// The object of that name and class.
    ///
    /// # Errors
    /// 42P01 (of a job 42704) if there is none of that name, with the nearest; 42809 if it is of another class.
    pub fn resolve(&self, name: &Name, class: ObjectClass) -> Result<&Arc<Object>> {
        match self.find(&name.value) {
            Some(object) if object.class() == class => Ok(object),
            Some(object) => Err(wrong_class(object, class).at(name.position)),
            None => {
                let known = self.of_class(class).map(|object| object.name.as_str());
                Err(undefined(class.noun(), &name.value, known).at(name.position))
            }
        }
    }

    /// Whatever a query may name in FROM.
    ///
    /// # Errors
    /// 42P01 with the nearest name.
    pub fn relation(&self, name: &str) -> Result<&Arc<Object>> {
        let relations = || self.objects().filter(|object| object.class() != ObjectClass::Job);
        let found = self.find(name).filter(|object| object.class() != ObjectClass::Job);
        found.ok_or_else(|| undefined("relation", name, relations().map(|object| object.name.as_str())))
    }

    /// Those that read or write `id` themselves, oldest first.
    pub fn dependents(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Object>> {
        self.objects().filter(move |object| object.depends_on.contains(&id))
    }

    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    /// # Errors
    /// 42P07 if the name is taken, 42710 if by a job.
    pub fn check_free(&self, name: &str) -> Result<()> {
        match self.find(name) {
            None => Ok(()),
            Some(object) => Err(already_exists(object)),
        }
    }

    pub(super) fn with_next_id(next_id: u32) -> Self {
        CatalogSnapshot { next_id: next_id.max(FIRST_ID), ..CatalogSnapshot::default() }
    }

    /// With one more object, under the next id.
    pub(super) fn added(&self, new: NewObject) -> Result<(Self, ObjectId)> {
        self.check_free(&new.name)?;
        for id in &new.depends_on {
            if self.get(*id).is_none() {
                let message = format!("an object that \"{}\" depends on was dropped meanwhile", new.name);
                return Err(Error::new(SqlState::UndefinedTable, message).with_hint("Send the statement again."));
            }
        }
        let id = ObjectId(self.next_id);
        let NewObject { name, definition, depends_on, kind, .. } = new;
        let mut next = self.clone();
        next.next_id = self.next_id.checked_add(1).ok_or_else(|| Error::internal("object ids are used up"))?;
        next.insert(Object { id, name, definition, depends_on, kind });
        Ok((next, id))
    }

    /// Without these objects. Whatever depends on them must be among them.
    pub(super) fn removed(&self, ids: &[ObjectId]) -> Result<Self> {
        let mut next = self.clone();
        for id in ids {
            if let Some(object) = next.objects.remove(id) {
                next.names.remove(&object.name);
            }
        }
        let missing = next.objects().find(|object| object.depends_on.iter().any(|id| ids.contains(id)));
        match missing {
            None => Ok(next),
            Some(dependent) => {
                let message = format!("{} came to depend on it meanwhile", dependent.describe());
                Err(Error::new(SqlState::DependentObjectsStillExist, message).with_hint("Send the statement again."))
            }
        }
    }

    /// Adds an object or replaces the one with its id.
    pub(super) fn insert(&mut self, object: Object) {
        self.names.insert(object.name.clone(), object.id);
        self.objects.insert(object.id, Arc::new(object));
    }
}

/// `relation "x" already exists`; jobs are no relations.
fn already_exists(object: &Object) -> Error {
    let (class, name) = (object.class(), &object.name);
    let error = match class {
        ObjectClass::Job => Error::new(SqlState::DuplicateObject, format!("streaming job \"{name}\" already exists")),
        _ => Error::new(SqlState::DuplicateTable, format!("relation \"{name}\" already exists")),
    };
    error.with_hint(format!("It is a {}; names are shared by all kinds of objects.", class.noun()))
}

fn undefined<'a>(noun: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let state = if noun == ObjectClass::Job.noun() { SqlState::UndefinedObject } else { SqlState::UndefinedTable };
    let error = Error::new(state, format!("{noun} \"{name}\" does not exist"));
    match names::nearest(name, known) {
        Some(near) => error.with_hint(format!("Perhaps you meant the {noun} \"{near}\".")),
        None => error,
    }
}

fn wrong_class(object: &Object, wanted: ObjectClass) -> Error {
    let article = if wanted.noun().starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let message = format!("\"{}\" is not {article} {}", object.name, wanted.noun());
    let hint = format!("It is a {}.", object.class().noun());
    Error::new(SqlState::WrongObjectType, message).with_hint(hint)
}
