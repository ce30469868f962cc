//! Takes credentials out of settings. Only settings that are known to be harmless stay; what looks like a credential is
//! named, never shown.

/// Settings without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Clean {
    /// The text to write.
    pub text: String,
    /// The names of the settings that were taken out because they are or hold credentials.
    pub removed: Vec<String>,
}

/// The value without user names and passwords in its URLs, and whether there were any.
pub(super) fn without_credentials(value: &str) -> (String, bool) {
    let mut clean = String::with_capacity(value.len());
    let mut changed = false;
    let mut rest = value;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        clean.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '|');
        let url = &after[..after.find(is_end).unwrap_or(after.len())];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        let host = authority.rsplit('@').next().unwrap_or(authority);
        changed |= host.len() != authority.len();
        clean.push_str(host);
        let tail = &url[authority.len()..];
        let path = &tail[..tail.find(['?', '#']).unwrap_or(tail.len())];
        // A fragment may be a checksum, a query may be a token; an index needs neither.
        changed |= path.len() != tail.len();
        clean.push_str(path);
        rest = &after[url.len()..];
    }
    clean.push_str(rest);
    (clean, changed)
}

/// An `.npmrc`. `is_visible` tells which local paths a sandbox sees.
pub(super) fn npmrc(text: &str, is_visible: &dyn Fn(&str) -> bool) -> Clean {
    let mut clean = Clean::default();
    for line in text.lines().map(str::trim) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if line.starts_with(['#', ';']) {
            continue;
        }
        let is_credential = name.starts_with("//")
            || [
                "_auth",
                "_authToken",
                "_password",
                "username",
                "email",
                "cert",
                "key",
                "keyfile",
                "certfile",
            ]
            .contains(&name)
            || value.contains("${");
        if is_credential {
            clean.removed.push(name.to_owned());
        } else if NPM_SETTINGS.contains(&name)
            || (name.starts_with('@') && name.ends_with(":registry"))
        {
            if value.starts_with(['/', '~']) && !is_visible(value) {
                clean.removed.push(format!("{name}, which names a path that is not visible"));
                continue;
            }
            let (value, changed) = without_credentials(value);
            if changed {
                clean.removed.push(format!("the credentials in {name}"));
            }
            clean.text.push_str(&format!("{name}={value}\n"));
        }
    }
    clean
}

const NPM_SETTINGS: [&str; 19] = [
    "registry",
    "cafile",
    "ca",
    "ca[]",
    "strict-ssl",
    "audit",
    "fund",
    "update-notifier",
    "nodedir",
    "omit-lockfile-registry-resolved",
    "replace-registry-host",
    "fetch-retries",
    "fetch-retry-maxtimeout",
    "fetch-retry-mintimeout",
    "fetch-timeout",
    "maxsockets",
    "engine-strict",
    "legacy-peer-deps",
    "yes",
];

/// A `pip.conf`. `is_visible` tells which local paths a sandbox sees.
pub(super) fn pip_conf(text: &str, is_visible: &dyn Fn(&str) -> bool) -> Clean {
    let mut clean = Clean::default();
    let mut keeps = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if trimmed.starts_with('[') {
            keeps = false;
            clean.text.push_str(trimmed);
            clean.text.push('\n');
            continue;
        }
        // A line that begins with a space continues the value before it.
        let is_continuation = line.starts_with([' ', '\t']);
        let name = trimmed.split(['=', ':']).next().unwrap_or("").trim().replace('_', "-");
        if !is_continuation {
            keeps = PIP_SETTINGS.contains(&name.as_str());
            if name == "client-cert" || name == "keyring-provider" || name == "proxy" {
                clean.removed.push(name.clone());
            }
        }
        if !keeps {
            continue;
        }
        let (value, changed) = without_credentials(trimmed);
        if changed {
            clean.removed.push(format!("the credentials in {name}"));
        }
        let local = value.split(['=', ' ']).map(str::trim).find(|part| part.starts_with('/'));
        if local.is_some_and(|path| !is_visible(path)) {
            clean.removed.push(format!("{name}, which names a path that is not visible"));
            keeps = is_continuation;
            continue;
        }
        if is_continuation {
            clean.text.push_str("    ");
        }
        clean.text.push_str(&value);
        clean.text.push('\n');
    }
    clean
}

const PIP_SETTINGS: [&str; 13] = [
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "timeout",
    "default-timeout",
    "retries",
    "prefer-binary",
    "only-binary",
    "no-binary",
    "disable-pip-version-check",
];

