//! `sandgate repo`: which repositories a server knows.

use std::path::PathBuf;

use clap::Subcommand;
use sandgate_domain::ErrorCode;
use serde_json::json;

use crate::client::items::Repository;
use crate::client::{Client, Query};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::progress::clean;

/// The commands of `sandgate repo`.
#[derive(Debug, Subcommand)]
pub enum Repo {
    /// Make a repository known to the server, so that webhooks and pull requests can name it
    Add {
        /// Its folder: a checkout or a bare repository
        path: PathBuf,
        /// Its name, such as `owner/repo`: as webhooks call it
        #[arg(long, value_name = "OWNER/REPO")]
        name: String,
    },
    /// List the repositories that the server knows
    #[command(visible_alias = "ls")]
    List,
    /// Forget a repository; its folder stays as it is
    #[command(alias = "rm")]
    Remove {
        /// Its name
        #[arg(value_name = "OWNER/REPO")]
        name: String,
    },
}

/// Adds, lists or removes.
pub async fn run(context: &Context, command: Repo) -> Result<Exit, Failure> {
    let client = Client::find(context)?;
    match command {
        Repo::Add { path, name } => {
            let path = existing(&path)?;
            let added: Repository =
                client.post("/api/v1/repos", &json!({ "name": name, "path": path })).await?;
            output::one(context.global.output, &added, &added.name, None)?;
            let branch = shown(&added.default_branch);
            context.tell(format!("added {} from {}", shown(&added.name), shown(&added.path)));
            // That of the checkout, which may not be the one that was meant.
            context.tell(format!("pull requests go into `{branch}`, which is checked out there"));
            context.tell("next: commit on another branch there, then `sandgate pr open`");
        }
        Repo::List => list(context, &client).await?,
        Repo::Remove { name } => {
            client.delete(&format!("/api/v1/repos/{}", path_of(&name)?)).await?;
            context.tell(format!("removed {}; its folder stays as it is", shown(&name)));
        }
    }
    Ok(Exit::Ok)
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let repositories: Vec<Repository> = client.page(&Query::new("/api/v1/repos")).await?;
    if repositories.is_empty() && context.global.output == Format::Table {
        context.tell("the server knows no repository");
        context.tell("next: sandgate repo add <path> --name <owner/repo>");
        return Ok(());
    }
    output::rows(
        context.global.output,
        &repositories,
        &[
            ("NAME", |repository| shown(&repository.name)),
            ("BRANCH", |repository| shown(&repository.default_branch)),
            ("PATH", |repository| shown(&repository.path)),
        ],
        |repository| repository.name.clone(),
    )
}

/// The absolute path of a folder that is there.
fn existing(path: &std::path::Path) -> Result<String, Failure> {
    let unusable = |why: String| {
        let message = format!("`{}` {why}", path.display());
        Failure::new(ErrorCode::InvalidArgument, message)
            .help("give the folder of a checkout or of a bare repository")
    };
    let whole = std::fs::canonicalize(path)
        .map_err(|error| unusable(format!("can't be opened: {error}")))?;
    if !whole.is_dir() {
        return Err(unusable("is no folder".to_owned()));
    }
    match whole.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(unusable("is not UTF-8, and can't be named to the server".to_owned())),
    }
}

/// A name as two segments of a path.
fn path_of(name: &str) -> Result<String, Failure> {
    match name.split_once('/') {
        Some((owner, rest)) if !owner.is_empty() && !rest.is_empty() && !rest.contains('/') => {
            Ok(format!("{}/{}", crate::client::encoded(owner), crate::client::encoded(rest)))
        }
        _ => {
            let message = format!("`{}` is no name of a repository", shown(name));
            Err(Failure::new(ErrorCode::InvalidArgument, message)
                .help("it has the form owner/repo; `sandgate repo list` shows the known ones"))
        }
    }
}

fn shown(text: &str) -> String {
    clean(text.as_bytes())
}
