//! The keys of an object, and the columns their values belong to.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Fields};

use super::column::{Column, Input};
use super::encode::write_string;
use super::failure::Scan;
use super::scan::{Scanner, unescape};
use crate::error::Result;

/// Keys of an object that are expected, at most: enough for wide rows; objects whose keys are data (ids, dates) must not
/// fill memory.
const MAX_EXPECTED_KEYS: usize = 512;

/// So many expected keys may be left out before a key and it still counts as expected.
const LOOK_AHEAD: usize = 4;

/// The columns for an object's fields.
pub(super) struct Object {
    fields: Vec<Wanted>,
    by_name: HashMap<Box<[u8]>, usize>,
    /// Names in lower case (ASCII letters only), for keys that no column is named as: SQL folds names, JSON does not.
    by_folded_name: HashMap<Box<[u8]>, usize>,
    /// The keys of earlier objects, in their order: at first the wanted ones, in the order of the columns.
    expected: Vec<Expected>,
    rows: usize,
}

struct Wanted {
    field: FieldRef,
    column: Column,
}

struct Expected {
    /// As it stands in a message, quotes and escapes included.
    key: Box<[u8]>,
    /// A place for what opens the key, the key, and its colon as one number, if they are at most 16 bytes, and which of its
    /// bits count. No bits: they are longer.
    word: u128,
    mask: u128,
    /// Index into `fields`; `None` if nobody wants it.
    wanted: Option<usize>,
}

impl Wanted {
    /// Reads the value at the scanner's cursor as that of row `row`; it takes the place of an earlier one.
    #[inline(always)]
    fn read(&mut self, row: usize, scanner: &mut Scanner) -> Scan<()> {
        if self.column.len() > row {
            self.column.truncate(row);
        }
        self.column.read_common(scanner).map_err(|failure| failure.in_field(self.field.name()))
    }
}

fn folded(name: &[u8]) -> Box<[u8]> {
    name.to_ascii_lowercase().into()
}

impl Expected {
    fn new(key: Box<[u8]>, wanted: Option<usize>) -> Expected {
        let mut bytes = [0; 16];
        let mut mask = 0;
        if let Some((head, _)) = bytes.split_at_mut_checked(key.len() + 2)
            && let [_, quoted @ .., colon] = head
        {
            quoted.copy_from_slice(&key);
            *colon = b':';
            mask = u128::MAX >> (8 * (16 - head.len()));
        }
        Expected { key, word: u128::from_le_bytes(bytes), mask, wanted }
    }

    /// Steps over `opening`, the key and its colon, if they are next, without blanks between them.
    #[inline]
    fn eat_after(&self, opening: u8, scanner: &mut Scanner) -> bool {
        let length = self.key.len() + 2;
        if self.mask != 0 {
            return scanner.eat_word(self.word | u128::from(opening), self.mask, length);
        }
        let found = match scanner.rest() {
            [first, rest @ ..] => {
                *first == opening && rest.starts_with(&self.key) && rest.get(self.key.len()) == Some(&b':')
            }
            [] => false,
        };
        scanner.advance(if found { length } else { 0 });
        found
    }

    /// Steps over the key, its colon and what blanks follow, if they are next.
    fn eat(&self, scanner: &mut Scanner) -> Scan<bool> {
        let found = scanner.rest().starts_with(&self.key);
        if found {
            scanner.advance(self.key.len());
            scanner.colon()?;
        }
        Ok(found)
    }
}

