//! A source being read: how much of each partition goes into a tick, where to go on, and the watermarks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::catalog::SourceObject;
use crate::change::Watermark;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::connector::dead_letter::DeadLetter;
use crate::connector::{Chunk, PartitionId, Payload, Positions, Reader, ReaderContext, Source, Taken, place_column};
use crate::dataflow::required::Required;
use crate::dataflow::scan::{Computed, Scan};
use crate::dataflow::watermark::{Progress, SourceWatermarks};
use crate::error::{Error, Result};
use crate::plan::{Op, Scalar, ScanWatermark, StreamPlan, plan_computed};
use crate::types::Column;

use super::ahead::{Ahead, Fetched};
use super::core::ReadingId;
use super::dead_letters::DeadLetters;
use super::delivery::Delivery;
use super::image::{PartitionImage, ReadingImage};
use super::input::Decoding;

/// How far one partition may be read ahead of another, in event time, while both have something to read.
const MAX_DRIFT: Micros = 30 * MICROS_PER_SECOND;

/// When a tick is cut, and how large its answer may be. A tick takes what is at hand, up to these bounds: light load means
/// small ticks and low latency, heavy load large ticks and few touches of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutPolicy {
    /// Input bytes of a tick, about. 16 MB are some ten milliseconds of decoding on a core.
    pub tick_bytes: usize,
    /// Bytes taken from a partition at once: the unit in which decoding is spread over shards.
    pub chunk_bytes: usize,
    /// Chunks in a tick, at most.
    pub tick_chunks: usize,
    /// Bytes of a tick's change of what is seen whole: they are held until the tick is over. Half a gigabyte is some
    /// million rows of a view at once.
    pub whole_bytes: usize,
}

impl Default for CutPolicy {
    fn default() -> Self {
        CutPolicy { tick_bytes: 16 << 20, chunk_bytes: 1 << 20, tick_chunks: 1024, whole_bytes: 512 << 20 }
    }
}

/// A piece of a tick's input.
pub struct CutChunk {
    pub partition: usize,
    pub(super) decoding: Arc<Decoding>,
    pub bytes: usize,
}

/// What was read of a partition since its reading began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionCounts {
    pub rows: u64,
    pub bytes: u64,
    pub bad_messages: u64,
}

/// What is to be read of a source, and from where.
pub struct Wanted {
    /// Declared columns, ascending.
    pub columns: Vec<usize>,
    pub watermark: Option<ScanWatermark>,
    pub positions: Positions,
}

/// Opens a source for a pipeline. Does not block.
pub type OpenReading = Box<dyn Fn(&str, Wanted) -> Result<Reading> + Send>;

/// A source as the plans of a pipeline read it.
pub struct Reading {
    name: String,
    object: SourceObject,
    /// Declared columns read, ascending: those that any reader needs.
    columns: Vec<usize>,
    scan: Arc<Scan>,
    reader: Box<dyn Reader>,
    ahead: Ahead,
    /// The last tick took all that it may.
    is_full: bool,
    /// Where the next tick goes on.
    positions: Positions,
    pub watermarks: SourceWatermarks,
    context: ReaderContext,
    letters: Option<DeadLetters>,
    /// What was read of each partition, by its index.
    pub counts: Vec<PartitionCounts>,
    /// Partitions that have been read to their end of then, by index.
    met_end: Vec<bool>,
    /// First partition looked at by the next cut, so that all get their turn.
    turn: usize,
    /// Chunks, by the index of their partition, that lack what decoding them takes: they come before what the reader has.
    held: BTreeMap<usize, Chunk>,
    /// When the last cut was.
    now: Micros,
}

impl Reading {
    pub fn open(
        name: &str,
        object: &SourceObject,
        wanted: Wanted,
        context: ReaderContext,
        letters: Option<DeadLetters>,
    ) -> Result<Self> {
        let Wanted { columns, watermark, positions } = wanted;
        let wanted = object.wanted(name, &columns)?;
        let reader = object.source.open(&wanted.brought, &positions, context.clone())?;
        let scan = Arc::new(scan_of(name, object, &columns, wanted, watermark.as_ref())?);
        let watermarks = SourceWatermarks::new(object.idle_timeout);
        let (name, object) = (name.to_string(), object.clone());
        Ok(Reading {
            name,
            object,
            columns,
            scan,
            reader,
            ahead: Ahead::default(),
            is_full: false,
            positions,
            watermarks,
            context,
            letters,
            counts: Vec::new(),
            met_end: Vec::new(),
            turn: 0,
            held: BTreeMap::new(),
            now: Micros::MIN,
        })
    }

