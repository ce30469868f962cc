//! Whose things they are, and how far their author is trusted. Both together are a *trust domain*.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{ParseNameError, named_enum};

/// A tenant: 1 to 63 of `a-z`, `0-9` and `-`, as it is part of subjects and paths. There is always one named `default`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TenantId(String);

impl TenantId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    /// The tenant `default`.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let is_name = (1..=63).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_name {
            return Err(ParseNameError {
                thing: "tenant",
                names: "1 to 63 of a-z, 0-9 and -".to_owned(),
                text: text.chars().take(80).collect(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> String {
        tenant.0
    }
}

impl TryFrom<String> for TenantId {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

/// How far the author of a change is trusted. Layers are shared only inside one tenant and tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustTier {
    /// A member of the organisation; the only trusted tier.
    Member,
    /// A program that writes changes.
    Agent,
    /// Anybody else.
    Fork,
}

named_enum!(TrustTier, "trust tier", Member => "member", Agent => "agent", Fork => "fork");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_fit_a_subject_and_a_path_are_tenants() {
        for good in ["default", "a", "team-7", &"x".repeat(63)] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
        for bad in ["", "A", "a.b", "a/b", "..", "a b", "é", &"x".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_tier_reads_back() {
        for tier in TrustTier::ALL {
            assert_eq!(tier.as_str().parse::<TrustTier>(), Ok(*tier));
        }
        assert_eq!(
            "root".parse::<TrustTier>().unwrap_err().to_string(),
            "`root` is not a trust tier (member, agent, fork)"
        );
    }
}
