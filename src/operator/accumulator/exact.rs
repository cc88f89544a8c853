//! Exact sums of floats: a superaccumulator, after R. Neal, "Fast exact summation using small and large superaccumulators"
//! (2015). A double is an integer multiple of 2^-1074; sums are kept as such an integer, in digits of 32 bits within
//! 64-bit chunks, and rounded once, when asked. So a sum depends on neither order nor grouping, and what is retracted
//! leaves no trace. Only the chunks between the smallest and the largest value are kept: values of like size take three to
//! five, not all 67.

use crate::change::bytes::{Reader, corrupt, put_varint};
use crate::error::Result;

/// Bits of a chunk that are its own; the others hold carries.
const DIGIT_BITS: u32 = 32;
const DIGIT: i64 = 1 << DIGIT_BITS;

/// Additions after which a chunk might overflow, with room to spare: each adds less than one digit.
const ADDITIONS_BEFORE_CARRY: u32 = 1 << 30;

/// Chunks that any sum of 2^64 values of any size, of any 64-bit weight each, fits into.
const MAX_CHUNKS: usize = (1074 + 1024 + 64 + 64 + 32) / 32 + 1;

/// Doubles that a sum is taken apart into where it is multiplied.
const TERMS: usize = 4;

#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    /// Digit number of `chunks[0]`, digit 0 being worth 2^-1074.
    base: usize,
    chunks: Vec<i64>,
    /// No chunk is larger than this many digits (plus one).
    additions: u32,
    /// Values that are no numbers, counted, so that they can be retracted.
    odd: Option<Box<OddValues>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OddValues {
    nan: i64,
    infinity: i64,
    minus_infinity: i64,
}

/// A sum as sign and magnitude; one form for each number.
struct Digits {
    negative: bool,
    base: usize,
    /// The lowest first; neither the first nor the last is zero.
    digits: Vec<u32>,
}

