//! Connections of HTTP/2 whose client asks and never takes an answer: its window is 0.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::front::http2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame};

/// The setting that says how much of an answer may be sent before the client asks for more.
const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
/// In the compressed form of headers: `:method: GET`, `:scheme: http`, and an indexed name with a value that follows.
const GET: u8 = 0x82;
const POST: u8 = 0x83;
const HTTP: u8 = 0x86;
const PATH: u8 = 0x04;
const AUTHORITY: u8 = 0x01;
const AUTHORIZATION: [u8; 2] = [0x0f, 0x08];

/// What one stream asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) path: &'a str,
    pub(super) key: Option<&'a str>,
    /// Without one it is a GET; with one a POST whose body never comes.
    pub(super) is_post: bool,
}

/// Asks this on so many streams of one connection, and takes nothing.
pub(super) async fn ask_and_take_nothing(address: SocketAddr, streams: u32, asked: Asked<'_>) -> TcpStream {
    let Asked { path, key, is_post } = asked;
    let mut head = vec![if is_post { POST } else { GET }, HTTP, PATH];
    push(&mut head, path);
    head.push(AUTHORITY);
    push(&mut head, "a");
    if let Some(key) = key {
        head.extend(AUTHORIZATION);
        push(&mut head, &format!("Bearer {key}"));
    }
    let end = if is_post { END_HEADERS } else { END_HEADERS | END_STREAM };
    let streams = (0..streams).flat_map(|number| frame(HEADERS, end, 2 * number + 1, &head));
    let asked = [PREFACE, &frame(SETTINGS, 0, 0, &INITIAL_WINDOW_SIZE)].concat().into_iter().chain(streams).collect::<Vec<_>>();
    let mut stream = TcpStream::connect(address).await.expect("the gateway accepts");
    // The gateway may have ended the connection already, which is its right.
    let _ = stream.write_all(&asked).await;
    stream
}

/// A text as headers have it, uncompressed.
fn push(head: &mut Vec<u8>, text: &str) {
    let length = text.len();
    if length < 127 {
        head.push(u8::try_from(length).unwrap());
    } else {
        head.extend([127, u8::try_from(length - 127).unwrap()]);
    }
    head.extend(text.as_bytes());
}
