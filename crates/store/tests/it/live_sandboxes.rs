//! Live sandboxes: found again by another process.

use sandgate_domain::{Holder, LiveSandbox, SandboxId, StepId};
use sandgate_store::Error;

use crate::fixture::Fixture;

#[tokio::test]
async fn another_process_finds_and_strikes_out_what_was_left() {
    let fixture = Fixture::new().await;
    let layer = fixture.ready_layer(None).await;
    let sandbox = LiveSandbox {
        id: SandboxId::new(&fixture.ids),
        tenant: fixture.tenant.clone(),
        run: None,
        step: Some(StepId::new(&fixture.ids)),
        holder: Holder { pid: 4_000_000, boot_id: "boot".to_owned(), start_ticks: 1 << 40 },
        scratch: "sbx-1".to_owned(),
        layers: vec![layer],
        created_at: fixture.now(),
    };
    fixture.store.live_sandboxes().insert(&sandbox).await.unwrap();
    let twin = LiveSandbox { id: SandboxId::new(&fixture.ids), ..sandbox.clone() };
    let refused = fixture.store.live_sandboxes().insert(&twin).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "one scratch folder each: {refused:?}");

    let other = fixture.open_again().await.live_sandboxes();
    assert_eq!(other.list().await.unwrap(), std::slice::from_ref(&sandbox));
    assert!(other.remove(&fixture.tenant, sandbox.id).await.unwrap());
    assert!(!other.remove(&fixture.tenant, sandbox.id).await.unwrap());
    assert!(fixture.store.live_sandboxes().list().await.unwrap().is_empty());
}
