//! The HTTP/1.1 that comes before a WebSocket.

use std::io;

use data_encoding::BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a request turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A WebSocket with this key in its answer.
    Upgrade {
        /// Value of `Sec-WebSocket-Accept`.
        accept: String,
    },
    /// Answer with this and close.
    Answer {
        /// Status line without the version.
        status: &'static str,
        /// Body.
        body: &'static str,
    },
}

/// Reads a request up to the end of its head; `None` when the peer goes away before.
pub(crate) async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
        if let Some(request) = parse(&head) {
            return Ok(Some(request));
        }
        if head.len() > MAX_HEAD {
            return Ok(Some(answer("431 Request Header Fields Too Large", "request is too large\n")));
        }
    }
}

/// Answers a request for a WebSocket.
pub(crate) async fn write_upgrade(stream: &mut TcpStream, accept: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await
}

/// Answers any other request.
pub(crate) async fn write_answer(stream: &mut TcpStream, status: &str, body: &str) -> io::Result<()> {
    let len = body.len();
    let upgrade = if status.starts_with("426") { "Upgrade: websocket\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
         {upgrade}Connection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}

/// Judges a request; `None` while its head is not complete.
fn parse(head: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(head) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => {
            return Some(answer("431 Request Header Fields Too Large", "too many headers\n"));
        }
        Err(_) => return Some(answer("400 Bad Request", "not a request\n")),
    };
    let method = request.method.unwrap_or_default();
    if method != "GET" {
        return Some(answer("405 Method Not Allowed", "only GET is understood\n"));
    }
    let header = |name: &str| {
        let mut found = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.next().and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let has_token = |name: &str, token: &str| {
        header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    };
    if !has_token("upgrade", "websocket") {
        let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
        return Some(match path {
            "/healthz" => answer("200 OK", "ok\n"),
            _ => {
                answer("426 Upgrade Required", "this is a relay for browser tabs: connect with a WebSocket\n")
            }
        });
    }
    let key = header("sec-websocket-key").filter(|key| is_key(key));
    Some(match key {
        _ if !has_token("connection", "upgrade") => {
            answer("400 Bad Request", "connection is not to be upgraded\n")
        }
        _ if header("sec-websocket-version") != Some("13") => {
            answer("426 Upgrade Required", "only version 13 of WebSocket is understood\n")
        }
        None => answer("400 Bad Request", "no key\n"),
        // A peer that speaks before it is answered does not speak WebSocket.
        Some(_) if len != head.len() => answer("400 Bad Request", "bytes after the request\n"),
        Some(key) => Request::Upgrade { accept: accept(key) },
    })
}

fn answer(status: &'static str, body: &'static str) -> Request {
    Request::Answer { status, body }
}

fn is_key(key: &str) -> bool {
    BASE64.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16)
}

/// Source: RFC 6455, section 4.2.2.
fn accept(key: &str) -> String {
    let mut sha = sha1_smol::Sha1::new();
    sha.update(key.as_bytes());
    sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(&sha.digest().bytes())
}

/// Most bytes of a request. Browsers send one or two KiB; proxies add to it.
const MAX_HEAD: usize = 16 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /any?x HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn upgrade_is_answered_as_the_standard_shows() {
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into();

        assert_eq!(parse(UPGRADE.as_bytes()), Some(Request::Upgrade { accept }));
    }

    #[test]
    fn heads_wait_for_their_end() {
        for len in 0..UPGRADE.len() {
            assert_eq!(parse(&UPGRADE.as_bytes()[..len]), None);
        }
    }

    #[test]
    fn other_requests_get_their_status() {
        let status = |request: &str| match parse(request.as_bytes()) {
            Some(Request::Answer { status, .. }) => status.split(' ').next().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };

        assert_eq!(status("GET /healthz HTTP/1.1\r\n\r\n"), "200");
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), "426");
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(status("\u{1}\u{2}\r\n\r\n"), "400");
        assert_eq!(status(&UPGRADE.replace("13", "12")), "426");
        assert_eq!(status(&UPGRADE.replace("dGhl", "")), "400");
        assert_eq!(status(&UPGRADE.replace("keep-alive, Upgrade", "close")), "400");
        assert_eq!(status(&format!("{UPGRADE}x")), "400");
        let headers: String = (0..70).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{headers}\r\n")), "431");
    }
}