impl ExactSum {
    /// Adds `value` times `weight`.
    pub fn add(&mut self, value: f64, weight: i64) {
        if !value.is_finite() {
            return self.add_odd(value, weight);
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        // value = mantissa * 2^shift * 2^-1074
        let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let mut magnitude = u128::from(mantissa) * u128::from(weight.unsigned_abs());
        if magnitude == 0 {
            return;
        }
        let negative = value.is_sign_negative() != (weight < 0);
        let (first, bit) = (shift / DIGIT_BITS as usize, shift as u32 % DIGIT_BITS);
        let length = (128 - magnitude.leading_zeros() + bit).div_ceil(DIGIT_BITS) as usize;
        self.cover(first, length);
        let mut digit = ((magnitude as u64) << bit) as u32;
        magnitude >>= DIGIT_BITS - bit;
        for chunk in self.chunks.iter_mut().skip(first - self.base).take(length) {
            *chunk += if negative { -i64::from(digit) } else { i64::from(digit) };
            digit = magnitude as u32;
            magnitude >>= DIGIT_BITS;
        }
        self.count_additions(1);
    }

    fn add_odd(&mut self, value: f64, weight: i64) {
        let odd = self.odd.get_or_insert_default();
        let count = if value.is_nan() {
            &mut odd.nan
        } else if value > 0.0 {
            &mut odd.infinity
        } else {
            &mut odd.minus_infinity
        };
        *count = count.wrapping_add(weight);
        if *odd.as_ref() == OddValues::default() {
            self.odd = None;
        }
    }

    pub fn merge(&mut self, other: &ExactSum) {
        self.merge_times(other, 1);
    }

    /// Takes out what was merged before.
    pub fn unmerge(&mut self, other: &ExactSum) {
        self.merge_times(other, -1);
    }

    /// `times`: 1 or -1.
    fn merge_times(&mut self, other: &ExactSum, times: i64) {
        if !other.chunks.is_empty() {
            self.cover(other.base, other.chunks.len());
            let skip = other.base - self.base;
            for (chunk, added) in self.chunks.iter_mut().skip(skip).zip(&other.chunks) {
                *chunk += times * added;
            }
            self.count_additions(other.additions + 1);
        }
        if let Some(odd) = &other.odd {
            for (value, weight) in
                [(f64::NAN, odd.nan), (f64::INFINITY, odd.infinity), (f64::NEG_INFINITY, odd.minus_infinity)]
            {
                self.add_odd(value, times.wrapping_mul(weight));
            }
        }
    }

    /// The sum, rounded to nearest, ties to even; infinite without an infinite value: it overflows.
    pub fn value(&self) -> f64 {
        match self.odd.as_deref() {
            Some(odd) if odd.nan != 0 || odd.infinity != 0 && odd.minus_infinity != 0 => f64::NAN,
            Some(odd) if odd.infinity != 0 => f64::INFINITY,
            Some(_) => f64::NEG_INFINITY,
            None => self.digits().round(),
        }
    }

    /// The sum of finite values as doubles of which each is what the ones before it leave, rounded: four hold over 200 bits.
    pub fn terms(&self) -> Vec<f64> {
        let mut rest = self.clone();
        let mut terms = Vec::new();
        while terms.len() < TERMS {
            let term = rest.value();
            if term == 0.0 || !term.is_finite() {
                break;
            }
            rest.add(term, -1);
            terms.push(term);
        }
        terms
    }

    /// An infinity or NaN was among the values.
    pub fn has_odd_values(&self) -> bool {
        self.odd.is_some()
    }

    /// Bytes owned elsewhere.
    pub fn heap_bytes(&self) -> usize {
        8 * self.chunks.capacity() + self.odd.as_ref().map_or(0, |_| size_of::<OddValues>())
    }

    /// Sign, digits from the lowest, and counts of odd values, if any.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Digits { negative, base, digits } = self.digits();
        out.push(u8::from(negative) | u8::from(self.odd.is_some()) << 1);
        put_varint(out, base as u64);
        put_varint(out, digits.len() as u64);
        digits.iter().for_each(|d| out.extend_from_slice(&d.to_le_bytes()));
        if let Some(odd) = &self.odd {
            [odd.nan, odd.infinity, odd.minus_infinity].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<ExactSum> {
        let flags = reader.byte()?;
        let base = usize::try_from(reader.varint()?).map_err(|_| corrupt())?;
        let length = reader.length()?;
        if flags > 3 || base.saturating_add(length) > MAX_CHUNKS {
            return Err(corrupt());
        }
        let sign = if flags & 1 == 1 { -1 } else { 1 };
        let chunks = (0..length).map(|_| Ok(sign * i64::from(reader.u32()?))).collect::<Result<Vec<_>>>()?;
        let odd = match flags & 2 {
            0 => None,
            _ => {
                Some(Box::new(OddValues { nan: reader.i64()?, infinity: reader.i64()?, minus_infinity: reader.i64()? }))
            }
        };
        Ok(ExactSum { base, chunks, additions: 1, odd })
    }

    /// Makes sure that digits `first .. first + length` have chunks.
    fn cover(&mut self, first: usize, length: usize) {
        if self.chunks.is_empty() {
            self.base = first;
        }
        if first < self.base {
            self.chunks.splice(0..0, std::iter::repeat_n(0, self.base - first));
            self.base = first;
        }
        let needed = first + length - self.base;
        if self.chunks.len() < needed {
            self.chunks.resize(needed, 0);
        }
    }

    fn count_additions(&mut self, additions: u32) {
        self.additions = self.additions.saturating_add(additions);
        if self.additions >= ADDITIONS_BEFORE_CARRY {
            carry(&mut self.chunks);
            self.additions = 1;
        }
    }

    fn digits(&self) -> Digits {
        let mut chunks = self.chunks.clone();
        carry(&mut chunks);
        // The last chunk may be negative, which makes the number negative: turn all signs, and carry again.
        let negative = chunks.last().is_some_and(|last| *last < 0);
        if negative {
            chunks.iter_mut().for_each(|c| *c = -*c);
            carry(&mut chunks);
        }
        let zeroes = chunks.iter().take_while(|c| **c == 0).count();
        let mut digits: Vec<u32> = chunks.iter().skip(zeroes).map(|c| *c as u32).collect();
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Digits { negative, base: if digits.is_empty() { 0 } else { self.base + zeroes }, digits }
    }
}

/// Leaves a digit, 0 to 2^32 - 1, in each chunk but the last, which is between -2^32 and 2^32 and negative exactly if the
/// number is.
fn carry(chunks: &mut Vec<i64>) {
    let mut over = 0;
    for chunk in chunks.iter_mut() {
        let whole = *chunk + over;
        over = whole >> DIGIT_BITS;
        *chunk = whole & (DIGIT - 1);
    }
    match (over, chunks.last_mut()) {
        (0, _) => {}
        // Minus one digit and something: it fits into the last chunk.
        (-1, Some(last)) => *last -= DIGIT,
        _ => chunks.push(over),
    }
    // A last chunk of zero below a sign would hide it.
    while chunks.last() == Some(&0) {
        chunks.pop();
    }
}

impl Digits {
    fn round(&self) -> f64 {
        let count = self.digits.len();
        let Some(last) = self.digits.last() else { return 0.0 };
        // The three highest digits, and whether anything lies below them.
        let digit =
            |from_top: usize| count.checked_sub(from_top).and_then(|at| self.digits.get(at)).copied().unwrap_or(0);
        let top = u128::from(*last) << 64 | u128::from(digit(2)) << 32 | u128::from(digit(3));
        let below = self.digits.iter().take(count.saturating_sub(3)).any(|d| *d != 0);
        // top's lowest bit is worth 2^place units of 2^-1074.
        let place = (self.base + count) as i32 * 32 - 96;
        let length = 128 - top.leading_zeros() as i32 + place;
        // The mantissa's lowest bit is worth 2^exponent units.
        let mut exponent = (length - 53).max(0);
        let drop = exponent - place;
        let mut mantissa = if drop <= 0 { top << -drop } else { top >> drop };
        if drop > 0 {
            let half = 1u128 << (drop - 1);
            let rest = top & ((half << 1) - 1);
            if rest > half || rest == half && (below || mantissa & 1 == 1) {
                mantissa += 1;
            }
        }
        if mantissa == 1 << 53 {
            mantissa >>= 1;
            exponent += 1;
        }
        // Below 2^53 units a number's bits are its units; above, the exponent's field counts one more than ours.
        let bits = if exponent > 2045 { f64::INFINITY.to_bits() } else { ((exponent as u64) << 52) + mantissa as u64 };
        f64::from_bits(bits | u64::from(self.negative) << 63)
    }
}
