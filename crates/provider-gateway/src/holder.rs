//! Which process holds a sandbox, told so that a reused process id or a reboot can't be mistaken for it.

use std::fs;
use std::io;

use sandgate_domain::Holder;

use crate::Error;

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
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 1 1 0 -1 4194304 1 1 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(parse_stat(&format!("7 (a) b (c) {rest}")), Some(4242));
        assert_eq!(parse_stat(&format!("7 (x) {}", rest.replacen('S', "Z", 1))), None);
        assert_eq!(parse_stat("nothing"), None);
    }
}
