//! What a client sends, read with every length checked.
//!
//! pgwire's own decoders trust the counts inside a message and read past its end, which a hostile client turns into a
//! panic; so frames are cut and bodies are read here, and pgwire writes the answers.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Result, SqlState};

/// Longest message taken from a client. A statement or a parameter is held in memory whole, so this bounds what one
/// connection can make the process hold before a statement even starts; PostgreSQL's own bound is 1 GiB.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Longest start-up packet, as in PostgreSQL.
const MAX_STARTUP_BYTES: usize = 10_000;

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;

/// What comes before a session exists. None of it has a type byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// TLS or GSS encryption is asked for.
    Encryption,
    Cancel {
        pid: i32,
        secret: Bytes,
    },
    Startup {
        major: u16,
        minor: u16,
        parameters: Vec<(String, String)>,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Statement(String),
    Portal(String),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Query(String),
    Parse {
        name: String,
        text: String,
        types: Vec<u32>,
    },
    /// A text in it is not UTF-8. `simple`: it is a Query.
    NotUtf8 {
        simple: bool,
        error: Error,
    },
    Bind(Bind),
    Describe(Target),
    /// `max_rows` 0: all.
    Execute {
        portal: String,
        max_rows: usize,
    },
    Close(Target),
    Flush,
    Sync,
    Terminate,
    FunctionCall,
    /// COPY data outside COPY: ignored, as PostgreSQL does.
    Copy,
    Password,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    /// `None`: null.
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// The first packet(s) of a connection; `None` if it is not whole yet.
pub fn opening(input: &mut BytesMut) -> Result<Option<Opening>> {
    let Some(length) = peek_length(input, 0) else {
        return Ok(None);
    };
    if !(8..=MAX_STARTUP_BYTES).contains(&length) {
        return Err(violation("invalid length of startup packet"));
    }
    if input.len() < length {
        return Ok(None);
    }
    let mut body = Body(input.split_to(length).freeze());
    body.int()?;
    Ok(Some(match body.int()? {
        SSL_REQUEST | GSS_REQUEST => Opening::Encryption,
        CANCEL_REQUEST => Opening::Cancel { pid: body.int()?, secret: body.0 },
        version => {
            let (major, minor) = ((version >> 16) as u16, (version & 0xffff) as u16);
            Opening::Startup { major, minor, parameters: startup_parameters(&mut body)? }
        }
    }))
}

fn startup_parameters(body: &mut Body) -> Result<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        let name = body.string()?;
        if name.is_empty() {
            return Ok(parameters);
        }
        parameters.push((name, body.string()?));
    }
}

/// The next message; `None` if it is not whole yet.
pub fn message(input: &mut BytesMut) -> Result<Option<Message>> {
    let Some(length) = peek_length(input, 1) else {
        return Ok(None);
    };
    if !(4..=MAX_MESSAGE_BYTES).contains(&length) {
        return Err(violation(format!("invalid message length {length}")).with_hint(format!(
            "A message, hence a statement or a parameter, may have at most {MAX_MESSAGE_BYTES} bytes."
        )));
    }
    if input.len() < 1 + length {
        input.reserve(1 + length - input.len());
        return Ok(None);
    }
    let kind = input.get_u8();
    let mut body = Body(input.split_to(length).freeze());
    body.int()?;
    let message = match read(kind, &mut body) {
        // Where the message ends is known all the same.
        Err(error) if error.state() == SqlState::CharacterNotInRepertoire => {
            return Ok(Some(Message::NotUtf8 { simple: kind == b'Q', error }));
        }
        message => message?,
    };
    if !body.0.is_empty() {
        return Err(violation("invalid message format").with_detail("The message has more bytes than its parts take."));
    }
    Ok(Some(message))
}

fn read(kind: u8, body: &mut Body) -> Result<Message> {
    Ok(match kind {
        b'Q' => Message::Query(body.string()?),
        b'P' => {
            let (name, text) = (body.string()?, body.string()?);
            Message::Parse { name, text, types: body.list(Body::oid)? }
        }
        b'B' => Message::Bind(Bind {
            portal: body.string()?,
            statement: body.string()?,
            parameter_formats: body.list(Body::short)?,
            parameters: body.list(Body::value)?,
            result_formats: body.list(Body::short)?,
        }),
        b'D' => Message::Describe(body.target()?),
        b'E' => {
            let portal = body.string()?;
            Message::Execute { portal, max_rows: usize::try_from(body.int()?).unwrap_or(0) }
        }
        b'C' => Message::Close(body.target()?),
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'F' => {
            body.0.clear();
            Message::FunctionCall
        }
        b'd' | b'c' | b'f' => {
            body.0.clear();
            Message::Copy
        }
        b'p' => {
            body.0.clear();
            Message::Password
        }
        other => return Err(violation(format!("invalid frontend message type {other}"))),
    })
}

/// The length that stands behind `offset` bytes; it counts itself.
fn peek_length(input: &BytesMut, offset: usize) -> Option<usize> {
    let bytes: [u8; 4] = input.get(offset..offset + 4)?.try_into().ok()?;
    // A negative length is too large, and refused as such.
    Some(u32::from_be_bytes(bytes) as usize)
}

/// What is left of one message.
struct Body(Bytes);

impl Body {
    fn take(&mut self, length: usize) -> Result<Bytes> {
        if self.0.len() < length {
            return Err(violation("insufficient data left in message"));
        }
        Ok(self.0.split_to(length))
    }

