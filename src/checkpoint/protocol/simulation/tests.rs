//! Seeds, every crash point, damage, and rules that are taken away.
//!
//! `TIDEMILL_SIMULATED` is how many seeds are run; a hundred thousand take seconds where our crate is optimised
//! (`CARGO_PROFILE_DEV_OPT_LEVEL=3`), and a sample of them is run where it is not.

use super::super::Rule;
use super::Flaw;
use super::run::{Crash, Outcome, Plan, run};

const SEEDS: u64 = 100_000;

/// Without optimisation a seed takes so many times as long.
const UNOPTIMISED: u64 = 100;

/// Of every eighth seed; others have fewer, for most mistakes show soon or not at all.
const STEPS: usize = 400;
const FEW_STEPS: usize = 100;

fn seeds() -> u64 {
    match std::env::var("TIDEMILL_SIMULATED").ok().and_then(|seeds| seeds.parse().ok()) {
        Some(seeds) => seeds,
        None if cfg!(debug_assertions) => SEEDS / UNOPTIMISED,
        None => SEEDS,
    }
}

fn chaotic(seed: u64) -> Plan {
    Plan { seed, steps: if seed.is_multiple_of(8) { STEPS } else { FEW_STEPS }, ..Plan::default() }
}

/// Runs seeds on all cores; gives the first violation, and sums.
fn all(plan: impl Fn(u64) -> Plan + Sync, seeds: std::ops::Range<u64>) -> (Option<(u64, String)>, Outcome) {
    use rayon::prelude::*;
    let outcomes = seeds.into_par_iter().map(|seed| (seed, run(plan(seed))));
    let sum = |(found, sum): (Option<(u64, String)>, Outcome), (other, one): (Option<(u64, String)>, Outcome)| {
        let sum = Outcome {
            epochs: sum.epochs + one.epochs,
            lives: sum.lives + one.lives,
            steps: sum.steps + one.steps,
            fenced: sum.fenced + one.fenced,
            ..sum
        };
        (found.or(other), sum)
    };
    outcomes
        .map(|(seed, outcome)| (outcome.violation.clone().map(|what| (seed, what)), outcome))
        .reduce(|| (None, Outcome::default()), sum)
}

#[test]
fn nothing_is_lost_or_doubled_whatever_happens() {
    let (violation, sum) = all(chaotic, 0..seeds());
    let Outcome { epochs, lives, steps, fenced, .. } = sum;
    println!("{} seeds: {steps} steps, {lives} lives, {fenced} fenced, {epochs} epochs", seeds());
    assert_eq!(violation, None, "seed and what went wrong");
    // A simulation in which nothing happens proves nothing.
    let seeds = seeds() as usize;
    assert!(epochs > 8 * seeds && lives > 3 * seeds && fenced > seeds / 4, "{epochs}, {lives}, {fenced}");
}

#[test]
fn a_crash_at_any_point_loses_nothing() {
    let mut points = 0;
    for seed in 0..10 {
        for at in 1..FEW_STEPS {
            for kind in [Crash::Undone, Crash::Done, Crash::DoneLate] {
                let outcome = run(Plan { crash_at: Some((at, kind)), steps: FEW_STEPS, ..chaotic(seed) });
                assert_eq!(outcome.violation, None, "seed {seed}, crash at step {at}, its requests {kind:?}");
                points += 1;
            }
        }
    }
    println!("{points} crashes");
}

#[test]
fn damage_is_found_before_anything_wrong_is_restored() {
    let mut stopped = 0;
    let seeds = seeds() / 2;
    for seed in 0..seeds {
        let outcome = run(Plan { damages: true, ..chaotic(seed) });
        assert_eq!(outcome.violation, None, "seed {seed}");
        stopped += u64::from(outcome.stopped);
    }
    // Much of what is stored is no longer needed by the newest commit.
    assert!(stopped > seeds / 5, "{stopped} of {seeds}");
}

/// How many seeds it takes until `plan` goes wrong.
fn noticed(what: &str, plan: impl Fn(u64) -> Plan) {
    const PATIENCE: u64 = 20_000;
    let first = (0..PATIENCE).find_map(|seed| Some((seed, run(plan(seed)).violation?)));
    match first {
        Some((seed, violation)) => println!("{what}: noticed after {} seeds: {violation}", seed + 1),
        None => panic!("{what}: not noticed in {PATIENCE} seeds"),
    }
}

/// A test for each mutation, so that each has a name.
macro_rules! mutations {
    ($($name:ident: $plan:expr,)*) => {
        $(#[test]
        fn $name() {
            noticed(stringify!($name), $plan);
        })*
        const NAMED: usize = [$(stringify!($name)),*].len();
    };
}

fn without(rule: Rule) -> impl Fn(u64) -> Plan {
    move |seed| Plan { rule: Some(rule), ..chaotic(seed) }
}

fn with(flaw: Flaw) -> impl Fn(u64) -> Plan {
    move |seed| Plan { flaw: Some(flaw), ..chaotic(seed) }
}

mutations! {
    mutation_commit_is_not_create_only: with(Flaw::CreateReplaces),
    mutation_generation_is_in_the_name: with(Flaw::GenerationInTheName),
    mutation_commit_comes_before_its_files: with(Flaw::CommitBeforeItsFiles),
    mutation_hashes_are_not_checked: |seed| Plan { damages: true, ..with(Flaw::HashesAreNotChecked)(seed) },
    mutation_chain_is_not_checked: |seed| Plan { damages: true, ..without(Rule::ChainIsChecked)(seed) },
    mutation_new_generation_creates_no_commit: without(Rule::FenceFirst),
    mutation_newer_commits_are_not_looked_for: without(Rule::NothingNewer),
    mutation_error_is_taken_as_failure: without(Rule::ErrorIsNoFailure),
    mutation_error_is_taken_as_success: without(Rule::ErrorIsNoSuccess),
    mutation_unclear_answer_is_taken_as_won: without(Rule::ProcessIdDecides),
    mutation_an_epoch_is_skipped: without(Rule::NoEpochIsSkipped),
    mutation_newest_commits_are_collected: without(Rule::RetainedStay),
    mutation_named_commits_are_collected: without(Rule::NamedCommitsStay),
    mutation_own_files_are_taken_for_strays: without(Rule::OwnFilesAreNoStrays),
    mutation_undelivered_parts_are_dropped: without(Rule::UndeliveredStay),
    mutation_delivered_is_noted_before_delivery: without(Rule::HandedIsNotDelivered),
    mutation_delivery_comes_before_the_commit: without(Rule::CommitBeforeDelivery),
    mutation_the_marker_is_not_heeded: without(Rule::MarkerCounts),
    mutation_a_merge_loses_a_deletion: without(Rule::GoneIsKept),
    mutation_a_merge_replaces_what_came_later: without(Rule::MergeReplacesItsInputs),
}

#[test]
fn every_rule_and_flaw_has_its_test() {
    assert_eq!(NAMED, Rule::ALL.len() + 4);
}
