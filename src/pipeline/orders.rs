//! What a user orders of a job that is there: to stop, to be canceled, to pause and to go on, to have another parallelism.

use std::sync::Arc;

use crate::catalog::{JobObject, Object, ObjectId, ObjectKind, Wanted};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::ObjectClass;

use super::delivery::blocking;
use super::engine::Engine;
use super::job::Job;
use super::starting::ended;
use super::status::{JobState, JobStatus};

impl Engine {
    /// Ends a job with everything delivered that it computed. It stays in the catalog.
    pub async fn stop_job(&self, id: ObjectId) -> Result<()> {
        self.end_job(id, Wanted::Stopped).await
    }

    /// Ends a job at once.
    pub async fn cancel_job(&self, id: ObjectId) -> Result<()> {
        self.end_job(id, Wanted::Canceled).await
    }

    async fn end_job(&self, id: ObjectId, wanted: Wanted) -> Result<()> {
        let job = self.job(id)?;
        let _starting = match job.is_alive() {
            true => None,
            false => Some(self.starting.lock().await),
        };
        let status = job.status();
        if status.state.is_over() && !matches!(status.state, JobState::Failed | JobState::Paused) {
            return Err(not_running(&status));
        }
        match wanted {
            Wanted::Canceled => job.cancel().await,
            _ => job.stop().await,
        }
        // A job over views runs there; of others the database pipeline knows nothing.
        self.database.remove(id).await?;
        let catalog = Arc::clone(&self.catalog);
        let figures = job.status().ended();
        blocking(move || catalog.set_wanted(id, wanted, Some(figures))).await??;
        if job.status().state == JobState::Paused
            && let Some(state) = ended(wanted)
        {
            self.jobs.lock().insert(id, Arc::new(Job::ended(JobStatus { state, ..status })));
        }
        Ok(())
    }

    /// Lets a job read nothing more until it is resumed, also after a restart of the server; waits until it does. `false`: it is
    /// paused already.
    ///
    /// # Errors
    /// 55000 if it does not run, 0A000 if it reads views.
    pub async fn pause_job(&self, id: ObjectId) -> Result<bool> {
        let job = self.job(id)?;
        self.check_own_pipeline(
            id,
            "paused",
            "STOP it, or drop the views that it reads: what they show goes on without it.",
        )?;
        let status = job.status();
        if status.state.is_over() && status.state != JobState::Paused {
            return Err(not_running(&status));
        }
        if self.object(id)?.1.wanted == Wanted::Paused {
            return Ok(false);
        }
        job.pause().await;
        let status = job.status();
        if status.state != JobState::Paused {
            return Err(not_running(&status));
        }
        self.remember(id, Wanted::Paused, &status).await?;
        Ok(true)
    }

    /// Lets a job that is paused, or has failed, go on from where it is. `false`: it runs.
    ///
    /// # Errors
    /// 55000 if it has ended.
    pub async fn resume_job(&self, id: ObjectId) -> Result<bool> {
        self.check_running()?;
        let _starting = self.starting.lock().await;
        let job = self.job(id)?;
        let status = job.status();
        match status.state {
            JobState::Paused | JobState::Failed => {}
            JobState::Starting | JobState::Running | JobState::Restarting => return Ok(false),
            JobState::Stopping | JobState::Stopped | JobState::Canceled | JobState::Finished => {
                let message = format!("streaming job \"{}\" cannot be resumed: it is {}", status.name, status.state);
                return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message).with_hint(
                    "Only a job that is paused, or has failed, goes on; drop this one and create it anew.",
                ));
            }
        }
        self.remember(id, Wanted::Running, &status).await?;
        if job.is_alive() {
            job.resume();
            return Ok(true);
        }
        // One over views is still there, failed.
        self.database.remove(id).await?;
        let (object, wanted) = self.object(id)?;
        self.start_job(&object, &wanted).await;
        Ok(true)
    }

    /// Gives a job so many shards: at the end of an epoch that is made for it, from where it goes on. Waits for that, if it
    /// runs.
    ///
    /// # Errors
    /// 55000 if it has ended, 0A000 if it reads views or nothing is stored.
    pub async fn set_parallelism(&self, id: ObjectId, parallelism: usize) -> Result<()> {
        let job = self.job(id)?;
        self.check_own_pipeline(id, "given another parallelism", "Drop it, and create it with 'parallelism' = '...'.")?;
        let status = job.status();
        if status.state.is_over() && !matches!(status.state, JobState::Failed | JobState::Paused) {
            return Err(not_running(&status));
        }
        if self.durability.is_none() && job.is_alive() {
            let message = "the parallelism of a job cannot be changed where nothing is stored";
            return Err(Error::unsupported(message, "Views and jobs are durable where a server has a data directory."));
        }
        let catalog = Arc::clone(&self.catalog);
        blocking(move || catalog.set_parallelism(id, parallelism)).await??;
        if !job.is_alive() {
            job.set_parallelism(parallelism);
            return Ok(());
        }
        job.rescale(parallelism).await;
        match job.status() {
            JobStatus { state: JobState::Failed, reason: Some(reason), .. } => Err(reason),
            _ => Ok(()),
        }
    }

    fn job(&self, id: ObjectId) -> Result<Arc<Job>> {
        let not_there = || Error::new(SqlState::UndefinedObject, "the streaming job does not exist");
        self.jobs.lock().get(&id).map(Arc::clone).ok_or_else(not_there)
    }

    fn object(&self, id: ObjectId) -> Result<(Arc<Object>, JobObject)> {
        match self.catalog.snapshot().get(id) {
            Some(object) => match &object.kind {
                ObjectKind::Job(job) => Ok((Arc::clone(object), job.clone())),
                _ => Err(Error::internal("the object is no job")),
            },
            None => Err(Error::new(SqlState::UndefinedObject, "the streaming job was dropped meanwhile")),
        }
    }

    async fn remember(&self, id: ObjectId, wanted: Wanted, status: &JobStatus) -> Result<()> {
        let (catalog, figures) = (Arc::clone(&self.catalog), status.ended());
        blocking(move || catalog.set_wanted(id, wanted, Some(figures))).await?
    }

    fn check_own_pipeline(&self, id: ObjectId, what: &str, hint: &str) -> Result<()> {
        let name = self.object(id)?.0.name.clone();
        match self.reads_views(id) {
            true => Err(Error::unsupported(format!("streaming job \"{name}\" cannot be {what}: it reads views"), hint)
                .with_detail("It ticks together with them, so that all show one instant.")),
            false => Ok(()),
        }
    }

    /// Whether a job runs in the pipeline of all views.
    pub(super) fn reads_views(&self, id: ObjectId) -> bool {
        let catalog = self.catalog.snapshot();
        let is_view = |id: &ObjectId| catalog.get(*id).is_some_and(|object| object.class() == ObjectClass::View);
        catalog.get(id).is_some_and(|job| job.depends_on.iter().any(is_view))
    }
}

fn not_running(status: &JobStatus) -> Error {
    Error::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("streaming job \"{}\" is not running: it is {}", status.name, status.state),
    )
}
