//! Which paths of a repository may be written, and which of them a glob of the configuration means.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::repository::path_of;
use crate::Error;
use crate::error::shown;

/// The longest path that is written, in bytes: less than the system's bound, which counts the folders above it too.
const MAX_PATH: usize = 3500;
const MAX_NAME: usize = 255;

/// Refuses paths that leave the tree, or that some system takes for `.git`.
pub(super) fn check_path(path: &[u8]) -> Result<(), Error> {
    let refuse = |why| Err(Error::HostileTree { path: shown(path), why });
    if path.len() > MAX_PATH {
        return refuse("it is longer than 3500 bytes");
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" => return refuse("it holds an empty name"),
            b"." | b".." => return refuse("it holds `.` or `..`"),
            _ if name.len() > MAX_NAME => return refuse("a name in it is longer than 255 bytes"),
            _ if name.contains(&0) => return refuse("it holds a NUL byte"),
            _ if is_dot_git(name) => return refuse("a name in it stands for `.git` somewhere"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether some file system (case-folding, HFS+ with its ignored characters, NTFS with short names, streams and trailing
/// dots) takes the name for `.git`.
fn is_dot_git(name: &[u8]) -> bool {
    let text = String::from_utf8_lossy(name);
    let visible: String = text.chars().filter(|c| !is_ignored(*c)).collect();
    let stem = visible.split([':', '\\']).next().unwrap_or("");
    let folded = stem.trim_end_matches([' ', '.']).to_lowercase();
    folded == ".git" || folded == "git~1"
}

/// Characters that HFS+ leaves out of comparisons.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Globs as written in `.sandgate.yaml`: relative to the top of the repository, `*` stays within one folder, `**` does not.
pub(super) struct ConfiguredGlobs(GlobSet);

impl ConfiguredGlobs {
    pub(super) fn new(globs: &[String]) -> Result<Self, Error> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let invalid = |source| Error::GlobInvalid { glob: shown(glob.as_bytes()), source };
            let relative = glob.strip_prefix("./").unwrap_or(glob);
            let parsed =
                GlobBuilder::new(relative).literal_separator(true).build().map_err(invalid)?;
            set.add(parsed);
        }
        let all = globs.join(", ");
        let set = set
            .build()
            .map_err(|source| Error::GlobInvalid { glob: shown(all.as_bytes()), source })?;
        Ok(Self(set))
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.0.is_match(path_of(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_dot_git_are_refused() {
        for path in [
            &b".git/config"[..],
            b"a/.GIT/hooks/x",
            b".g\xe2\x80\x8cit/config",
            b"git~1/config",
            b"a/GIT~1",
            b".git /x",
            b".git.../x",
            b".git::$INDEX_ALLOCATION/x",
            b"\xef\xbb\xbf.git",
            b"..",
            b"a/../b",
            b"/a",
            b"a//b",
            b"a/",
            b"",
            b"./a",
        ] {
            assert!(check_path(path).is_err(), "{}", shown(path));
        }
        assert!(check_path(&[b'a'; 256]).is_err());
        for path in
            [&b".gitignore"[..], b".github/x", b"git", b"a.git/x", b"\xff\xfe", b"a\nb", b"-rf"]
        {
            assert!(check_path(path).is_ok(), "{}", shown(path));
        }
    }

    proptest! {
        #[test]
        fn no_accepted_path_leaves_the_tree(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            if check_path(&path).is_ok() {
                let joined = path_of(&path);
                prop_assert!(joined.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
