//! Layers: built once a key, kept while something stands on them.

use std::sync::Arc;

use sandgate_domain::{Holder, LayerState, LiveSandbox, SandboxId};
use sandgate_store::{BuildClaim, Error};

use crate::fixture::{Fixture, LEASE, content};

#[tokio::test]
async fn a_key_is_built_once_and_found_afterwards() {
    let fixture = Fixture::new().await;
    let layers = fixture.store.layers(&fixture.tenant);
    let request = fixture.layer_request(Some("key"));
    let now = fixture.now();
    let claim = layers.claim_build(&request, "a", now, LEASE).await.unwrap();
    let until = now.plus(LEASE);
    assert_eq!(claim, BuildClaim::Claimed { layer: request.id, fence: 1, lease_until: until });

    let second = fixture.layer_request(Some("key"));
    let waiting = layers.claim_build(&second, "b", now, LEASE).await.unwrap();
    let owner = "a".to_owned();
    assert_eq!(waiting, BuildClaim::InFlight { layer: request.id, owner, until });

    layers.finish_build(request.id, 1, &content(), now).await.unwrap();
    layers.finish_build(request.id, 1, &content(), now).await.unwrap();
    let BuildClaim::Built(layer) = layers.claim_build(&second, "b", now, LEASE).await.unwrap()
    else {
        panic!("it must be built")
    };
    assert_eq!((layer.id, layer.state), (request.id, LayerState::Ready(content())));
}

#[tokio::test]
async fn a_vanished_builder_is_replaced_and_can_not_finish() {
    let fixture = Fixture::new().await;
    let layers = fixture.store.layers(&fixture.tenant);
    let request = fixture.layer_request(Some("key"));
    layers.claim_build(&request, "slow", fixture.now(), LEASE).await.unwrap();
    fixture.clock.advance(LEASE);
    let second = fixture.layer_request(Some("key"));
    let claim = layers.claim_build(&second, "quick", fixture.now(), LEASE).await.unwrap();
    assert!(matches!(claim, BuildClaim::Claimed { layer, fence: 2, .. } if layer == request.id));
    let late = layers.finish_build(request.id, 1, &content(), fixture.now()).await;
    assert!(matches!(late, Err(Error::StaleFence { fence: 1, .. })), "{late:?}");
    let late = layers.renew_build(request.id, 1, fixture.now(), LEASE).await;
    assert!(matches!(late, Err(Error::StaleFence { .. })), "{late:?}");

    layers.abandon_build(request.id, 2).await.unwrap();
    let third = layers.claim_build(&second, "third", fixture.now(), LEASE).await.unwrap();
    assert!(matches!(third, BuildClaim::Claimed { fence: 3, .. }), "{third:?}");
}

#[tokio::test]
async fn other_tiers_kinds_and_no_key_are_built_apart() {
    let fixture = Fixture::new().await;
    let layers = fixture.store.layers(&fixture.tenant);
    let mut requests = vec![fixture.layer_request(Some("key")), fixture.layer_request(None)];
    requests.push(fixture.layer_request(None));
    let mut fork = fixture.layer_request(Some("key"));
    fork.tier = sandgate_domain::TrustTier::Fork;
    let mut commit = fixture.layer_request(Some("key"));
    commit.kind = sandgate_domain::LayerKind::Commit;
    requests.extend([fork, commit]);
    for request in &requests {
        let claim = layers.claim_build(request, "a", fixture.now(), LEASE).await.unwrap();
        assert!(matches!(claim, BuildClaim::Claimed { fence: 1, .. }), "{claim:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_ask_at_once_one_builds() {
    let fixture = Arc::new(Fixture::new().await);
    let other = fixture.open_again().await;
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = if number % 2 == 0 { fixture.store.clone() } else { other.clone() };
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                let request = fixture.layer_request(Some("key"));
                let layers = store.layers(&fixture.tenant);
                layers.claim_build(&request, "one", fixture.now(), LEASE).await.unwrap()
            })
        })
        .collect();
    let mut builders = 0;
    for task in tasks {
        if matches!(task.await.unwrap(), BuildClaim::Claimed { .. }) {
            builders += 1;
        }
    }
    assert_eq!(builders, 1);
}

#[tokio::test]
async fn a_layer_stays_while_a_snapshot_or_a_sandbox_stands_on_it() {
    let fixture = Fixture::new().await;
    let layers = fixture.store.layers(&fixture.tenant);
    let (run, _) = fixture.planned(0).await;
    let below = fixture.ready_layer(Some("below")).await;
    let above = fixture.ready_layer(None).await;
    let unused = fixture.ready_layer(Some("unused")).await;
    let snapshot = fixture.snapshot(&run, vec![below]);
    fixture.store.snapshots(&fixture.tenant).create(&snapshot).await.unwrap();
    let sandbox = LiveSandbox {
        id: SandboxId::new(&fixture.ids),
        tenant: fixture.tenant.clone(),
        run: Some(run.id),
        step: None,
        holder: Holder { pid: 1, boot_id: "boot".to_owned(), start_ticks: 2 },
        scratch: "s1".to_owned(),
        layers: vec![below, above],
        created_at: fixture.now(),
    };
    let live = fixture.store.live_sandboxes();
    live.insert(&sandbox).await.unwrap();

    let used: Vec<_> = layers.in_use().await.unwrap().into_iter().collect();
    assert_eq!(used, [below, above]);
    let removable = layers.unused(fixture.now(), 9).await.unwrap();
    assert_eq!(removable.iter().map(|layer| layer.id).collect::<Vec<_>>(), [unused]);
    assert!(!layers.delete(below, fixture.now()).await.unwrap());
    assert!(!layers.delete(above, fixture.now()).await.unwrap());
    assert!(layers.delete(unused, fixture.now()).await.unwrap());

    live.remove(&fixture.tenant, sandbox.id).await.unwrap();
    assert!(layers.delete(above, fixture.now()).await.unwrap());
    assert!(!layers.delete(below, fixture.now()).await.unwrap());
    fixture.store.snapshots(&fixture.tenant).delete(snapshot.id, fixture.now()).await.unwrap();
    assert!(layers.delete(below, fixture.now()).await.unwrap());
    assert!(!layers.delete(below, fixture.now()).await.unwrap());

    // A removed layer can't be stood on, and its key is free again.
    let again = live.insert(&sandbox).await;
    assert!(matches!(again, Err(Error::LayerGone { layer }) if layer == below), "{again:?}");
    assert_ne!(fixture.ready_layer(Some("below")).await, below);
}

#[tokio::test]
async fn a_held_build_is_not_removed_and_an_abandoned_one_is() {
    let fixture = Fixture::new().await;
    let layers = fixture.store.layers(&fixture.tenant);
    let request = fixture.layer_request(Some("key"));
    layers.claim_build(&request, "a", fixture.now(), LEASE).await.unwrap();
    assert!(!layers.delete(request.id, fixture.now()).await.unwrap());
    layers.abandon_build(request.id, 1).await.unwrap();
    assert!(layers.delete(request.id, fixture.now()).await.unwrap());
    let state = layers.get(request.id).await.unwrap().unwrap().state;
    assert_eq!(state, LayerState::Deleted { deleted_at: fixture.now() });
    let late = layers.finish_build(request.id, 1, &content(), fixture.now()).await;
    assert!(matches!(late, Err(Error::StaleFence { .. })), "{late:?}");
}
