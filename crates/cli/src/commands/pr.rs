//! `sandgate pr`: pull requests of a repository that the server knows.

mod show;

use clap::{Args, Subcommand};
use sandgate_domain::ErrorCode;
use serde_json::json;

use crate::checkout::{self, Checkout};
use crate::client::items::{PullRequest, Repository};
use crate::client::{Client, Query, encoded};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::progress::clean;

const ROUTE: &str = "/api/v1/pull-requests";

/// The commands of `sandgate pr`.
#[derive(Debug, Subcommand)]
pub enum Pr {
    /// Open a pull request for the newest commit of a branch
    Open(Open),
    /// Bring the newest commit of its branch into a pull request
    Push(One),
    /// Show a pull request with its checks and our comment
    #[command(alias = "get")]
    Show(One),
    /// List the newest pull requests
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        of: Of,
        /// Only those that are open, or those that are closed
        #[arg(long, value_parser = ["open", "closed"])]
        state: Option<String>,
    },
    /// Let a held pull request run, at exactly the commit that you looked at
    Approve {
        #[command(flatten)]
        one: One,
        /// The commit that you looked at; another head stays held
        #[arg(long)]
        sha: String,
    },
    /// Close a pull request
    Close(One),
}

/// Of which repository.
#[derive(Debug, Args)]
pub struct Of {
    /// The repository of the server; the default is the one of the current checkout
    #[arg(long, value_name = "OWNER/REPO")]
    repo: Option<String>,
}

/// One pull request.
#[derive(Debug, Args)]
pub struct One {
    /// Its number
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
    #[command(flatten)]
    of: Of,
}

/// Arguments of `sandgate pr open`.
#[derive(Debug, Args)]
pub struct Open {
    /// The title; the default is the first line of the newest commit
    #[arg(long)]
    title: Option<String>,
    /// The branch that it goes into; the default is that of the repository
    #[arg(long, value_name = "BRANCH")]
    base: Option<String>,
    /// The branch that it comes from; the default is the current one
    #[arg(long, value_name = "BRANCH")]
    head: Option<String>,
    #[command(flatten)]
    of: Of,
}

/// Does what the command says.
pub async fn run(context: &Context, command: Pr) -> Result<Exit, Failure> {
    let client = Client::find(context)?;
    match command {
        Pr::Open(open) => self::open(context, &client, open).await?,
        Pr::List { of, state } => list(context, &client, &of, state).await?,
        Pr::Show(one) => {
            let pull = find(context, &client, &one).await?;
            let path = format!("{ROUTE}/{}", encoded(&pull.id));
            let pull: PullRequest = client.get(&path).await?;
            output::one(context.global.output, &pull, &name(&pull), Some(&show::text(&pull)))?;
            show::next(context, &pull);
        }
        Pr::Push(one) => {
            let body = json!({ "checkout": Checkout::current(context)?.folder });
            let pull = change(context, &client, &one, "push", &body).await?;
            context.tell(format!("{} is at {} now", title(&pull), show::short(&pull.head_sha)));
            context.tell(format!("next: sandgate pr show {}{}", pull.number, flag(&one.of)));
        }
        Pr::Approve { one, sha } => {
            let pull = change(context, &client, &one, "approve", &json!({ "sha": sha })).await?;
            context.tell(format!("{} may run at {}", title(&pull), show::short(&pull.head_sha)));
            context.tell(format!("next: sandgate status{}", flag(&one.of)));
        }
        Pr::Close(one) => {
            let pull = change(context, &client, &one, "close", &json!({})).await?;
            context.tell(format!("closed {}; what still ran for it is stopped", title(&pull)));
        }
    }
    Ok(Exit::Ok)
}

