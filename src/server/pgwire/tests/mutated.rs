//! Frames that no client sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{eventually, frame, query, server};

/// Conversations with bytes lost, added and exchanged, on many connections: the server outlives them all, and leaves none
/// of their sessions behind.
#[tokio::test]
async fn mutated_frames_end_their_connection_at_most() {
    const CONVERSATIONS: usize = 400;
    let server = server().await;
    let startup: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ann\0\0";
    let good: Vec<Vec<u8>> = vec![
        frame(b'Q', b"SELECT 1; SELECT 2\0"),
        frame(b'P', b"s\0SELECT $1::int, $2\0\0\x02\0\0\0\x17\0\0\0\x19"),
        frame(b'B', b"p\0s\0\0\x02\0\x01\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\x01\0\x01"),
        frame(b'D', b"Ss\0"),
        frame(b'E', b"p\0\0\0\0\x02"),
        frame(b'C', b"Pp\0"),
        frame(b'H', b""),
        frame(b'S', b""),
        frame(b'd', b"copied"),
        frame(b'f', b"no\0"),
        frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        frame(b'p', b"secret\0"),
    ];
    let mut state = 7_u64;
    // splitmix64.
    let mut below = |bound: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    };
    let (mut answered, mut ended) = (0, 0);
    for _ in 0..CONVERSATIONS {
        let mut bytes = if below(5) == 0 { Vec::new() } else { startup.to_vec() };
        let begun = bytes.len();
        for _ in 0..1 + below(8) {
            bytes.extend_from_slice(&good[below(good.len())]);
        }
        for _ in 0..below(4) {
            // A good beginning, mostly, lets the rest be read.
            let from = if below(6) == 0 { 0 } else { begun.min(bytes.len() - 1) };
            let at = from + below(bytes.len() - from);
            match below(6) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                3 => bytes.insert(at, below(256) as u8),
                4 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes.extend_from_slice(&frame(b'X', b""));
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // A server that has hung up already need not read the rest.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "no end of {bytes:?}");
        answered += usize::from(answer.contains(&b'Z'));
        ended += usize::from(String::from_utf8_lossy(&answer).contains("FATAL"));
    }
    assert!(answered > CONVERSATIONS / 4 && ended > CONVERSATIONS / 8, "{answered} were answered, {ended} were ended");
    let (kinds, status) = query(&mut server.raw().await, "SELECT 1").await;
    assert_eq!((kinds.as_str(), status), ("TDCZ", 'I'));
    eventually("the end of all sessions", || server.metrics.encode().unwrap().contains("tidemill_sessions 0\n")).await;
}
