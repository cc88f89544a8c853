//! The stream's quantities: what they are called, which types they have, and how a column of them is filled.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::DataType;

use super::event::{self, Chance, Kind, Prices, Schedule};
use super::text::{self, Texts};
use crate::clock::Micros;
use crate::connector::generator::random::below;
use crate::connector::options::nearest;
use crate::error::{Error, Result, SqlState};
use crate::types::SqlType;

/// Something an event has. The id of an event, for example, is a person's or an auction's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    DateTime,
    BidAuction,
    Bidder,
    Price,
    Channel,
    Url,
    BidExtra,
    PersonId,
    Name,
    Email,
    CreditCard,
    City,
    State,
    PersonExtra,
    AuctionId,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    AuctionExtra,
}

/// The columns of a kind of event, by their lower-case names.
fn columns_of(kind: Kind) -> &'static [(&'static str, Quantity)] {
    use Quantity as Q;
    match kind {
        Kind::Bid => &[
            ("auction", Q::BidAuction),
            ("bidder", Q::Bidder),
            ("price", Q::Price),
            ("channel", Q::Channel),
            ("url", Q::Url),
            ("datetime", Q::DateTime),
            ("extra", Q::BidExtra),
        ],
        Kind::Person => &[
            ("id", Q::PersonId),
            ("name", Q::Name),
            ("emailaddress", Q::Email),
            ("creditcard", Q::CreditCard),
            ("city", Q::City),
            ("state", Q::State),
            ("datetime", Q::DateTime),
            ("extra", Q::PersonExtra),
        ],
        Kind::Auction => &[
            ("id", Q::AuctionId),
            ("itemname", Q::ItemName),
            ("description", Q::Description),
            ("initialbid", Q::InitialBid),
            ("reserve", Q::Reserve),
            ("datetime", Q::DateTime),
            ("expires", Q::Expires),
            ("seller", Q::Seller),
            ("category", Q::Category),
            ("extra", Q::AuctionExtra),
        ],
    }
}

/// The quantity that a declared column (or field of ROW `row`, if that is not empty) asks for.
pub fn quantity(kind: Kind, name: &str, ty: &SqlType, row: &str) -> Result<Quantity> {
    let full_name = if row.is_empty() { name.to_string() } else { format!("{row}.{name}") };
    let wanted = name.to_lowercase();
    let Some((_, quantity)) = columns_of(kind).iter().find(|(known, _)| *known == wanted) else {
        let names = || columns_of(kind).iter().map(|(name, _)| *name);
        let what = format!("a nexmark {} has no column \"{full_name}\"", format!("{kind:?}").to_lowercase());
        return Err(Error::new(SqlState::UndefinedColumn, what).with_hint(match nearest(&wanted, names()) {
            Some(near) => format!("Perhaps you meant \"{near}\"."),
            None => format!("Its columns are {}.", names().collect::<Vec<_>>().join(", ")),
        }));
    };
    let (fits, expected) = match quantity {
        Quantity::DateTime | Quantity::Expires => {
            (matches!(ty, SqlType::Timestamp(3..) | SqlType::TimestampTz(3..)), "timestamp(3)")
        }
        q if q.is_text() => (matches!(ty, SqlType::Text | SqlType::Varchar(None)), "text"),
        _ => (*ty == SqlType::BigInt, "bigint"),
    };
    if fits { Ok(*quantity) } else { Err(mismatch(&full_name, ty, expected)) }
}

/// The error for a column declared with another type than the stream has.
pub fn mismatch(name: &str, ty: &SqlType, expected: &str) -> Error {
    let message = format!("column \"{name}\" of a nexmark generator is {expected}, but is declared as {ty}");
    Error::new(SqlState::DatatypeMismatch, message).with_hint("Change the declared type, and CAST in the query.")
}

impl Quantity {
    fn is_text(self) -> bool {
        use Quantity as Q;
        matches!(
            self,
            Q::Channel
                | Q::Url
                | Q::BidExtra
                | Q::Name
                | Q::Email
                | Q::CreditCard
                | Q::City
                | Q::State
                | Q::PersonExtra
                | Q::ItemName
                | Q::Description
                | Q::AuctionExtra
        )
    }

    /// Bytes of one value on average.
    pub fn average_bytes(self) -> usize {
        use Quantity as Q;
        match self {
            Q::Url => 70,
            Q::BidExtra => 68,
            Q::PersonExtra => 129,
            Q::AuctionExtra => 382,
            Q::Description => 51,
            q if q.is_text() => 16,
            _ => 8,
        }
    }
}

