//! Chance that can be written down: the choices that led to a query, from which simpler ones can be made.

use crate::variant::Rng;

pub struct Choices {
    rng: Rng,
    given: Option<Vec<usize>>,
    taken: Vec<usize>,
}

impl Choices {
    pub fn of_seed(seed: u64) -> Choices {
        Choices { rng: Rng(seed), given: None, taken: Vec::new() }
    }

    /// The same choices again, as far as they go; then always the first.
    pub fn again(given: Vec<usize>) -> Choices {
        Choices { rng: Rng(0), given: Some(given), taken: Vec::new() }
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let choice = match &self.given {
            None => self.rng.below(bound),
            Some(given) => given.get(self.taken.len()).copied().unwrap_or(0).min(bound - 1),
        };
        self.taken.push(choice);
        choice
    }

    pub fn taken(self) -> Vec<usize> {
        self.taken
    }
}
