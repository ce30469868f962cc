//! The certificate authorities that the host trusts, its own ones included, for every client that has a setting for them.

use std::fs;
use std::path::{Path, PathBuf};

use super::HostEnvironment;
use super::mirror::holds_private_key;
use super::registries::Settings;
use super::toolchains::Tools;

/// Variables that name a file or folder with certificates.
const VARIABLES: [&str; 14] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "HTTPLIB2_CA_CERTS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "DENO_CERT",
];

/// Those that are set even where the host doesn't: their clients bring a bundle that lacks the host's own authorities.
const ALWAYS: [&str; 7] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
];

const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Adds the variables, and copies bundles that lie where a sandbox does not see them.
pub(super) fn add(environment: &HostEnvironment, tools: &Tools, settings: &mut Settings) {
    for name in VARIABLES {
        let Some(value) = environment.variable(name) else { continue };
        if let Some(visible) = visible_bundle(name, Path::new(value), tools, settings) {
            settings.env.push((name.to_owned(), visible));
        }
    }
    let Some(bundle) = BUNDLES.into_iter().find(|path| Path::new(path).is_file()) else { return };
    for name in ALWAYS {
        if !settings.env.iter().any(|(known, _)| known == name) {
            settings.env.push((name.to_owned(), bundle.to_owned()));
        }
    }
}

fn visible_bundle(
    name: &str,
    path: &Path,
    tools: &Tools,
    settings: &mut Settings,
) -> Option<String> {
    if !path.exists() {
        return None;
    }
    let is_shown = tools.is_visible(path) && !path.starts_with("/etc")
        || path.starts_with("/etc/ssl")
        || path.starts_with("/etc/pki");
    if is_shown {
        return path.to_str().map(str::to_owned);
    }
    let is_bundle = path.is_file()
        && fs::metadata(path).is_ok_and(|metadata| metadata.len() < 8 << 20)
        && fs::read(path).is_ok_and(|text| !holds_private_key(&text));
    if !is_bundle {
        let reason = "it is no plain bundle of certificates, or holds a private key";
        settings.refuse(name, path, reason.to_owned());
        return None;
    }
    let target = PathBuf::from("/etc/ssl/host").join(format!("{name}.pem"));
    let text = target.to_str().map(str::to_owned);
    settings.copies.push((path.to_owned(), target));
    text
}
