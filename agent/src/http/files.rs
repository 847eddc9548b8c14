//! `/files/*`: sandboxes by virtual path (`/frameworks/<framework>/executors/<executor>/runs/<container or latest>/…`) or by
//! the directory that `/state` names, and the agent's log as `/slave/log`. Owns what answers say.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::error::Refusal;
use super::query::Query;
use super::within::{self, Kind, Listed};
use super::{Inner, json, known, places};

pub(super) use super::within::{Entry, Part};

/// The most that one read returns, as in Mesos: 16 pages.
pub(super) const READ_BYTES_MAX: u64 = 64 << 10;
/// Under which name the agent's own log is read.
pub(super) const LOG: &str = "/slave/log";

pub(super) async fn read(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let path = query.required("path")?;
    let offset: i64 = query.number("offset")?.unwrap_or(-1);
    let length: i64 = query.number("length")?.unwrap_or(-1);
    let (-1.., -1..) = (offset, length) else {
        let name = if offset < -1 { "offset" } else { "length" };
        return Err(Refusal::bad_request(format!("'{name}' is negative")));
    };
    // Offset −1 asks for the size alone.
    let wanted = u64::try_from(offset).ok();
    let length = u64::try_from(length).unwrap_or(READ_BYTES_MAX).min(READ_BYTES_MAX);
    let length = if wanted.is_some() { length } else { 0 };
    let part = part(app, path, wanted.unwrap_or(0), length).await?;
    let value = json!({
        "data": String::from_utf8_lossy(&part.data),
        // Behind the end there is nothing but the end.
        "offset": wanted.unwrap_or(part.size).min(part.size),
    });
    Ok(json(&value, query))
}

pub(super) async fn browse(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let path = query.required("path")?;
    let Listed { entries, all } = listed(app, path).await?;
    let list: Vec<Value> = entries
        .into_iter()
        .map(|Entry { path, metadata }| {
            json!({
                "path": path,
                "size": metadata.len(),
                "nlink": metadata.nlink(),
                "mtime": metadata.mtime(),
                "mode": mode_text(&metadata),
                "uid": metadata.uid().to_string(),
                "gid": metadata.gid().to_string(),
            })
        })
        .collect();
    let mut response = json(&list.into(), query);
    if !all {
        let value = HeaderValue::from_static("the folder has more entries than are listed");
        response.headers_mut().insert(HeaderName::from_static("tepui-warning"), value);
    }
    Ok(response)
}

pub(super) async fn download(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let place = places::find(app, query.required("path")?).await?;
    let opened = blocking(move || within::open(&place, Kind::File)).await?;
    let name = opened.path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
    // It may grow meanwhile, and the length stands in the head already.
    let length = opened.metadata.len();
    let stream = ReaderStream::new(tokio::fs::File::from_std(opened.file).take(length));
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Which virtual path stands for what.
pub(super) async fn debug(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let known = known::look(app).await?;
    let mut shown = Map::new();
    if let Some(path) = &app.facts.log_file {
        shown.insert(LOG.to_owned(), json!(path.display().to_string()));
    }
    for (framework, executor) in known.executors().chain(known.completed_executors()) {
        let directory = json!(executor.directory.display().to_string());
        let runs = format!("/frameworks/{}/executors/{}/runs", framework.id, executor.id());
        shown.insert(format!("{runs}/{}", executor.container_id), directory.clone());
        if let Some(path) = directory.as_str() {
            shown.insert(path.to_owned(), directory.clone());
        }
    }
    Ok(json(&shown.into(), query))
}

/// Returns a part of a file; less, or nothing, behind its end.
pub(super) async fn part(app: &Arc<Inner>, path: &str, offset: u64, length: u64) -> Result<Part, Refusal> {
    let place = places::find(app, path).await?;
    blocking(move || within::read(&place, offset, length)).await
}

/// Returns what stands in a folder, under the name by which the client called it.
pub(super) async fn list(app: &Arc<Inner>, path: &str) -> Result<Vec<Entry>, Refusal> {
    listed(app, path).await.map(|listed| listed.entries)
}

async fn listed(app: &Arc<Inner>, path: &str) -> Result<Listed, Refusal> {
    let place = places::find(app, path).await?;
    let name = path.to_owned();
    blocking(move || within::list(&place, &name)).await
}

/// Does what may wait for a disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::unavailable())?
}

/// Returns a mode as `ls -l` shows it.
fn mode_text(metadata: &Metadata) -> String {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_block_device() => 'b',
        () if kind.is_char_device() => 'c',
        () => '-',
    };
    let bits = metadata.mode();
    let letters = "rwxrwxrwx".chars().enumerate();
    std::iter::once(kind)
        .chain(letters.map(|(place, letter)| if bits & (0o400 >> place) != 0 { letter } else { '-' }))
        .collect()
}
