//! The texts of Nexmark. A row's text is an index into one of these lists: columns are made by `take`, which shares the
//! lists' bytes and copies only views. The lists are the same in every process.

use std::sync::LazyLock;

use arrow::array::{StringViewArray, StringViewBuilder};

use crate::connector::generator::random::{Draw, below};
use crate::error::{Error, Result};

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const CHANNELS: u64 = 10_000;

/// Different texts of a list where the original makes a new one for each row.
const VARIETY: u64 = 4096;
/// Letters that the `extra` columns are cut out of.
const POOL_BYTES: u64 = 32 << 10;

/// Bytes of a row of each kind on average, as its values are written; `extra` makes up what is missing.
const BID_BYTES: u64 = 100;
const PERSON_BYTES: u64 = 200;
const AUCTION_BYTES: u64 = 500;

pub static TEXTS: LazyLock<Option<Texts>> = LazyLock::new(|| Texts::new().ok());

#[derive(Debug)]
pub struct Texts {
    pub names: StringViewArray,
    pub emails: StringViewArray,
    pub credit_cards: StringViewArray,
    pub cities: StringViewArray,
    pub states: StringViewArray,
    pub item_names: StringViewArray,
    pub descriptions: StringViewArray,
    /// The four hot ones first. Aligned with `urls`.
    pub channels: StringViewArray,
    pub urls: StringViewArray,
    pub person_extras: StringViewArray,
    pub auction_extras: StringViewArray,
    pub bid_extras: StringViewArray,
}

impl Texts {
    /// The lists, made at first use.
    pub fn get() -> Result<&'static Texts> {
        TEXTS.as_ref().ok_or_else(|| Error::internal("the texts of the nexmark generator cannot be made"))
    }

    fn new() -> Result<Self> {
        let mut letters = Letters { draw: Draw::new(0, 0), drawn: 0 };
        let (channels, urls) = channels(&mut letters);
        let pool = letters.text(POOL_BYTES);
        let name = |n: u64| {
            let last = LAST_NAMES.len() as u64;
            format!("{} {}", pick(&FIRST_NAMES, n / last), pick(&LAST_NAMES, n % last))
        };
        let mut many = |make: &mut dyn FnMut(&mut Letters) -> String| -> StringViewArray {
            StringViewArray::from_iter_values((0..VARIETY).map(|_| make(&mut letters)))
        };
        Ok(Texts {
            names: StringViewArray::from_iter_values((0..(FIRST_NAMES.len() * LAST_NAMES.len()) as u64).map(name)),
            emails: many(&mut |l| format!("{}@{}.com", l.word(7, '_'), l.word(5, '_'))),
            credit_cards: many(&mut |l| {
                let [a, b, c, d] = std::array::from_fn(|_| l.below(10_000));
                format!("{a:04} {b:04} {c:04} {d:04}")
            }),
            cities: StringViewArray::from_iter_values(CITIES),
            states: StringViewArray::from_iter_values(STATES),
            item_names: many(&mut |l| l.word(20, ' ')),
            descriptions: many(&mut |l| l.word(100, ' ')),
            channels: StringViewArray::from_iter_values(channels),
            urls: StringViewArray::from_iter_values(urls),
            // What is subtracted are the average bytes of the other columns.
            person_extras: slices(&pool, PERSON_BYTES - 71, &mut letters)?,
            auction_extras: slices(&pool, AUCTION_BYTES - 118, &mut letters)?,
            // As the original: channel and url do not count.
            bid_extras: slices(&pool, BID_BYTES - 32, &mut letters)?,
        })
    }
}

/// Channels and the urls that bids through them come from.
fn channels(letters: &mut Letters) -> (Vec<String>, Vec<String>) {
    let base = |l: &mut Letters| {
        let [a, b, c] = std::array::from_fn(|_| l.word(5, '_'));
        format!("https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1")
    };
    let hot = HOT_CHANNELS.iter().map(|name| ((*name).to_string(), base(letters))).collect::<Vec<_>>();
    let others = (0..CHANNELS).map(|n| {
        let id = (n as i32).reverse_bits().unsigned_abs();
        let url = base(letters);
        let url = if letters.below(10) > 0 { format!("{url}&channel_id={id}") } else { url };
        (format!("channel-{id}"), url)
    });
    let others: Vec<_> = others.collect();
    hot.into_iter().chain(others).unzip()
}

/// Pieces of `pool`, `average` bytes long, a fifth more or less.
fn slices(pool: &str, average: u64, letters: &mut Letters) -> Result<StringViewArray> {
    let mut slices = StringViewBuilder::new();
    let block = slices.append_block(pool.as_bytes().to_vec().into());
    for _ in 0..VARIETY {
        let spread = average / 5;
        let length = average - spread + letters.below(2 * spread + 1);
        let start = letters.below(pool.len() as u64 - length);
        slices.try_append_view(block, start as u32, length as u32)?;
    }
    Ok(slices.finish())
}

fn pick<'a>(list: &[&'a str], index: u64) -> &'a str {
    list.get(index as usize).copied().unwrap_or_default()
}

/// Index of a bid's channel (and url): half of the bids come through a hot one.
pub fn channel(bits: u64) -> u32 {
    let hot = HOT_CHANNELS.len() as u64;
    (if (bits >> 32) % 2 == 1 { below(bits, hot) } else { hot + below(bits, CHANNELS) }) as u32
}

struct Letters {
    draw: Draw,
    drawn: u64,
}

impl Letters {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        below(self.draw.at(self.drawn), bound)
    }

    fn letter(&mut self) -> char {
        char::from(b'a' + self.below(26) as u8)
    }

    fn text(&mut self, length: u64) -> String {
        (0..length).map(|_| self.letter()).collect()
    }

    /// Three to `longest` letters, one in thirteen of them `special`, though not at its ends.
    fn word(&mut self, longest: u64, special: char) -> String {
        let length = 3 + self.below(longest - 3);
        let letter = |i: u64| {
            let inner = i > 0 && i + 1 < length;
            if inner && self.below(13) == 0 { special } else { self.letter() }
        };
        (0..length).map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    #[test]
    fn channels_and_urls_belong_together() {
        let texts = Texts::get().expect("texts");
        assert_eq!(texts.channels.len(), 10_004);
        let mut with_id = 0;
        for (channel, url) in texts.channels.iter().zip(&texts.urls) {
            let (channel, url) = (channel.expect("a channel"), url.expect("a url"));
            assert_eq!(url.split('/').count(), 7, "{url}");
            if let Some((_, id)) = url.split_once("&channel_id=") {
                assert_eq!(channel, format!("channel-{id}"));
                with_id += 1;
            }
        }
        assert!((8_800..9_200).contains(&with_id), "{with_id}");
    }

    #[test]
    fn extras_fill_rows_up() {
        let texts = Texts::get().expect("texts");
        let average = |list: &StringViewArray| list.iter().flatten().map(str::len).sum::<usize>() / list.len();
        let near = |list: &StringViewArray, expected: usize| {
            let found = average(list);
            assert!(found.abs_diff(expected) <= expected / 20, "{found}, not {expected}");
        };
        near(&texts.bid_extras, 68);
        let person = [&texts.names, &texts.emails, &texts.credit_cards, &texts.cities, &texts.states];
        near(&texts.person_extras, 200 - 16 - person.map(average).iter().sum::<usize>());
        near(&texts.auction_extras, 500 - 56 - average(&texts.item_names) - average(&texts.descriptions));
    }
}
