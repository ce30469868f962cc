//! Pull requests, known repositories, and what is shown under pull requests.

use std::time::Duration;

use sandgate_domain::{PullRequestId, Timestamp, TrustTier};
use sandgate_store::{
    KnownRepository, PageRequest, PullRequestFilter, PullRequestHead, StoredPullRequest,
};

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
        sweep_at: Timestamp::from_micros(0),
        times_asked: 0,
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
    let unsettled = pulls.unsettled(fixture.now(), fixture.now(), 9).await.unwrap();
    assert_eq!(unsettled, std::slice::from_ref(&second));

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
async fn who_was_looked_at_goes_to_the_end_of_the_line() {
    let fixture = Fixture::new().await;
    let pulls = fixture.store.pull_requests(&fixture.tenant);
    for number in 1..=5 {
        pulls.save(&pull(&fixture, number)).await.unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        fixture.clock.advance(Duration::from_secs(1));
        let now = fixture.now();
        for one in pulls.unsettled(now, now, 2).await.unwrap() {
            seen.push(one.number);
            pulls.look_again(one.id, now).await.unwrap();
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 4, 5], "two at a time, all come round");
    let now = fixture.now();
    let first = pulls.find("acme/web", 1).await.unwrap().unwrap();
    pulls.look_again(first.id, now.plus(Duration::from_secs(60))).await.unwrap();
    pulls.look_again(first.id, now).await.unwrap();
    let waiting = pulls.unsettled(now, now, 9).await.unwrap();
    assert!(!waiting.iter().any(|one| one.id == first.id), "it was put off");
}

#[tokio::test]
async fn a_head_keeps_its_approval_and_is_told_by_commit() {
    let fixture = Fixture::new().await;
    let pulls = fixture.store.pull_requests(&fixture.tenant);
    let head = |tier, is_approved| PullRequestHead {
        pull_request: PullRequestId::from_uuid(uuid::Uuid::from_u128(1)),
        repository_key: "acme/web".to_owned(),
        sha: "a".repeat(40),
        tier,
        is_approved,
    };
    let now = fixture.now();
    let known = || async { pulls.heads_at("acme/web", &"a".repeat(40)).await.unwrap() };
    pulls.note_head(&head(TrustTier::Fork, false), now).await.unwrap();
    pulls.note_head(&head(TrustTier::Member, false), now).await.unwrap();
    assert_eq!(known().await, [head(TrustTier::Fork, false)], "a note changes nothing");
    pulls.set_head(&head(TrustTier::Fork, true), now).await.unwrap();
    pulls.set_head(&head(TrustTier::Agent, false), now).await.unwrap();
    assert_eq!(known().await, [head(TrustTier::Agent, true)]);
    assert_eq!(pulls.newest_heads("acme/web", 9).await.unwrap(), known().await);
    assert!(pulls.heads_at("acme/api", &"a".repeat(40)).await.unwrap().is_empty());
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
