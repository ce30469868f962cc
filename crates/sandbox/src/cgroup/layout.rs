//! Where this process's own groups are, from two files of `/proc`.

use std::path::{Path, PathBuf};

use super::Controller;

/// The directories of the calling process's own groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// In the version 2 tree.
    pub two: Option<PathBuf>,
    /// In version 1 trees.
    one: Vec<(String, PathBuf)>,
}

impl Layout {
    /// From the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn parse(mounts: &str, own: &str) -> Self {
        let mut layout = Self::default();
        for mount in mounts.lines().filter_map(Mount::parse) {
            let controllers = match mount.kind {
                "cgroup2" => None,
                "cgroup" => Some(mount.options),
                _ => continue,
            };
            for line in own.lines() {
                let mut fields = line.splitn(3, ':').skip(1);
                let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
                let Some(directory) = mount.directory(path) else { continue };
                match controllers {
                    None if names.is_empty() => {
                        layout.two.get_or_insert(directory);
                    }
                    Some(options) if !names.is_empty() => {
                        let has = |name: &str| options.split(',').any(|option| option == name);
                        for name in names.split(',').filter(|name| has(name)) {
                            layout.one.push((name.to_owned(), directory.clone()));
                        }
                    }
                    _ => {}
                }
            }
        }
        layout
    }

    /// All of them.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.one.iter().map(|(_, directory)| directory.as_path()).chain(self.two.as_deref())
    }

    /// The own group of a version 1 controller.
    pub fn one(&self, controller: Controller) -> Option<&Path> {
        let found = self.one.iter().find(|(name, _)| name == controller.as_str());
        found.map(|(_, directory)| directory.as_path())
    }
}

struct Mount<'a> {
    root: &'a str,
    point: String,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        Some(Self { root, point: unescape(point), kind, options: right.nth(1)? })
    }

    /// Where a group is below this mount, which may show only a part of the tree.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        if below.components().any(|part| part == std::path::Component::ParentDir) {
            return None;
        }
        Some(Path::new(&self.point).join(below))
    }
}

/// Blanks and the like are written as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_controllers_beside_an_empty_second_tree() {
        let mounts = "\
31 20 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let own = "4:memory:/jobs/7\n2:cpu,cpuacct:/\n0::/user";
        let layout = Layout::parse(mounts, own);
        let at = |path: &'static str| Some(Path::new(path));
        assert_eq!(layout.one(Controller::Memory), at("/sys/fs/cgroup/memory/jobs/7"));
        assert_eq!(layout.one(Controller::Cpu), at("/sys/fs/cgroup/cpu,cpuacct/"));
        assert_eq!(layout.one(Controller::Pids), None);
        assert_eq!(layout.two.as_deref(), at("/sys/fs/cgroup/unified/user"));
    }

    #[test]
    fn one_tree() {
        let mounts = "30 20 0:25 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let layout = Layout::parse(mounts, "0::/user.slice/user-1000.slice\n");
        let own = Path::new("/sys/fs/cgroup/user.slice/user-1000.slice");
        assert_eq!(layout.two.as_deref(), Some(own));
    }

    #[test]
    fn a_mount_that_shows_only_a_part() {
        let mounts = "33 31 0:27 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let inside = Layout::parse(mounts, "4:memory:/docker/ab/inner");
        let own = Path::new("/sys/fs/cgroup/memory/inner");
        assert_eq!(inside.one(Controller::Memory), Some(own));
        let outside = Layout::parse(mounts, "4:memory:/elsewhere");
        assert_eq!(outside.one(Controller::Memory), None);
        let above = Layout::parse(mounts, "4:memory:/docker/ab/../../x");
        assert_eq!(above.one(Controller::Memory), None);
    }

    #[test]
    fn nonsense_is_nothing() {
        assert_eq!(Layout::parse("a b - \n - cgroup2", "::\n0:"), Layout::default());
    }
}
