//! The HTTP/1.1 that comes before a WebSocket.

use std::io;

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a request says, as far as anybody here cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Path without query.
    pub(crate) path: String,
    /// Value of `Sec-WebSocket-Accept`, if a WebSocket is wanted.
    pub(crate) accept: Option<String>,
    pub(crate) origin: Option<String>,
    /// From the query, the `Authorization` header or the subprotocols.
    pub(crate) token: Option<String>,
    /// Whether the subprotocol [`SUBPROTOCOL`] was offered, and has to be chosen.
    pub(crate) has_subprotocol: bool,
    /// Values of `X-Forwarded-For`, in order.
    pub(crate) forwarded: Vec<String>,
}

/// What a request turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Well formed.
    Head(Head),
    /// Answer with this and close.
    Refused(Answer),
}

/// An answer other than a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status line without the version.
    pub(crate) status: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
    /// Header lines, each with its end.
    pub(crate) extra: &'static str,
}

impl Answer {
    /// An answer in words.
    pub(crate) fn text(status: &'static str, sentence: &str) -> Self {
        let extra = match status.get(..3) {
            Some("426") => "Upgrade: websocket\r\n",
            Some("429" | "503") => "Retry-After: 30\r\n",
            Some("401") => "WWW-Authenticate: Bearer\r\n",
            _ => "",
        };
        Self { status, kind: "text/plain; charset=utf-8", body: format!("{sentence}\n"), extra }
    }
}

/// Reads a request up to the end of its head; `None` when the peer goes away before.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Request>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
        if let Some(request) = parse(&head) {
            return Ok(Some(request));
        }
        if head.len() > MAX_HEAD {
            return Ok(Some(refused("431 Request Header Fields Too Large", "request is too large")));
        }
    }
}

/// Answers a request for a WebSocket.
pub(crate) async fn write_upgrade(stream: &mut (impl AsyncWrite + Unpin), head: &Head) -> io::Result<()> {
    let accept = head.accept.as_deref().unwrap_or_default();
    let protocol = if head.has_subprotocol {
        format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n")
    } else {
        String::new()
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await
}

/// Answers any other request.
pub(crate) async fn write_answer(stream: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, body, extra } = answer;
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\n{extra}Connection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}

/// Judges a request; `None` while its head is not complete.
fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => {
            return Some(refused("431 Request Header Fields Too Large", "too many headers"));
        }
        Err(_) => return Some(refused("400 Bad Request", "not a request")),
    };
    if request.method != Some("GET") {
        return Some(refused("405 Method Not Allowed", "only GET is understood"));
    }
    let all = |name: &'static str| {
        let found = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        found.filter_map(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let words = |name| all(name).flat_map(|value| value.split(',')).map(str::trim);
    let (path, query) = match request.path.unwrap_or("/").split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.path.unwrap_or("/"), ""),
    };
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    let in_header = all("authorization").next().and_then(|value| value.strip_prefix("Bearer "));
    let in_protocols = words("sec-websocket-protocol").find_map(|word| word.strip_prefix(TOKEN_PREFIX));
    let mut head = Head {
        path: path.into(),
        accept: None,
        origin: all("origin").next().map(Into::into),
        token: in_query.or(in_header).or(in_protocols).map(|token| token.trim().into()),
        has_subprotocol: words("sec-websocket-protocol").any(|word| word == SUBPROTOCOL),
        forwarded: all("x-forwarded-for").map(Into::into).collect(),
    };
    if words("upgrade").any(|word| word.eq_ignore_ascii_case("websocket")) {
        let key = all("sec-websocket-key").next().filter(|key| is_key(key));
        let Some(key) = key else { return Some(refused("400 Bad Request", "no key")) };
        if !words("connection").any(|word| word.eq_ignore_ascii_case("upgrade")) {
            return Some(refused("400 Bad Request", "connection is not to be upgraded"));
        }
        if all("sec-websocket-version").next() != Some("13") {
            return Some(refused("426 Upgrade Required", "only version 13 of WebSocket is understood"));
        }
        if len != bytes.len() {
            // A peer that speaks before it is answered does not speak WebSocket.
            return Some(refused("400 Bad Request", "bytes after the request"));
        }
        head.accept = Some(accept(key));
    }
    Some(Request::Head(head))
}