/// Fills columns.
#[derive(Debug)]
pub struct Filler {
    seed: u64,
    schedule: Schedule,
    prices: Prices,
    texts: &'static Texts,
}

impl Filler {
    pub fn new(seed: u64, schedule: Schedule) -> Result<Self> {
        Ok(Filler { seed, schedule, prices: Prices::default(), texts: Texts::get()? })
    }

    /// The values of `quantity` for the events with these global numbers, as `data_type`.
    ///
    /// # Errors
    /// Internal ones only; the caller has matched the types ([`quantity`]).
    pub fn fill(&self, quantity: Quantity, events: &[u64], data_type: &DataType) -> Result<ArrayRef> {
        use Quantity as Q;
        let texts = self.texts;
        match quantity {
            Q::DateTime => self.times(events, data_type, |n| self.schedule.time(n)),
            Q::Expires => {
                let draw = event::draw(self.seed, Chance::Expires);
                self.times(events, data_type, |n| self.schedule.expires(n, draw.at(n)))
            }
            Q::PersonId => numbers(events, event::person),
            Q::AuctionId => numbers(events, event::auction),
            Q::BidAuction => self.drawn(Chance::BidAuction, events, event::bid_auction),
            Q::Bidder => self.drawn(Chance::Bidder, events, event::bidder),
            Q::Seller => self.drawn(Chance::Seller, events, event::seller),
            Q::Category => self.drawn(Chance::Category, events, |_, bits| event::category(bits)),
            Q::Price => self.drawn(Chance::Price, events, |_, bits| self.prices.price(bits)),
            Q::InitialBid => self.drawn(Chance::InitialBid, events, |_, bits| self.prices.price(bits)),
            Q::Reserve => {
                let initial = event::draw(self.seed, Chance::InitialBid);
                let price = |n, bits| self.prices.price(initial.at(n)) + self.prices.price(bits);
                self.drawn(Chance::Reserve, events, price)
            }
            Q::Channel => self.texts(Chance::Channel, events, &texts.channels, text::channel),
            Q::Url => self.texts(Chance::Channel, events, &texts.urls, text::channel),
            Q::BidExtra => self.any_text(Chance::BidExtra, events, &texts.bid_extras),
            Q::Name => self.any_text(Chance::Name, events, &texts.names),
            Q::Email => self.any_text(Chance::Email, events, &texts.emails),
            Q::CreditCard => self.any_text(Chance::CreditCard, events, &texts.credit_cards),
            Q::City => self.any_text(Chance::City, events, &texts.cities),
            Q::State => self.any_text(Chance::State, events, &texts.states),
            Q::PersonExtra => self.any_text(Chance::PersonExtra, events, &texts.person_extras),
            Q::ItemName => self.any_text(Chance::ItemName, events, &texts.item_names),
            Q::Description => self.any_text(Chance::Description, events, &texts.descriptions),
            Q::AuctionExtra => self.any_text(Chance::AuctionExtra, events, &texts.auction_extras),
        }
    }

    fn times(&self, events: &[u64], data_type: &DataType, time: impl Fn(u64) -> Micros) -> Result<ArrayRef> {
        let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(|n| time(*n)));
        match data_type {
            DataType::Timestamp(_, zone) => Ok(Arc::new(times.with_timezone_opt(zone.clone()))),
            other => Err(Error::internal(format!("the nexmark generator has no times of type {other}"))),
        }
    }

    fn drawn(&self, chance: Chance, events: &[u64], value: impl Fn(u64, u64) -> i64) -> Result<ArrayRef> {
        let draw = event::draw(self.seed, chance);
        numbers(events, |n| value(n, draw.at(n)))
    }

    fn any_text(&self, chance: Chance, events: &[u64], list: &StringViewArray) -> Result<ArrayRef> {
        use arrow::array::Array;
        let count = list.len() as u64;
        self.texts(chance, events, list, |bits| below(bits, count) as u32)
    }

    fn texts(
        &self,
        chance: Chance,
        events: &[u64],
        list: &StringViewArray,
        index: impl Fn(u64) -> u32,
    ) -> Result<ArrayRef> {
        let draw = event::draw(self.seed, chance);
        let indices = UInt32Array::from_iter_values(events.iter().map(|n| index(draw.at(*n))));
        Ok(compute::take(list, &indices, None)?)
    }
}

fn numbers(events: &[u64], value: impl Fn(u64) -> i64) -> Result<ArrayRef> {
    Ok(Arc::new(Int64Array::from_iter_values(events.iter().map(|n| value(*n)))))
}