    fn int(&mut self) -> Result<i32> {
        Ok(self.take(4)?.get_i32())
    }

    fn oid(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn short(&mut self) -> Result<i16> {
        Ok(self.take(2)?.get_i16())
    }

    fn string(&mut self) -> Result<String> {
        let Some(end) = self.0.iter().position(|b| *b == 0) else {
            return Err(violation("invalid string in message"));
        };
        let text = utf8(&self.take(end)?)?.to_string();
        self.take(1)?;
        Ok(text)
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        match usize::try_from(self.int()?) {
            Ok(length) => Ok(Some(self.take(length)?)),
            Err(_) => Ok(None),
        }
    }

    fn list<T>(&mut self, item: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.take(2)?.get_u16();
        (0..count).map(|_| item(self)).collect()
    }

    fn target(&mut self) -> Result<Target> {
        match self.take(1)?.get_u8() {
            b'S' => Ok(Target::Statement(self.string()?)),
            b'P' => Ok(Target::Portal(self.string()?)),
            other => Err(violation(format!("invalid message subtype {other}"))),
        }
    }
}

/// # Errors
/// 22021, with the bytes that are no character.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let rest = bytes.get(error.valid_up_to()..).unwrap_or_default();
        let wrong = rest.get(..error.error_len().unwrap_or(rest.len())).unwrap_or_default();
        let shown: Vec<String> = wrong.iter().map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
        Error::new(SqlState::CharacterNotInRepertoire, message)
    })
}

pub fn violation(message: impl Into<String>) -> Error {
    Error::new(SqlState::ProtocolViolation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(kind: u8, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::from(&[kind][..]);
        out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn reads_each_message() {
        let check = |kind, body: &[u8], expected| {
            assert_eq!(message(&mut framed(kind, body)).unwrap(), Some(expected));
        };
        check(b'Q', b"select 1\0", Message::Query("select 1".into()));
        check(
            b'P',
            b"s\0select $1\0\0\x01\0\0\0\x17",
            Message::Parse { name: "s".into(), text: "select $1".into(), types: vec![23] },
        );
        check(
            b'B',
            b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0",
            Message::Bind(Bind {
                portal: "p".into(),
                statement: "s".into(),
                parameter_formats: vec![1],
                parameters: vec![Some(Bytes::from_static(b"ab")), None],
                result_formats: vec![],
            }),
        );
        check(b'D', b"Sx\0", Message::Describe(Target::Statement("x".into())));
        check(b'C', b"P\0", Message::Close(Target::Portal(String::new())));
        check(b'E', b"\0\0\0\0\x05", Message::Execute { portal: String::new(), max_rows: 5 });
        check(b'E', b"\0\xff\xff\xff\xff", Message::Execute { portal: String::new(), max_rows: 0 });
        check(b'S', b"", Message::Sync);
    }

    #[test]
    fn waits_for_the_whole_message() {
        let whole = framed(b'Q', b"select 1\0");
        for cut in 0..whole.len() {
            assert_eq!(message(&mut BytesMut::from(&whole[..cut])).unwrap(), None, "cut at {cut}");
        }
    }

    #[test]
    fn lies_are_refused() {
        let lies: [(u8, &[u8]); 8] = [
            (b'Q', b"no end"),
            (b'Q', b"two\0strings\0"),
            (b'P', b"\0select 1\0\xff\xff"),
            (b'B', b"\0\0\xff\xff"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
            (b'D', b"Zx\0"),
            (b'E', b"\0\0"),
            (b'?', b""),
        ];
        for (kind, body) in lies {
            assert!(message(&mut framed(kind, body)).is_err(), "{} {body:?}", kind as char);
        }
        assert!(message(&mut BytesMut::from(&b"Q\xff\xff\xff\xff"[..])).is_err());
        assert!(message(&mut BytesMut::from(&b"Q\0\0\0\x03"[..])).is_err());
        assert!(opening(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..])).is_err());
    }

    #[test]
    fn what_is_not_utf8_is_a_message_all_the_same() {
        let check = |kind, body: &[u8], simple, bytes: &str| {
            let mut input = framed(kind, body);
            input.extend_from_slice(&framed(b'S', b""));
            let error = Error::new(
                SqlState::CharacterNotInRepertoire,
                format!("invalid byte sequence for encoding \"UTF8\": {bytes}"),
            );
            assert_eq!(message(&mut input).unwrap(), Some(Message::NotUtf8 { simple, error }));
            assert_eq!(message(&mut input).unwrap(), Some(Message::Sync));
        };
        check(b'Q', b"select '\xff'\0", true, "0xff");
        check(b'Q', b"select '\xe2\x82'\0", true, "0xe2 0x82");
        check(b'P', b"\0\xc3\0\0\0", false, "0xc3");
    }

    #[test]
    fn reads_openings() {
        let check = |bytes: &[u8], expected| assert_eq!(opening(&mut BytesMut::from(bytes)).unwrap(), expected);
        check(b"\0\0\0\x08\x04\xd2\x16\x2f", Some(Opening::Encryption));
        check(
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\x01\x02\x03\x04",
            Some(Opening::Cancel { pid: 7, secret: Bytes::from_static(b"\x01\x02\x03\x04") }),
        );
        check(
            b"\0\0\0\x12\0\x03\0\0user\0ann\0\0",
            Some(Opening::Startup { major: 3, minor: 0, parameters: vec![("user".into(), "ann".into())] }),
        );
        check(b"\0\0\0\x14\0\x03", None);
    }
}
