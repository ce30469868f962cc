//! Files of a data folder that hold a secret: made once, readable by their owner only.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::{Error, Secret};

/// The name of the file in the data folder.
pub const TOKEN_FILE: &str = "token";
/// The folder of the keys in the data folder.
const KEYS: &str = "keys";
/// The name of the file with the key of step tokens.
const STEP_TOKEN_KEY: &str = "step-token";
/// Random bytes in a token; the file has two hexadecimal digits for each.
const TOKEN_BYTES: usize = 32;

/// The token of a data folder; made now if there is none yet.
///
/// # Errors
/// [`Error::Token`] if others could have read or written the file, [`Error::File`] if it can't be used.
pub fn load_or_create_token(data_dir: &Path) -> Result<Secret, Error> {
    load_or_create(data_dir, TOKEN_FILE)
}

/// The key that signs the step tokens of a data folder; made now if there is none yet. It stays, so that what one process has
/// signed holds in the next one.
///
/// # Errors
/// As [`load_or_create_token`].
pub fn load_or_create_step_key(data_dir: &Path) -> Result<Secret, Error> {
    let folder = data_dir.join(KEYS);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(Error::file("make the folder", &folder))?;
    load_or_create(&folder, STEP_TOKEN_KEY)
}

fn load_or_create(folder: &Path, name: &str) -> Result<Secret, Error> {
    let path = folder.join(name);
    if let Some(token) = read_token_file(&path)? {
        return Ok(token);
    }
    create(folder, &path)?;
    // Somebody else may have been first: what counts is what the file says.
    read_token_file(&path)?.ok_or(Error::Token { path, fault: "vanished while it was made" })
}

/// The token of a data folder, if it has one.
///
/// # Errors
/// As [`load_or_create_token`].
pub fn read_token(data_dir: &Path) -> Result<Option<Secret>, Error> {
    read_token_file(&data_dir.join(TOKEN_FILE))
}

/// As [`read_token`], by the path of the file.
pub(super) fn read_token_file(path: &Path) -> Result<Option<Secret>, Error> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("open the token file", path)(error)),
    };
    check_owner(&file, path)?;
    let mut text = String::new();
    let limit = 2 * TOKEN_BYTES as u64 + 2;
    file.take(limit).read_to_string(&mut text).map_err(Error::file("read the token file", path))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.len() != 2 * TOKEN_BYTES || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::Token {
            path: path.to_owned(),
            fault: "is not one line of 64 hexadecimal digits",
        });
    }
    Ok(Some(Secret::new(line)))
}

fn check_owner(file: &File, path: &Path) -> Result<(), Error> {
    let about = file.metadata().map_err(Error::file("look at the token file", path))?;
    let fault = if !about.is_file() {
        "is not a regular file"
    } else if about.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if about.mode() & 0o077 != 0 {
        "may be used by other users than its owner"
    } else {
        return Ok(());
    };
    Err(Error::Token { path: path.to_owned(), fault })
}

/// Writes a new token beside and links it to its name: it is there whole or not at all, and the first one stays.
fn create(folder: &Path, path: &Path) -> Result<(), Error> {
    let line = random_line()?;
    let (draft, mut file) = draft(folder)?;
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    });
    let removed = std::fs::remove_file(&draft);
    linked.and(removed).map_err(Error::file("make the token file", path))
}

/// A file of our own; one that a killed process of the same id left behind is taken over.
fn draft(folder: &Path) -> Result<(PathBuf, File), Error> {
    let path = folder.join(format!(".new-key-{}", std::process::id()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::file("remove", &path)(error));
        }
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(Error::file("make", &path))?;
    Ok((path, file))
}

fn random_line() -> Result<String, Error> {
    let mut bytes = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Error::Random(error.into()))?;
    let mut line = String::with_capacity(2 * TOKEN_BYTES + 1);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(line, "{byte:02x}");
    }
    line.push('\n');
    Ok(line)
}