/// A `config.toml` of cargo. `is_visible` tells which local paths a sandbox sees.
pub(super) fn cargo_config(text: &str, is_visible: &dyn Fn(&str) -> bool) -> Clean {
    let mut clean = Clean::default();
    let Ok(config) = text.parse::<toml::Table>() else {
        clean.removed.push("the whole file, which is no TOML".to_owned());
        return clean;
    };
    let mut kept = toml::Table::new();
    for (section, value) in config {
        let allowed: &[&str] = match section.as_str() {
            "source" => &[
                "registry",
                "replace-with",
                "directory",
                "local-registry",
                "git",
                "branch",
                "tag",
                "rev",
            ],
            "registries" => &["index", "protocol"],
            "registry" => &["default", "index", "protocol"],
            "http" => &["cainfo", "timeout", "multiplexing", "check-revoke", "ssl-version"],
            "net" => &["retry", "offline"],
            _ => continue,
        };
        let toml::Value::Table(table) = value else { continue };
        let nested = matches!(section.as_str(), "source" | "registries");
        let mut section_kept = toml::Table::new();
        if nested {
            for (name, value) in table {
                if let toml::Value::Table(table) = value {
                    let place = format!("{section}.{name}");
                    let table = cargo_table(table, allowed, &place, is_visible, &mut clean.removed);
                    section_kept.insert(name, toml::Value::Table(table));
                }
            }
        } else {
            section_kept = cargo_table(table, allowed, &section, is_visible, &mut clean.removed);
        }
        if !section_kept.is_empty() {
            kept.insert(section, toml::Value::Table(section_kept));
        }
    }
    if !kept.is_empty() {
        clean.text = kept.to_string();
    }
    clean
}

fn cargo_table(
    table: toml::Table,
    allowed: &[&str],
    place: &str,
    is_visible: &dyn Fn(&str) -> bool,
    removed: &mut Vec<String>,
) -> toml::Table {
    let mut kept = toml::Table::new();
    for (name, value) in table {
        if !allowed.contains(&name.as_str()) {
            if ["token", "secret-key", "credential-provider", "proxy"].contains(&name.as_str()) {
                removed.push(format!("{place}.{name}"));
            }
            continue;
        }
        let value = if let toml::Value::String(text) = value {
            if text.starts_with('/') && !is_visible(&text) {
                removed.push(format!("{place}.{name}, which names a path that is not visible"));
                continue;
            }
            let (text, changed) = without_credentials(&text);
            if changed {
                removed.push(format!("the credentials in {place}.{name}"));
            }
            toml::Value::String(text)
        } else {
            value
        };
        kept.insert(name, value);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_names_and_tokens_leave_urls() {
        for (value, clean) in [
            ("https://u:p@h/x", "https://h/x"),
            ("https://h/x", "https://h/x"),
            ("https://a@b:c@h:8080/x,https://t@k|direct", "https://h:8080/x,https://k|direct"),
            ("sparse+https://tok@h/i/?token=1#f", "sparse+https://h/i/"),
            ("/opt/wheels", "/opt/wheels"),
            ("https://h?u@x", "https://h"),
        ] {
            assert_eq!(without_credentials(value).0, clean);
        }
    }

    #[test]
    fn npm_keeps_registries_and_drops_tokens() {
        let clean = npmrc(
            "registry=https://u:s3cret@npm.example/\n//npm.example/:_authToken=s3cret\n@a:registry = https://b/\n\
             _auth=s3cret\ncafile=/etc/ssl/x\nscript-shell=/bin/evil\nca=${S3CRET}\n; c=1\ncafile=/root/ca\n",
            &|path| path.starts_with("/etc"),
        );
        assert_eq!(
            clean.text,
            "registry=https://npm.example/\n@a:registry=https://b/\ncafile=/etc/ssl/x\n"
        );
        assert_eq!(clean.removed.len(), 5);
        assert!(!format!("{clean:?}").contains("s3cret"));
    }

    #[test]
    fn pip_keeps_indexes_and_drops_passwords() {
        let clean = pip_conf(
            "[global]\nindex-url = https://u:s3cret@pypi.example/simple\nextra-index-url =\n    https://x:s3cret@a/\n    https://b/\n\
             client_cert = /root/s3cret.pem\nfind-links = /root/w\ncert = /etc/ssl/ca\n[install]\nuser = yes\n",
            &|path| path.starts_with("/etc"),
        );
        assert_eq!(
            clean.text,
            "[global]\nindex-url = https://pypi.example/simple\nextra-index-url =\n    https://a/\n    https://b/\n\
             cert = /etc/ssl/ca\n[install]\n"
        );
        assert!(!format!("{clean:?}").contains("s3cret"));
        assert_eq!(clean.removed.len(), 4);
    }

    #[test]
    fn cargo_keeps_sources_and_drops_tokens() {
        let clean = cargo_config(
            "[source.crates-io]\nreplace-with = 'm'\n[source.m]\nregistry = 'sparse+https://u:s3cret@m/'\n\
             [source.v]\ndirectory = '/root/vendor'\n[registries.x]\nindex = 'https://x/'\ntoken = 's3cret'\n\
             [build]\nrustc-wrapper = '/root/evil'\n[http]\nproxy = 'http://u:s3cret@p'\ncainfo = '/etc/ca'\n",
            &|path| path.starts_with("/etc"),
        );
        let kept: toml::Table = clean.text.parse().unwrap();
        assert_eq!(kept["source"]["m"]["registry"].as_str(), Some("sparse+https://m/"));
        assert_eq!(kept["registries"]["x"]["index"].as_str(), Some("https://x/"));
        assert_eq!(kept["http"]["cainfo"].as_str(), Some("/etc/ca"));
        assert!(kept.get("build").is_none() && kept["source"]["v"].as_table().unwrap().is_empty());
        assert!(!format!("{clean:?}").contains("s3cret"));
        assert_eq!(clean.removed.len(), 4);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = (without_credentials(&text), npmrc(&text, &|_| true), pip_conf(&text, &|_| false), cargo_config(&text, &|_| true));
        }
    }
}
