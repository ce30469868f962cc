//! What a run checks out, and whose configuration counts.

use sandgate_domain::ErrorCode;
use sandgate_wire::error_code;
use sandgate_wire::pulls::v1::{
    ApproveRequest, ChangedPathsRequest, LocateRequest, ReadFileRequest, ResolveReply,
    ResolveRequest, TraceReply, TraceRequest,
};
use serde_json::{Value, json};
use tonic::Status;

use crate::service::{NAME, Place, Service, commit, fork, git, payload, sha};

async fn resolve(
    service: &Service,
    head: &str,
    base_branch: Option<&str>,
    tier: &str,
) -> Result<ResolveReply, Status> {
    let request = ResolveRequest {
        repository: NAME.to_owned(),
        head_sha: head.to_owned(),
        base_branch: base_branch.map(str::to_owned),
        tier: tier.to_owned(),
        ..ResolveRequest::default()
    };
    service.source().resolve(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn the_merge_is_tested_and_strangers_bring_no_configuration() {
    let place = Place::new();
    let service = place.open().await;
    let source = place.repository(&service).await;
    git(&source, &["checkout", "--quiet", "-b", "topic"]);
    let head = commit(&source, "new", "1");
    git(&source, &["checkout", "--quiet", "main"]);
    let base = commit(&source, "other", "2");

    let member = resolve(&service, &head, Some("main"), "member").await.unwrap();
    assert_eq!(member.base_sha.as_deref(), Some(base.as_str()));
    let folder = std::path::Path::new(&member.folder);
    let parents = git(folder, &["rev-list", "--parents", "-n1", &member.test_sha]);
    assert_eq!(parents, format!("{} {base} {head}", member.test_sha));
    assert_eq!(member.config_sha, member.test_sha);
    for tier in ["agent", "fork"] {
        let reply = resolve(&service, &head, Some("main"), tier).await.unwrap();
        assert_eq!((reply.config_sha, reply.test_sha), (base.clone(), member.test_sha.clone()));
    }
    let alone = resolve(&service, &head, None, "member").await.unwrap();
    assert_eq!((&alone.test_sha, &alone.config_sha, alone.base_sha), (&head, &head, None));

    let read = |path: &str, max_bytes| ReadFileRequest {
        repository: NAME.to_owned(),
        sha: member.test_sha.clone(),
        path: path.to_owned(),
        max_bytes,
    };
    let file = service.source().read_file(read("new", 10)).await.unwrap().into_inner();
    assert_eq!(&file.data[..], b"1");
    let missing = service.source().read_file(read("absent", 10)).await.unwrap_err();
    assert_eq!(error_code(&missing), ErrorCode::NotFound);
    let large = service.source().read_file(read("README", 3)).await.unwrap_err();
    assert_eq!(error_code(&large), ErrorCode::ResourceExhausted);
    let changed =
        ChangedPathsRequest { repository: NAME.to_owned(), base_sha: base, head_sha: head.clone() };
    let changed = service.source().changed_paths(changed).await.unwrap().into_inner();
    assert_eq!((changed.unknown, changed.paths), (false, vec!["new".to_owned()]));
    let located = LocateRequest { repository: NAME.to_owned(), sha: head };
    assert_eq!(service.source().locate(located).await.unwrap().into_inner().folder, member.folder);
    service.kill().await;
}

#[tokio::test]
async fn a_conflict_names_its_paths_and_a_missing_commit_is_not_found() {
    let place = Place::new();
    let service = place.open().await;
    let source = place.repository(&service).await;
    git(&source, &["checkout", "--quiet", "-b", "topic"]);
    let head = commit(&source, "README", "theirs\n");
    git(&source, &["checkout", "--quiet", "main"]);
    commit(&source, "README", "ours\n");
    let reply = resolve(&service, &head, Some("main"), "member").await.unwrap();
    let conflict = reply.conflict.unwrap();
    assert_eq!((reply.test_sha.as_str(), conflict.paths), ("", vec!["README".to_owned()]));
    assert!(conflict.reason.contains("conflicts"), "{}", conflict.reason);

    for (head, base, tier, expected) in [
        (sha('e'), Some("main"), "member", ErrorCode::NotFound),
        (head.clone(), Some("gone"), "member", ErrorCode::NotFound),
        (head.clone(), Some("--all"), "member", ErrorCode::NotFound),
        (head.clone(), Some("a..b"), "member", ErrorCode::InvalidArgument),
        (head, Some("main"), "owner", ErrorCode::InvalidArgument),
    ] {
        let refused = resolve(&service, &head, base, tier).await.unwrap_err();
        assert_eq!(error_code(&refused), expected, "{}", refused.message());
    }
    service.kill().await;
}

async fn trace(service: &Service, sha: &str) -> TraceReply {
    let request = TraceRequest { repository: NAME.to_owned(), sha: sha.to_owned() };
    service.source().trace(request).await.unwrap().into_inner()
}

fn headed(mut payload: Value, head: &str) -> Value {
    payload["pull_request"]["head"]["sha"] = json!(head);
    payload
}

#[tokio::test]
async fn a_commit_is_trusted_as_far_as_who_brought_it() {
    let place = Place::new();
    let service = place.open().await;
    let source = place.repository(&service).await;
    let main = git(&source, &["rev-parse", "HEAD"]);
    git(&source, &["checkout", "--quiet", "-b", "theirs"]);
    let below = commit(&source, "new", "1");
    let old = commit(&source, "new", "2");
    let head = commit(&source, "new", "3");
    git(&source, &["checkout", "--quiet", "-b", "ours", "main"]);
    let ours = commit(&source, "other", "1");
    git(&source, &["checkout", "--quiet", "main"]);

    let of_fork = |action, second, head: &str| headed(fork(payload(7, action, 'a', second)), head);
    service.deliver("1", &of_fork("opened", 1, &old)).await;
    service.deliver("2", &of_fork("synchronize", 2, &head)).await;
    service.deliver("3", &headed(payload(8, "opened", 'a', 1), &ours)).await;
    // A fork may say that its head is a commit of ours: that makes it no less ours.
    let borrowed = headed(fork(payload(9, "opened", 'a', 1)), &main);
    service.deliver("4", &borrowed).await;

    for (commit, tier, held, number) in [
        (&head, "fork", true, Some(7)),
        (&old, "fork", true, Some(7)),
        (&below, "fork", true, Some(7)),
        (&ours, "member", false, None),
        (&main, "member", false, None),
    ] {
        let origin = trace(&service, commit).await;
        let found = (origin.tier.as_str(), origin.held, origin.number);
        assert_eq!(found, (tier, held, number), "{commit}");
    }
    let request = ApproveRequest {
        repository: NAME.to_owned(),
        number: 7,
        sha: head.clone(),
        approver: "alice".to_owned(),
    };
    service.pulls().approve(request).await.unwrap();
    let origin = trace(&service, &head).await;
    assert_eq!((origin.tier.as_str(), origin.held), ("fork", false));
    assert_eq!(origin.base_branch.as_deref(), Some("main"));
    // Of exactly this commit, and of this commit for good.
    assert!(trace(&service, &below).await.held);
    git(&source, &["checkout", "--quiet", "theirs"]);
    let newer = commit(&source, "new", "4");
    service.deliver("5", &of_fork("synchronize", 3, &newer)).await;
    assert!(trace(&service, &newer).await.held);
    assert!(!trace(&service, &head).await.held);

    git(&source, &["checkout", "--quiet", "main"]);
    git(&source, &["merge", "--quiet", "--ff-only", "theirs"]);
    assert_eq!(trace(&service, &old).await.tier, "member", "merged, it is ours");
    service.kill().await;
}

#[tokio::test]
async fn a_folder_that_is_gone_may_come_back() {
    let place = Place::new();
    let service = place.open().await;
    let source = place.repository(&service).await;
    let head = commit(&source, "new", "1");
    let away = source.with_extension("away");
    std::fs::rename(&source, &away).unwrap();
    let refused = resolve(&service, &head, Some("main"), "member").await.unwrap_err();
    assert_eq!(error_code(&refused), ErrorCode::Unavailable);
    assert!(refused.message().contains("bring the folder back"), "{}", refused.message());
    std::fs::rename(&away, &source).unwrap();
    resolve(&service, &head, Some("main"), "member").await.unwrap();
    service.kill().await;
}
