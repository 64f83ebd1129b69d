//! What a supervisor asks that has no HTTP client: a container's health check.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Settings;

/// Asks the relay with these settings whether it is there. With TLS, any answer will do: to speak it here would take the
/// name in the certificate.
///
/// # Errors
///
/// When there is no answer in time, or another one.
pub async fn ask_health(settings: &Settings) -> io::Result<()> {
    let is_encrypted = settings.tls.certificate.is_some() || !settings.acme.domains.is_empty();
    let address = near(settings.listen);
    let wrong = |why: &dyn std::fmt::Display| {
        io::Error::other(format!("{address} does not answer as the relay would: {why}."))
    };
    let late = |_| wrong(&"it takes too long");
    let answer = timeout(PATIENCE, ask(address)).await.map_err(late)?.map_err(|error| wrong(&error))?;
    let is_well = is_encrypted && !answer.is_empty() || answer.starts_with(b"HTTP/1.1 200 ");
    if is_well { Ok(()) } else { Err(wrong(&"it says something else")) }
}

async fn ask(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Returns where this machine reaches what listens everywhere.
fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// How long the relay may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Bytes of an answer.
const MAX_ANSWER: u64 = 4096;
