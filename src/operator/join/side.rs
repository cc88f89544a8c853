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

pub struct Side {
    key_columns: Vec<usize>,
    key_types: Vec<DataType>,
    /// Key columns in which a null has no partner.
    strict: Vec<usize>,
    codec: KeyCodec,
    encoded: Keys,
    hashes: Vec<u64>,
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
    /// `keys`: the key columns, and those of them that are strict. `counts`: partners are counted.
    pub fn new(
        id: TableId,
        at: u8,
        schema: &SchemaRef,
        (key_columns, strict): (Vec<usize>, Vec<usize>),
        counts: bool,
        context: &StateContext,
    ) -> Result<Self> {
        let codec = key_codec(&key_columns, schema)?;
        let stride = codec.stride();
        let open = |table: u8| KeyedTable::open(context, TableId { table, ..id }, stride, false, Bags::default());
        Ok(Side {
            key_types: key_columns
                .iter()
                .filter_map(|c| schema.fields().get(*c))
                .map(|f| f.data_type().clone())
                .collect(),
            key_columns,
            strict,
            codec,
            encoded: Keys::new(stride),
            hashes: Vec::new(),
            changes: Bags::default(),
            rows: open(at),
            partners: counts.then(|| open(2 + at)),
            row_slots: Vec::new(),
            partner_slots: Vec::new(),
        })
    }

    pub fn key_types(&self) -> &[DataType] {
        &self.key_types
    }

    pub fn stride(&self) -> Option<usize> {
        self.codec.stride()
    }

    /// Takes rows into the tick's changes, under the slots that `keys` gives them. Returns the rows that can have no
    /// partner: they are not kept.
    pub fn gather(&mut self, batch: &ChangeBatch, keys: &mut KeyIndex) -> Result<Option<ChangeBatch>> {
        let Some(nulls) = self.strict_nulls(batch)? else {
            self.gather_matchable(batch, keys)?;
            return Ok(None);
        };
        self.gather_matchable(&batch.filter(&not(&nulls)?)?, keys)?;
        batch.filter(&nulls).map(Some)
    }

    fn gather_matchable(&mut self, batch: &ChangeBatch, keys: &mut KeyIndex) -> Result<()> {
        let columns: Vec<ArrayRef> =
            self.key_columns.iter().map(|at| column(batch, *at).cloned()).collect::<Result<_>>()?;
        self.codec.encode(&columns, batch.num_rows(), &mut self.encoded)?;
        self.encoded.hash_into(&mut self.hashes);
        let rows = encode_rows(batch.rows())?;
        for (row, hash) in self.hashes.iter().enumerate() {
            let slot = keys.find_or_insert(*hash, self.encoded.get(row));
            self.changes.grow(keys.slots());
            self.changes.add(slot, rows.get(row), batch.weight(row));
        }
        Ok(())
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
