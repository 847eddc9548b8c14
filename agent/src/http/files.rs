//! `/files/*`: sandboxes by virtual path (`/frameworks/<framework>/executors/<executor>/runs/<container or latest>/…`) or by
//! the directory that `/state` names. Owns what may be seen: nothing outside the sandboxes, through whatever link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::error::Refusal;
use super::query::Query;
use super::{Inner, json};

/// The most that one read returns, as in Mesos: 16 pages.
pub(super) const READ_BYTES_MAX: u64 = 64 << 10;

/// A part of a file.
pub(super) struct Part {
    pub(super) size: u64,
    pub(super) data: Vec<u8>,
}

/// What stands in a folder.
pub(super) struct Entry {
    /// As the client named the folder, with the name behind it.
    pub(super) path: String,
    pub(super) metadata: fs::Metadata,
}

pub(super) async fn read(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let virtual_path = query.required("path")?.to_owned();
    let offset: i64 = query.number("offset")?.unwrap_or(-1);
    let length: Option<i64> = query.number("length")?;
    let length = match length {
        None | Some(-1) => READ_BYTES_MAX,
        Some(length) => u64::try_from(length).map_err(|_| Refusal::bad_request("'length' is negative"))?,
    };
    let offset_or_size = u64::try_from(offset);
    if offset < -1 {
        return Err(Refusal::bad_request("'offset' is negative"));
    }
    let path = resolve(app, &virtual_path).await?;
    let length = if offset_or_size.is_ok() { length.min(READ_BYTES_MAX) } else { 0 };
    let part = blocking(move || read_part(&path, offset_or_size.unwrap_or(0), length)).await?;
    // Offset −1 asks for the size alone.
    let value = json!({
        "data": String::from_utf8_lossy(&part.data),
        "offset": offset_or_size.unwrap_or(part.size),
    });
    Ok(json(&value, query))
}

pub(super) async fn browse(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let virtual_path = query.required("path")?.to_owned();
    let path = resolve(app, &virtual_path).await?;
    let entries = blocking(move || list(&path, &virtual_path)).await?;
    let list: Vec<serde_json::Value> = entries
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
    Ok(json(&list.into(), query))
}

pub(super) async fn download(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let path = resolve(app, query.required("path")?).await?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
    let file = blocking(move || open(&path)).await?;
    let stream = ReaderStream::new(tokio::fs::File::from_std(file));
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// Finds what a virtual path means. Refuses what is not there or lies outside the sandboxes.
pub(super) async fn resolve(app: &Arc<Inner>, virtual_path: &str) -> Result<PathBuf, Refusal> {
    let agent_id =
        app.handle.look(|agent| agent.agent_id().to_owned()).await.ok_or_else(Refusal::unavailable)?;
    let sandboxes = app.layout.sandboxes();
    let wanted = if virtual_path.starts_with("/frameworks/") && !agent_id.is_empty() {
        sandboxes.join(agent_id).join(virtual_path.trim_start_matches('/'))
    } else {
        PathBuf::from(virtual_path)
    };
    blocking(move || inside(&sandboxes, &wanted)).await
}

/// Returns the real path, if it is inside `folder`.
pub(super) fn inside(folder: &Path, wanted: &Path) -> Result<PathBuf, Refusal> {
    let folder = fs::canonicalize(folder).map_err(|_| Refusal::not_found("there are no sandboxes"))?;
    match fs::canonicalize(wanted) {
        Ok(real) if real.starts_with(&folder) && real != folder => Ok(real),
        // Whether there is such a file outside is nobody's business.
        Ok(_) | Err(_) => Err(Refusal::not_found(format!("no such file: {}", wanted.display()))),
    }
}

/// Reads a part of a file; less, or nothing, behind its end. Blocking.
pub(super) fn read_part(path: &Path, offset: u64, length: u64) -> Result<Part, Refusal> {
    let mut file = open(path)?;
    let failed = |error: io::Error| Refusal::not_found(format!("read {}: {error}", path.display()));
    let size = file.metadata().map_err(failed)?.len();
    let mut data = Vec::new();
    if offset < size && length > 0 {
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        file.take(length).read_to_end(&mut data).map_err(failed)?;
    }
    Ok(Part { size, data })
}

/// Lists a folder by name. Blocking.
pub(super) fn list(path: &Path, virtual_path: &str) -> Result<Vec<Entry>, Refusal> {
    let failed = |error: io::Error| Refusal::bad_request(format!("list {virtual_path}: {error}"));
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // It may have gone meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let name = entry.file_name();
        let path = format!("{}/{}", virtual_path.trim_end_matches('/'), name.to_string_lossy());
        entries.push(Entry { path, metadata });
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}

fn open(path: &Path) -> Result<File, Refusal> {
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(Refusal::bad_request(format!("not a file: {}", path.display())));
    }
    // If a task replaces it by a pipe just now, opening must not wait for a writer.
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| Refusal::not_found(format!("open {}: {error}", path.display())))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::unavailable())?
}

/// Returns a mode as `ls -l` shows it.
fn mode_text(metadata: &fs::Metadata) -> String {
    let kind = match () {
        () if metadata.is_dir() => 'd',
        () if metadata.is_symlink() => 'l',
        () => '-',
    };
    let bits = metadata.mode();
    let letters = "rwxrwxrwx".chars().enumerate();
    std::iter::once(kind)
        .chain(letters.map(|(place, letter)| if bits & (0o400 >> place) != 0 { letter } else { '-' }))
        .collect()
}
