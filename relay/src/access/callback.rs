//! A program of the operator's that decides about each client.

use std::time::Duration;

use hypertab_core::crypto::encode_hex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Guest;
use crate::config::HttpUrl;

/// Asks whether a guest with this key is let in: yes with status 200, no with 4xx.
///
/// # Errors
///
/// Says why there is no answer.
pub(crate) async fn ask(
    url: &HttpUrl,
    patience: Duration,
    guest: &Guest,
    key: &[u8; 32],
) -> Result<bool, String> {
    let body = serde_json::json!({
        "address": guest.address.to_string(),
        "key": encode_hex(key),
        "origin": guest.origin,
        "path": guest.path,
        "token": guest.token,
    });
    match timeout(patience, post(url, &body.to_string())).await {
        Ok(Ok(200)) => Ok(true),
        Ok(Ok(400..=499)) => Ok(false),
        Ok(Ok(status)) => Err(format!("it answers with status {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it takes too long".into()),
    }
}

async fn post(url: &HttpUrl, body: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(&url.authority).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        url.path,
        url.authority,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await? == 0 || answer.len() > MAX_ANSWER {
            return Err(std::io::Error::other("it does not answer with HTTP"));
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        // The status line is enough.
        match response.parse(&answer) {
            Ok(_) => {
                if let Some(status) = response.code {
                    return Ok(status);
                }
            }
            Err(_) => return Err(std::io::Error::other("it does not answer with HTTP")),
        }
    }
}

/// Bytes until the status line is complete.
const MAX_ANSWER: usize = 16 * 1024;