    /// What it is besides what can be read again; between two ticks.
    pub fn image(&self, id: ReadingId) -> ReadingImage {
        let partition = |(at, id): (usize, &PartitionId)| {
            Some(PartitionImage {
                id: id.clone(),
                progress: self.watermarks.progress(at)?.clone(),
                counts: self.counts.get(at).copied()?,
                met_end: self.met_end.get(at).copied()?,
            })
        };
        ReadingImage {
            id,
            source: self.name.clone(),
            positions: self.positions.clone(),
            watermark: self.watermarks.combined(),
            partitions: self.reader.partitions().iter().enumerate().filter_map(partition).collect(),
        }
    }

    /// Goes on where `image` was taken: it was opened at its positions. Partitions may have come, and may stand in another
    /// order.
    pub fn resume(&mut self, image: &ReadingImage) {
        let of = |id: &PartitionId| image.partitions.iter().find(|partition| partition.id == *id);
        let known: Vec<Option<&PartitionImage>> = self.reader.partitions().iter().map(of).collect();
        let progress = known.iter().map(|partition| partition.map(|partition| partition.progress.clone()));
        self.watermarks.resume(image.watermark, progress);
        self.counts = known.iter().map(|partition| partition.map(|p| p.counts).unwrap_or_default()).collect();
        self.met_end = known.iter().map(|partition| partition.is_some_and(|p| p.met_end)).collect();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    pub fn scan(&self) -> Arc<Scan> {
        Arc::clone(&self.scan)
    }

    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    pub fn trouble(&self) -> Option<Error> {
        let decoder = || self.scan.waits().and_then(|decoder| decoder.trouble()).filter(|_| !self.held.is_empty());
        self.reader.trouble().or_else(decoder).or_else(|| self.letters.as_ref()?.trouble())
    }

    /// Hands on messages of a partition that could not be decoded.
    pub fn bury(&mut self, partition: usize, letters: &[DeadLetter]) -> Result<()> {
        let Some(id) = self.reader.partitions().get(partition).filter(|_| !letters.is_empty()) else { return Ok(()) };
        self.letters.as_mut().map_or(Ok(()), |all| all.push(id, letters))
    }

    /// Dead letters that wait to be delivered.
    pub fn pending_letters(&self) -> Option<Arc<Delivery>> {
        self.letters.as_ref()?.pending()
    }

    /// Whether it has an end that it has not been read to.
    pub fn goes_to_an_end(&self) -> bool {
        self.object.source.is_bounded() && !(self.watermarks.all_finished() && self.pending_letters().is_none())
    }

    pub fn buffered_bytes(&self) -> usize {
        let held: usize = self.held.values().map(|chunk| chunk.payload.bytes()).sum();
        self.reader.buffered_bytes() + held + self.ahead.bytes()
    }

    /// Goes on from the same place with other columns.
    pub fn widen(&mut self, columns: Vec<usize>, watermark: Option<&ScanWatermark>) -> Result<()> {
        let wanted = self.object.wanted(&self.name, &columns)?;
        let reader = self.object.source.open(&wanted.brought, &self.positions, self.context.clone())?;
        self.scan = Arc::new(scan_of(&self.name, &self.object, &columns, wanted, watermark)?);
        self.reader = reader;
        self.held.clear();
        self.ahead = Ahead::default();
        self.columns = columns;
        Ok(())
    }

    /// Goes on from the positions, without what was taken ahead.
    fn go_back(&mut self) -> Result<()> {
        let wanted = self.object.wanted(&self.name, &self.columns)?;
        self.reader = self.object.source.open(&wanted.brought, &self.positions, self.context.clone())?;
        self.held.clear();
        self.ahead = Ahead::default();
        Ok(())
    }

    /// Takes chunks for the next tick, as many as that may have, if the last one was full. Positions and watermarks stay:
    /// they are as of a cut.
    pub(super) fn take_ahead(&mut self, policy: &CutPolicy) -> Vec<Arc<Decoding>> {
        // What may have to wait before it can be decoded is taken when it is cut.
        if !self.is_full || self.scan.waits().is_some() {
            return Vec::new();
        }
        self.ahead.fill(self.reader.as_mut(), &self.scan, policy)
    }

    /// Takes what is at hand, partition by partition in turn, within `policy`. `limits`: positions not to be passed, for
    /// those partitions that have one.
    pub fn cut(&mut self, policy: &CutPolicy, limits: &Positions, now: Micros) -> Result<Vec<CutChunk>> {
        if let Some(failure) = self.letters.as_ref().and_then(DeadLetters::failure) {
            return Err(failure);
        }
        self.now = now;
        if self.ahead.is_past(limits, self.reader.partitions()) {
            self.go_back()?;
        }
        let ids: Vec<PartitionId> = self.reader.partitions().to_vec();
        self.watermarks.grow(ids.len());
        self.counts.resize_with(ids.len(), PartitionCounts::default);
        self.met_end.resize(ids.len(), false);
        let mut chunks = Vec::new();
        let mut bytes = 0;
        let mut open: Vec<usize> = (0..ids.len()).map(|i| (i + self.turn) % ids.len()).collect();
        self.turn = if ids.is_empty() { 0 } else { (self.turn + 1) % ids.len() };
        while !open.is_empty() && bytes < policy.tick_bytes && chunks.len() < policy.tick_chunks {
            let mut still = Vec::with_capacity(open.len());
            for partition in open {
                if chunks.len() >= policy.tick_chunks || bytes >= policy.tick_bytes {
                    break;
                }
                let taken = self.take(partition, &ids[partition], policy, limits, now)?;
                if let Some(chunk) = taken {
                    bytes += chunk.bytes;
                    chunks.push(chunk);
                    still.push(partition);
                }
            }
            open = still;
        }
        self.is_full = chunks.len() >= policy.tick_chunks || bytes >= policy.tick_bytes;
        Ok(chunks)
    }

    fn take(
        &mut self,
        partition: usize,
        id: &PartitionId,
        policy: &CutPolicy,
        limits: &Positions,
        now: Micros,
    ) -> Result<Option<CutChunk>> {
        let until = limits.get(id);
        let held = until.is_some_and(|until| self.positions.get(id).is_some_and(|at| at >= until));
        if held || (self.scan.has_watermark() && self.watermarks.must_wait(partition, MAX_DRIFT)) {
            return Ok(None);
        }
        let (progress, chunk) = match self.ahead.take(partition) {
            Some(chunk) => (Progress::Reading, Some(chunk.map_err(|e| self.explain(e, id))?)),
            None => {
                let taken = match self.held.remove(&partition) {
                    Some(chunk) if until.is_none_or(|until| chunk.next <= *until) => Taken::Chunk(chunk),
                    // Another reading has come since, to be met in the middle of it: it is cut anew.
                    Some(_) => return self.go_back().map(|()| None),
                    None => self.reader.take(partition, policy.chunk_bytes, until).map_err(|e| self.explain(e, id))?,
                };
                match self.prepared(partition, taken, now).map_err(|e| self.explain(e, id))? {
                    Taken::Chunk(chunk) => (Progress::Reading, Some(Fetched::new(chunk, &self.scan))),
                    Taken::Pending => (Progress::Reading, None),
                    Taken::AtEnd => (Progress::AtEnd, None),
                    Taken::Finished => (Progress::Finished, None),
                }
            }
        };
        self.watermarks.observe(partition, progress, now);
        let caught_up = || self.reader.is_endless() || self.reader.is_past_its_beginning(partition);
        if progress != Progress::Reading || caught_up() {
            self.met_end[partition] = true;
        }
        let Some(chunk) = chunk else { return Ok(None) };
        self.positions.insert(id.clone(), chunk.next);
        Ok(Some(CutChunk { partition, decoding: chunk.decoding, bytes: chunk.bytes }))
    }

    /// What was taken, unless decoding it takes what is not at hand: then it is held until that is.
    fn prepared(&mut self, partition: usize, taken: Taken, now: Micros) -> Result<Taken> {
        let Taken::Chunk(chunk) = taken else { return Ok(taken) };
        if let (Some(decoder), Payload::Raw(raw)) = (self.scan.waits(), &chunk.payload)
            && !decoder.prepare(raw, now, &self.context.waker)?
        {
            self.held.insert(partition, chunk);
            return Ok(Taken::Pending);
        }
        Ok(Taken::Chunk(chunk))
    }

    /// Whether each partition has been read to its end at some moment since this began, or past where it ended then: all that was there at first has gone
    /// into a tick. Of what has no end, that it was looked at.
    pub fn has_met_its_end(&self) -> bool {
        self.met_end.len() == self.reader.partitions().len() && self.met_end.iter().all(|met| *met)
    }

    /// Says where an error came from.
    pub fn explain(&self, error: Error, partition: &PartitionId) -> Error {
        error.context(format!("source \"{}\", partition {}", self.name, partition.0))
    }

    pub fn partition_id(&self, partition: usize) -> Option<&PartitionId> {
        self.reader.partitions().get(partition)
    }

    /// When there may be something to do although nothing came: a partition becomes idle, or a paced source is due.
    pub fn wake_at(&self) -> Option<Micros> {
        let decoder = self.scan.waits().filter(|_| !self.held.is_empty()).and_then(|decoder| decoder.wake_at());
        // What is past was looked at by the last cut, or waits for something else.
        let decoder = decoder.filter(|at| *at > self.now);
        self.watermarks.next_deadline().into_iter().chain(self.reader.wake_at()).chain(decoder).min()
    }

    /// The source's watermark at the last tick's end.
    pub fn watermark(&self) -> Watermark {
        self.watermarks.combined()
    }
}

/// What must be read for some of the declared columns.
struct WantedColumns {
    /// Columns among those that the source brings, ascending.
    brought: Vec<usize>,
    /// The same, by the indices of the declared ones.
    declared: Vec<usize>,
    /// The declared ones over these, if some are computed or brought for that alone.
    computed: Option<Vec<Scalar>>,
    /// The columns that are brought.
    schema: SchemaRef,
}

impl SourceObject {
    fn wanted(&self, name: &str, columns: &[usize]) -> Result<WantedColumns> {
        let is_computed = |column: &usize| self.computed.iter().any(|c| c.column == *column);
        // Declared columns: those that are wanted themselves, and those that computed ones are made of.
        let mut read: BTreeSet<usize> = columns.iter().copied().filter(|column| !is_computed(column)).collect();
        let mut exprs = BTreeMap::new();
        for computed in self.computed.iter().filter(|computed| columns.contains(&computed.column)) {
            let planned = plan_computed(name, &self.columns, &self.computed, computed)?;
            read.extend(planned.columns);
            exprs.insert(computed.column, planned.expr);
        }
        if read.is_empty() {
            // Rows must come from some column.
            read.extend((0..self.columns.len()).find(|column| !is_computed(column)));
        }
        let declared: Vec<usize> = read.into_iter().collect();
        let before = |column: usize| self.computed.iter().filter(|c| c.column < column).count();
        let brought = declared.iter().map(|column| column - before(*column)).collect();
        let schema = self.schema_of(&declared);
        let wanted = |column: &usize| match (exprs.get(column), self.columns.get(*column)) {
            (Some(expr), _) => expr.clone(),
            (None, Some(column)) => Scalar::column(&column.name),
            (None, None) => Scalar::column(&place_column().name),
        };
        let computed = (*declared != *columns).then(|| columns.iter().map(wanted).collect());
        Ok(WantedColumns { brought, declared, computed, schema })
    }

