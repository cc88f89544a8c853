//! One input of a join: its rows of the tick, and what is kept of it.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{is_null, not, or};
use arrow::datatypes::{DataType, SchemaRef};

use crate::change::ChangeBatch;
use crate::change::key::{KeyCodec, Keys};
use crate::change::row::encode_rows;
use crate::error::{Error, Result};
use crate::operator::bags::Bags;
use crate::operator::key_codec;
use crate::state::{KeyIndex, KeyedTable, StateContext, StateTable, TableId, Values};

/// The key columns of an input.
pub struct KeyColumns {
    columns: Vec<usize>,
    types: Vec<DataType>,
    /// Those in which a null has no partner.
    strict: Vec<usize>,
    codec: KeyCodec,
    encoded: Keys,
    hashes: Vec<u64>,
}

impl KeyColumns {
    pub fn new(columns: Vec<usize>, strict: Vec<usize>, schema: &SchemaRef) -> Result<Self> {
        let codec = key_codec(&columns, schema)?;
        let field = |at: &usize| schema.fields().get(*at).map(|field| field.data_type().clone());
        Ok(KeyColumns {
            types: columns.iter().filter_map(field).collect(),
            encoded: Keys::new(codec.stride()),
            hashes: Vec::new(),
            columns,
            strict,
            codec,
        })
    }

    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    pub fn stride(&self) -> Option<usize> {
        self.codec.stride()
    }

    /// The rows of a batch that can have a partner, and those that cannot.
    pub fn split(&self, batch: &ChangeBatch) -> Result<(ChangeBatch, Option<ChangeBatch>)> {
        Ok(match self.strict_nulls(batch)? {
            None => (batch.clone(), None),
            Some(nulls) => (batch.filter(&not(&nulls)?)?, Some(batch.filter(&nulls)?)),
        })
    }

    /// For each row of a batch the slot that `keys` gives its key.
    pub fn slots(&mut self, batch: &ChangeBatch, keys: &mut KeyIndex) -> Result<impl Iterator<Item = u32>> {
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|at| column(batch, *at).cloned()).collect::<Result<_>>()?;
        self.codec.encode(&columns, batch.num_rows(), &mut self.encoded)?;
        self.encoded.hash_into(&mut self.hashes);
        let encoded = &self.encoded;
        Ok(self.hashes.iter().enumerate().map(|(row, hash)| keys.find_or_insert(*hash, encoded.get(row))))
    }

    /// Rows with a null where it has no partner; none if there is no such row.
    fn strict_nulls(&self, batch: &ChangeBatch) -> Result<Option<BooleanArray>> {
        let mut found: Option<BooleanArray> = None;
        for at in &self.strict {
            let column = column(batch, *at)?;
            if column.null_count() > 0 {
                let nulls = is_null(column)?;
                found = Some(match found {
                    Some(found) => or(&found, &nulls)?,
                    None => nulls,
                });
            }
        }
        Ok(found)
    }
}

pub struct Side {
    keys: KeyColumns,
    /// The tick's rows, by slot of the tick's keys.
    pub changes: Bags,
    /// Rows by key, as of the last tick's end.
    pub rows: KeyedTable<Bags>,
    /// By key, for each row that has any, how many partners it has: only if a condition decides about them, and rows of
    /// this side come out alone.
    pub partners: Option<KeyedTable<Bags>>,
    /// For the keys at hand, where they are in `rows` and in `partners`.
    pub row_slots: Vec<u32>,
    pub partner_slots: Vec<u32>,
}

/// A table and where the answers to a probe of it go.
type Lookup<'a> = (&'a mut KeyedTable<Bags>, &'a mut Vec<u32>);

impl Side {
    /// `counts`: partners are counted.
    pub fn new(id: TableId, at: u8, keys: KeyColumns, counts: bool, context: &StateContext) -> Self {
        let stride = keys.stride();
        let open = |table: u8| KeyedTable::open(context, TableId { table, ..id }, stride, false, Bags::default());
        Side {
            keys,
            changes: Bags::default(),
            rows: open(at),
            partners: counts.then(|| open(2 + at)),
            row_slots: Vec::new(),
            partner_slots: Vec::new(),
        }
    }

    /// Takes rows into the tick's changes, under the slots that `keys` gives them. Returns the rows that can have no
    /// partner: they are not kept.
    pub fn gather(&mut self, batch: &ChangeBatch, keys: &mut KeyIndex) -> Result<Option<ChangeBatch>> {
        let (batch, partnerless) = self.keys.split(batch)?;
        let rows = encode_rows(batch.rows())?;
        for (row, slot) in self.keys.slots(&batch, keys)?.enumerate() {
            self.changes.grow(slot as usize + 1);
            self.changes.add(slot, rows.get(row), batch.weight(row));
        }
        Ok(partnerless)
    }

    pub fn lookups(&mut self) -> impl Iterator<Item = Lookup<'_>> {
        let partners = self.partners.as_mut().map(|table| (table, &mut self.partner_slots));
        std::iter::once((&mut self.rows, &mut self.row_slots)).chain(partners)
    }

    pub fn tables(&mut self) -> impl Iterator<Item = &mut dyn StateTable> {
        let partners = self.partners.as_mut().map(|table| table as &mut dyn StateTable);
        std::iter::once(&mut self.rows as &mut dyn StateTable).chain(partners)
    }
}

fn column(batch: &ChangeBatch, at: usize) -> Result<&ArrayRef> {
    batch.rows().columns().get(at).ok_or_else(|| Error::internal("a join's plan names a column that is not there"))
}
