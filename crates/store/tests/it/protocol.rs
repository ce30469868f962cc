//! The claim protocol against a model: whatever owners, sweepers and the clock do, one result is accepted, and only the
//! holder of the highest fence changes anything.

use std::time::Duration;

use proptest::prelude::*;
use sandgate_domain::{Completion, GateResult, StepId, StepState, Timestamp};
use sandgate_store::{Acceptance, Error, Retry, Steps};

use crate::fixture::{Fixture, LEASE};

#[derive(Debug, Clone)]
enum Move {
    Claim,
    /// The fence that the move is made under lies this far below the highest one.
    Renew(u64),
    Start(u64),
    Release(u64, bool),
    Complete(u64),
    Expire(u64),
    Settle,
    Ready,
    Pass(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let age = || prop_oneof![4 => Just(0u64), 1 => 1u64..3];
    let one = prop_oneof![
        6 => Just(Move::Claim),
        2 => age().prop_map(Move::Renew),
        2 => age().prop_map(Move::Start),
        3 => (age(), any::<bool>()).prop_map(|(age, infra)| Move::Release(age, infra)),
        2 => age().prop_map(Move::Complete),
        1 => age().prop_map(Move::Expire),
        1 => Just(Move::Settle),
        2 => Just(Move::Ready),
        3 => (1u8..40).prop_map(Move::Pass),
    ];
    proptest::collection::vec(one, 1..40)
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Waiting,
    Ready,
    Claimed { until: Timestamp },
    Ended { by_holder: bool },
}

#[derive(Debug, Clone)]
struct Model {
    place: Place,
    fence: u64,
    attempts: u32,
    infra: u32,
}

impl Model {
    fn holds(&self, fence: u64) -> bool {
        fence == self.fence && matches!(self.place, Place::Claimed { .. })
    }

    fn holds_now(&self, fence: u64, now: Timestamp) -> bool {
        fence == self.fence && matches!(self.place, Place::Claimed { until } if until > now)
    }

    fn lost(&self, fence: u64, now: Timestamp) -> bool {
        self.holds(fence) && !self.holds_now(fence, now)
    }
}

fn held(result: Result<(), Error>) -> bool {
    match result {
        Ok(()) => true,
        Err(Error::StaleFence { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

async fn play(fixture: &Fixture, steps: &Steps, id: StepId, model: &mut Model, what: &Move) {
    let now = fixture.now();
    let done = Completion::of(GateResult::Success);
    let fence = |age: &u64| model.fence.saturating_sub(*age);
    match what {
        Move::Pass(seconds) => fixture.clock.advance(Duration::from_secs(u64::from(*seconds))),
        Move::Ready => {
            let changed = steps.ready(id).await.unwrap();
            assert_eq!(changed, model.place == Place::Waiting);
            if changed {
                model.place = Place::Ready;
            }
        }
        Move::Claim => {
            let claim = steps.claim(id, "owner", now, LEASE).await.unwrap();
            let takes_over = model.lost(model.fence, now);
            assert_eq!(claim.is_some(), takes_over || model.place == Place::Ready);
            if let Some(claim) = claim {
                model.fence += 1;
                model.attempts += 1;
                model.infra += u32::from(takes_over);
                model.place = Place::Claimed { until: now.plus(LEASE) };
                assert_eq!(claim.fence, model.fence, "fences only grow");
            }
        }
        Move::Renew(age) => {
            let renewed = held(steps.renew(id, fence(age), now, LEASE).await.map(drop));
            assert_eq!(renewed, model.holds_now(fence(age), now));
            if renewed {
                model.place = Place::Claimed { until: now.plus(LEASE) };
            }
        }
        Move::Start(age) => {
            let started = held(steps.start(id, fence(age), now).await);
            assert_eq!(started, model.holds(fence(age)));
        }
        Move::Release(age, infra) => {
            let retry = if *infra { Retry::Infra } else { Retry::Gate };
            let released = held(steps.release(id, fence(age), retry).await);
            assert_eq!(released, model.holds(fence(age)));
            if released {
                model.place = Place::Ready;
                model.infra += u32::from(*infra);
            }
        }
        Move::Complete(age) => {
            let repeats =
                fence(age) == model.fence && model.place == Place::Ended { by_holder: true };
            match steps.complete(id, fence(age), &done, now).await {
                Ok(Acceptance::First) => {
                    assert!(model.holds(fence(age)));
                    model.place = Place::Ended { by_holder: true };
                }
                Ok(Acceptance::Repeated) => assert!(repeats),
                Err(Error::StaleFence { .. }) => assert!(!model.holds(fence(age)) && !repeats),
                Err(other) => panic!("{other}"),
            }
        }
        Move::Expire(age) => {
            let expired = steps.expire(id, fence(age), &done, now).await.unwrap();
            assert_eq!(expired, model.lost(fence(age), now));
            if expired {
                model.place = Place::Ended { by_holder: false };
                model.fence += 1;
            }
        }
        Move::Settle => {
            let settled = steps.settle(id, &done, now).await.unwrap();
            assert_eq!(settled, !matches!(model.place, Place::Ended { .. }));
            if settled {
                model.place = Place::Ended { by_holder: false };
                model.fence += 1;
            }
        }
    }
}

async fn check(moves: Vec<Move>) {
    let fixture = Fixture::new().await;
    let run = fixture.run();
    let step = fixture.step(run.id, "unit", StepState::Waiting);
    fixture.store.runs(&fixture.tenant).create(&run, std::slice::from_ref(&step)).await.unwrap();
    let steps = fixture.store.steps(&fixture.tenant);
    let mut model = Model { place: Place::Waiting, fence: 0, attempts: 0, infra: 0 };
    for one in moves {
        play(&fixture, &steps, step.id, &mut model, &one).await;
        let found = steps.get(step.id).await.unwrap().unwrap();
        assert_eq!(
            (found.fence, found.attempts, found.infra_retries),
            (model.fence, model.attempts, model.infra),
        );
        let place = match found.state {
            StepState::Waiting => Place::Waiting,
            StepState::Ready => Place::Ready,
            StepState::Claimed { lease_until, .. } => Place::Claimed { until: lease_until },
            StepState::Ended { .. } => {
                assert!(matches!(model.place, Place::Ended { .. }));
                continue;
            }
        };
        assert_eq!(place, model.place);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_follows_the_model(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(moves));
    }
}
