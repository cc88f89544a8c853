//! JSON decoding alone: all seven columns of a bid, on one thread.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use tidemill::format::json::{JsonDecoder, JsonEncoder, JsonOptions};
use tidemill::format::{Decoder, Encoder, RawChunk};
use tidemill::types::schema_of;

use crate::bids::{self, text};
use crate::measure::{measure, report};

/// Events whose bids are encoded beforehand, about 240 bytes each.
const EVENTS: u64 = 500_000;

/// How often they are decoded.
const ROUNDS: u64 = 20;

pub fn json() -> Result<(), String> {
    let schema: SchemaRef = schema_of(&bids::columns());
    let encoder = JsonEncoder::new(SchemaRef::clone(&schema), JsonOptions::default()).map_err(text)?;
    let mut chunks = Vec::new();
    bids::for_each(EVENTS, |rows| {
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        encoder.encode(&rows, &mut data, &mut ends).map_err(text)?;
        let offsets = (0..ends.len() as u64).collect();
        let ends = ends.into_iter().map(|end| end as u32).collect();
        chunks.push(RawChunk { data: Bytes::from(data), ends, offsets, ..RawChunk::default() });
        Ok(())
    })?;
    let bytes: usize = chunks.iter().map(|chunk| chunk.data.len()).sum();
    let expected: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let decoder = JsonDecoder::new(schema, JsonOptions::default()).map_err(text)?;
    let (rows, took) = measure(|| {
        let mut rows = 0;
        for _ in 0..ROUNDS {
            for chunk in &chunks {
                let decoded = decoder.decode(chunk).map_err(text)?;
                if let Some(bad) = decoded.bad.first() {
                    return Err(text(bad.error.clone()));
                }
                rows += std::hint::black_box(decoded.rows).num_rows() as u64;
            }
        }
        Ok(rows)
    })?;
    if rows != expected * ROUNDS {
        return Err(format!("{} rows expected, {rows} came", expected * ROUNDS));
    }
    report("json_decode", "bids, 7 columns,", rows, took, 3.0);
    println!("json_decode: {} bytes a bid", bytes as u64 / expected);
    Ok(())
}
