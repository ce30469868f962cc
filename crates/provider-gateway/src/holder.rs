//! Which process holds a sandbox, told so that a reused process id or a reboot can't be mistaken for it.

use std::fs;
use std::io;

use sandgate_domain::Holder;

use crate::Error;

/// What the names of processes in leases begin with.
const OWNER_PREFIX: &str = "run";

/// This process.
///
/// # Errors
/// If `/proc` can't be read.
pub fn this_process() -> Result<Holder, Error> {
    let pid = std::process::id();
    let path = format!("/proc/{pid}/stat");
    let failed = |path: &str| {
        let path = path.to_owned();
        move |source| Error::Process { path, source }
    };
    let start_ticks = start_ticks(pid)
        .map_err(failed(&path))?
        .ok_or_else(|| failed(&path)(io::ErrorKind::InvalidData.into()))?;
    Ok(Holder { pid, boot_id: boot_id()?, start_ticks })
}

/// Whether the process still runs.
///
/// # Errors
/// If `/proc` can't be read.
pub fn is_alive(holder: &Holder) -> Result<bool, Error> {
    if holder.boot_id != boot_id()? {
        return Ok(false);
    }
    match start_ticks(holder.pid) {
        Ok(ticks) => Ok(ticks == Some(holder.start_ticks)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // ESRCH: it ended between opening and reading.
        Err(error) if error.raw_os_error() == Some(3) => Ok(false),
        Err(source) => Err(Error::Process { path: format!("/proc/{}/stat", holder.pid), source }),
    }
}

/// The name of a process in leases.
pub fn owner_name(holder: &Holder) -> String {
    format!("{OWNER_PREFIX}-{}-{}", holder.pid, holder.start_ticks)
}

/// Whether the process that goes by this name in leases is gone for certain. A name of another form is somebody else's.
///
/// # Errors
/// If `/proc` can't be read.
pub fn is_owner_gone(owner: &str) -> Result<bool, Error> {
    let Some((pid, start_ticks)) = parse_owner(owner) else { return Ok(false) };
    // The name does not tell the boot: after a restart of the machine, somebody else may have to be taken for the owner.
    Ok(!is_alive(&Holder { pid, boot_id: boot_id()?, start_ticks })?)
}

fn parse_owner(owner: &str) -> Option<(u32, u64)> {
    let (pid, start_ticks) =
        owner.strip_prefix(OWNER_PREFIX)?.strip_prefix('-')?.split_once('-')?;
    Some((pid.parse().ok()?, start_ticks.parse().ok()?))
}

fn boot_id() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| Error::Process { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// When the process started; none if it is a zombie or the file reads otherwise than it should.
fn start_ticks(pid: u32) -> io::Result<Option<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(parse_stat(&text))
}

/// Field 22 of `/proc/<pid>/stat`. The name in parentheses may hold anything, so fields are counted from its end.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_another_start_of_its_id_is_not() {
        let this = this_process().unwrap();
        assert!(is_alive(&this).unwrap());
        assert!(!is_alive(&Holder { start_ticks: this.start_ticks + 1, ..this.clone() }).unwrap());
        assert!(!is_alive(&Holder { boot_id: "another".into(), ..this.clone() }).unwrap());
        assert!(!is_alive(&Holder { pid: u32::MAX / 2, ..this }).unwrap());
    }

    #[test]
    fn an_owner_is_gone_when_its_process_is() {
        let this = this_process().unwrap();
        assert!(!is_owner_gone(&owner_name(&this)).unwrap());
        let other = Holder { start_ticks: this.start_ticks + 1, ..this };
        assert!(is_owner_gone(&owner_name(&other)).unwrap());
        for strange in ["", "run", "run-1", "run-x-y", "server-4000000-1", "run-4000000-1-1"] {
            assert!(!is_owner_gone(strange).unwrap(), "{strange}");
        }
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 1 1 0 -1 4194304 1 1 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(parse_stat(&format!("7 (a) b (c) {rest}")), Some(4242));
        assert_eq!(parse_stat(&format!("7 (x) {}", rest.replacen('S', "Z", 1))), None);
        assert_eq!(parse_stat("nothing"), None);
    }
}
