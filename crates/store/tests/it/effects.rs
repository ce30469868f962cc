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