fn refused(status: &'static str, sentence: &str) -> Request {
    Request::Refused(Answer::text(status, sentence))
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

/// What a client offers that has to hide a token among the subprotocols, the only header a page can set.
pub(crate) const SUBPROTOCOL: &str = "hypertab-relay";

/// Begins the subprotocol that is a token.
const TOKEN_PREFIX: &str = "token.";

/// Most bytes of a request. Browsers send one or two KiB; proxies add to it.
const MAX_HEAD: usize = 16 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::client_address;
    use crate::config::{Block, Settings};
    use crate::mutations;

    const UPGRADE: &str = "GET /any?x HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn upgrade_is_answered_as_the_standard_shows() {
        let head = head(UPGRADE);

        assert_eq!(head.accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!((head.path.as_str(), head.token), ("/any", None));
    }

    #[test]
    fn whatever_comes_is_a_head_or_is_refused() {
        let with_all = UPGRADE.replace(
            "Host: a",
            "Host: a\r\nOrigin: https://a.example\r\nAuthorization: Bearer x.y\r\nX-Forwarded-For: 1.2.3.4, [::1]:5\r\n\
             Sec-WebSocket-Protocol: hypertab-relay, token.x",
        );
        let seeds = [UPGRADE.as_bytes(), with_all.as_bytes(), b"GET /?token=a%20b&token=c HTTP/1.1\r\n\r\n"];

        let mut access = Settings::default().access;
        access.trusted_proxies = ["0.0.0.0/0", "::/0"].map(|text| Block::parse(text).unwrap()).into();

        mutations::each(&seeds, |bytes| {
            let Some(Request::Head(head)) = parse(bytes) else { return };
            // It goes into an answer, which is not the client's to write.
            assert!(head.accept.is_none_or(|accept| accept.len() == 28 && !accept.contains(['\r', '\n'])));
            for hop in &head.forwarded {
                client_address(&access, [127, 0, 0, 1].into(), std::slice::from_ref(hop));
            }
        });
    }

    #[test]
    fn heads_wait_for_their_end() {
        for len in 0..UPGRADE.len() {
            assert_eq!(parse(&UPGRADE.as_bytes()[..len]), None);
        }
    }

    #[test]
    fn a_token_comes_in_three_ways() {
        let with = |header: &str| UPGRADE.replace("Host: a", &format!("Host: a\r\n{header}"));

        assert_eq!(head(&UPGRADE.replace("?x", "?x&token=a.b-c")).token.as_deref(), Some("a.b-c"));
        assert_eq!(head(&with("Authorization: Bearer a.b")).token.as_deref(), Some("a.b"));
        let offered = head(&with("Sec-WebSocket-Protocol: hypertab-relay, token.a.b"));
        assert_eq!(offered.token.as_deref(), Some("a.b"));
        assert!(offered.has_subprotocol);
    }

    #[test]
    fn other_requests_get_their_status() {
        let status = |request: &str| match parse(request.as_bytes()) {
            Some(Request::Refused(answer)) => answer.status.split(' ').next().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };

        assert_eq!(head("GET /healthz HTTP/1.1\r\n\r\n").path, "/healthz");
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(status("\u{1}\u{2}\r\n\r\n"), "400");
        assert_eq!(status(&UPGRADE.replace("13", "12")), "426");
        assert_eq!(status(&UPGRADE.replace("dGhl", "")), "400");
        assert_eq!(status(&UPGRADE.replace("keep-alive, Upgrade", "close")), "400");
        assert_eq!(status(&format!("{UPGRADE}x")), "400");
        let headers: String = (0..70).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{headers}\r\n")), "431");
    }

    fn head(request: &str) -> Head {
        match parse(request.as_bytes()) {
            Some(Request::Head(head)) => head,
            other => panic!("{other:?}"),
        }
    }
}
