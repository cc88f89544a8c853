//! One seed, from chaos to quiet.

use super::super::{Event, Leave, Rule};
use super::life::{Life, Pending, Request};
use super::world::{AT_LEAST_ONCE, EXACTLY_ONCE, World};
use super::{Chance, Flaw};

/// Lives at once, and in all.
const AT_ONCE: usize = 3;
const IN_ALL: usize = 8;

const LAST_STEPS_OF_OTHERS: usize = 100;

/// A quiet end needs far fewer.
const MOST_QUIET_STEPS: usize = 20_000;

/// What a run is to be like.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub seed: u64,
    pub rule: Option<Rule>,
    pub flaw: Option<Flaw>,
    /// Steps of chaos.
    pub steps: usize,
    /// Nothing goes wrong but a crash of the first life at that step; whether what it had asked for then is still done.
    pub crash_at: Option<(usize, Crash)>,
    /// Something in the store is damaged at the end of chaos, when nobody runs.
    pub damages: bool,
}

/// What becomes of the requests of a life that crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    Undone,
    Done,
    DoneLate,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub violation: Option<String>,
    /// Epochs that became true, lives, and steps.
    pub epochs: usize,
    pub lives: usize,
    pub steps: usize,
    /// Lives that found another one owning the pipeline.
    pub fenced: usize,
    /// Damage was found, and the pipeline stopped.
    pub stopped: bool,
}

struct Run {
    plan: Plan,
    chance: Chance,
    world: World,
    lives: Vec<Life>,
    alive: Vec<usize>,
    /// Requests of nobody, which may still take effect.
    ghosts: Vec<Pending>,
    steps: usize,
    /// What lives had come to when it was last looked at.
    checked: usize,
}

