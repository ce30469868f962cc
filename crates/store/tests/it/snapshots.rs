//! Snapshots: read back whole, listed the newest first, pruned when expired and not pinned.

use std::time::Duration;

use sandgate_domain::{LayerId, Run, RunId, Snapshot, SnapshotId, SnapshotKind, SnapshotState};
use sandgate_store::{Error, PageRequest};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_snapshot_reads_back_as_it_was_written() {
    let fixture = Fixture::new().await;
    let (run, _) = fixture.planned(0).await;
    let layers = [
        fixture.ready_layer(Some("high")).await,
        fixture.ready_layer(None).await,
        fixture.ready_layer(Some("low")).await,
    ];
    let ordered = vec![layers[2], layers[0], layers[1]];
    let mut snapshot = fixture.snapshot(&run, ordered);
    let snapshots = fixture.store.snapshots(&fixture.tenant);
    snapshots.create(&snapshot).await.unwrap();
    assert_eq!(snapshots.get(snapshot.id).await.unwrap(), Some(snapshot.clone()));
    let later = fixture.now().plus(Duration::from_secs(1));
    assert_eq!(snapshots.unsealed(later, 9).await.unwrap(), [snapshot.clone()]);

    assert!(snapshots.sealed(snapshot.id, 77).await.unwrap());
    assert!(!snapshots.sealed(snapshot.id, 78).await.unwrap());
    snapshot.state = SnapshotState::Local { bytes: 77 };
    assert_eq!(snapshots.of_run(run.id).await.unwrap(), [snapshot.clone()]);
    assert!(snapshots.unsealed(later, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_snapshot_of_a_missing_layer_is_refused() {
    let fixture = Fixture::new().await;
    let (run, _) = fixture.planned(0).await;
    let missing = LayerId::new(&fixture.ids);
    let snapshots = fixture.store.snapshots(&fixture.tenant);
    let refused = snapshots.create(&fixture.snapshot(&run, vec![missing])).await;
    assert!(matches!(refused, Err(Error::LayerGone { layer }) if layer == missing), "{refused:?}");
}

#[tokio::test]
async fn only_expired_snapshots_without_a_pin_are_pruned() {
    let fixture = Fixture::new().await;
    let (run, _) = fixture.planned(0).await;
    let snapshots = fixture.store.snapshots(&fixture.tenant);
    let mut ids = Vec::new();
    for name in ["expired", "pinned", "later", "never", "sealing"] {
        let mut snapshot = fixture.snapshot(&run, Vec::new());
        let seconds = if name == "later" { 60 } else { 10 };
        let expiry = fixture.now().plus(Duration::from_secs(seconds));
        snapshot.expires_at = (name != "never").then_some(expiry);
        snapshot.pinned = name == "pinned";
        snapshots.create(&snapshot).await.unwrap();
        if name != "sealing" {
            snapshots.sealed(snapshot.id, 1).await.unwrap();
        }
        ids.push(snapshot.id);
    }
    assert!(snapshots.prune(fixture.now(), 9).await.unwrap().is_empty());
    fixture.clock.advance(Duration::from_secs(10));
    assert_eq!(snapshots.prune(fixture.now(), 9).await.unwrap(), [ids[0]]);
    assert!(snapshots.pin(ids[1], false).await.unwrap());
    assert_eq!(snapshots.prune(fixture.now(), 9).await.unwrap(), [ids[1]]);
    assert!(!snapshots.pin(ids[1], true).await.unwrap(), "it is deleted");
    let listed = snapshots.list(Some("app"), &PageRequest::first(9)).await.unwrap();
    let listed: Vec<_> = listed.items.iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(listed, [ids[4], ids[3], ids[2]], "the newest first, without the deleted");
    assert!(snapshots.list(Some("other"), &PageRequest::first(9)).await.unwrap().items.is_empty());
    assert_eq!(snapshots.list(None, &PageRequest::first(2)).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn approved_ones_go_with_their_time_but_never_the_newest_of_a_branch() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let fixture = Fixture::new().await;
    let snapshots = fixture.store.snapshots(&fixture.tenant);
    let layer = fixture.ready_layer(Some("key")).await;
    let approve = async |repository: &str, branch: Option<&str>, kind| {
        let run = Run {
            id: RunId::new(&fixture.ids),
            repository_key: repository.to_owned(),
            branch: branch.map(str::to_owned),
            ..fixture.run()
        };
        fixture.store.runs(&fixture.tenant).create(&run, &[]).await.unwrap();
        let snapshot = Snapshot {
            kind,
            state: SnapshotState::Local { bytes: 1 },
            expires_at: None,
            ..fixture.snapshot(&run, vec![layer])
        };
        snapshots.create(&snapshot).await.unwrap();
        fixture.clock.advance(Duration::from_secs(1));
        snapshot.id
    };
    let approved = SnapshotKind::Approved;
    let mut old: Vec<SnapshotId> = Vec::new();
    for branch in [Some("main"), Some("topic"), None, Some("main")] {
        old.push(approve("app", branch, approved).await);
    }
    let pinned = approve("app", Some("main"), approved).await;
    snapshots.pin(pinned, true).await.unwrap();
    let other = approve("other", Some("main"), approved).await;
    let debug = approve("app", Some("main"), SnapshotKind::Debug).await;
    fixture.clock.advance(DAY * 31);
    let newest = approve("app", Some("main"), approved).await;
    let now = fixture.now();
    let before = sandgate_domain::Timestamp::from_micros(
        now.as_micros() - i64::try_from((DAY * 30).as_micros()).unwrap(),
    );
    assert_eq!(snapshots.prune_approved(before, now, 1).await.unwrap(), [old[0]], "bounded");
    assert_eq!(snapshots.prune_approved(before, now, 9).await.unwrap(), [old[3]]);
    assert!(snapshots.prune_approved(before, now, 9).await.unwrap().is_empty());
    let page = snapshots.list(None, &PageRequest::first(20)).await.unwrap();
    let mut left: Vec<SnapshotId> = page.items.iter().map(|one| one.id).collect();
    left.sort();
    let mut expected = vec![old[1], old[2], pinned, other, debug, newest];
    expected.sort();
    assert_eq!(left, expected);
}
