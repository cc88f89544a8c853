//! What the server answers, as messages at the end of an output buffer.

use bytes::{BufMut, BytesMut};
use pgwire::error::PgWireError;
use pgwire::messages::PgWireBackendMessage as Backend;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};

use super::encode::Format;
use super::wire_type::WireType;
use crate::error::{Error, Result};

/// How bad an error is for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection ends.
    Fatal,
}

fn put(message: Backend, out: &mut BytesMut) -> Result<()> {
    message.encode(out).map_err(|e: PgWireError| Error::internal(format!("an answer could not be written: {e}")))
}

pub fn error(error: &Error, severity: Severity, out: &mut BytesMut) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let fields = fields(error, severity);
    // Fails only beyond 2 GiB; then the connection's end tells the client.
    let _ = put(Backend::ErrorResponse(ErrorResponse::new(fields)), out);
}

/// `severity`: NOTICE, WARNING or INFO.
pub fn notice(notice: &Error, severity: &str, out: &mut BytesMut) {
    let _ = put(Backend::NoticeResponse(NoticeResponse::new(fields(notice, severity))), out);
}

/// The fields of an error or notice, in the order in which PostgreSQL sends them.
fn fields(error: &Error, severity: &str) -> Vec<(u8, String)> {
    let clean = |text: &str| text.replace('\0', "");
    let mut fields = vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', error.state().code().to_string()),
        (b'M', clean(error.message())),
    ];
    fields.extend(error.detail().map(|d| (b'D', clean(d))));
    fields.extend(error.hint().map(|h| (b'H', clean(h))));
    fields.extend(error.position().map(|p| (b'P', p.to_string())));
    fields
}

pub fn authenticated(out: &mut BytesMut) -> Result<()> {
    put(Backend::Authentication(Authentication::Ok), out)
}

/// Tells a client that asked for protocol 3.`minor` > 0 or for protocol options that it gets plain 3.0.
pub fn negotiate_protocol(refused_options: Vec<String>, out: &mut BytesMut) -> Result<()> {
    let version = i32::from(pgwire::messages::ProtocolVersion::PROTOCOL3_0);
    put(Backend::NegotiateProtocolVersion(NegotiateProtocolVersion::new(version, refused_options)), out)
}

pub fn parameter_status(name: &str, value: &str, out: &mut BytesMut) -> Result<()> {
    put(Backend::ParameterStatus(ParameterStatus::new(name.to_string(), value.to_string())), out)
}

pub fn key_data(pid: i32, secret: [u8; 4], out: &mut BytesMut) -> Result<()> {
    let key = BackendKeyData::new(pid, SecretKey::I32(i32::from_be_bytes(secret)));
    put(Backend::BackendKeyData(key), out)
}

pub fn ready(status: TransactionStatus, out: &mut BytesMut) -> Result<()> {
    put(Backend::ReadyForQuery(ReadyForQuery::new(status)), out)
}

pub fn command_complete(tag: &str, out: &mut BytesMut) -> Result<()> {
    put(Backend::CommandComplete(CommandComplete::new(tag.to_string())), out)
}

/// Answers without content.
#[derive(Debug, Clone, Copy)]
pub enum Plain {
    EmptyQuery,
    ParseComplete,
    BindComplete,
    CloseComplete,
    PortalSuspended,
    NoData,
}

pub fn plain(answer: Plain, out: &mut BytesMut) -> Result<()> {
    let message = match answer {
        Plain::EmptyQuery => Backend::EmptyQueryResponse(EmptyQueryResponse::new()),
        Plain::ParseComplete => Backend::ParseComplete(ParseComplete::new()),
        Plain::BindComplete => Backend::BindComplete(BindComplete::new()),
        Plain::CloseComplete => Backend::CloseComplete(CloseComplete::new()),
        Plain::PortalSuspended => Backend::PortalSuspended(PortalSuspended::new()),
        Plain::NoData => Backend::NoData(NoData::new()),
    };
    put(message, out)
}

pub fn parameter_description(oids: &[u32], out: &mut BytesMut) -> Result<()> {
    put(Backend::ParameterDescription(ParameterDescription::new(oids.to_vec())), out)
}

/// `formats`: one for each column.
pub fn row_description(columns: &[(String, WireType)], formats: &[Format], out: &mut BytesMut) -> Result<()> {
    let fields = columns.iter().zip(formats).map(|((name, ty), format)| {
        FieldDescription::new(name.replace('\0', ""), 0, 0, ty.oid, ty.length, ty.modifier, format.code())
    });
    put(Backend::RowDescription(RowDescription::new(fields.collect())), out)
}

/// Rows follow as `columns` texts a line.
pub fn copy_out(columns: usize, out: &mut BytesMut) -> Result<()> {
    let text = Format::Text.code();
    let count = i16::try_from(columns).map_err(|_| Error::internal("a result has more columns than COPY can count"))?;
    put(Backend::CopyOutResponse(CopyOutResponse::new(text as i8, count, vec![text; columns])), out)
}

pub fn copy_done(out: &mut BytesMut) -> Result<()> {
    put(Backend::CopyDone(CopyDone::new()), out)
}

/// The one byte that refuses TLS or GSS encryption.
pub fn refuse_encryption(out: &mut BytesMut) {
    out.put_u8(b'N');
}
