//! The environment of this process, read once. Everything else takes the values it needs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A copy of the variables that this process was started with.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

/// No folder can be found for the state of this user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither XDG_STATE_HOME nor HOME is set to an absolute path, so there is no place for state; \
     set one of them or give --data-dir"
)]
pub struct MissingHome;

impl Environment {
    /// The variables of this process, as they are now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads them")]
    pub fn read() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// The given variables, for tests and for children.
    pub fn from_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { variables: variables.into_iter().collect() }
    }

    /// The value of a variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|v| !v.is_empty())
    }

    /// The value of a variable as text, if it is set, not empty and UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// All variables whose name and value are UTF-8.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// All variables that are not empty.
    pub(crate) fn set(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let all = self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        all.filter(|(_, value)| !value.is_empty())
    }

    /// The home folder of the user, if there is one.
    pub fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME")
    }

    /// The folders of `PATH`, in order; relative ones are left out.
    pub fn path(&self) -> Vec<PathBuf> {
        let joined = self.get("PATH").unwrap_or_default();
        std::env::split_paths(joined).filter(|folder| folder.is_absolute()).collect()
    }

    /// `$XDG_STATE_HOME/sandgate`, else `~/.local/state/sandgate`.
    pub fn state_folder(&self) -> Result<PathBuf, MissingHome> {
        self.absolute("XDG_STATE_HOME")
            .or_else(|| self.home().map(|home| home.join(".local/state")))
            .map(|state| state.join("sandgate"))
            .ok_or(MissingHome)
    }

    /// `$XDG_CONFIG_HOME`, else `~/.config`; none without a home.
    pub fn config_folder(&self) -> Option<PathBuf> {
        self.absolute("XDG_CONFIG_HOME").or_else(|| self.home().map(|home| home.join(".config")))
    }

    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_variables(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())))
    }

    #[test]
    fn the_state_folder_follows_the_xdg_rules() {
        let below_home = Some(PathBuf::from("/h/.local/state/sandgate"));
        for (state, home, expected) in [
            ("/x", "/h", Some(PathBuf::from("/x/sandgate"))),
            ("relative", "/h", below_home.clone()),
            ("", "/h", below_home),
            ("", "", None),
        ] {
            let found = environment(&[("XDG_STATE_HOME", state), ("HOME", home)]).state_folder();
            assert_eq!(found.ok(), expected, "{state} {home}");
        }
    }
}
