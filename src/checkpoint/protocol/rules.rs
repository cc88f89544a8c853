//! The rules by which the protocol goes. The code asks [`Protocol::keeps`] where a rule holds, so that each has a name
//! there, and a test can take it away to see that it is missed.
//!
//! [`Protocol::keeps`]: super::Protocol::keeps

/// A rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A new generation creates a commit of its own before anything else.
    FenceFirst,
    /// The newest commit names the one before it by its digest.
    ChainIsChecked,
    /// A commit counts only if no newer one is there, since its name may have been free again.
    NothingNewer,
    /// A commit that was perhaps created is not taken as not created.
    ErrorIsNoFailure,
    /// A commit that was perhaps created is not taken as created.
    ErrorIsNoSuccess,
    /// A commit that is there is ours only if it has our process id.
    ProcessIdDecides,
    /// Commits are numbered without gaps.
    NoEpochIsSkipped,
    /// The newest commits are not collected, nor what they name.
    RetainedStay,
    /// A commit stays as long as bytes within it are named.
    NamedCommitsStay,
    /// Only files of older generations are strays.
    OwnFilesAreNoStrays,
    /// A part stays in the outbox until it is known to be delivered.
    UndeliveredStay,
    /// What was handed to a sink is not delivered until the sink says so.
    HandedIsNotDelivered,
    /// A part is handed to its sink when its epoch is true, not before.
    CommitBeforeDelivery,
    /// What a sink's marker says is delivered is not delivered again.
    MarkerCounts,
    /// That a key is gone is kept as long as an older run may have it.
    GoneIsKept,
    /// What changed while a merge was under way stays on top of it.
    MergeReplacesItsInputs,
}

#[cfg(test)]
impl Rule {
    pub const ALL: [Rule; 16] = [
        Rule::FenceFirst,
        Rule::ChainIsChecked,
        Rule::NothingNewer,
        Rule::ErrorIsNoFailure,
        Rule::ErrorIsNoSuccess,
        Rule::ProcessIdDecides,
        Rule::NoEpochIsSkipped,
        Rule::RetainedStay,
        Rule::NamedCommitsStay,
        Rule::OwnFilesAreNoStrays,
        Rule::UndeliveredStay,
        Rule::HandedIsNotDelivered,
        Rule::CommitBeforeDelivery,
        Rule::MarkerCounts,
        Rule::GoneIsKept,
        Rule::MergeReplacesItsInputs,
    ];
}
