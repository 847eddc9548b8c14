//! Frames on a byte stream: bounded, and with the format version first.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const FORMAT: u8 = 1;
/// Largest frame: a slot's ranges are far smaller.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// A frame that cannot be read or written; the connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error("the peer speaks format {0}, this version knows format {FORMAT}")]
    UnknownFormat(u8),
    #[error("a frame of {0} bytes, at most {MAX_FRAME_BYTES} are possible")]
    TooLarge(usize),
    #[error("an empty frame")]
    Empty,
    #[error("a frame that is not readable: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// Reads one frame. Not cancel-safe: a dropped read leaves the stream within a frame.
pub(crate) async fn read_frame<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<T, FrameError> {
    let length = stream.read_u32().await?;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length as usize));
    }
    let mut content = vec![0; length as usize];
    stream.read_exact(&mut content).await?;
    match content.split_first() {
        None => Err(FrameError::Empty),
        Some((&FORMAT, body)) => Ok(serde_json::from_slice(body)?),
        Some((other, _)) => Err(FrameError::UnknownFormat(*other)),
    }
}

/// Writes one frame.
pub(crate) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), FrameError> {
    let mut content = vec![0, 0, 0, 0, FORMAT];
    serde_json::to_writer(&mut content, message)?;
    let length = content.len() - 4;
    let prefix =
        u32::try_from(length).ok().filter(|l| *l <= MAX_FRAME_BYTES).ok_or(FrameError::TooLarge(length))?;
    content[..4].copy_from_slice(&prefix.to_be_bytes());
    stream.write_all(&content).await?;
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn round_trip_and_refusals() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &vec![1, 2]).await.unwrap();
        assert_eq!(read_frame::<Vec<u8>>(&mut bytes.as_slice()).await.unwrap(), [1, 2]);
        let error =
            |bytes: Vec<u8>| async move { read_frame::<Vec<u8>>(&mut bytes.as_slice()).await.unwrap_err() };
        bytes[4] = 9;
        assert!(matches!(error(bytes).await, FrameError::UnknownFormat(9)));
        assert!(matches!(error(vec![0, 0, 0, 0]).await, FrameError::Empty));
        assert!(matches!(error(vec![255, 0, 0, 0]).await, FrameError::TooLarge(_)));
        assert!(matches!(error(vec![0, 0, 0, 2, 1, b'x']).await, FrameError::Unreadable(_)));
        assert!(matches!(error(vec![0, 0, 0, 9, 1]).await, FrameError::Io(_)));
        let huge = "x".repeat(2 << 20);
        assert!(matches!(write_frame(&mut Vec::new(), &huge).await, Err(FrameError::TooLarge(_))));
    }
}
