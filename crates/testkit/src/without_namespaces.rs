//! Running a program as in a container: under a system call filter that refuses namespaces and mounts, for real.

use std::path::Path;
use std::process::Command;

/// A command that runs `program` where no namespace can be had, as another user if one is named, who needs the right to
/// do so. Arguments that are added are the program's.
pub fn without_namespaces(user: Option<u32>, program: &Path) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", include_str!("without_namespaces.py")])
        .arg(user.map_or_else(|| "-".to_owned(), |user| user.to_string()))
        .arg(program);
    command
}
