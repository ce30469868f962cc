//! Who uses a data folder: one server alone, or any number of runs together.
//!
//! The hold is a lock of the system on one file, so it ends with the process, however that ends. The text in the file is
//! only for the person who finds the folder held.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Error;

/// The file that is locked, in the data folder.
const LOCK_FILE: &str = "lock";
/// The longest text about a holder, in bytes.
const MAX_HOLDER: u64 = 512;
/// The most that is read of the list of locks, in bytes.
const MAX_LOCKS: u64 = 4 * 1024 * 1024;

/// A held data folder; dropping it lets go.
#[derive(Debug)]
pub struct Hold {
    file: File,
    exclusive: bool,
}

impl Hold {
    /// Holds the folder alone. `holder` is what others are told, such as `sandgate dev (process 12, since …)`.
    ///
    /// # Errors
    /// [`Error::Held`] with the holder, or [`Error::File`].
    pub fn exclusive(data_dir: &Path, holder: &str) -> Result<Self, Error> {
        let file = lock(data_dir, FlockOperation::NonBlockingLockExclusive)?;
        let mut hold = Self { file, exclusive: true };
        hold.write(holder).map_err(Error::file("write", &data_dir.join(LOCK_FILE)))?;
        Ok(hold)
    }

    /// Holds the folder together with others who share it.
    ///
    /// # Errors
    /// As [`Hold::exclusive`].
    pub fn shared(data_dir: &Path) -> Result<Self, Error> {
        let file = lock(data_dir, FlockOperation::NonBlockingLockShared)?;
        // What a killed server wrote is not true any more.
        file.set_len(0).map_err(Error::file("write", &data_dir.join(LOCK_FILE)))?;
        Ok(Self { file, exclusive: false })
    }

    fn write(&mut self, holder: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(holder.as_bytes())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.exclusive
            && let Err(error) = self.file.set_len(0)
        {
            tracing::debug!(error = %error, "can't clear the name of the holder");
        }
    }
}

fn lock(data_dir: &Path, operation: FlockOperation) -> Result<File, Error> {
    let path = data_dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    match flock(&file, operation) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let holder = holder(&mut file).map_err(Error::file("read", &path))?;
            Err(Error::Held { folder: data_dir.to_owned(), holder })
        }
        Err(errno) => Err(Error::file("lock", &path)(errno.into())),
    }
}

fn holder(file: &mut File) -> std::io::Result<String> {
    let mut text = Vec::new();
    Read::by_ref(file).take(MAX_HOLDER).read_to_end(&mut text)?;
    let text: String = String::from_utf8_lossy(&text)
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    if !text.is_empty() {
        return Ok(text);
    }
    let inode = file.metadata()?.ino();
    let mut locks = String::new();
    File::open("/proc/locks")?.take(MAX_LOCKS).read_to_string(&mut locks)?;
    Ok(match processes(&locks, inode).as_slice() {
        [] => "a process that can't be seen from here".to_owned(),
        [one] => format!("process {one}"),
        several => format!("processes {}", several.join(", ")),
    })
}

/// The processes that hold a lock on the file, from the kernel's list: `1: FLOCK ADVISORY READ 4242 08:01:77 0 EOF`.
fn processes(locks: &str, inode: u64) -> Vec<String> {
    let inode = inode.to_string();
    let holders = locks.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, _, process, file, ..] if file.rsplit(':').next() == Some(&inode) => {
                Some((*process).to_owned())
            }
            _ => None,
        }
    });
    holders.filter(|process| process != "0" && process != "-1").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_from_the_list_of_locks() {
        let locks = "1: FLOCK  ADVISORY  READ 4242 08:01:77 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 1 08:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 3 08:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 7 08:01:777 0 EOF\n\
                     4: FLOCK  ADVISORY  READ 8 08:01:77 0 EOF\n\nbroken";
        assert_eq!(processes(locks, 77), ["4242", "8"]);
    }
}
