//! Streams that break, and lists of many pages, against a server on a free port.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Query as Asked;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::*;

async fn serve(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client { address, token: "token".to_owned(), data_dir: None }
}

/// A route that answers one text after the other, each a stream that ends where its text ends; and the ids that it was asked
/// to go on behind.
fn stream_of(texts: Vec<&'static str>) -> (Router, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let answer = move |headers: HeaderMap| async move {
        let id = headers.get("last-event-id").map_or("", |id| id.to_str().unwrap()).to_owned();
        let mut noted = noted.lock().unwrap();
        let text = texts.get(noted.len()).copied().unwrap_or(": nothing more\n\n");
        noted.push(id);
        Body::from_stream(tokio_stream::iter([Ok::<_, Infallible>(text)]))
    };
    (Router::new().route("/log", get(answer)), seen)
}

async fn followed(client: &Client) -> (Result<(), Failure>, Vec<String>) {
    let mut taken = Vec::new();
    let outcome = client.follow("/log", |event| {
        taken.push(event.data);
        Ok(())
    });
    (outcome.await, taken)
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_behind_what_was_seen() {
    let (router, seen) = stream_of(vec![
        "event: log\nid: 3\ndata: one\n\nevent: log\nid: 6\ndata: tw",
        "event: log\nid: 6\ndata: two\n\n",
        "event: end\ndata: {}\n\n",
    ]);
    let (outcome, taken) = followed(&serve(router).await).await;
    outcome.unwrap();
    assert_eq!(taken, ["one", "two"]);
    assert_eq!(*seen.lock().unwrap(), ["", "3", "6"]);
}

#[tokio::test]
async fn a_problem_ends_a_stream_and_an_endless_break_is_given_up() {
    let (router, seen) = stream_of(vec![
        "event: problem\ndata: {\"code\":\"not_found\",\"detail\":\"the log was removed\"}\n\n",
    ]);
    let (outcome, _) = followed(&serve(router).await).await;
    let failure = outcome.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.message.as_str()),
        ("not_found", "the log was removed")
    );
    assert_eq!(seen.lock().unwrap().len(), 1);

    let (router, seen) = stream_of(Vec::new());
    let (outcome, _) = followed(&serve(router).await).await;
    assert_eq!(outcome.unwrap_err().code, "unavailable");
    assert_eq!(seen.lock().unwrap().len() as u32, MAX_REOPENED + 1);
}

#[tokio::test]
async fn all_pages_are_looked_through_and_a_list_without_end_is_not() {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        page_token: Option<u32>,
        repo: String,
    }
    let pages = |Asked(page): Asked<Page>| async move {
        assert_eq!(page.repo, "acme/web");
        let number = page.page_token.unwrap_or(0);
        Json(json!({ "items": [number], "nextPageToken": (number + 1).to_string() }))
    };
    let client = serve(Router::new().route("/list", get(pages))).await;
    let query = || Query::new("/list").with("repo", "acme/web");
    let found = client.first(query(), |number: &u32| *number == 7).await.unwrap();
    assert_eq!(found, Some(7));
    let failure = client.first(query(), |_: &u32| false).await.unwrap_err();
    assert_eq!(failure.code, "resource_exhausted");
}
