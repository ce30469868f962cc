//! Pull requests of the forge on this disk: opened, pushed to and closed by whoever may call us. They go through the same
//! fold as those of webhooks.

use sandgate_forge::local::BranchUpdate;
use sandgate_forge::{BranchName, RepositoryName};
use sandgate_store::StoredPullRequest;

use crate::Error;
use crate::change::{Key, state_of};
use crate::decide::{Status, View};
use crate::event::{Account, Action, Association, PullRequestEvent};
use crate::repositories::absolute;
use crate::service::Core;

/// The longest title kept, in characters.
const MAX_TITLE: usize = 300;

/// A pull request to open.
pub(crate) struct Opening {
    pub(crate) repository: RepositoryName,
    pub(crate) checkout: String,
    pub(crate) head_branch: BranchName,
    pub(crate) base_branch: Option<BranchName>,
    pub(crate) title: Option<String>,
    pub(crate) author: String,
}

impl Core {
    /// Takes what a checkout has committed as a new branch, and opens a pull request from it.
    pub(crate) async fn open_pull(&self, opening: Opening) -> Result<StoredPullRequest, Error> {
        let repository = self.repository(&opening.repository).await?;
        let mirror = self.mirrors.get(&opening.repository)?;
        let base_branch = match (opening.base_branch, mirror.default_branch()) {
            (Some(named), _) => named,
            (None, Some(default)) => default.clone(),
            (None, None) => return Err(Error::NoBaseBranch { name: opening.repository }),
        };
        if base_branch == opening.head_branch {
            return Err(Error::SameBranch { branch: base_branch });
        }
        let pulls = self.store.pull_requests(&self.settings.tenant);
        self.refuse_second(&pulls, &repository.key, &opening.head_branch).await?;
        mirror.fetch(&[sandgate_forge::local::Wanted::Branch(base_branch.clone())]).await?;
        let base = mirror.resolve(&base_branch).await?;
        let checkout = absolute(&opening.checkout)?;
        let BranchUpdate { after: head, .. } =
            mirror.push_branch(&opening.head_branch, checkout, None).await?;

        let now = self.clock.now();
        let transaction = self.store.begin().await?;
        let pulls = transaction.pull_requests(&self.settings.tenant);
        self.refuse_second(&pulls, &repository.key, &opening.head_branch).await?;
        let title = opening.title.unwrap_or_else(|| opening.head_branch.to_string());
        let event = PullRequestEvent {
            action: Action::Opened,
            number: pulls.next_number(&repository.key).await?,
            updated_at: Some(now),
            is_open: Some(true),
            is_merged: false,
            is_draft: false,
            head,
            head_branch: opening.head_branch,
            head_repository: Some(opening.repository),
            is_fork: false,
            base_branch,
            base: Some(base),
            before: None,
            after: None,
            author: Some(Account { login: opening.author, is_bot: false }),
            association: Some(Association::Insider),
            sender: None,
            title: title.chars().take(MAX_TITLE).collect(),
        };
        let stored = self.take(&transaction, &repository, &event, now).await?;
        transaction.commit().await?;
        self.wake();
        Ok(stored)
    }

    /// Moves the head of an open pull request to what a checkout has committed.
    pub(crate) async fn push_pull(
        &self,
        key: &Key,
        checkout: &str,
    ) -> Result<StoredPullRequest, Error> {
        let stored = self.load(&self.store, key).await?;
        let view = open_view(&stored)?;
        let name: RepositoryName = stored.repository.parse()?;
        let mirror = self.mirrors.get(&name)?;
        mirror.fetch(&[sandgate_forge::local::Wanted::Branch(view.base_branch.clone())]).await?;
        let base = mirror.resolve(&view.base_branch).await?;
        let update = mirror.push_branch(&view.head_branch, absolute(checkout)?, None).await?;
        self.change_pull(key, Action::Synchronize, |event| {
            event.before = update.before.or_else(|| Some(event.head.clone()));
            event.after = Some(update.after.clone());
            event.head = update.after;
            event.base = Some(base);
        })
        .await
    }

    /// Closes a pull request; closing a closed one changes nothing.
    pub(crate) async fn close_pull(&self, key: &Key) -> Result<StoredPullRequest, Error> {
        let stored = self.load(&self.store, key).await?;
        if !stored.is_open {
            return Ok(stored);
        }
        self.change_pull(key, Action::Closed, |event| event.is_open = Some(false)).await
    }

    async fn change_pull(
        &self,
        key: &Key,
        action: Action,
        change: impl FnOnce(&mut PullRequestEvent),
    ) -> Result<StoredPullRequest, Error> {
        let transaction = self.store.begin().await?;
        let stored = self.load(&transaction, key).await?;
        let name: RepositoryName = stored.repository.parse()?;
        let view = open_view(&stored)?;
        let repository = transaction
            .known_repositories(&self.settings.tenant)
            .get(&stored.repository_key)
            .await?
            .ok_or_else(|| Error::UnknownRepository { name: name.clone() })?;
        // Time may have been set back since the last change; the order of what is done here is that of the calls.
        let now = self.clock.now().max(stored.updated_at);
        let mut event = PullRequestEvent {
            action,
            number: stored.number,
            updated_at: Some(now),
            is_open: Some(true),
            is_merged: false,
            is_draft: view.is_draft,
            is_fork: view.head_repository.as_ref().map(RepositoryName::key) != Some(name.key()),
            head: view.head,
            head_branch: view.head_branch,
            head_repository: view.head_repository,
            base_branch: view.base_branch,
            base: view.base,
            before: None,
            after: None,
            author: view.author.map(|login| Account { login, is_bot: false }),
            association: Some(Association::Insider),
            sender: None,
            title: view.title,
        };
        change(&mut event);
        let stored = self.take(&transaction, &repository, &event, now).await?;
        transaction.commit().await?;
        self.wake();
        Ok(stored)
    }

    async fn refuse_second(
        &self,
        pulls: &sandgate_store::PullRequests,
        repository_key: &str,
        branch: &BranchName,
    ) -> Result<(), Error> {
        match pulls.open_from(repository_key, branch.as_str()).await? {
            Some(open) => Err(Error::AlreadyOpen { branch: branch.clone(), number: open.number }),
            None => Ok(()),
        }
    }
}

fn open_view(stored: &StoredPullRequest) -> Result<View, Error> {
    let view = state_of(stored)?.view();
    view.filter(|view| view.status == Status::Open).ok_or(Error::Closed { number: stored.number })
}
