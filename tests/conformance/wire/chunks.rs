//! One HTTP/1.1 exchange over a bare TCP connection, for what clients of libraries cannot see: where chunks begin and end.

use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a piece of the answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer whose chunks are read one by one.
#[derive(Debug)]
pub struct RawAnswer {
    connection: TcpStream,
    unread: Vec<u8>,
    /// Status line and headers as they came.
    pub head: String,
}

/// Sends a request and reads the head of the answer.
///
/// # Errors
/// When there is no answer.
pub async fn post(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<RawAnswer> {
    let mut connection = TcpStream::connect(address).await.context("connect")?;
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    connection.write_all(request.as_bytes()).await?;
    connection.write_all(body).await?;
    let mut answer = RawAnswer { connection, unread: Vec::new(), head: String::new() };
    let head = answer.until(b"\r\n\r\n").await.context("read the head of the answer")?;
    answer.head = String::from_utf8(head).context("the head is text")?;
    Ok(answer)
}

impl RawAnswer {
    /// The status code.
    pub fn status(&self) -> Option<u16> {
        self.head.split_whitespace().nth(1)?.parse().ok()
    }

    /// A header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The payload of the next chunk; nothing at the last one, which tells of the end.
    ///
    /// # Errors
    /// When the connection ends before, or what comes is no chunk.
    pub async fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let line = self.until(b"\r\n").await.context("read a chunk's length")?;
        let text = std::str::from_utf8(&line)?.trim();
        let length = usize::from_str_radix(text.split(';').next().unwrap_or_default(), 16)
            .with_context(|| format!("a chunk's length is {text:?}"))?;
        if length == 0 {
            return Ok(None);
        }
        while self.unread.len() < length + 2 {
            self.fill().await.context("read a chunk")?;
        }
        let mut chunk: Vec<u8> = self.unread.drain(..length + 2).collect();
        anyhow::ensure!(chunk.ends_with(b"\r\n"), "a chunk does not end where its length says");
        chunk.truncate(length);
        Ok(Some(chunk))
    }

    /// Waits until the server has closed the connection after the last chunk.
    ///
    /// # Errors
    /// When something else comes, or nothing.
    pub async fn closed(&mut self) -> anyhow::Result<()> {
        let end = self.until(b"\r\n").await.context("read the end of the chunks")?;
        anyhow::ensure!(
            end == b"\r\n" && self.unread.is_empty(),
            "after the last chunk: {end:?} {:?}",
            self.unread
        );
        let mut piece = [0; 16];
        let count = tokio::time::timeout(TIMEOUT, self.connection.read(&mut piece))
            .await
            .with_context(|| format!("open for {TIMEOUT:?} after the last chunk"))??;
        anyhow::ensure!(count == 0, "after the last chunk: {:?}", &piece[..count]);
        Ok(())
    }

    /// Everything up to and with `end`.
    async fn until(&mut self, end: &[u8]) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let mut piece = vec![0; 16 * 1024];
        let count = tokio::time::timeout(TIMEOUT, self.connection.read(&mut piece))
            .await
            .with_context(|| format!("nothing for {TIMEOUT:?}"))??;
        anyhow::ensure!(count > 0, "the connection ended");
        self.unread.extend_from_slice(&piece[..count]);
        Ok(())
    }
}
