//! Pull requests of the forge on this disk.

use sandgate_domain::ErrorCode;
use sandgate_wire::error_code;
use sandgate_wire::pulls::v1::{CloseRequest, OpenRequest, PullRequest, PushRequest};
use tonic::Status;

use crate::service::{NAME, Place, Service, commit, git};

async fn open(service: &Service, checkout: &str, branch: &str) -> Result<PullRequest, Status> {
    let request = OpenRequest {
        repository: NAME.to_owned(),
        checkout: checkout.to_owned(),
        head_branch: branch.to_owned(),
        author: "alice".to_owned(),
        ..OpenRequest::default()
    };
    service.pulls().open(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn it_is_opened_pushed_to_and_closed() {
    let place = Place::new();
    let service = place.start().await;
    let source = place.repository(&service).await;
    let base = git(&source, &["rev-parse", "HEAD"]);
    let checkout = place.folder.path().join("checkout");
    git(&source, &["clone", "--quiet", ".", checkout.to_str().unwrap()]);
    let folder = checkout.to_str().unwrap().to_owned();
    let first = commit(&checkout, "one", "1");

    let opened = open(&service, &folder, "topic").await.unwrap();
    assert_eq!((opened.number, opened.head_sha.as_str()), (1, first.as_str()));
    assert_eq!((opened.base_sha.as_str(), opened.base_branch.as_str()), (base.as_str(), "main"));
    assert_eq!((opened.tier.as_str(), opened.title.as_str()), ("member", "topic"));
    assert_eq!(service.next_event().await.0, "pr.opened");
    let second = open(&service, &folder, "topic").await.unwrap_err();
    assert_eq!(error_code(&second), ErrorCode::Conflict);
    assert!(second.message().contains("sandgate pr push 1"), "{}", second.message());
    for (folder, branch, expected) in [
        (folder.as_str(), "main", ErrorCode::InvalidArgument),
        (folder.as_str(), "one\ntwo", ErrorCode::InvalidArgument),
        (folder.as_str(), "a..b", ErrorCode::InvalidArgument),
        ("checkout", "other", ErrorCode::InvalidArgument),
        ("/nowhere", "other", ErrorCode::InvalidArgument),
    ] {
        let refused = open(&service, folder, branch).await.unwrap_err();
        assert_eq!(error_code(&refused), expected, "{folder} {branch}: {}", refused.message());
    }

    let moved = commit(&checkout, "two", "2");
    let request = PushRequest {
        id: Some(opened.id.clone()),
        checkout: folder.clone(),
        ..PushRequest::default()
    };
    let pushed = service.pulls().push(request.clone()).await.unwrap().into_inner();
    assert_eq!((pushed.head_sha.as_str(), pushed.generation), (moved.as_str(), 2));
    assert_eq!(service.next_event().await.0, "pr.superseded");
    let (name, data) = service.next_event().await;
    assert_eq!((name.as_str(), data["headSha"].as_str()), ("pr.synchronize", Some(&*moved)));
    let same = service.pulls().push(request.clone()).await.unwrap().into_inner();
    assert_eq!(same.generation, 2);

    let close = || CloseRequest { id: Some(opened.id.clone()), ..CloseRequest::default() };
    for _ in 0..2 {
        let closed = service.pulls().close(close()).await.unwrap().into_inner();
        assert_eq!((closed.state.as_str(), closed.merged), ("closed", false));
    }
    assert_eq!(service.next_event().await.0, "pr.superseded");
    assert_eq!(service.next_event().await.0, "pr.closed");
    let late = service.pulls().push(request).await.unwrap_err();
    assert_eq!(error_code(&late), ErrorCode::Conflict);
    assert_eq!(open(&service, &folder, "topic").await.unwrap().number, 2);
    service.stop().await;
}