impl Object {
    /// Columns for `fields` with room for `rows`.
    pub(super) fn new(fields: &Fields, rows: usize) -> Object {
        let name = |field: &FieldRef| field.name().as_bytes().into();
        let expected = |(index, field): (usize, &FieldRef)| {
            let mut key = Vec::new();
            write_string(field.name(), &mut key);
            Expected::new(key.into(), Some(index))
        };
        Object {
            fields: fields.iter().map(|f| Wanted { field: f.clone(), column: Column::new(f, rows) }).collect(),
            // Of columns that differ in case only, the first.
            by_folded_name: fields.iter().enumerate().rev().map(|(i, f)| (folded(f.name().as_bytes()), i)).collect(),
            by_name: fields.iter().enumerate().map(|(index, field)| (name(field), index)).collect(),
            expected: fields.iter().enumerate().map(expected).collect(),
            rows: 0,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.fields.iter_mut().for_each(|f| f.column.truncate(rows));
        self.rows = self.rows.min(rows);
    }

    pub(super) fn push_null(&mut self) {
        self.fields.iter_mut().for_each(|f| f.column.push_null());
        self.rows += 1;
    }

    /// Reads the object at the scanner's cursor (a brace) as one more row. After a failure the columns hold remains of
    /// it, which the caller truncates.
    pub(super) fn read(&mut self, scanner: &mut Scanner) -> Scan<()> {
        let row = self.rows;
        let mut place = self.read_expected(scanner)?;
        let mut more = if place == 0 {
            scanner.advance(1);
            scanner.skip_whitespace();
            !scanner.eat(b'}')
        } else {
            scanner.more(b'}')?
        };
        while more {
            let wanted = self.key(scanner, &mut place)?;
            match wanted.and_then(|index| self.fields.get_mut(index)) {
                Some(field) => field.read(row, scanner)?,
                None => {
                    scanner.skip_value()?;
                }
            }
            more = scanner.more(b'}')?;
        }
        for Wanted { column, .. } in &mut self.fields {
            if column.len() == row {
                column.push_null();
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Reads keys and values, from the brace on, as long as each key is the expected one and no blanks are in front of it: all
    /// of most messages. Gives how many they were; the cursor is behind the last value.
    fn read_expected(&mut self, scanner: &mut Scanner) -> Scan<usize> {
        let mut opening = b'{';
        for (place, expected) in self.expected.iter().enumerate() {
            if !expected.eat_after(opening, scanner) {
                return Ok(place);
            }
            scanner.skip_whitespace();
            match expected.wanted.and_then(|index| self.fields.get_mut(index)) {
                Some(field) => field.read(self.rows, scanner)?,
                None if scanner.skip_common_value() => {}
                None => {
                    scanner.skip_value()?;
                }
            }
            opening = b',';
        }
        Ok(self.expected.len())
    }

    /// Steps over a key and its colon; gives the wanted field it names. `place` is where we are in `expected`.
    fn key(&mut self, scanner: &mut Scanner, place: &mut usize) -> Scan<Option<usize>> {
        if let Some(expected) = self.expected.get(*place)
            && expected.eat(scanner)?
        {
            *place += 1;
            return Ok(expected.wanted);
        }
        let wanted = self.unexpected_key(scanner, place)?;
        scanner.colon()?;
        Ok(wanted)
    }

    fn unexpected_key(&mut self, scanner: &mut Scanner, place: &mut usize) -> Scan<Option<usize>> {
        if scanner.peek() != Some(b'"') {
            return Err(scanner.expected("a key"));
        }
        let before = scanner.rest();
        let quoted = scanner.string()?;
        let raw = before.get(..before.len() - scanner.rest().len()).unwrap_or_default();
        let ahead = self.expected.iter().skip(*place).take(LOOK_AHEAD).position(|e| *e.key == *raw);
        if let Some(skipped) = ahead {
            *place += skipped + 1;
            return Ok(self.expected.get(*place - 1).and_then(|e| e.wanted));
        }
        let name = scanner.slice(quoted);
        let wanted = if quoted.escaped {
            let mut unescaped = Vec::with_capacity(name.len());
            unescape(name, &mut unescaped)?;
            self.wanted(&unescaped)
        } else {
            self.wanted(name)
        };
        if self.expected.len() < MAX_EXPECTED_KEYS && *place <= self.expected.len() {
            self.expected.insert(*place, Expected::new(raw.into(), wanted));
            *place += 1;
        }
        Ok(wanted)
    }

    /// The column that a key names: the one of exactly that name, else one that differs in case only.
    fn wanted(&self, key: &[u8]) -> Option<usize> {
        self.by_name.get(key).or_else(|| self.by_folded_name.get(&folded(key))).copied()
    }

    /// The fields, their finished columns, and how many rows these have.
    pub(super) fn finish(self, input: Input) -> Result<(Fields, Vec<ArrayRef>, usize)> {
        let mut columns = Vec::with_capacity(self.fields.len());
        let mut fields = Vec::with_capacity(self.fields.len());
        for Wanted { field, column } in self.fields {
            columns.push(column.finish(input)?);
            fields.push(field);
        }
        Ok((fields.into(), columns, self.rows))
    }
}
