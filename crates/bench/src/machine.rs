//! The header: on what was measured.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::peers;
use crate::stand::Stand;

/// The lines above the table.
pub fn header(stand: &Stand) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = format!("{processors} × {}", line_of("/proc/cpuinfo", "model name"));
    let memory = line_of("/proc/meminfo", "MemTotal");
    let kernel = read("/proc/sys/kernel/osrelease");
    let summary = stand.engine.report().summary();
    let isolation = format!(
        "{:?}, {:?}, cgroups {:?}, limits held: {}",
        summary.level,
        stand.engine.report().mode,
        stand.engine.report().cgroups,
        summary.limits.join(" ")
    );
    let mut versions = vec![first_line(&mut stand.binary_version())];
    versions.extend(peers::versions());
    let lines = [
        ("cpu", cpu),
        ("memory", memory),
        ("kernel", kernel),
        ("load before", read("/proc/loadavg")),
        ("isolation", isolation),
        ("files", file_system(stand)),
        ("versions", versions.join("; ")),
        (
            "durability",
            "SQLite in WAL mode with synchronous=FULL; sealed layers are on the disk before they have \
             their name; caches warm"
                .to_owned(),
        ),
    ];
    let mut text = String::from("# Sandgate figures\n\n");
    for (name, value) in lines {
        // Writing to a text cannot fail.
        writeln!(text, "- {name}: {value}").ok();
    }
    text.push('\n');
    text
}

/// The first line that a program prints, or why it could not be asked.
pub fn first_line(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return format!("{}: {error}", command.get_program().display()),
    };
    let text = if output.status.success() { output.stdout } else { output.stderr };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|error| error.to_string(), |text| text.trim().to_owned())
}

fn line_of(path: &str, key: &str) -> String {
    let text = read(path);
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
}

/// The type of the file system that is measured on.
fn file_system(stand: &Stand) -> String {
    let mut command = Command::new("stat");
    first_line(command.args(["--file-system", "--format=%T"]).arg(stand.path()))
}

impl Stand<'_> {
    fn binary_version(&self) -> Command {
        let mut command = Command::new(self.binary());
        command.arg("--version");
        command
    }
}
