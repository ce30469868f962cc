//! The checkout that a command stands in, and which repository of the server it is.

use std::path::{Path, PathBuf};

use sandgate_domain::ErrorCode;
use sandgate_node::{GitProgram, Repository};

use crate::client::items::Repository as Known;
use crate::client::{Client, Query};
use crate::context::Context;
use crate::failure::Failure;
use crate::git::Git;

/// A checkout on this machine.
pub struct Checkout {
    /// The folder that it fills; that of the repository, if it is a bare one.
    pub folder: PathBuf,
    /// The branch that is checked out, if one is.
    pub branch: Option<String>,
    git: Git,
}

impl Checkout {
    /// The one that the current folder lies in.
    pub fn current(context: &Context) -> Result<Self, Failure> {
        let program = GitProgram::find(&context.environment.path())?;
        let repository = Repository::open(&program, &std::env::current_dir()?)?;
        let folder = PathBuf::from(repository.key());
        let git = Git::new(context, &folder);
        Ok(Self { branch: repository.branch()?, folder, git })
    }

    /// The first line of the message of the newest commit of a branch.
    pub async fn subject(&self, branch: &str) -> Result<String, Failure> {
        let reference = format!("refs/heads/{branch}");
        let arguments = ["log", "-1", "--format=%s", "--end-of-options", &reference, "--"];
        self.git.ask(&arguments).await?.ok_or_else(|| {
            let message = format!("there is no branch `{branch}` in `{}`", self.folder.display());
            Failure::new(ErrorCode::NotFound, message)
                .help("`git branch` lists the branches; name one with --head")
        })
    }

    /// Whether files that git knows differ from the newest commit.
    pub async fn has_changes(&self) -> Result<bool, Failure> {
        let changes = self.git.ask(&["status", "--porcelain", "--untracked-files=no"]).await?;
        Ok(changes.is_some_and(|changes| !changes.is_empty()))
    }

    async fn remote(&self) -> Result<Option<String>, Failure> {
        self.git.ask(&["config", "--local", "--get", "remote.origin.url"]).await
    }
}

/// The repository of the server that is meant: the named one, else the one that the current checkout is, or was cloned from.
pub async fn repository(
    context: &Context,
    client: &Client,
    named: Option<&str>,
) -> Result<Known, Failure> {
    let known: Vec<Known> = client.page(&Query::new("/api/v1/repos")).await?;
    let names: Vec<&str> = known.iter().map(|repository| repository.name.as_str()).collect();
    let list = match names.as_slice() {
        [] => {
            "it knows none; add one with `sandgate repo add <path> --name <owner/repo>`".to_owned()
        }
        names => format!("it knows: {}", names.join(", ")),
    };
    if let Some(name) = named {
        let found = known.iter().find(|repository| repository.name.eq_ignore_ascii_case(name));
        return found.cloned().ok_or_else(|| {
            let message = format!("the server knows no repository `{name}`");
            Failure::new(ErrorCode::NotFound, message).help(list)
        });
    }
    let checkout = Checkout::current(context)
        .map_err(|failure| failure.help("or name a repository of the server with --repo"))?;
    let remote = checkout.remote().await?;
    let found = known.iter().find(|known| is_same(known, &checkout.folder, remote.as_deref()));
    found.cloned().ok_or_else(|| {
        let folder = checkout.folder.display();
        let message = format!("the server does not know the repository in `{folder}`");
        let help = format!("add it with `sandgate repo add {folder} --name <owner/repo>`, or name another with --repo; {list}");
        Failure::new(ErrorCode::NotFound, message).help(help)
    })
}

fn is_same(known: &Known, folder: &Path, remote: Option<&str>) -> bool {
    let path = |text: &str| {
        let text = text.strip_prefix("file://").unwrap_or(text);
        let path = std::fs::canonicalize(folder.join(text)).unwrap_or_else(|_| text.into());
        // A checkout and its `.git` are the same.
        if path.ends_with(".git") {
            path.parent().map_or(path.clone(), Path::to_path_buf)
        } else {
            path
        }
    };
    let known_path = path(&known.path);
    let is_here = known_path == path(&folder.to_string_lossy());
    is_here || remote.is_some_and(|url| path(url) == known_path || names(url, &known.name))
}

/// Whether the address of a remote ends in this name.
fn names(url: &str, name: &str) -> bool {
    let url = url.trim_end_matches('/');
    let url = url.strip_suffix(".git").unwrap_or(url);
    let Some(start) = url.len().checked_sub(name.len()).filter(|start| *start > 0) else {
        return false;
    };
    let is_remote = url.contains("://") || url.contains('@');
    url.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(name))
        && is_remote
        && matches!(url.as_bytes()[start - 1], b'/' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_known_by_its_folder_and_by_where_it_was_cloned_from() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("web");
        std::fs::create_dir_all(folder.join(".git")).unwrap();
        let known = |path: &Path| -> Known {
            let json =
                serde_json::json!({ "name": "acme/web", "path": path, "defaultBranch": "main" });
            serde_json::from_value(json).unwrap()
        };
        let elsewhere = known(Path::new("/srv/web"));
        assert!(is_same(&known(&folder), &folder, None));
        assert!(is_same(&known(&folder.join(".git")), &folder, None));
        assert!(!is_same(&elsewhere, &folder, None));
        for (remote, same) in [
            ("/srv/web", true),
            ("file:///srv/web", true),
            ("https://github.com/acme/web.git", true),
            ("https://github.com/Acme/Web/", true),
            ("git@github.com:acme/web.git", true),
            ("https://github.com/notacme/web", false),
            ("https://github.com/acme/webs", false),
            ("/home/acme/web", false),
            ("acme/web", false),
            ("", false),
        ] {
            assert_eq!(is_same(&elsewhere, &folder, Some(remote)), same, "{remote}");
        }
    }
}
