//! Pull requests, known repositories, and what is shown under pull requests.

use sandgate_domain::PullRequestId;
use sandgate_store::{KnownRepository, PageRequest, PullRequestFilter, StoredPullRequest};

use crate::fixture::Fixture;

fn pull(fixture: &Fixture, number: u64) -> StoredPullRequest {
    StoredPullRequest {
        id: PullRequestId::new(&fixture.ids),
        repository_key: "acme/web".to_owned(),
        repository: "Acme/Web".to_owned(),
        number,
        state: "{}".to_owned(),
        revision: 1,
        head_sha: "a".repeat(40),
        head_branch: "topic".to_owned(),
        is_open: true,
        answered_revision: 0,
        run: None,
        is_settled: false,
        created_at: fixture.now(),
        updated_at: fixture.now(),
    }
}

#[tokio::test]
async fn pull_requests_are_found_by_number_branch_and_page() {
    let fixture = Fixture::new().await;
    let pulls = fixture.store.pull_requests(&fixture.tenant);
    assert_eq!(pulls.next_number("acme/web").await.unwrap(), 1);
    let mut first = pull(&fixture, 1);
    let second = StoredPullRequest { head_branch: "other".to_owned(), ..pull(&fixture, 2) };
    pulls.save(&first).await.unwrap();
    pulls.save(&second).await.unwrap();
    assert!(pulls.save(&pull(&fixture, 2)).await.is_err(), "a number is given once");
    first.is_open = false;
    first.is_settled = true;
    pulls.save(&first).await.unwrap();
    assert_eq!(pulls.get(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(pulls.find("acme/web", 2).await.unwrap(), Some(second.clone()));
    assert_eq!(pulls.open_from("acme/web", "topic").await.unwrap(), None);
    assert_eq!(pulls.next_number("acme/web").await.unwrap(), 3);
    assert_eq!(pulls.unsettled(fixture.now(), 9).await.unwrap(), std::slice::from_ref(&second));

    let all = PullRequestFilter::default();
    let page = pulls.list(&all, &PageRequest::first(1)).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&second));
    let rest = PageRequest { limit: 1, after: page.next };
    assert_eq!(pulls.list(&all, &rest).await.unwrap().items, [first.clone()]);
    for (is_open, key, expected) in
        [(true, "acme/web", vec![second]), (false, "acme/web", vec![first]), (true, "x/y", vec![])]
    {
        let repository_key = Some(key.to_owned());
        let filter = PullRequestFilter { repository_key, is_open: Some(is_open) };
        assert_eq!(pulls.list(&filter, &PageRequest::first(9)).await.unwrap().items, expected);
    }
}

#[tokio::test]
async fn a_slot_wants_each_content_once_and_never_goes_back() {
    let fixture = Fixture::new().await;
    let postings = fixture.store.postings(&fixture.tenant);
    let now = fixture.now();
    assert!(!postings.write("pull:1", "sandgate", 1, "one", now).await.unwrap());
    assert_eq!(postings.want("pull:1", "sandgate", "d1").await.unwrap(), Some(1));
    assert_eq!(postings.want("pull:1", "sandgate", "d1").await.unwrap(), None);
    assert_eq!(postings.want("pull:1", "sandgate", "d2").await.unwrap(), Some(2));
    assert!(postings.shown("pull:1").await.unwrap().is_empty());
    assert!(postings.write("pull:1", "sandgate", 2, "two", now).await.unwrap());
    assert!(!postings.write("pull:1", "sandgate", 2, "two", now).await.unwrap());
    assert!(!postings.write("pull:1", "sandgate", 1, "one", now).await.unwrap());
    let shown = postings.shown("pull:1").await.unwrap();
    assert_eq!((shown[0].version, shown[0].content.as_str()), (2, "two"));
    assert_eq!(postings.slots("pull:1").await.unwrap(), ["sandgate"]);
    assert_eq!(postings.want("pull:1", "sandgate", "d1").await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_repository_is_known_until_it_is_forgotten() {
    let fixture = Fixture::new().await;
    let known = fixture.store.known_repositories(&fixture.tenant);
    let repository = KnownRepository {
        key: "acme/web".to_owned(),
        name: "Acme/Web".to_owned(),
        path: "/srv/web".to_owned(),
        default_branch: None,
        added_at: fixture.now(),
    };
    assert!(known.add(&repository).await.unwrap());
    assert!(!known.add(&repository).await.unwrap());
    assert_eq!(known.list().await.unwrap(), std::slice::from_ref(&repository));
    assert_eq!(known.get("acme/web").await.unwrap(), Some(repository));
    assert!(known.remove("acme/web").await.unwrap());
    assert!(!known.remove("acme/web").await.unwrap());
}
