//! From bytes to messages and back, in either encoding, with the same decision for both.
//!
//! Decoding never panics on any input: depth is bounded by the decoders (100 levels of protobuf, 128 of JSON), and further for the one
//! message that can contain itself, so that whatever was accepted can be wrapped and read again; size by the caller, who limits the body.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::json::check::TOO_DEEP;
use crate::media_type::MediaType;

/// A message that can travel in both encodings.
pub trait WireMessage: prost::Message + Default + Serialize + DeserializeOwned + json::Message {
    /// Returns the dotted path of the first required field that is absent, at any depth.
    fn missing(&self) -> Option<String> {
        self.missing_field()
    }
}

impl<T: prost::Message + Default + Serialize + DeserializeOwned + json::Message> WireMessage for T {}

/// Why bytes are not the message that was expected; always the sender's fault.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The text is not JSON, or does not map to the message. Names the field and where it is.
    #[error("body is not a {message} in JSON: {source}")]
    Json {
        /// Full name of the expected message.
        message: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The bytes are not protobuf, or not of this message.
    #[error("body is not a {message} in protobuf: {source}")]
    Protobuf {
        /// Full name of the expected message.
        message: &'static str,
        /// What is wrong.
        source: prost::DecodeError,
    },
    /// A container's id names more parents than there can be.
    #[error("{message} has a bad field '{field}'")]
    Depth {
        /// Full name of the expected message.
        message: &'static str,
        /// Dotted path of the field.
        field: String,
    },
    /// A required field is absent.
    #[error("{message} lacks the required field '{field}'")]
    Missing {
        /// Full name of the expected message.
        message: &'static str,
        /// Dotted path of the field.
        field: String,
    },
}

/// Reads one message.
///
/// Unknown fields are ignored, enum fields with unknown values are unset.
///
/// # Errors
/// The bytes cannot be read, or a required field is absent.
pub fn decode<M: WireMessage>(media: MediaType, body: &[u8]) -> Result<M, DecodeError> {
    let name = <M as json::Message>::NAME;
    let message: M = match media {
        MediaType::Json => {
            serde_json::from_slice(body).map_err(|source| DecodeError::Json { message: name, source })?
        }
        MediaType::Protobuf => {
            let mut message =
                M::decode(body).map_err(|source| DecodeError::Protobuf { message: name, source })?;
            message.forget_unknown();
            message
        }
    };
    match message.missing_field() {
        Some(field) if field.ends_with(TOO_DEEP) => Err(DecodeError::Depth { message: name, field }),
        Some(field) => Err(DecodeError::Missing { message: name, field }),
        None => Ok(message),
    }
}

/// Says which type a call named, if it is one that is not known here: such a field counts as absent, which helps nobody who
/// misspelt it. Only JSON has names.
pub fn unknown_type(media: MediaType, body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: Option<String>,
    }
    const SHOWN: usize = 64;
    if media != MediaType::Json {
        return None;
    }
    let named = serde_json::from_slice::<Typed>(body).ok()?.r#type?;
    let shown: String = named.chars().take(SHOWN).collect();
    Some(format!("expecting 'type' to be that of a call, but {shown:?} is not known"))
}

/// Writes one message.
#[must_use]
pub fn encode<M: WireMessage>(media: MediaType, message: &M) -> Bytes {
    match media {
        MediaType::Json => {
            json::to_vec(message).expect("messages have text keys and writing to memory works").into()
        }
        MediaType::Protobuf => message.encode_to_vec().into(),
    }
}

/// Returns the framed record of one message, ready to be one chunk of a stream.
#[must_use]
pub fn encode_record<M: WireMessage>(media: MediaType, message: &M) -> Bytes {
    crate::recordio::frame(&encode(media, message))
}
