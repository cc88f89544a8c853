//! A run's files, version 1:
//!
//! | bytes | what |
//! |---|---|
//! | 5, 1 | `TMrun`, version |
//! | blocks | each 4 length of its payload, 8 its checksum ([`hash`], version 1), payload |
//! | 4, 8 | a length of zero, and the number of entries in the file |
//!
//! A payload is entries one behind the other: varint, how many bytes of the key are those of the entry before (none at a
//! block's beginning); varint and bytes, the rest of the key; varint, 0 if the key is gone, else the value's length and
//! one; the value. Integers are little-endian. The block's checksum is looked at before its entries are; the file's
//! SHA-256, which its commit knows, when all of it was read.

use bytes::{Buf, Bytes, BytesMut};

use super::Cursor;
use crate::change::bytes::{Reader, corrupt, put_bytes, put_varint};
use crate::change::key::hash;
use crate::error::{Error, Result, SqlState};

const MAGIC: &[u8; 5] = b"TMrun";
const VERSION: u8 = 1;
const HEADER: usize = MAGIC.len() + 1;

/// Before a block's payload, and instead of one at the end.
const BLOCK_HEADER: usize = 4 + 8;

/// Large enough for keys to share much, small enough to read one for a few entries.
const BLOCK_BYTES: usize = 32 << 10;

const MAX_ENTRY_BYTES: usize = 512 << 20;

/// A block ends behind the entry that fills it: more in one is damage.
const MAX_BLOCK_BYTES: usize = MAX_ENTRY_BYTES + 2 * BLOCK_BYTES;

/// A segment is held in memory until it is written, and written in one request.
pub const SEGMENT_BYTES: usize = 16 << 20;

/// Entries become segments.
#[derive(Debug)]
pub struct RunWriter {
    segment: Vec<u8>,
    block: Vec<u8>,
    segment_limit: usize,
    entries_in_segment: u64,
    last_key: Vec<u8>,
    entries: u64,
}

impl RunWriter {
    pub fn new() -> Self {
        RunWriter::with_limit(SEGMENT_BYTES)
    }

    /// Segments of about that many bytes.
    pub fn with_limit(segment_limit: usize) -> Self {
        RunWriter {
            segment: Vec::new(),
            block: Vec::new(),
            segment_limit,
            entries_in_segment: 0,
            last_key: Vec::new(),
            entries: 0,
        }
    }

    /// Takes the cursor's present entry. A segment that is full comes out.
    ///
    /// # Errors
    /// If its key does not come behind the last one.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Option<Bytes>> {
        if self.entries > 0 && key <= self.last_key.as_slice() {
            return Err(Error::internal("entries of state do not come in the order of their keys"));
        }
        if key.len() + value.map_or(0, <[u8]>::len) > MAX_ENTRY_BYTES {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "an entry of state is larger than 512 MiB")
                .with_hint("Keep less for one key: such a value holds rows or items without bound."));
        }
        let mut full = None;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block();
            if self.segment.len() >= self.segment_limit {
                full = Some(self.end_segment());
            }
        }
        let shared = match self.block.is_empty() {
            true => 0,
            false => self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count(),
        };
        put_varint(&mut self.block, shared as u64);
        put_bytes(&mut self.block, key.get(shared..).unwrap_or_default());
        match value {
            None => put_varint(&mut self.block, 0),
            Some(value) => {
                put_varint(&mut self.block, value.len() as u64 + 1);
                self.block.extend_from_slice(value);
            }
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.entries += 1;
        self.entries_in_segment += 1;
        Ok(full)
    }

    /// The last segment, if there is anything in it.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.end_block();
        (self.entries_in_segment > 0).then(|| self.end_segment())
    }

    /// Taken so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        if self.segment.is_empty() {
            self.segment.extend_from_slice(MAGIC);
            self.segment.push(VERSION);
        }
        // Blocks are far smaller than 4 GiB: no value of ours is that large.
        self.segment.extend_from_slice(&(self.block.len() as u32).to_le_bytes());
        self.segment.extend_from_slice(&hash(&self.block).to_le_bytes());
        self.segment.append(&mut self.block);
    }

    fn end_segment(&mut self) -> Bytes {
        self.segment.extend_from_slice(&0u32.to_le_bytes());
        self.segment.extend_from_slice(&std::mem::take(&mut self.entries_in_segment).to_le_bytes());
        std::mem::take(&mut self.segment).into()
    }
}

