//! How a command finds the server that it talks to, and the token that opens it.

use std::path::Path;

use super::record::{ServerRecord, running};
use super::token::{read_token, read_token_file};
use crate::{Environment, Error, Secret};

/// A server and the key to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundServer {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Its token.
    pub token: Secret,
}

/// The server that a command means: the given URL (or `SANDGATE_SERVER`), else the one that holds the given folder, else
/// the only one that runs. The token is `SANDGATE_TOKEN`, else that of the folder. A token from a file goes only to the
/// server whose record names the file, unless folder and URL were both given.
///
/// # Errors
/// [`Error::NoServer`], [`Error::SeveralServers`], [`Error::NoToken`], or what is wrong with the token file.
pub fn find_server(
    environment: &Environment,
    server: Option<&str>,
    data_dir: Option<&Path>,
) -> Result<FoundServer, Error> {
    let given_token = environment.text("SANDGATE_TOKEN").map(Secret::new);
    let folder = data_dir.map(canonical).transpose()?;
    if let Some(url) = server.or_else(|| environment.text("SANDGATE_SERVER")) {
        let url = url.trim_end_matches('/').to_owned();
        let token = match (given_token, &folder) {
            (Some(token), _) => Some(token),
            (None, Some(folder)) => read_token(folder)?,
            (None, None) => token_of_record(&records(environment)?, &url)?,
        };
        let token = token.ok_or_else(|| Error::NoToken { server: url.clone() })?;
        return Ok(FoundServer { url, token });
    }
    let record = choose(records(environment)?, folder.as_deref())?;
    let url = url_of(&record);
    let token = match given_token {
        Some(token) => Some(token),
        None => read_token_file(&record.token_path)?,
    };
    let token = token.ok_or_else(|| Error::NoToken { server: url.clone() })?;
    Ok(FoundServer { url, token })
}

fn records(environment: &Environment) -> Result<Vec<ServerRecord>, Error> {
    match environment.state_folder() {
        Ok(folder) => running(&folder),
        Err(_no_home) => Ok(Vec::new()),
    }
}

fn canonical(folder: &Path) -> Result<std::path::PathBuf, Error> {
    folder.canonicalize().map_err(Error::file("open the data folder", folder))
}

fn url_of(record: &ServerRecord) -> String {
    format!("http://{}", record.address)
}

fn token_of_record(records: &[ServerRecord], url: &str) -> Result<Option<Secret>, Error> {
    match records.iter().find(|record| url_of(record) == url) {
        Some(record) => read_token_file(&record.token_path),
        None => Ok(None),
    }
}

fn choose(mut records: Vec<ServerRecord>, folder: Option<&Path>) -> Result<ServerRecord, Error> {
    if let Some(folder) = folder {
        records.retain(|record| record.data_dir == folder);
    }
    match (records.pop(), records.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            records.push(last);
            Err(Error::SeveralServers { choices: list(&records) })
        }
        (None, _) => Err(match folder {
            Some(folder) => Error::NoServer {
                place: format!("on the folder `{}`", folder.display()),
                hint: " and the same --data-dir",
            },
            None => Error::NoServer {
                place: "for this user".to_owned(),
                hint: ", or name one with --server and SANDGATE_TOKEN",
            },
        }),
    }
}

fn list(records: &[ServerRecord]) -> String {
    let each = records
        .iter()
        .map(|record| format!("{} on `{}`", url_of(record), record.data_dir.display()));
    each.collect::<Vec<_>>().join(", ")
}
