//! Ids as people give them: whole, or as much of their start as tells them apart.

use sandgate_domain::{ErrorCode, RunId, SnapshotId};

use crate::failure::Failure;

/// The fewest hex digits that are looked for.
const FEWEST_DIGITS: usize = 4;
/// The digits of a whole id.
const ALL_DIGITS: usize = 32;
/// How many fitting ids are listed.
const LISTED: usize = 5;

/// An id, or its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdStart(String);

impl IdStart {
    /// The id of a run or its start, with or without `run_`.
    pub fn run(text: &str) -> Result<Self, String> {
        Self::parse(RunId::PREFIX, text)
    }

    /// The id of a snapshot or its start, with or without `snap_`.
    pub fn snapshot(text: &str) -> Result<Self, String> {
        Self::parse(SnapshotId::PREFIX, text)
    }

    fn parse(prefix: &str, text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
        let digits = digits.unwrap_or(text).trim_end_matches('…').to_ascii_lowercase();
        let is_good = digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            && (FEWEST_DIGITS..=ALL_DIGITS).contains(&digits.len());
        if is_good {
            return Ok(Self(format!("{prefix}_{digits}")));
        }
        Err(format!(
            "it is no id of the form `{prefix}_` and {ALL_DIGITS} hex digits, nor the first {FEWEST_DIGITS} or more of them"
        ))
    }

    /// The id, if it was given whole.
    pub fn whole<T: std::str::FromStr>(&self) -> Option<T> {
        self.0.parse().ok()
    }

    /// Whether the id starts so.
    pub fn fits(&self, id: &str) -> bool {
        id.starts_with(&self.0)
    }

    /// The one of the fitting ids; several are a mistake that names them.
    pub fn only<T>(&self, mut fitting: Vec<T>, id: impl Fn(&T) -> String) -> Result<T, Failure> {
        match (fitting.pop(), fitting.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => {
                let message = format!("no id starts with `{}`", self.0);
                Err(Failure::new(ErrorCode::NotFound, message))
            }
            (Some(last), false) => {
                fitting.push(last);
                let mut ids: Vec<String> = fitting.iter().take(LISTED).map(id).collect();
                if fitting.len() > LISTED {
                    ids.push("…".to_owned());
                }
                let message =
                    format!("more than one id starts with `{}`: {}", self.0, ids.join(", "));
                Err(Failure::new(ErrorCode::InvalidArgument, message)
                    .help("give more of its digits"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_named_by_its_start() {
        for (text, start) in [
            ("run_01a1fc75", Some("run_01a1fc75")),
            ("01A1FC75", Some("run_01a1fc75")),
            ("run_01a1fc75…", Some("run_01a1fc75")),
            ("01a", None),
            ("snap_01a1fc75", None),
            ("run_", None),
            ("", None),
            ("unit", None),
            ("run_0123456789abcdef0123456789abcdef0", None),
        ] {
            assert_eq!(IdStart::run(text).ok().map(|start| start.0).as_deref(), start, "{text}");
        }
        let whole = IdStart::run("run_0123456789abcdef0123456789abcdef").unwrap();
        assert!(whole.whole::<RunId>().is_some());
        assert!(IdStart::run("0123").unwrap().whole::<RunId>().is_none());
    }

    #[test]
    fn several_fitting_ids_are_named() {
        let start = IdStart::snapshot("0123").unwrap();
        let only = |ids: Vec<&'static str>| start.only(ids, |id| (*id).to_owned());
        assert_eq!(only(vec!["snap_01234"]).unwrap(), "snap_01234");
        assert_eq!(only(vec![]).unwrap_err().code, "not_found");
        let several = only(vec!["snap_01234", "snap_01235"]).unwrap_err();
        assert_eq!(several.code, "invalid_argument");
        assert!(several.message.contains("snap_01234, snap_01235"), "{}", several.message);
        let many = only(vec!["snap_01234"; 9]).unwrap_err();
        assert!(many.message.ends_with("snap_01234, …"), "{}", many.message);
    }
}