pub fn run(plan: Plan) -> Outcome {
    let chance = Chance(plan.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
    let world = World::new(plan.flaw);
    let mut run =
        Run { plan, chance, world, lives: Vec::new(), alive: Vec::new(), ghosts: Vec::new(), steps: 0, checked: 0 };
    run.chaos();
    let stopped = run.quiet();
    let epochs = run.lives.iter().map(|life| life.acknowledged.len()).sum();
    let fenced = run.lives.iter().filter(|life| matches!(life.left, Some(Leave::Fenced { .. }))).count();
    Outcome { violation: run.world.violation, epochs, lives: run.lives.len(), steps: run.steps, fenced, stopped }
}

impl Run {
    fn start_life(&mut self) {
        let number = self.lives.len();
        let mut life = Life::new(number, self.plan.rule, &mut self.chance);
        life.tell(Event::Open, &mut self.world, &mut self.chance);
        self.alive.push(number);
        self.lives.push(life);
    }

    fn chaos(&mut self) {
        self.start_life();
        while self.steps < self.plan.steps && self.world.violation.is_none() {
            self.steps += 1;
            match self.plan.crash_at {
                Some((at, kind)) if at == self.steps => {
                    self.crash(0, kind);
                    return;
                }
                Some(_) => self.act(0, 0),
                None => self.chaotic_step(),
            }
            self.check();
        }
    }

    fn chaotic_step(&mut self) {
        let may_start = self.alive.len() < AT_ONCE && self.lives.len() < IN_ALL;
        if self.alive.is_empty() || may_start && self.chance.percent(3) {
            if self.lives.len() >= IN_ALL {
                self.steps = self.plan.steps;
                return;
            }
            return self.start_life();
        }
        if !self.ghosts.is_empty() && self.chance.percent(5) {
            let at = self.chance.below(self.ghosts.len());
            return self.haunt(at);
        }
        let at = self.chance.below(self.alive.len());
        let life = self.alive[at];
        if self.lives[life].left.is_some() || self.chance.percent(1) {
            let kind = [Crash::Undone, Crash::Done, Crash::DoneLate][self.chance.below(3)];
            return self.crash(at, kind);
        }
        if self.chance.percent(1) {
            self.lives[life].asleep_until = self.steps + 20 + self.chance.below(150);
        }
        if self.lives[life].asleep_until <= self.steps {
            self.act(at, 6);
        }
    }

    /// A request that outlived its life takes effect, or one step of it.
    fn haunt(&mut self, at: usize) {
        let mut ghost = self.ghosts.swap_remove(at);
        ghost.step(&mut self.world);
        if ghost.answer.is_none() {
            self.ghosts.push(ghost);
        }
    }

    fn crash(&mut self, at: usize, kind: Crash) {
        let life = self.alive.swap_remove(at);
        let pending = std::mem::take(&mut self.lives[life].pending);
        for mut request in pending.into_iter().filter(|request| request.answer.is_none()) {
            match kind {
                Crash::Undone => {}
                Crash::Done => {
                    while request.answer.is_none() {
                        request.step(&mut self.world);
                    }
                }
                Crash::DoneLate => self.ghosts.push(request),
            }
        }
    }

    /// One step of a life: a request of it goes on, is answered or fails, or it ends an epoch.
    fn act(&mut self, at: usize, failures: u64) {
        let Run { lives, world, chance, ghosts, .. } = self;
        let life = &mut lives[self.alive[at]];
        let wants_epoch = life.is_open() && (life.pending.is_empty() || chance.percent(20));
        if life.left.is_some() {
            return;
        }
        if life.pending.is_empty() || wants_epoch {
            if life.is_open() {
                let inputs = chance.next() % 4;
                life.end_epoch(inputs, world, chance);
            }
            return;
        }
        let at = chance.below(life.pending.len());
        let mut pending = life.pending.swap_remove(at);
        if pending.is_answered_too_early(world)
            && let Request::Write(_, written) = &pending.request
        {
            let answer = Event::Written(written.clone());
            ghosts.push(pending.clone());
            return life.finish(pending, Some(answer), world, chance);
        }
        if let Some(answer) = pending.answer.take() {
            let is_lost = chance.percent(failures);
            return life.finish(pending, Some(answer).filter(|_| !is_lost), world, chance);
        }
        if chance.percent(failures) {
            if chance.percent(50) {
                ghosts.push(pending.clone());
            }
            return life.finish(pending, None, world, chance);
        }
        pending.step(world);
        life.pending.push(pending);
    }

    /// Nothing goes wrong any more: whoever is alive runs on for a while, then one more life brings everything to its
    /// end. True if that one found damage and stopped.
    fn quiet(&mut self) -> bool {
        for _ in 0..LAST_STEPS_OF_OTHERS {
            if self.alive.is_empty() || self.world.violation.is_some() {
                break;
            }
            let at = self.chance.below(self.alive.len());
            self.act(at, 0);
            self.check();
        }
        self.alive.clear();
        self.ghosts.clear();
        let must_stop = self.plan.damages && self.world.damage(&mut self.chance).unwrap_or(false);
        self.start_life();
        let last = self.lives.len() - 1;
        let (mut ended, mut steps) = (0, 0);
        while self.world.violation.is_none() {
            steps += 1;
            if steps > MOST_QUIET_STEPS {
                self.world.violated("it never comes to rest");
            }
            let life = &mut self.lives[last];
            if let Some(why) = &life.left {
                let is_damage = matches!(why, Leave::Broken(_)) && self.world.has_damage;
                if !is_damage {
                    self.world.violated(format!("the last life leaves: {why:?}"));
                }
                return is_damage;
            }
            if life.is_idle() {
                if ended == 5 {
                    break;
                }
                ended += 1;
                life.end_epoch(if ended < 3 { 2 } else { 0 }, &mut self.world, &mut self.chance);
            } else {
                self.act(0, 0);
            }
            self.check();
        }
        if must_stop {
            self.world.violated("the newest commits are not what was written, and nobody noticed");
        }
        self.check_end(last);
        false
    }

    /// What must be true at any moment.
    fn check(&mut self) {
        let came_to = self.lives.iter().map(Life::came_to).sum();
        if std::mem::replace(&mut self.checked, came_to) == came_to {
            return;
        }
        for life in &self.lives {
            for other in &self.lives {
                let Some((opened, inputs)) = other.opened.filter(|_| other.number != life.number) else { continue };
                let is_newer = other.protocol.generation() > life.protocol.generation();
                for (epoch, acknowledged) in &life.acknowledged {
                    if *epoch < opened && *acknowledged > inputs {
                        let what =
                            format!("epoch {epoch} with {acknowledged} inputs was true; then {inputs} were found");
                        return self.world.violated(what);
                    }
                    if is_newer && *epoch >= opened {
                        let what = format!("epoch {epoch} became true although a newer life had begun at {opened}");
                        return self.world.violated(what);
                    }
                }
            }
            match &life.left {
                Some(Leave::Fenced { epoch, .. }) => {
                    let is_true = self.lives.iter().any(|other| {
                        other.number != life.number && other.protocol.generation() >= life.protocol.generation()
                    });
                    if !is_true {
                        return self
                            .world
                            .violated(format!("it leaves before epoch {epoch}, and nobody else is there"));
                    }
                }
                Some(Leave::Broken(error)) if !self.world.has_damage => {
                    // A life that was overtaken may find a marker from after its time.
                    let overtaken = self.lives.iter().any(|other| {
                        other.opened.is_some() && other.protocol.generation() > life.protocol.generation()
                    });
                    if !overtaken {
                        return self.world.violated(format!("nothing was damaged, but: {error}"));
                    }
                }
                Some(Leave::Failed(error)) => return self.world.violated(format!("it gives up: {error}")),
                _ => {}
            }
        }
    }

    /// What must be true in the end: each record once, in order, and nothing superfluous in the store.
    fn check_end(&mut self, last: usize) {
        if self.world.violation.is_some() || self.world.has_damage {
            return;
        }
        let inputs = self.lives[last].acknowledged.last().map_or(0, |(_, inputs)| *inputs);
        let all: Vec<u64> = (0..inputs).collect();
        let exactly = &self.world.sinks[EXACTLY_ONCE].records;
        if *exactly != all {
            let what = format!("the sink with markers has {exactly:?}, not each of {inputs} once in order");
            return self.world.violated(what);
        }
        let mut firsts = Vec::new();
        for record in &self.world.sinks[AT_LEAST_ONCE].records {
            if firsts.last().is_none_or(|last| last < record) {
                firsts.push(*record);
            }
        }
        if firsts != all {
            let what =
                format!("the sink without markers has {firsts:?} as first records, not all of {inputs} in order");
            self.world.violated(what);
        }
    }
}
