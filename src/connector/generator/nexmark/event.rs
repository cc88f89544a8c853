//! What event n is, by arithmetic: its kind, and each of its numbers. The rules are those of the Nexmark generator that
//! Apache Beam and Flink use (github.com/nexmark/nexmark), with random numbers that depend on (seed, n) alone.

use crate::clock::{MICROS_PER_MILLI, Micros};
use crate::connector::generator::random::{Draw, below, upper};

/// Events repeat their kinds with this period: one person, three auctions, the rest bids.
pub const PERIOD: u64 = 50;

const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// Bids go to the newest auctions only.
const AUCTIONS_IN_FLIGHT: u64 = 100;
/// Bidders and sellers are among the newest people only.
const ACTIVE_PEOPLE: u64 = 1000;
/// Ids a little ahead of those that exist: who bids may bid before what he bids on.
const ID_LEAD: u64 = 10;
/// Every hundredth id is hot while it is the newest such.
const HOT_EVERY: u64 = 100;
const MAX_PRICE: i64 = 100_000_000;
/// Steps of the table between one power of two and the next, for prices.
const PRICE_STEPS: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    /// The kind of event `n`. As a number: the stream's event_type.
    pub fn of(n: u64) -> Kind {
        match n % PERIOD {
            0 => Kind::Person,
            1..=3 => Kind::Auction,
            _ => Kind::Bid,
        }
    }

    /// Where in a period the events of this kind lie: first, and how many.
    fn place(self) -> (u64, u64) {
        match self {
            Kind::Person => (0, 1),
            Kind::Auction => (1, 3),
            Kind::Bid => (4, 46),
        }
    }

    /// How many events of this kind are below `event`.
    pub fn before(self, event: u64) -> u64 {
        let (first, count) = self.place();
        (event / PERIOD) * count + (event % PERIOD).saturating_sub(first).min(count)
    }

    /// The event that is number `index` among those of this kind.
    pub fn event(self, index: u64) -> u64 {
        let (first, count) = self.place();
        (index / count).saturating_mul(PERIOD).saturating_add(first + index % count)
    }

    /// The events of this kind among `from..to` of the period that starts at `period`.
    pub fn within(self, period: u64, from: u64, to: u64) -> std::ops::Range<u64> {
        let (first, count) = self.place();
        let bound = |at: u64| period.saturating_add(at.clamp(first, first + count));
        bound(from)..bound(to)
    }
}

/// Independent random streams, one for each quantity.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub enum Chance {
    BidAuction = 1,
    Bidder,
    Price,
    Channel,
    BidExtra,
    Name,
    Email,
    CreditCard,
    City,
    State,
    PersonExtra,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    AuctionExtra,
}

/// When events happen.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Time of event 0, in microseconds since 1970.
    pub base: Micros,
    /// Events a second of event time; not zero.
    pub rate: u64,
}

impl Schedule {
    /// Event `n`'s time: whole milliseconds, in microseconds since 1970.
    pub fn time(&self, n: u64) -> Micros {
        let millis = n.saturating_mul(1_000) / self.rate.max(1);
        self.base.saturating_add((millis as Micros).saturating_mul(MICROS_PER_MILLI))
    }

    /// Milliseconds until as many events have passed as bring all auctions in flight to an end.
    fn horizon_millis(&self, n: u64) -> u64 {
        let later = n.saturating_add(AUCTIONS_IN_FLIGHT * PERIOD / 3);
        (self.time(later).saturating_sub(self.time(n)) / MICROS_PER_MILLI) as u64
    }

    /// When the auction of event `n` ends.
    pub fn expires(&self, n: u64, bits: u64) -> Micros {
        let millis = 1 + below(bits, (2 * self.horizon_millis(n)).clamp(1, u64::from(u32::MAX)));
        self.time(n).saturating_add(millis as Micros * MICROS_PER_MILLI)
    }
}

/// The person of event `n`, which must be one.
pub fn person(n: u64) -> i64 {
    (FIRST_PERSON + n / PERIOD) as i64
}

/// The auction of event `n`, which must be one.
pub fn auction(n: u64) -> i64 {
    (FIRST_AUCTION + n / PERIOD * 3 + n % PERIOD - 1) as i64
}

/// The auction that bid `n` is on: half of the bids are on the hot one.
pub fn bid_auction(n: u64, bits: u64) -> i64 {
    let last = n / PERIOD * 3 + 2;
    let hot = last / HOT_EVERY * HOT_EVERY;
    let first = last.saturating_sub(AUCTIONS_IN_FLIGHT);
    let cold = first + below(bits, last - first + 1 + ID_LEAD);
    (FIRST_AUCTION + if upper(bits) % 2 == 1 { hot } else { cold }) as i64
}

/// One of the active people at event `n`.
fn active_person(n: u64, bits: u64) -> u64 {
    let people = n / PERIOD + 1;
    let active = people.min(ACTIVE_PEOPLE);
    people - active + below(bits, active + ID_LEAD)
}

/// Who makes bid `n`: three quarters come from the hot bidder.
pub fn bidder(n: u64, bits: u64) -> i64 {
    let hot = n / PERIOD / HOT_EVERY * HOT_EVERY + 1;
    (FIRST_PERSON + if upper(bits).is_multiple_of(4) { active_person(n, bits) } else { hot }) as i64
}

/// Who sells in auction event `n`: three quarters come from the hot seller.
pub fn seller(n: u64, bits: u64) -> i64 {
    let hot = n / PERIOD / HOT_EVERY * HOT_EVERY;
    (FIRST_PERSON + if upper(bits).is_multiple_of(4) { active_person(n, bits) } else { hot }) as i64
}

