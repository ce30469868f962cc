//! Only what this installation has signed is a token, to the last bit.

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

fn key() -> TokenKey {
    TokenKey::new(&[7; 32])
}

fn token(fence: u64) -> StepToken {
    StepToken {
        tenant: TenantId::default(),
        run: RunId::from_uuid(Uuid::from_u128(1)),
        step: StepId::from_uuid(Uuid::from_u128(2)),
        fence,
        lease_until: NOW.plus(Duration::from_secs(30)),
    }
}

#[test]
fn a_token_holds_until_its_lease_is_over() {
    let text = key().sign(&token(3));
    assert!(
        text.starts_with(
            "v1.default.run_00000000000000000000000000000001.step_00000000000000000000000000000002.3.1767225630000."
        ),
        "{text}"
    );
    assert_eq!(key().verify(&text, NOW), Ok(token(3)));
    let last = NOW.plus(Duration::from_micros(29_999_999));
    assert_eq!(key().verify(&text, last), Ok(token(3)));
    let end = NOW.plus(Duration::from_secs(30));
    assert_eq!(key().verify(&text, end), Err(TokenError::Expired));
    assert_eq!(key().verify_signature(&text), Ok(token(3)));
}

#[test]
fn what_is_no_token_is_refused_with_its_reason() {
    let good = key().sign(&token(3));
    let resigned = |signed: &str| {
        let mac = hmac::sign(&key().0, signed.as_bytes());
        let hex: String = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{signed}.{hex}")
    };
    let (signed, _) = good.rsplit_once('.').unwrap();
    assert_eq!(resigned(signed), good);
    for (text, error) in [
        (String::new(), TokenError::Malformed),
        (".".to_owned(), TokenError::Malformed),
        (signed.to_owned(), TokenError::Malformed),
        (format!("{good}0"), TokenError::Malformed),
        (format!("{good}.{good}"), TokenError::BadSignature),
        (good.to_uppercase(), TokenError::Malformed),
        (good.replace(".3.", ".4."), TokenError::BadSignature),
        (TokenKey::new(&[8; 32]).sign(&token(3)), TokenError::BadSignature),
        (resigned(&signed.replace("v1.", "v2.")), TokenError::Malformed),
        (resigned(&format!("{signed}.more")), TokenError::Malformed),
        (resigned("v1.default"), TokenError::Malformed),
        (resigned(&signed.replace("1767225630000", "9223372036854775807")), TokenError::Malformed),
        (".".repeat(100_000), TokenError::Malformed),
    ] {
        assert_eq!(key().verify(&text, NOW), Err(error), "{text:.200}");
    }
}

#[test]
fn a_call_carries_its_token_and_never_shows_it() {
    let text = key().sign(&token(3));
    let request = with_step_token((), &text);
    assert_eq!(step_token(request.metadata()), Ok(text.as_str()));
    assert!(!format!("{request:?}").contains(&text));
    assert!(!format!("{:?}", key()).contains('7'));
    for absent in ["", "new\nline"] {
        let request = with_step_token((), absent);
        let found =
            step_token(request.metadata()).and_then(|text| key().verify(text, NOW).map(drop));
        assert!(matches!(found, Err(TokenError::Missing | TokenError::Malformed)), "{found:?}");
    }
    let status = tonic::Status::from(TokenError::Missing);
    assert_eq!(crate::error_code(&status), ErrorCode::PermissionDenied);
    assert_eq!(crate::error_code(&TokenError::Expired.into()), ErrorCode::Conflict);
}

proptest! {
    #[test]
    fn every_token_reads_back(run: u128, step: u128, fence: u64, lease in 0_i64..1 << 42, secret: [u8; 32]) {
        let token = StepToken {
            tenant: "team-7".parse().unwrap(),
            run: RunId::from_uuid(Uuid::from_u128(run)),
            step: StepId::from_uuid(Uuid::from_u128(step)),
            fence,
            lease_until: Timestamp::from_micros(lease * 1000),
        };
        let key = TokenKey::new(&secret);
        prop_assert_eq!(key.verify_signature(&key.sign(&token)), Ok(token));
    }

    #[test]
    fn a_token_with_any_bit_flipped_is_refused(fence: u64, place: prop::sample::Index, bit in 0_u32..8) {
        let good = key().sign(&token(fence));
        let mut bytes = good.into_bytes();
        let index = place.index(bytes.len());
        bytes[index] ^= 1 << bit;
        // What is no text at all does not reach the check.
        if let Ok(text) = String::from_utf8(bytes) {
            let refused = key().verify(&text, NOW);
            prop_assert!(matches!(refused, Err(TokenError::Malformed | TokenError::BadSignature)), "{refused:?}");
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in ".{0,300}") {
        prop_assert!(key().verify(&text, NOW).is_err());
    }
}