    /// The schema of the columns `columns`: declared ones, and behind them the place of an upsert source's messages.
    fn schema_of(&self, columns: &[usize]) -> SchemaRef {
        let field = |column: &usize| self.columns.get(*column).map_or_else(|| place_column().field(), Column::field);
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }
}

fn scan_of(
    name: &str,
    object: &SourceObject,
    columns: &[usize],
    wanted: WantedColumns,
    watermark: Option<&ScanWatermark>,
) -> Result<Scan> {
    let source: &Arc<dyn Source> = &object.source;
    let decoder = source.decoder(&wanted.brought)?;
    let compile = |exprs: Vec<Scalar>| exprs.iter().map(|expr| expr.compile(&wanted.schema)).collect::<Result<_>>();
    let required = |columns: &[usize]| Required::new(name, columns.iter().map(|column| object.columns.get(*column)));
    let computed = wanted.computed.map(compile).transpose()?;
    let computed = computed.map(|exprs| Computed { exprs, required: required(columns) });
    let required = required(&wanted.declared);
    Scan::new(object.schema_of(columns), decoder, required, computed, watermark, object.on_error)
}

/// What the plans in `plans` need of the source `name`: its columns, ascending, and the watermark over those columns.
pub fn needs<'a>(name: &str, plans: impl Iterator<Item = &'a StreamPlan>) -> (Vec<usize>, Option<ScanWatermark>) {
    let mut all: Vec<usize> = Vec::new();
    let mut watermark: Option<(usize, &ScanWatermark)> = None;
    for node in plans.flat_map(|plan| &plan.nodes) {
        if let Op::Scan { source, columns, watermark: of_scan } = &node.op
            && source == name
        {
            all.extend(columns);
            if let Some(of_scan) = of_scan {
                watermark = columns.get(of_scan.event_time.column).map(|declared| (*declared, of_scan));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    let watermark = watermark.and_then(|(declared, of_scan)| {
        let mut moved = of_scan.clone();
        moved.event_time.column = all.iter().position(|c| *c == declared)?;
        Some(moved)
    });
    (all, watermark)
}
