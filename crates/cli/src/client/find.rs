//! Which server is meant, and the token for it.
//!
//! A token goes only to the address that it belongs to: that of `SANDGATE_TOKEN` to the one server that is meant, that of a
//! folder to the server that runs over the folder, or to the one that the user names together with it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sandgate_domain::ErrorCode;
use serde::Deserialize;

use super::http::Address;
use crate::context::Context;
use crate::failure::Failure;

/// Where a server listens if nobody says anything else.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8080";
/// The largest record and token that are read.
const MAX_FILE_BYTES: u64 = 1 << 16;
/// How many records are looked at.
const MAX_RECORDS: usize = 256;

/// A server that was found.
pub struct Found {
    /// Where it listens.
    pub address: Address,
    /// The token for it.
    pub token: String,
    /// The folder of its state, where that is known to be on this machine.
    pub data_dir: Option<PathBuf>,
}

/// A running server, as it wrote it down itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record {
    address: String,
    token_path: PathBuf,
    data_dir: PathBuf,
}

/// What the user said about the server.
#[derive(Debug, Clone, Copy, Default)]
struct Said<'a> {
    server: Option<&'a str>,
    data_dir: Option<&'a Path>,
    token: Option<&'a str>,
}

/// The server that the flags, the environment or the records name.
pub fn server(context: &Context) -> Result<Found, Failure> {
    let data_dir = context.global.data_dir.as_deref().map(canonical);
    let said = Said {
        server: context
            .global
            .server
            .as_deref()
            .or_else(|| context.environment.text("SANDGATE_SERVER")),
        data_dir: data_dir.as_deref(),
        token: context.environment.text("SANDGATE_TOKEN"),
    };
    choose(said, &running(context))
}

/// Whether a server runs over this folder.
pub fn runs_over(context: &Context, data_dir: &Path) -> bool {
    let wanted = canonical(data_dir);
    running(context).iter().any(|record| record.data_dir == wanted)
}

fn choose(said: Said<'_>, running: &[Record]) -> Result<Found, Failure> {
    let Some(server) = said.server else {
        return unnamed(said, running);
    };
    let address = Address::parse(server)?;
    let record = running
        .iter()
        .find(|record| Address::parse(&record.address).is_ok_and(|recorded| recorded == address));
    let data_dir = said.data_dir.map(Path::to_path_buf).or_else(|| Some(record?.data_dir.clone()));
    let token = match (said.token, said.data_dir, record) {
        (Some(token), _, _) => token.to_owned(),
        (None, Some(folder), _) => read_token(&folder.join("token"))?,
        (None, None, Some(record)) => read_token(&record.token_path)?,
        (None, None, None) => {
            let message = format!("there is no token for {address}");
            return Err(Failure::new(ErrorCode::PermissionDenied, message).help(
                "put it into SANDGATE_TOKEN: it is the only line of the file `token` in the server's data folder",
            ));
        }
    };
    Ok(Found { address, token, data_dir })
}

/// No address was given: the one server that runs, or that runs over the folder that was given.
fn unnamed(said: Said<'_>, running: &[Record]) -> Result<Found, Failure> {
    let fits = |record: &&Record| said.data_dir.is_none_or(|folder| record.data_dir == folder);
    let fitting: Vec<&Record> = running.iter().filter(fits).collect();
    match (fitting.as_slice(), said.token, said.data_dir) {
        ([record], token, _) => Ok(Found {
            address: Address::parse(&record.address)?,
            token: token
                .map_or_else(|| read_token(&record.token_path), |token| Ok(token.to_owned()))?,
            data_dir: Some(record.data_dir.clone()),
        }),
        ([], Some(token), None) => Ok(Found {
            address: Address::parse(DEFAULT_ADDRESS)?,
            token: token.to_owned(),
            data_dir: None,
        }),
        ([], _, Some(folder)) => {
            let message = format!("no server runs over `{}`", folder.display());
            let help = format!(
                "start one with `sandgate dev --data-dir {}`, or name its address with --server",
                folder.display()
            );
            Err(Failure::new(ErrorCode::Unavailable, message).help(help))
        }
        ([], None, None) => {
            Err(Failure::new(ErrorCode::Unavailable, "no server of yours runs on this machine")
                .help("start one with `sandgate dev`, or name one elsewhere with --server"))
        }
        (several, _, _) => {
            let lines: Vec<String> = several
                .iter()
                .map(|record| format!("  {}  {}", record.address, record.data_dir.display()))
                .collect();
            let message = format!("several servers run here:\n{}", lines.join("\n"));
            Err(Failure::new(ErrorCode::InvalidArgument, message)
                .help("choose one with --server or --data-dir"))
        }
    }
}

