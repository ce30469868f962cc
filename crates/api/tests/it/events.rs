//! Event streams: live, resumed, ended, broken.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header;
use futures_util::StreamExt;
use sandgate_wire::runs::v1::{LogChunk, RunEvent};
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{Doors, LIVE_GATE, LIVE_RUN, RUN, doors, request};

#[derive(Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    async fn open(doors: &Doors, path: &str, last: Option<&str>) -> Self {
        let mut request = request("GET", path, Body::empty());
        request.headers_mut().insert(header::ACCEPT, "text/event-stream".parse().unwrap());
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.parse().unwrap());
        }
        let response = doors.start(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event::default();
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("event", name)) => event.name = name.to_owned(),
                        Some(("id", id)) => event.id = id.to_owned(),
                        Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                return Some(event);
            }
            let wait = Duration::from_secs(10);
            let chunk = tokio::time::timeout(wait, self.body.next()).await.expect("an event");
            self.text.push_str(std::str::from_utf8(&chunk?.unwrap()).unwrap());
        }
    }
}

fn change(doors: &Doors, sequence: u64) -> RunEvent {
    let run = doors.memory.held().runs[0].clone();
    RunEvent { sequence, run: Some(run), step: Some("integration".to_owned()) }
}

#[tokio::test]
async fn a_run_is_followed_until_its_verdict() {
    let doors = doors();
    let mut events = Events::open(&doors, &format!("/api/v1/runs/{LIVE_RUN}/events"), None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_str()), ("change", "1"));
    assert_eq!(first.data["run"]["id"], LIVE_RUN);
    let watcher = doors.memory.held().watchers.remove(0);
    watcher.send(Ok(change(&doors, 2))).await.unwrap();
    let second = events.next().await.unwrap();
    assert_eq!((second.id.as_str(), &second.data["step"]), ("2", &json!("integration")));
    let open = doors.get("/metrics").await.text();
    assert!(open.contains("sandgate_api_open_streams 1"), "{open}");
    drop(watcher);
    assert_eq!(events.next().await.unwrap().name, "end");
    assert_eq!(events.next().await, None);
    drop(events);
    assert!(doors.get("/metrics").await.text().contains("sandgate_api_open_streams 0"));
}

#[tokio::test]
async fn a_resumed_stream_leaves_out_what_was_seen() {
    let doors = doors();
    let path = format!("/api/v1/runs/{LIVE_RUN}/events");
    let mut events = Events::open(&doors, &path, Some("2")).await;
    let watcher = doors.memory.held().watchers.remove(0);
    for sequence in [2, 3] {
        watcher.send(Ok(change(&doors, sequence))).await.unwrap();
    }
    assert_eq!(events.next().await.unwrap().id, "3");
    let mut ended = Events::open(&doors, &format!("/api/v1/runs/{RUN}/events"), Some("1")).await;
    assert_eq!(ended.next().await.unwrap().name, "end");
}

#[tokio::test]
async fn a_broken_stream_says_so_and_does_not_end() {
    let doors = doors();
    let mut events = Events::open(&doors, &format!("/api/v1/runs/{LIVE_RUN}/events"), None).await;
    events.next().await.unwrap();
    let watcher = doors.memory.held().watchers.remove(0);
    watcher.send(Err(Status::unavailable("going down"))).await.unwrap();
    let broken = events.next().await.unwrap();
    assert_eq!((broken.name.as_str(), &broken.data["code"]), ("problem", &json!("unavailable")));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_log_is_followed_as_plain_text_and_resumed_by_offset() {
    let doors = doors();
    let path = format!("/api/v1/gates/{LIVE_GATE}/log?offset=4");
    let mut events = Events::open(&doors, &path, None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_str()), ("log", "11"));
    assert_eq!(first.data, json!({"offset": 4, "text": "alling\n"}));

    let reader = doors.memory.held().log_readers.remove(0);
    let send = async |data: &'static [u8]| {
        let chunk = LogChunk { offset: 0, data: data.into(), stream: 1 };
        reader.send(Ok(chunk)).await.unwrap();
    };
    send(b"caf\xc3").await;
    let part = events.next().await.unwrap();
    assert_eq!((part.id.as_str(), &part.data["text"]), ("14", &json!("caf")));
    send(b"\xa9 \x1b[3").await;
    let part = events.next().await.unwrap();
    assert_eq!((part.id.as_str(), &part.data["text"]), ("17", &json!("\u{e9} ")));
    send(b"1mred\x1b[0").await;
    assert_eq!(events.next().await.unwrap().data["text"], "red");
    drop(reader);
    assert_eq!(events.next().await.unwrap().data["text"], "");
    assert_eq!(events.next().await.unwrap().name, "end");

    let mut resumed = Events::open(&doors, &path, Some("8")).await;
    assert_eq!(resumed.next().await.unwrap().data, json!({"offset": 8, "text": "ng\n"}));
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_the_service() {
    let doors = doors();
    let mut events = Events::open(&doors, &format!("/api/v1/runs/{LIVE_RUN}/events"), None).await;
    events.next().await.unwrap();
    let watcher = doors.memory.held().watchers.remove(0);
    drop(events);
    tokio::time::timeout(Duration::from_secs(10), watcher.closed()).await.expect("it is told");
}

#[tokio::test]
async fn streams_are_bounded() {
    let doors = doors();
    let path = format!("/api/v1/runs/{LIVE_RUN}/events");
    let mut open = Vec::new();
    for _ in 0..512 {
        open.push(Events::open(&doors, &path, None).await);
    }
    doors.get(&path).await.assert_problem(429, "resource_exhausted");
    open.pop();
    open.push(Events::open(&doors, &path, None).await);
}
