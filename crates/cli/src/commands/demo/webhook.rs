//! The deliveries that a forge would send for the sample, signed as it would sign them.

use std::net::SocketAddr;

use sandgate_domain::{ErrorCode, Timestamp};
use sandgate_pr_automation::signature::sign;
use serde_json::{Value, json};

use super::sample::{BASE_BRANCH, PullRequestPlan, Sample};
use crate::client::http::{self, Address, Request};
use crate::failure::Failure;
use crate::text;

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `X-GitHub-Delivery`.
    pub id: String,
    /// `X-GitHub-Event`.
    pub event: &'static str,
    /// The body, byte for byte as it is signed.
    pub body: Vec<u8>,
}

/// How a delivery was answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Accepted {
    /// `queued`, `duplicate` or `ignored`.
    pub outcome: String,
    /// Why it was ignored.
    pub reason: Option<String>,
}

/// `pull_request opened` for every pull request of the sample, as changed at `at`. The same time gives the same deliveries.
pub fn deliveries(sample: &Sample, at: Timestamp) -> Vec<Delivery> {
    sample.pull_requests.iter().map(|plan| opened(sample, plan, at)).collect()
}

/// Posts a delivery to the webhook route of the server at `address`.
pub async fn post(
    address: SocketAddr,
    secret: &[u8],
    delivery: &Delivery,
) -> Result<Accepted, Failure> {
    let address = Address::from(address);
    let answer = http::send(
        &address,
        Request {
            method: "POST",
            path: "/api/webhooks/github",
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("x-github-delivery", delivery.id.clone()),
                ("x-github-event", delivery.event.to_owned()),
                ("x-hub-signature-256", sign(secret, &delivery.body)),
            ],
            body: delivery.body.clone().into(),
        },
    )
    .await?;
    let json = answer.json(&address)?;
    serde_json::from_value(json).map_err(|error| {
        let message = format!("{address} answered the delivery with something unreadable: {error}");
        Failure::new(ErrorCode::Internal, message)
    })
}

fn opened(sample: &Sample, plan: &PullRequestPlan, at: Timestamp) -> Delivery {
    let (name, number) = (sample.name, plan.number);
    let updated_at = text::time(at);
    let base = side(name, BASE_BRANCH, &plan.base_sha);
    let head = side(name, plan.branch, &plan.head_sha);
    let html_url = format!("https://github.com/{name}/pull/{number}");
    let body = json!({
        "action": "opened",
        "number": number,
        "pull_request": {
            "url": format!("https://api.github.com/repos/{name}/pulls/{number}"),
            "html_url": html_url,
            "number": number,
            "state": "open",
            "locked": false,
            "title": plan.title,
            "user": account(plan.author),
            "body": null,
            "created_at": updated_at,
            "updated_at": updated_at,
            "closed_at": null,
            "merged_at": null,
            "draft": false,
            "head": head,
            "base": base,
            "author_association": "MEMBER",
            "merged": false,
            "commits": 1,
        },
        "repository": repository(name),
        "sender": account(plan.author),
    });
    let body = body.to_string().into_bytes();
    Delivery { id: delivery_id(&body), event: "pull_request", body }
}

fn side(repository_name: &str, branch: &str, sha: &str) -> Value {
    let owner = owner(repository_name);
    json!({
        "label": format!("{owner}:{branch}"),
        "ref": branch,
        "sha": sha,
        "user": { "login": owner, "type": "Organization" },
        "repo": repository(repository_name),
    })
}

fn repository(name: &str) -> Value {
    json!({
        "name": name.rsplit('/').next(),
        "full_name": name,
        "private": false,
        "owner": { "login": owner(name), "type": "Organization" },
        "html_url": format!("https://github.com/{name}"),
        "clone_url": format!("https://github.com/{name}.git"),
        "fork": false,
        "default_branch": BASE_BRANCH,
    })
}

fn account(login: &str) -> Value {
    json!({ "login": login, "type": "User", "html_url": format!("https://github.com/{login}") })
}

fn owner(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// An id in the form of a UUID, made from the body.
fn delivery_id(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    let hex: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use sandgate_domain::GateResult;
    use sandgate_pr_automation::payload::understand_verified;
    use sandgate_pr_automation::{EventKind, TrustLists, TrustTier};

    use super::*;

    const SECRET: &[u8] = b"known to both sides";

    fn sample() -> Sample {
        let plan = |number, branch, head: &str, expected| PullRequestPlan {
            number,
            branch,
            title: "A change",
            author: "ada",
            base_sha: "b".repeat(40),
            head_sha: head.repeat(40),
            expected,
        };
        Sample {
            repository: "/sample".into(),
            name: "example/greeting",
            pull_requests: vec![
                plan(1, "good", "1", GateResult::Success),
                plan(2, "bad", "2", GateResult::Failure),
            ],
        }
    }

    #[test]
    fn the_receiving_side_understands_and_trusts_them() {
        let at = Timestamp::from_micros(1_795_255_200_000_000);
        let sample = sample();
        for (delivery, plan) in deliveries(&sample, at).iter().zip(&sample.pull_requests) {
            let event = understand_verified(&delivery.id, delivery.event, &delivery.body).unwrap();
            assert_eq!(event.repository.unwrap().as_str(), sample.name);
            let EventKind::PullRequest(event) = event.kind else { panic!("{:?}", event.kind) };
            assert_eq!((event.number, event.head.as_str()), (plan.number, plan.head_sha.as_str()));
            assert_eq!(event.head_branch.as_str(), plan.branch);
            assert_eq!(event.updated_at, Some(at));
            assert!(!event.is_fork && event.is_open == Some(true));
            assert_eq!(TrustLists::default().author_tier(&event), TrustTier::Member);
        }
    }

    #[test]
    fn ids_differ_between_deliveries_and_times_and_repeat_with_the_body() {
        let early = deliveries(&sample(), Timestamp::from_micros(1_000_000));
        let late = deliveries(&sample(), Timestamp::from_micros(2_000_000));
        assert_eq!(early, deliveries(&sample(), Timestamp::from_micros(1_000_000)));
        let mut ids: Vec<&str> = early.iter().chain(&late).map(|one| one.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4);
        assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    }

    #[tokio::test]
    async fn what_is_posted_is_what_was_signed() {
        let receive = |headers: axum::http::HeaderMap, body: bytes::Bytes| async move {
            let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
            if header("x-hub-signature-256") != sign(SECRET, &body) {
                let problem = json!({ "code": "bad_signature", "detail": "not ours" });
                return (axum::http::StatusCode::UNAUTHORIZED, axum::Json(problem));
            }
            let (id, name) = (header("x-github-delivery"), header("x-github-event"));
            let event = understand_verified(id, name, &body).unwrap();
            let answer = json!({ "deliveryId": event.delivery_id, "outcome": "queued" });
            (axum::http::StatusCode::ACCEPTED, axum::Json(answer))
        };
        let route = axum::routing::post(receive);
        let router = axum::Router::new().route("/api/webhooks/github", route);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let delivery = &deliveries(&sample(), Timestamp::from_micros(1_000_000))[0];
        let accepted = post(address, SECRET, delivery).await.unwrap();
        assert_eq!(accepted, Accepted { outcome: "queued".to_owned(), reason: None });
        let refused = post(address, b"another", delivery).await.unwrap_err();
        assert_eq!(
            (refused.exit, refused.code.as_str()),
            (crate::exit::Exit::Denied, "bad_signature")
        );
    }
}