async fn open(context: &Context, client: &Client, open: Open) -> Result<(), Failure> {
    let checkout = Checkout::current(context)?;
    let repository = checkout::repository(context, client, open.of.repo.as_deref()).await?;
    let base = open.base.unwrap_or_else(|| repository.default_branch.clone());
    let head = head_branch(&checkout, &repository, open.head, &base)?;
    let title = match open.title {
        Some(title) => title,
        None => checkout.subject(&head).await?,
    };
    if checkout.branch.as_ref() == Some(&head) && checkout.has_changes().await? {
        context.tell("note: changes that are not committed are not part of it");
    }
    let body = json!({
        "repo": repository.name,
        "checkout": checkout.folder,
        "headBranch": head,
        "baseBranch": base,
        "title": title,
    });
    let pull: PullRequest = client.post(ROUTE, &body).await?;
    output::one(context.global.output, &pull, &name(&pull), None)?;
    let (from, into) = (clean(pull.head_branch.as_bytes()), clean(pull.base_branch.as_bytes()));
    context.tell(format!(
        "opened {}: {from} at {} into {into}",
        self::title(&pull),
        show::short(&pull.head_sha)
    ));
    context.tell(format!("next: sandgate pr show {}{}", pull.number, flag(&open.of)));
    Ok(())
}

fn head_branch(
    checkout: &Checkout,
    repository: &Repository,
    named: Option<String>,
    base: &str,
) -> Result<String, Failure> {
    let Some(head) = named.or_else(|| checkout.branch.clone()) else {
        let message = format!("no branch is checked out in `{}`", checkout.folder.display());
        return Err(Failure::new(ErrorCode::InvalidArgument, message)
            .help("make one with `git switch -c <branch>`, or name one with --head"));
    };
    if head == base {
        let message = format!(
            "`{head}` can't be merged into itself: it is the base branch of {}",
            repository.name
        );
        return Err(Failure::new(ErrorCode::InvalidArgument, message).help(
            "commit on a branch of its own (`git switch -c <branch>`), or name another one with --head or --base",
        ));
    }
    Ok(head)
}

async fn list(
    context: &Context,
    client: &Client,
    of: &Of,
    state: Option<String>,
) -> Result<(), Failure> {
    let repository = checkout::repository(context, client, of.repo.as_deref()).await?;
    let mut query = Query::new(ROUTE).with("repo", &repository.name);
    if let Some(state) = state {
        query = query.with("state", state);
    }
    let pulls: Vec<PullRequest> = client.page(&query).await?;
    if pulls.is_empty() && context.global.output == Format::Table {
        context.tell(format!("{} has no such pull request", repository.name));
        context.tell("next: commit on a branch, then `sandgate pr open`");
        return Ok(());
    }
    output::rows(
        context.global.output,
        &pulls,
        &[
            ("NUMBER", |pull| pull.number.to_string()),
            ("STATE", |pull| show::state(pull).to_owned()),
            ("VERDICT", show::verdict),
            ("COMMIT", |pull| show::short(&pull.head_sha)),
            ("AUTHOR", |pull| clean(pull.author.as_bytes())),
            ("TITLE", |pull| clean(pull.title.as_bytes())),
        ],
        |pull| pull.number.to_string(),
    )
}

/// Changes one pull request and prints what it is now.
async fn change(
    context: &Context,
    client: &Client,
    one: &One,
    verb: &str,
    body: &serde_json::Value,
) -> Result<PullRequest, Failure> {
    let pull = find(context, client, one).await?;
    let path = format!("{ROUTE}/{}/{verb}", encoded(&pull.id));
    let pull: PullRequest = client.post(&path, body).await?;
    output::one(context.global.output, &pull, &name(&pull), None)?;
    Ok(pull)
}

/// The pull request with this number.
async fn find(context: &Context, client: &Client, one: &One) -> Result<PullRequest, Failure> {
    let repository = checkout::repository(context, client, one.of.repo.as_deref()).await?;
    let query = Query::new(ROUTE).with("repo", &repository.name);
    let found = client.first(query, |pull: &PullRequest| pull.number == one.number).await?;
    found.ok_or_else(|| {
        let message = format!("{} has no pull request {}", repository.name, one.number);
        Failure::new(ErrorCode::NotFound, message)
            .help(format!("`sandgate pr list{}` shows them", flag(&one.of)))
    })
}

/// How scripts name it.
fn name(pull: &PullRequest) -> String {
    pull.number.to_string()
}

fn title(pull: &PullRequest) -> String {
    format!("{}#{} `{}`", clean(pull.repo.as_bytes()), pull.number, clean(pull.title.as_bytes()))
}

/// The flag that a printed command needs, if it was needed here.
fn flag(of: &Of) -> String {
    of.repo.as_ref().map(|name| format!(" --repo {name}")).unwrap_or_default()
}
