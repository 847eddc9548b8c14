//! Compresses answers for clients that ask for it. Never a stream: its records have to leave at once, one by one.
//!
//! Owns which answers are worth it, and keeps the work away from the threads that everyone else waits for.

use std::io::Write;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Collected};
use hyper::HeaderMap;
use hyper::body::Body as _;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use tepui_proto::plain::{COMPRESSED_FROM_BYTES, accepts_gzip};

use crate::http::{App, admission, answer};

/// Up to this many bytes are compressed on the spot, which is quicker than moving the work.
const SMALL_BYTES: u64 = 64 << 10;

/// Whether the client of this request can unpack an answer.
pub(crate) fn wanted(headers: &HeaderMap) -> bool {
    accepts_gzip(admission::header(headers, ACCEPT_ENCODING.as_str()).as_deref())
}

/// Compresses an answer that is wholly there and long enough.
pub(crate) async fn squeeze(app: &App, response: Response) -> Response {
    // The size of a stream is not known, that of an answer is.
    let length = response.body().size_hint().exact().unwrap_or_default();
    if length < COMPRESSED_FROM_BYTES as u64 || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = body.collect().await.map(Collected::to_bytes) else {
        return answer::unavailable().into_response();
    };
    let packed = if length <= SMALL_BYTES {
        pack(&bytes)
    } else {
        let permit = app.renderers.clone().acquire_owned().await;
        let plain = bytes.clone();
        let packing = tokio::task::spawn_blocking(move || {
            let packed = pack(&plain);
            drop(permit);
            packed
        });
        packing.await.ok().flatten()
    };
    let Some(packed) = packed else { return Response::from_parts(parts, Body::from(bytes)) };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, Body::from(packed))
}

fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    // Fast: the answers are read once, and the processor has better things to do.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}