pub fn category(bits: u64) -> i64 {
    (FIRST_CATEGORY + below(bits, CATEGORIES)) as i64
}

/// Prices: 100 * 10^x with x uniform in [0, 6), that is 100 to 100,000,000.
#[derive(Debug)]
pub struct Prices {
    /// 2^(i / steps), by multiplication and square roots alone: the same on every machine.
    powers: Vec<f64>,
}

impl Default for Prices {
    fn default() -> Self {
        let mut step = 2.0_f64;
        for _ in 0..PRICE_STEPS.ilog2() {
            step = step.sqrt();
        }
        let mut power = 1.0;
        let mut powers = Vec::with_capacity(PRICE_STEPS + 1);
        for _ in 0..=PRICE_STEPS {
            powers.push(power);
            power *= step;
        }
        Prices { powers }
    }
}

impl Prices {
    /// A price from the upper 53 of some random bits.
    pub fn price(&self, bits: u64) -> i64 {
        /// 2^EXPONENT = 10^6.
        const EXPONENT: f64 = 19.931_568_569_324_174;
        let exponent = crate::connector::generator::random::unit(bits) * EXPONENT;
        let (whole, part) = (exponent as u32, exponent.fract() * PRICE_STEPS as f64);
        let index = part as usize;
        let low = self.powers.get(index).copied().unwrap_or(1.0);
        let high = self.powers.get(index + 1).copied().unwrap_or(2.0);
        let mantissa = low + (high - low) * part.fract();
        // The last step of the table is not exact.
        ((mantissa * f64::from(1_u32 << whole.min(19)) * 100.0).round() as i64).min(MAX_PRICE)
    }
}

/// The stream of random numbers for one quantity.
pub fn draw(seed: u64, chance: Chance) -> Draw {
    Draw::new(seed, chance as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_one_to_three_to_forty_six() {
        let kinds = [(Kind::Person, 0..1), (Kind::Auction, 1..4), (Kind::Bid, 4..50)];
        for (kind, place) in kinds {
            let events: Vec<u64> = (0..500).filter(|n| place.contains(&(n % 50))).collect();
            for (index, event) in events.iter().enumerate() {
                assert_eq!(kind.event(index as u64), *event);
                assert_eq!(kind.before(*event), index as u64);
                assert_eq!(kind.before(*event + 1), index as u64 + 1);
            }
        }
        assert_eq!(Kind::Bid.within(100, 0, 50), 104..150);
        assert_eq!(Kind::Bid.within(100, 10, 20), 110..120);
        assert!(Kind::Auction.within(100, 10, 20).is_empty());
        assert!(Kind::Bid.within(100, 0, 3).is_empty());
    }

    #[test]
    fn ids_are_dense_and_bids_refer_to_them() {
        assert_eq!((person(0), person(50), auction(1), auction(3), auction(51)), (1000, 1001, 1000, 1002, 1003));
        let (draw, bidders) = (draw(0, Chance::BidAuction), super::draw(0, Chance::Bidder));
        for n in (0..1_000_000).filter(|n| n % PERIOD >= 4) {
            let newest = FIRST_AUCTION as i64 + (n / PERIOD * 3 + 2) as i64;
            let on = bid_auction(n, draw.at(n));
            assert!((newest - 199..=newest + ID_LEAD as i64).contains(&on) && on >= 1000, "{n}: {on} of {newest}");
            let newest = FIRST_PERSON as i64 + (n / PERIOD) as i64;
            let by = bidder(n, bidders.at(n));
            assert!((newest - 999..=newest + ID_LEAD as i64).contains(&by) && by >= 1000, "{n}: {by} of {newest}");
        }
    }

    #[test]
    fn hot_ids_take_their_share() {
        let share = |chance: Chance, id: fn(u64, u64) -> i64, hot: i64| {
            let draw = draw(1, chance);
            let events = 5_000_000..5_000_400_u64;
            let from_hot = events.filter(|n| id(*n, draw.at(*n)) == hot).count();
            from_hot as f64 / 400.0
        };
        // Events 5,000,000 to 5,000,399: people 100,000 to 100,007, auctions 300,000 to 300,023.
        assert!((share(Chance::BidAuction, bid_auction, 301_000) - 0.5).abs() < 0.1);
        assert!((share(Chance::Bidder, bidder, 101_001) - 0.75).abs() < 0.1);
        assert!((share(Chance::Seller, seller, 101_000) - 0.75).abs() < 0.1);
    }

    #[test]
    fn prices_are_log_uniform() {
        let (prices, draw) = (Prices::default(), draw(0, Chance::Price));
        let mut decades = [0; 6];
        for n in 0..60_000 {
            let price = prices.price(draw.at(n));
            assert!((100..=100_000_000).contains(&price), "{price}");
            decades[((price as f64 / 100.0).log10() as usize).min(5)] += 1;
        }
        assert!(decades.iter().all(|d| (9_600..10_400).contains(d)), "{decades:?}");
        assert_eq!((prices.price(0), prices.price(u64::MAX)), (100, 100_000_000));
    }

    #[test]
    fn event_time_advances_at_the_rate() {
        let schedule = Schedule { base: 1_000_000, rate: 100_000 };
        assert_eq!((schedule.time(0), schedule.time(99), schedule.time(100)), (1_000_000, 1_000_000, 1_001_000));
        assert_eq!(schedule.time(100_000), 2_000_000);
        assert_eq!(schedule.expires(1, 0), 1_001_000);
        assert_eq!(schedule.expires(1, u64::MAX), 1_000_000 + 32_000);
    }
}
