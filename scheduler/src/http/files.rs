//! `/files/*`, LIST_FILES and READ_FILE on a master: its log, under the virtual path `/master/log`, if it writes one to a file.
//!
//! Owns what may be seen: that one file, and nothing else, whatever the path says.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use serde_json::json;
use tepui_proto::plain::parameter;
use tepui_proto::v1::master::{call, response};
use tepui_proto::v1::{FileInfo, TimeInfo};
use tokio_util::io::ReaderStream;

use crate::http::error::Refusal;
use crate::http::route::Files;
use crate::http::{App, plain};

/// Under which the log is asked for.
const LOG: &str = "/master/log";
/// The most that one read returns, as in Mesos: 16 pages.
const READ_BYTES_MAX: u64 = 64 << 10;

/// Answers one request of the plain endpoints.
pub(crate) async fn handle(app: &App, files: Files, request: Request) -> Result<Response, Refusal> {
    let query = request.uri().query();
    if files == Files::Debug {
        let known = app.info.log_file.iter().map(|path| (LOG, path.display().to_string()));
        let known: std::collections::BTreeMap<_, _> = known.collect();
        return Ok(plain::json(query, plain::bytes(&known)));
    }
    let Some(path) = parameter(query, "path").filter(|path| !path.is_empty()) else {
        return Err(Refusal::bad_request("expecting 'path=value' in query"));
    };
    let file = resolve(app, &path)?;
    match files {
        Files::Browse => {
            let info = blocking(move || info(&file)).await?;
            let mtime = info.mtime.as_ref().and_then(|time| time.nanoseconds).unwrap_or_default();
            let entry = json!({
                "path": info.path(),
                "nlink": info.nlink(),
                "size": info.size(),
                "mtime": mtime / 1_000_000_000,
                "mode": mode_text(info.mode()),
                "uid": info.uid(),
                "gid": info.gid(),
            });
            Ok(plain::json(query, plain::bytes(&[entry])))
        }
        Files::Read => {
            let number = |name: &'static str| match parameter(query, name) {
                Some(text) => match text.parse::<i64>() {
                    Ok(number) if number >= -1 => Ok(Some(number)),
                    _ => Err(Refusal::bad_request(format!("'{name}' must be a number from -1 up"))),
                },
                None => Ok(None),
            };
            // Without an offset, or with -1, only the size is asked for.
            let offset = number("offset")?.and_then(|offset| u64::try_from(offset).ok());
            let length = number("length")?.and_then(|length| u64::try_from(length).ok());
            let length = if offset.is_some() { length.unwrap_or(READ_BYTES_MAX) } else { 0 };
            let (size, data) = blocking(move || part(&file, offset.unwrap_or(0), length)).await?;
            let answer = json!({
                "data": String::from_utf8_lossy(&data),
                "offset": offset.map_or(size, |offset| offset.min(size)),
            });
            Ok(plain::json(query, plain::bytes(&answer)))
        }
        Files::Download | Files::Debug => {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("log").to_owned();
            let open = blocking(move || File::open(&file)).await?;
            let stream = ReaderStream::new(tokio::fs::File::from_std(open));
            let mut answer = Response::new(Body::from_stream(stream));
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let name: String =
                name.chars().filter(|one| one.is_ascii_graphic() && !"\"\\".contains(*one)).collect();
            if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
                headers.insert(CONTENT_DISPOSITION, value);
            }
            Ok(answer)
        }
    }
}

/// LIST_FILES.
pub(crate) async fn list(app: &App, call: &call::ListFiles) -> Result<response::ListFiles, Refusal> {
    let file = resolve(app, call.path())?;
    Ok(response::ListFiles { file_infos: vec![blocking(move || info(&file)).await?] })
}

/// READ_FILE.
pub(crate) async fn read(app: &App, call: &call::ReadFile) -> Result<response::ReadFile, Refusal> {
    let file = resolve(app, call.path())?;
    let (offset, length) = (call.offset(), call.length.unwrap_or(READ_BYTES_MAX));
    let (size, data) = blocking(move || part(&file, offset, length)).await?;
    Ok(response::ReadFile { size: Some(size), data: Some(data.into()) })
}

fn resolve(app: &App, path: &str) -> Result<PathBuf, Refusal> {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, format!("no such file: {path}"));
    if path.trim_end_matches('/') != LOG {
        return Err(unknown());
    }
    app.info.log_file.clone().ok_or_else(unknown)
}

/// Runs what may have to wait for a disk where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let failed = |error: String| Refusal::new(StatusCode::NOT_FOUND, format!("read {LOG}: {error}"));
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn info(file: &Path) -> io::Result<FileInfo> {
    let metadata = std::fs::metadata(file)?;
    let nanoseconds = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    Ok(FileInfo {
        path: Some(LOG.to_owned()),
        nlink: i32::try_from(metadata.nlink()).ok(),
        size: Some(metadata.len()),
        mtime: Some(TimeInfo { nanoseconds: Some(nanoseconds) }),
        mode: Some(metadata.mode()),
        uid: Some(metadata.uid().to_string()),
        gid: Some(metadata.gid().to_string()),
    })
}

/// As `ls -l` writes it.
fn mode_text(mode: u32) -> String {
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    std::iter::once('-')
        .chain(bits.map(|(bit, letter)| if mode >> bit & 1 == 1 { letter } else { '-' }))
        .collect()
}

/// The size of a file and a part of it; nothing behind its end.
fn part(path: &Path, offset: u64, length: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut data = Vec::new();
    if offset < size && length > 0 {
        file.seek(SeekFrom::Start(offset))?;
        file.take(length.min(READ_BYTES_MAX)).read_to_end(&mut data)?;
    }
    Ok((size, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_people_know_them() {
        assert_eq!(mode_text(0o100_644), "-rw-r--r--");
        assert_eq!(mode_text(0o750), "-rwxr-x---");
    }
}
