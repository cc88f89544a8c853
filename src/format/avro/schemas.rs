//! The schemas that messages were written with: those that are known, and asking for those that are not.
//!
//! A registry may be slow, or away. So it is asked in the background, for one schema at a time, and whoever needs that holds its
//! chunk back meanwhile. One that is away is asked again after pauses that grow; numbers that it does not know are not asked
//! for again for a while, however many chunks name them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::Registry;
use super::writer::Writer;
use crate::clock::{MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result, SqlState};
use crate::format::Waker;

/// Schemas kept: more than a topic has at a time.
const MAX_SCHEMAS: usize = 256;

/// Schemas of one chunk that are waited for: as many are surely kept until it is decoded.
pub const MAX_IN_CHUNK: usize = 32;

/// Numbers without a schema kept: some bytes each, far more than chunks wait for at once.
const MAX_MISSING: usize = 1 << 16;

/// How long a number that the registry does not know is not asked for again: it may get one, on a registry that lags.
const MISSING_FOR: Micros = 30 * MICROS_PER_SECOND;

/// Pause behind the first failure in a row; then twice as long each time.
const FIRST_PAUSE: Micros = MICROS_PER_SECOND / 10;

/// Longest pause between two tries.
const LONGEST_PAUSE: Micros = 10 * MICROS_PER_SECOND;

/// A schema, or why its messages cannot be read.
pub type Known = std::result::Result<Arc<Writer>, Error>;

#[derive(Debug)]
pub struct Schemas {
    registry: Arc<dyn Registry>,
    /// Of the columns that messages become.
    columns: SchemaRef,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By number. Numbers are never given to another schema.
    known: HashMap<u32, Known>,
    /// Numbers that the registry does not know, and until when this is believed.
    missing: HashMap<u32, Micros>,
    asking: bool,
    answer: Option<(u32, Result<Option<String>>)>,
    trouble: Option<Trouble>,
    /// As of the last time that somebody said so.
    now: Micros,
}

/// The registry is away.
#[derive(Debug)]
struct Trouble {
    error: Error,
    pause: Micros,
    /// When it is asked again.
    again: Micros,
}

/// Whoever waits for a schema in the background. To be told once; dropped before that, the registry counts as away.
pub struct Asker {
    id: u32,
    answer: Result<Option<String>>,
    state: Arc<Mutex<State>>,
    wake: Waker,
}

impl Asker {
    pub fn id(&self) -> u32 {
        self.id
    }

    /// `answer`: what [`Registry::schema`] gives.
    pub fn tell(mut self, answer: Result<Option<String>>) {
        self.answer = answer;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        {
            let mut state = self.state.lock();
            state.asking = false;
            state.answer = Some((self.id, std::mem::replace(&mut self.answer, Ok(None))));
        }
        (self.wake)();
    }
}

impl Schemas {
    pub fn new(registry: Arc<dyn Registry>, columns: SchemaRef) -> Schemas {
        Schemas { registry, columns, state: Arc::default() }
    }

    /// Whether something is known of all these schemas. If not, the next one is asked for, and `wake` called behind it.
    ///
    /// # Errors
    /// If the registry refuses.
    pub fn prepare(&self, ids: &[u32], now: Micros, wake: &Waker) -> Result<bool> {
        loop {
            let id = {
                let mut state = self.state.lock();
                state.now = now;
                if let Some((id, answer)) = state.answer.take() {
                    self.learn(&mut state, id, answer)?;
                }
                let unknown = |id: &&u32| {
                    let missing = state.missing.get(id).is_some_and(|until| now < *until);
                    !missing && !state.known.contains_key(id)
                };
                let Some(id) = ids.iter().find(unknown) else { return Ok(true) };
                if state.asking || state.trouble.as_ref().is_some_and(|trouble| now < trouble.again) {
                    return Ok(false);
                }
                state.asking = true;
                *id
            };
            let answer = Err(Error::new(SqlState::ConnectionFailure, "nobody asks the schema registry"));
            let (state, wake) = (Arc::clone(&self.state), Arc::clone(wake));
            // Not under the lock, which the answer takes.
            self.registry.ask(Asker { id, answer, state, wake });
            if self.state.lock().asking {
                return Ok(false);
            }
        }
    }

    /// What is known of a schema. One that nobody has asked for (a chunk names more than are waited for) is read now, which
    /// blocks.
    ///
    /// # Errors
    /// If the registry cannot be asked.
    pub fn get(&self, id: u32) -> Result<Known> {
        {
            let state = self.state.lock();
            if let Some(known) = state.known.get(&id) {
                return Ok(known.clone());
            }
            if state.missing.contains_key(&id) {
                return Ok(Err(missing(id)));
            }
        }
        // Not under the lock: whoever needs another schema goes on.
        let text = self.registry.schema(id)?;
        let mut state = self.state.lock();
        self.learn(&mut state, id, Ok(text))?;
        Ok(state.known.get(&id).cloned().unwrap_or_else(|| Err(missing(id))))
    }

    /// Takes in what a registry has answered.
    ///
    /// # Errors
    /// If that was an error that does not pass by itself.
    fn learn(&self, state: &mut State, id: u32, answer: Result<Option<String>>) -> Result<()> {
        match answer {
            Ok(text) => {
                state.trouble = None;
                match text {
                    Some(text) => {
                        if state.known.len() >= MAX_SCHEMAS {
                            // Those in use are soon there again.
                            state.known.clear();
                        }
                        state.known.insert(id, Writer::new(id, text, &self.columns).map(Arc::new));
                    }
                    None => {
                        if state.missing.len() >= MAX_MISSING {
                            state.missing.clear();
                        }
                        state.missing.insert(id, state.now.saturating_add(MISSING_FOR));
                    }
                }
                Ok(())
            }
            Err(error) if error.state() == SqlState::ConnectionFailure => {
                let pause = state.trouble.as_ref().map_or(FIRST_PAUSE, |last| LONGEST_PAUSE.min(last.pause * 2));
                state.trouble = Some(Trouble { error, pause, again: state.now.saturating_add(pause) });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// When the registry is asked again, if it is away.
    pub fn wake_at(&self) -> Option<Micros> {
        self.state.lock().trouble.as_ref().map(|trouble| trouble.again)
    }

    /// Why schemas are waited for.
    pub fn trouble(&self) -> Option<Error> {
        self.state.lock().trouble.as_ref().map(|trouble| trouble.error.clone())
    }
}

fn missing(id: u32) -> Error {
    let message = format!("the schema registry has no schema {id}");
    let hint = "The message was written with another registry, or is not Avro in Confluent's form.";
    Error::new(SqlState::BadCopyFileFormat, message).with_hint(hint)
}