/// The records of servers that run. What can't be read is no server.
fn running(context: &Context) -> Vec<Record> {
    let Ok(state) = context.environment.state_folder() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(state.join("servers")) else { return Vec::new() };
    let mut records: Vec<Record> = entries
        .flatten()
        .take(MAX_RECORDS)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| is_held(path))
        .filter_map(|path| serde_json::from_str(&read_bounded(&path).ok()?).ok())
        .filter(|record: &Record| !record.address.is_empty())
        .map(|record| Record { data_dir: canonical(&record.data_dir), ..record })
        .collect();
    records.sort_by(|one, other| one.address.cmp(&other.address));
    records
}

/// Whether the server that wrote a record runs: it holds a lock on it, which ends with it however it ends. A process id would
/// not tell, as others get it again.
fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let locked = flock(&file, FlockOperation::NonBlockingLockShared);
    matches!(locked, Err(rustix::io::Errno::WOULDBLOCK))
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let unusable = |code, why: String| {
        let message = format!("the token can't be read from `{}`: {why}", path.display());
        Failure::new(code, message).help("is this the folder that the server was started with?")
    };
    let text = read_bounded(path).map_err(|error| {
        let kind = error.kind();
        let code = if kind == std::io::ErrorKind::NotFound {
            ErrorCode::NotFound
        } else if kind == std::io::ErrorKind::PermissionDenied {
            ErrorCode::PermissionDenied
        } else {
            ErrorCode::Internal
        };
        unusable(code, error.to_string())
    })?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unusable(ErrorCode::InvalidArgument, "it is not one line of text".to_owned()));
    }
    Ok(token.to_owned())
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn canonical(folder: &Path) -> PathBuf {
    std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a server over a folder that has a token.
    fn record(root: &Path, name: &str, address: &str) -> Record {
        let data_dir = root.join(name);
        std::fs::create_dir(&data_dir).unwrap();
        std::fs::write(data_dir.join("token"), format!("token-of-{name}\n")).unwrap();
        let token_path = data_dir.join("token");
        Record { address: address.to_owned(), token_path, data_dir }
    }

    #[test]
    fn the_server_is_found_by_every_way_in_order() {
        let root = tempfile::tempdir().unwrap();
        let one = record(root.path(), "one", "127.0.0.1:81");
        let two = record(root.path(), "two", "http://127.0.0.1:82");
        let both = [one.clone(), two.clone()];
        let server = Some("http://127.0.0.1:82");
        let other = Some("http://127.0.0.1:83");
        let nothing = Said::default();
        let found = |said, running: &[Record]| {
            choose(said, running).map(|found| format!("{} {}", found.address, found.token))
        };
        let expect = |said, running: &[Record], expected: &str| {
            assert_eq!(found(said, running).unwrap(), expected, "{said:?}");
        };
        let token = Some("given");
        expect(nothing, &both[..1], "http://127.0.0.1:81 token-of-one");
        expect(Said { token, ..nothing }, &both[..1], "http://127.0.0.1:81 given");
        expect(Said { token, ..nothing }, &[], "http://127.0.0.1:8080 given");
        expect(Said { server, ..nothing }, &both, "http://127.0.0.1:82 token-of-two");
        expect(Said { server: other, token, ..nothing }, &both, "http://127.0.0.1:83 given");
        let data_dir = Some(two.data_dir.as_path());
        expect(Said { data_dir, ..nothing }, &both, "http://127.0.0.1:82 token-of-two");
        let elsewhere = Said { server: other, data_dir, ..nothing };
        expect(elsewhere, &both, "http://127.0.0.1:83 token-of-two");

        for (said, running, code) in [
            (nothing, &[][..], "unavailable"),
            (nothing, &both, "invalid_argument"),
            (Said { server: other, ..nothing }, &both, "permission_denied"),
            (Said { data_dir: Some(root.path()), ..nothing }, &both, "unavailable"),
            (Said { server, data_dir: Some(root.path()), ..nothing }, &both, "not_found"),
        ] {
            let failure = choose(said, running).err().unwrap();
            assert_eq!(failure.code, code, "{said:?}: {}", failure.message);
            assert!(failure.help.is_some(), "{said:?}");
        }
    }

    #[test]
    fn a_token_is_one_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("token");
        for (content, expected) in [
            ("abc\n", Some("abc")),
            ("abc", Some("abc")),
            ("a\nb\n", None),
            ("", None),
            ("\n", None),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read_token(&path).ok().as_deref(), expected, "{content:?}");
        }
    }
}
