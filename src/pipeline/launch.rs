//! What it takes to bring the pipeline of a job up, again and again: from its newest epoch, or from its beginning.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::catalog::{EpochSettings, ObjectId, Starts};
use crate::dataflow::{Fragment, WorkerPool};
use crate::error::Result;
use crate::plan::StreamPlan;
use crate::state::StateContext;

use super::core::Core;
use super::durability::{Durability, Reopened, job_path, owed_to, restore};
use super::history::EpochHistory;
use super::image::Fingerprint;
use super::member::NewPlan;
use super::meter::Meter;
use super::opener::Opener;
use super::reading::CutPolicy;
use super::rehearsal::{Rehearsal, RehearsalPlan};
use super::tick_loop::TickLoop;
use super::ticks::{Started, Ticks};

pub(super) struct Launch {
    pub id: ObjectId,
    pub name: String,
    pub plan: Arc<StreamPlan>,
    pub fingerprint: Fingerprint,
    pub starts: Starts,
    /// Of the plan.
    pub outputs: usize,
    pub opener: Opener,
    pub rehearsal: Option<RehearsalPlan>,
    pub state: StateContext,
    pub pool: WorkerPool,
    pub cuts: CutPolicy,
    pub durability: Option<(Durability, EpochHistory)>,
    pub epochs: EpochSettings,
    /// The tick loop's.
    pub wake: Arc<Notify>,
}

impl Launch {
    /// From a thread that may block.
    ///
    /// # Errors
    /// If the store is away or damaged, or a source does not open.
    pub fn start(&self, parallelism: usize) -> Result<Started> {
        let opened = self.durability.as_ref().map(|(durability, history)| {
            let fingerprint = format!("{:?}", self.fingerprint);
            durability.open(&job_path(self.id), fingerprint, &self.epochs, Arc::clone(&self.wake), history.clone())
        });
        let (epochs, reopened) = opened.transpose()?.unzip();
        let new = NewPlan {
            id: self.id,
            name: self.name.clone(),
            fingerprint: self.fingerprint,
            fragment: Fragment::new(Arc::clone(&self.plan), parallelism, &self.state)?,
            view: None,
            starts: self.starts.clone(),
        };
        let open = self.opener.clone().into_open();
        let (core, owed) = match reopened.flatten() {
            Some(Reopened { image, state, mut owed }) => {
                let mut core = Core::resumed(image, self.cuts, open);
                core.add(new)?;
                restore(&mut core, state)?;
                (core, owed_to(self.id, self.outputs, &mut owed))
            }
            None => {
                let mut core = Core::new(self.cuts, open);
                core.add(new)?;
                (core, Vec::new())
            }
        };
        let Opener { clock, metrics, budget, .. } = &self.opener;
        let meter = Meter::new(metrics, &self.name);
        let rehearsal = self.rehearsal.as_ref().map(|plan| Rehearsal::new(plan, &self.name, budget));
        let (wake, clock, pool) = (Arc::clone(&self.wake), Arc::clone(clock), self.pool.clone());
        let tick_loop = TickLoop::new(core, wake, clock, pool, meter, budget.account()).rehearsing(rehearsal);
        Ok(Started { ticks: Ticks::Own(Box::new(tick_loop), epochs.map(Box::new)), owed })
    }
}