impl Default for RunWriter {
    fn default() -> Self {
        RunWriter::new()
    }
}

/// Where a segment's bytes come from.
pub trait Input: Send {
    /// The next piece of it; `None` at its end. May block.
    fn next(&mut self) -> Result<Option<Bytes>>;

    /// Which file it is, for messages.
    fn name(&self) -> String;
}

/// A segment's entries, from bytes that come piece by piece.
pub struct SegmentReader<I> {
    input: I,
    unread: BytesMut,
    /// The present block, from behind the present entry on.
    block: Bytes,
    key: Vec<u8>,
    /// The present value, and whether there is one.
    value: Option<Bytes>,
    entries: u64,
    has_begun: bool,
}

impl<I: Input> SegmentReader<I> {
    pub fn new(input: I) -> Self {
        let (unread, block) = (BytesMut::new(), Bytes::new());
        SegmentReader { input, unread, block, key: Vec::new(), value: None, entries: 0, has_begun: false }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::new(SqlState::DataCorrupted, format!("\"{}\" is damaged: {why}", self.input.name()))
    }

    /// Waits for that many bytes.
    fn need(&mut self, bytes: usize) -> Result<()> {
        while self.unread.len() < bytes {
            let Some(more) = self.input.next()? else { return Err(self.damaged("it ends too early")) };
            self.unread.extend_from_slice(&more);
        }
        Ok(())
    }

    /// Reads the next block; false at the segment's end.
    fn next_block(&mut self) -> Result<bool> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.need(HEADER)?;
            let header = self.unread.split_to(HEADER);
            let mut header = Reader::new(&header);
            if header.array::<5>()? != *MAGIC {
                return Err(self.damaged("it does not begin as runs do"));
            }
            let named = |e: Error| e.context(format!("\"{}\"", self.input.name()));
            header.expect_version(VERSION, "run of state").map_err(named)?;
        }
        self.need(BLOCK_HEADER)?;
        let length = self.unread.get_u32_le() as usize;
        let checksum = self.unread.get_u64_le();
        if length == 0 {
            if checksum != self.entries {
                return Err(self.damaged("entries are missing"));
            }
            while let Some(more) = self.input.next()? {
                self.unread.extend_from_slice(&more);
            }
            return if self.unread.is_empty() { Ok(false) } else { Err(self.damaged("it goes on behind its end")) };
        }
        if length > MAX_BLOCK_BYTES {
            return Err(self.damaged("a block is too long"));
        }
        self.need(length)?;
        self.block = self.unread.split_to(length).freeze();
        if hash(&self.block) != checksum {
            return Err(self.damaged("a block's checksum is wrong"));
        }
        Ok(true)
    }

    fn read_entry(&mut self) -> Result<()> {
        let mut reader = Reader::new(&self.block);
        let read = read_entry(&mut reader).map_err(|_| self.damaged("an entry cannot be read"))?;
        let Some(replaced) = self.key.get(read.shared..) else { return Err(self.damaged("an entry cannot be read")) };
        if self.entries > 0 && read.rest <= replaced {
            return Err(self.damaged("its keys are not in order"));
        }
        self.key.truncate(read.shared);
        self.key.extend_from_slice(read.rest);
        self.value = read.value.map(|value| self.block.slice_ref(value));
        self.entries += 1;
        let length = self.block.len() - reader.rest().len();
        self.block.advance(length);
        Ok(())
    }
}

/// An entry as it lies in a block.
struct BlockEntry<'a> {
    /// How many bytes of the key before are also this one's.
    shared: usize,
    rest: &'a [u8],
    value: Option<&'a [u8]>,
}

fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<BlockEntry<'a>> {
    let shared = usize::try_from(reader.varint()?).map_err(|_| corrupt())?;
    let rest = reader.bytes()?;
    let value = match reader.varint()?.checked_sub(1) {
        None => None,
        Some(length) => Some(reader.take(usize::try_from(length).map_err(|_| corrupt())?)?),
    };
    Ok(BlockEntry { shared, rest, value })
}

impl<I: Input> Cursor for SegmentReader<I> {
    fn advance(&mut self) -> Result<bool> {
        if self.block.is_empty() && !self.next_block()? {
            return Ok(false);
        }
        self.read_entry()?;
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}
