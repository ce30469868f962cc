//! What a receiver without the database knows of claims: the highest fence of each step that it was shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandgate_domain::{Clock, ErrorCode, StepId, Timestamp};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{StepToken, TokenKey, step_token};
use crate::status;

/// How many steps are remembered before those whose lease is over are forgotten.
const MANY: usize = 4096;

/// Lets calls through whose step is held by the caller. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct StepGuard {
    key: TokenKey,
    clock: Arc<dyn Clock>,
    highest: Arc<Mutex<HashMap<StepId, Claim>>>,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    fence: u64,
    lease_until: Timestamp,
}

impl StepGuard {
    /// A guard that has seen nothing yet.
    pub fn new(key: TokenKey, clock: Arc<dyn Clock>) -> Self {
        Self { key, clock, highest: Arc::default() }
    }

    /// The step of a call: its token is signed, its lease lasts, and no later claim was seen.
    ///
    /// # Errors
    /// PERMISSION_DENIED without a good token; ABORTED if its lease is over or somebody else has claimed the step since.
    pub fn holder(&self, metadata: &MetadataMap) -> Result<StepToken, Status> {
        let now = self.clock.now();
        let token = self.key.verify(step_token(metadata)?, now)?;
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if highest.len() >= MANY {
            highest.retain(|_, claim| claim.lease_until > now);
        }
        let seen = Claim { fence: token.fence, lease_until: token.lease_until };
        let known = highest.entry(token.step).or_insert(seen);
        if known.fence > token.fence {
            let text = format!("{} was claimed by somebody else since; drop this work", token.step);
            return Err(status(ErrorCode::Conflict, text));
        }
        if (known.fence, known.lease_until) < (seen.fence, seen.lease_until) {
            *known = seen;
        }
        Ok(token)
    }

    /// The step of a call that only tidies up: also one whose lease is over may do that.
    ///
    /// # Errors
    /// PERMISSION_DENIED without a good token.
    pub fn signed(&self, metadata: &MetadataMap) -> Result<StepToken, Status> {
        Ok(self.key.verify_signature(step_token(metadata)?)?)
    }
}

#[cfg(test)]
mod tests {
    use sandgate_domain::{RunId, TenantId};
    use tonic::{Code, Request};
    use uuid::Uuid;

    use super::*;
    use crate::token::with_step_token;

    #[derive(Debug)]
    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);
    const LATER: Timestamp = Timestamp::from_micros(2_000_000_000);
    const EARLIER: Timestamp = Timestamp::from_micros(500_000_000);

    fn call(key: &TokenKey, fence: u64, lease_until: Timestamp) -> Request<()> {
        let token = StepToken {
            tenant: "default".parse::<TenantId>().unwrap(),
            run: RunId::from_uuid(Uuid::from_u128(1)),
            step: StepId::from_uuid(Uuid::from_u128(2)),
            fence,
            lease_until,
        };
        with_step_token((), &key.sign(&token))
    }

    #[test]
    fn the_latest_claim_that_was_seen_counts() {
        let key = TokenKey::new(&[7; 32]);
        let guard = StepGuard::new(key.clone(), Arc::new(At(NOW)));
        let code = |request: &Request<()>| guard.holder(request.metadata()).map_err(|s| s.code());
        assert_eq!(code(&call(&key, 3, LATER)).unwrap().fence, 3);
        assert_eq!(code(&call(&key, 3, LATER)).unwrap().fence, 3, "a claim makes many calls");
        assert_eq!(code(&call(&key, 2, LATER)), Err(Code::Aborted));
        assert_eq!(code(&call(&key, 4, LATER)).unwrap().fence, 4);
        assert_eq!(code(&call(&key, 3, LATER)), Err(Code::Aborted));
        assert_eq!(code(&call(&key, 5, EARLIER)), Err(Code::Aborted), "its lease is over");
        assert_eq!(code(&call(&TokenKey::new(&[8; 32]), 9, LATER)), Err(Code::PermissionDenied));
        assert_eq!(code(&Request::new(())), Err(Code::PermissionDenied));
        let late = call(&key, 1, EARLIER);
        assert_eq!(guard.signed(late.metadata()).unwrap().fence, 1, "tidying up is always allowed");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let key = TokenKey::new(&[7; 32]);
        let guard = StepGuard::new(key.clone(), Arc::new(At(NOW)));
        let over = Claim { fence: 1, lease_until: EARLIER };
        for number in 0..MANY as u128 {
            let step = StepId::from_uuid(Uuid::from_u128(number + 10));
            guard.highest.lock().unwrap().insert(step, over);
        }
        guard.holder(call(&key, 1, LATER).metadata()).unwrap();
        assert_eq!(guard.highest.lock().unwrap().len(), 1);
    }
}
