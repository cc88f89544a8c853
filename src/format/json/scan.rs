//! The tokens of JSON (RFC 8259), read from a message's bytes.
//!
//! The bytes are known to be UTF-8, so that only quotes, backslashes and control characters matter inside strings.

use super::failure::{Failure, Scan, excerpt};
use super::number::Number;
use super::special::plain_run;

/// Objects and arrays within each other that are read: as many as serde_json and PostgreSQL-sized stacks allow.
const MAX_DEPTH: u32 = 127;

/// A cursor over one message.
#[derive(Clone)]
pub(super) struct Scanner<'a> {
    /// The whole chunk: a block that begins in the message may be looked at to its end.
    chunk: &'a [u8],
    /// The chunk's bytes up to the message's end, so that places are places in the chunk.
    bytes: &'a [u8],
    at: usize,
    /// Where the message begins.
    start: usize,
}

/// What stands between a string's quotes, as places in the chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub start: usize,
    pub end: usize,
    pub escaped: bool,
}

impl<'a> Scanner<'a> {
    /// A cursor over all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Scanner { chunk: bytes, bytes, at: 0, start: 0 }
    }

    /// A cursor over the message `chunk[start..end]`.
    pub(super) fn of_message(chunk: &'a [u8], start: usize, end: usize) -> Self {
        Scanner { chunk, bytes: chunk.get(..end).unwrap_or_default(), at: start, start }
    }

    /// The chunk, in which places are.
    pub(super) fn chunk(&self) -> &'a [u8] {
        self.chunk
    }

    /// The next bytes of the chunk, which may be those of the messages behind; `None`: there are not so many.
    #[inline]
    fn block<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.chunk.get(self.at..)?.first_chunk()
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn advance(&mut self, by: usize) {
        self.at += by;
    }

    /// Steps over `expected`, if it is next: `word` is its first bytes, those that `mask` has bits for.
    #[inline]
    pub(super) fn eat_word(&mut self, word: u128, mask: u128, length: usize) -> bool {
        let found = self.block().is_some_and(|block| u128::from_le_bytes(*block) & mask == word);
        let inside = self.at + length <= self.bytes.len();
        self.at += if found && inside { length } else { 0 };
        found && inside
    }

    /// Steps over `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub(super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn slice(&self, quoted: Quoted) -> &'a [u8] {
        self.bytes.get(quoted.start..quoted.end).unwrap_or_default()
    }

    /// The failure "expected this, found what is next".
    #[cold]
    pub(super) fn expected(&self, what: &str) -> Box<Failure> {
        let place = self.at - self.start;
        match self.peek() {
            None => Failure::syntax(format_args!("expected {what}, but the message ends after {place} bytes")),
            Some(_) => {
                let next = self.rest();
                let character = next.utf8_chunks().next().and_then(|c| c.valid().chars().next());
                let found = match character {
                    Some(c) if c.is_control() => c.escape_default().to_string(),
                    Some(c) => c.to_string(),
                    None => excerpt(next),
                };
                Failure::syntax(format_args!("expected {what}, found \"{found}\" at byte {place}"))
            }
        }
    }

    /// The colon behind a key, and the spaces around it.
    pub(super) fn colon(&mut self) -> Scan<()> {
        if !self.eat(b':') {
            self.skip_whitespace();
            if !self.eat(b':') {
                return Err(self.expected("\":\""));
            }
        }
        self.skip_whitespace();
        Ok(())
    }

    /// What comes after a value: true for a comma, false for `close`. Spaces on both sides are stepped over.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Scan<bool> {
        if self.eat(b',') {
            self.skip_whitespace();
            return Ok(true);
        }
        self.skip_whitespace();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_whitespace();
                Ok(true)
            }
            Some(b) if b == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.expected(if close == b'}' { "\",\" or \"}\"" } else { "\",\" or \"]\"" })),
        }
    }

    /// Steps over `word` (null, true, false).
    pub(super) fn literal(&mut self, word: &'static str) -> Scan<()> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    /// A string, checked; the cursor is at its opening quote.
    pub(super) fn string(&mut self) -> Scan<Quoted> {
        if !self.eat(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = self.end_of_plain_run(self.at);
            match self.peek() {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Quoted { start, end, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.expected("no raw control character in a string")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    /// Where a run of bytes that mean themselves ends, if `from` is inside a string: at the message's end at the latest.
    #[inline(always)]
    fn end_of_plain_run(&self, from: usize) -> usize {
        (from + plain_run(self.chunk.get(from..).unwrap_or_default())).min(self.bytes.len())
    }

    /// The string at the cursor, if it has no escapes and ends; the cursor stays.
    #[inline(always)]
    pub(super) fn plain_string(&self) -> Option<Quoted> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        let end = self.end_of_plain_run(start);
        (self.bytes.get(end) == Some(&b'"')).then_some(Quoted { start, end, escaped: false })
    }

    /// Moves behind a string.
    #[inline]
    pub(super) fn step_behind(&mut self, string: Quoted) {
        self.at = string.end + 1;
    }

    /// The character that an escape stands for; the cursor is at its backslash.
    fn escape(&mut self) -> Scan<char> {
        self.at += 1;
        let letter = self.peek();
        let character = match letter {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.expected("an escape such as \\n or \\u00e9")),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Scan<char> {
        let lone = || Failure::syntax("a lone surrogate in a \\u escape is no character");
        let first = self.four_digits()?;
        let code = match first {
            0xd800..0xdc00 => {
                if !(self.eat(b'\\') && self.eat(b'u')) {
                    return Err(lone());
                }
                let second = self.four_digits()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(lone());
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(lone)
    }

    fn four_digits(&mut self) -> Scan<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| (b as char).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.expected("four hexadecimal digits"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// Steps over an integer of at most sixteen digits without a sign, if there are bytes behind it that end it. Most numbers
    /// are such; `None`, and no step, for all others.
    #[inline(always)]
    pub(super) fn small_integer(&mut self) -> Option<i64> {
        let bytes: &[u8; 17] = self.block()?;
        let (words, _) = bytes.as_chunks::<8>();
        let [low, high] = words else { return None };
        let (mut value, mut digits) = leading_digits(u64::from_le_bytes(*low));
        if digits == 8 {
            let (more, places) = leading_digits(u64::from_le_bytes(*high));
            value = value * POWERS_OF_TEN.get(places)? + more;
            digits += places;
        }
        let leading_zero = digits > 1 && bytes.first() == Some(&b'0');
        let ends = matches!(bytes.get(digits), Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
        if digits == 0 || leading_zero || !ends || self.at + digits >= self.bytes.len() {
            return None;
        }
        self.at += digits;
        Some(value as i64)
    }

    /// A number, checked; the cursor is at its first byte.
    pub(super) fn number(&mut self) -> Scan<Number<'a>> {
        let start = self.at;
        let negative = self.eat(b'-');
        let (magnitude, digits) = self.integer_digits()?;
        let mut integer = true;
        if self.eat(b'.') {
            integer = false;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        let small = (integer && digits <= Number::SMALL_DIGITS).then_some(magnitude as i64);
        Ok(Number { text, small: small.map(|m| if negative { -m } else { m }) })
    }

    /// `0`, or digits that do not begin with it: their value (wrapping, so worthless beyond 19 digits) and how many.
    #[inline]
    fn integer_digits(&mut self) -> Scan<(u64, usize)> {
        let start = self.at;
        let mut value = 0_u64;
        if let Some(word) = self.rest().first_chunk::<8>() {
            let (first, digits) = leading_digits(u64::from_le_bytes(*word));
            value = first;
            self.at += digits;
        }
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - start;
        if digits == 0 {
            return Err(self.expected("a value"));
        }
        if digits > 1 && self.bytes.get(start) == Some(&b'0') {
            self.at = start + 1;
            return Err(self.expected("no digit after a leading zero"));
        }
        Ok((value, digits))
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// Steps over a plain string or a small integer, if it is next.
    #[inline]
    pub(super) fn skip_common_value(&mut self) -> bool {
        match self.plain_string() {
            Some(string) => {
                self.step_behind(string);
                true
            }
            None => self.small_integer().is_some(),
        }
    }

    /// Steps over any one value, checked, and gives its bytes.
    pub(super) fn skip_value(&mut self) -> Scan<&'a [u8]> {
        let start = self.at;
        // A bit for each object or array we are in, the innermost lowest: 1 for an object.
        let mut nest = 0_u128;
        let mut depth = 0_u32;
        loop {
            if let Some(open @ (b'{' | b'[')) = self.peek() {
                self.at += 1;
                self.skip_whitespace();
                let object = open == b'{';
                if !self.eat(if object { b'}' } else { b']' }) {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(Failure::syntax(format_args!("more than {MAX_DEPTH} levels of nesting")));
                    }
                    nest = nest << 1 | u128::from(object);
                    if object {
                        self.skip_key()?;
                    }
                    continue;
                }
            } else {
                self.skip_scalar()?;
            }
            // A value is behind us: close what it ends, go on with what follows it.
            loop {
                if depth == 0 {
                    return Ok(self.bytes.get(start..self.at).unwrap_or_default());
                }
                let object = nest & 1 == 1;
                if self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                nest >>= 1;
                depth -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Scan<()> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key"));
        }
        self.string()?;
        self.colon()
    }

    fn skip_scalar(&mut self) -> Scan<()> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'n') => self.literal("null"),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            _ => self.number().map(drop),
        }
    }
}

/// Appends what the escapes of `raw` (the checked inside of a string) stand for.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Scan<()> {
    let mut scanner = Scanner::new(raw);
    loop {
        let plain = plain_run(scanner.rest());
        out.extend_from_slice(scanner.rest().get(..plain).unwrap_or_default());
        scanner.advance(plain);
        if scanner.peek().is_none() {
            return Ok(());
        }
        let character = scanner.escape()?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// 10^0 .. 10^8.
const POWERS_OF_TEN: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// How many of the eight bytes of `word` (the first is the lowest) are digits, before any that is none, and their value.
///
/// Three multiplications add up pairs, then pairs of pairs, then the halves (as in Johnny Lee's and Daniel Lemire's
/// parsing of eight digits at once).
#[inline]
fn leading_digits(word: u64) -> (u64, usize) {
    let nibbles = word ^ (LOW * 0x30);
    // A byte is a digit exactly if it is below 10 now: adding 0x76 takes all others to 0x80 or beyond.
    let others = (nibbles.wrapping_add(LOW * 0x76) | nibbles) & HIGH;
    let digits = (others.trailing_zeros() / 8) as usize;
    if digits == 0 {
        return (0, 0);
    }
    // The digits move to the high end; zeroes come in front of them.
    let digit_bytes = nibbles << (64 - 8 * digits);
    let pairs = digit_bytes.wrapping_mul(10).wrapping_add(digit_bytes >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let eights = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (eights, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_eight_at_a_time() {
        for text in ["", "0", "7x", "42,", "1234567", "12345678", "99999999", "00000001", "1/2", "1:2", "\u{b9}1"] {
            let mut bytes = [b'}'; 8];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let value = text[..digits].parse().unwrap_or(0);
            assert_eq!(leading_digits(u64::from_le_bytes(bytes)), (value, digits), "{text}");
        }
        for byte in 0..=255_u8 {
            let found = leading_digits(u64::from_le_bytes([b'1', b'2', byte, b'3', 0, 0, 0, 0]));
            let digit = u64::from(byte.wrapping_sub(b'0'));
            assert_eq!(found, if byte.is_ascii_digit() { (1203 + digit * 10, 4) } else { (12, 2) }, "{byte:#x}");
        }
    }
}
