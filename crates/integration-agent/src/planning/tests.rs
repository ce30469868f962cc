//! Runs that are asked for by hand: keys, and the trust of a commit.

use sandgate_domain::ErrorCode;
use sandgate_wire::pulls::v1::TraceReply;

use super::*;
use crate::outside::World;

fn origin(tier: &str, held: bool) -> TraceReply {
    TraceReply {
        tier: tier.to_owned(),
        held,
        number: Some(7),
        base_branch: Some("main".to_owned()),
        head_branch: Some("patch-1".to_owned()),
    }
}

async fn tier_of(world: &World, run: RunId) -> TrustTier {
    let (run, _) = world.agent.run(run).await.unwrap();
    serde_json::from_str::<Saved>(&run.progress).unwrap().tier
}

#[tokio::test]
async fn a_key_stands_for_one_commit_of_one_repository() {
    let (_folder, world) = World::new().await;
    let key = || Some("request:1".to_owned());
    let ask = |repository: &'static str, sha: String| {
        let planner = world.planner.clone();
        async move { planner.run_commit(repository, &sha, key()).await }
    };
    let (sha, other) = ("a".repeat(40), "b".repeat(40));
    let (first, existed) = ask("acme/web", sha.clone()).await.unwrap();
    assert!(!existed);
    // Also while its source is away: the run is there.
    world.outside.fail("acme/web", Some(ErrorCode::Unavailable));
    assert_eq!(ask("Acme/Web", sha.clone()).await.unwrap(), (first, true));
    for (repository, sha, part) in
        [("acme/web", other.clone(), &other), ("acme/api", sha.clone(), &"acme/api".to_owned())]
    {
        let refused = ask(repository, sha.clone()).await.unwrap_err();
        assert!(matches!(refused, Error::OtherRequest { run, .. } if run == first), "{refused}");
        assert_eq!(refused.code(), ErrorCode::Conflict);
        assert!(refused.to_string().contains(part.as_str()), "{refused}");
    }
}

#[tokio::test]
async fn a_commit_of_a_fork_is_not_trusted_because_a_member_asks() {
    let (_folder, world) = World::new().await;
    let (waiting, approved, ours) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
    world.outside.bring(&waiting, origin("fork", true));
    world.outside.bring(&approved, origin("fork", false));
    let ask = |sha: &str| {
        let (planner, sha) = (world.planner.clone(), sha.to_owned());
        async move { planner.run_commit("acme/web", &sha, None).await }
    };
    let refused = ask(&waiting).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PermissionDenied);
    assert!(refused.to_string().contains("sandgate pr approve 7 --sha aaaa"), "{refused}");
    assert!(world.outside.resolved().is_empty());

    let (run, _) = ask(&approved).await.unwrap();
    assert_eq!(tier_of(&world, run).await, TrustTier::Fork);
    let resolved = world.outside.resolved().remove(0);
    assert_eq!(resolved.tier, "fork");
    assert_eq!(resolved.base_branch.as_deref(), Some("main"), "whose configuration counts");
    let again = world.planner.rerun(run, false).await.unwrap();
    assert_eq!(tier_of(&world, again).await, TrustTier::Fork);

    let (run, _) = ask(&ours).await.unwrap();
    assert_eq!(tier_of(&world, run).await, TrustTier::Member);
    assert_eq!(world.outside.resolved().last().unwrap().base_branch, None);
}

#[tokio::test]
async fn a_run_is_not_repeated_with_more_trust_than_its_commit_has_by_now() {
    let (_folder, world) = World::new().await;
    let sha = "a".repeat(40);
    let (run, _) = world.planner.run_commit("acme/web", &sha, None).await.unwrap();
    world.outside.bring(&sha, origin("agent", false));
    let refused = world.planner.rerun(run, false).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Conflict);
    world.outside.bring(&sha, origin("fork", true));
    let refused = world.planner.rerun(run, true).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::PermissionDenied);
}
