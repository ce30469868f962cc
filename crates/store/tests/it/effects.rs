//! Effects: planned once, in one pair of hands, in doubt when that vanished.

use sandgate_store::{EffectState, Error};

use crate::fixture::{Fixture, LEASE};

#[tokio::test]
async fn an_effect_is_planned_once_and_confirmed_once() {
    let fixture = Fixture::new().await;
    let effects = fixture.store.effects(&fixture.tenant);
    let now = fixture.now();
    assert!(effects.plan("comment 7", "comment", r#"{"a":1}"#, now).await.unwrap());
    assert!(!effects.plan("comment 7", "comment", r#"{"a":2}"#, now).await.unwrap());
    let take = effects.take("comment 7", now, LEASE).await.unwrap().unwrap();
    assert!(!take.in_doubt);
    assert_eq!(effects.take("comment 7", now, LEASE).await.unwrap(), None, "in other hands");
    assert!(effects.unsettled(now, 9).await.unwrap().is_empty());
    assert!(effects.confirm("comment 7", "99", now).await.unwrap());
    assert!(!effects.confirm("comment 7", "100", now).await.unwrap());
    let effect = effects.get("comment 7").await.unwrap().unwrap();
    let confirmed = EffectState::Confirmed { remote_id: "99".to_owned(), confirmed_at: now };
    assert_eq!((effect.state, effect.payload.as_str()), (confirmed, r#"{"a":1}"#));
    assert_eq!(effects.take("comment 7", now, LEASE).await.unwrap(), None);
}

#[tokio::test]
async fn a_vanished_taker_and_a_lost_answer_leave_doubt() {
    let fixture = Fixture::new().await;
    let effects = fixture.store.effects(&fixture.tenant);
    effects.plan("check", "check", "{}", fixture.now()).await.unwrap();
    let first = effects.take("check", fixture.now(), LEASE).await.unwrap().unwrap();
    fixture.clock.advance(LEASE);
    assert_eq!(effects.unsettled(fixture.now(), 9).await.unwrap().len(), 1);
    let second = effects.take("check", fixture.now(), LEASE).await.unwrap().unwrap();
    assert!(second.in_doubt, "the first may have made the call");
    let late = effects.doubt("check", first.fence, "late").await;
    assert!(matches!(late, Err(Error::StaleFence { .. })), "{late:?}");
    effects.doubt("check", second.fence, "the answer was cut").await.unwrap();
    let third = effects.take("check", fixture.now(), LEASE).await.unwrap().unwrap();
    assert!(third.in_doubt);
    effects.refuse("check", third.fence, "searched: not there; rate limited").await.unwrap();
    let fourth = effects.take("check", fixture.now(), LEASE).await.unwrap().unwrap();
    assert!(!fourth.in_doubt);
    assert_eq!(effects.get("check").await.unwrap().unwrap().attempts, 4);
}

#[tokio::test]
async fn confirmed_effects_are_forgotten_and_a_slot_begins_anew_only_after_its_effects() {
    let fixture = Fixture::new().await;
    let effects = fixture.store.effects(&fixture.tenant);
    let postings = fixture.store.postings(&fixture.tenant);
    let now = fixture.now();
    let later = now.plus(std::time::Duration::from_secs(1));
    for (target, slot) in
        [("commit:a", "sandgate"), ("commit:a", "sandgate / unit"), ("commit:b", "x")]
    {
        assert_eq!(postings.want(target, slot, "d").await.unwrap(), Some(1));
        effects.plan(&format!("{target}/{slot}/1"), "posting", "{}", now).await.unwrap();
    }
    assert!(postings.old_targets("", later, 9).await.unwrap().is_empty(), "nothing is written");
    for slot in ["sandgate", "sandgate / unit"] {
        assert!(postings.write("commit:a", slot, 1, "text", now).await.unwrap());
    }
    effects.confirm("commit:a/sandgate / unit/1", "written", now).await.unwrap();
    assert_eq!(postings.old_targets("", now, 9).await.unwrap(), [""; 0], "not yet");
    assert_eq!(postings.old_targets("", later, 9).await.unwrap(), ["commit:a"]);
    assert!(postings.old_targets("commit:a", later, 9).await.unwrap().is_empty());
    assert_eq!(postings.remove("commit:a", later).await.unwrap(), 0, "effects are known");
    assert_eq!(effects.forget(now, 9).await.unwrap(), 0, "not yet");
    assert_eq!(effects.forget(later, 9).await.unwrap(), 1, "what is not confirmed stays");
    assert_eq!(postings.remove("commit:a", later).await.unwrap(), 1);
    assert_eq!(postings.slots("commit:a").await.unwrap(), ["sandgate"]);
    effects.confirm("commit:a/sandgate/1", "written", now).await.unwrap();
    assert_eq!(effects.forget(later, 9).await.unwrap(), 1);
    assert_eq!(postings.remove("commit:a", later).await.unwrap(), 1);
    assert_eq!(postings.slots("commit:b").await.unwrap(), ["x"]);
}
