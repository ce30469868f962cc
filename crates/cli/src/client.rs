//! Speaks to a running `sandgate dev`: finds it, asks it, and turns its problems into failures with a next step.

mod events;
mod find;
pub mod http;
pub mod items;
mod query;

use std::path::PathBuf;

use sandgate_domain::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;
use events::Event;
use http::{Address, Answer, Request};

pub use find::runs_over;
pub use query::{Query, encoded};

/// The most pages of a list that are read to find one thing.
const MAX_PAGES: usize = 50;
/// How many items a page is asked to have when all are read.
const PAGE_SIZE: u32 = 200;
/// How often a stream that broke is opened again without anything new coming.
const MAX_REOPENED: u32 = 5;

/// A server that was found, and the right to ask it.
#[derive(Clone)]
pub struct Client {
    address: Address,
    token: String,
    /// The folder of its state, where that is known to be on this machine.
    data_dir: Option<PathBuf>,
}

impl Client {
    /// Finds the server that the flags, the environment or the records of running servers name. Nothing is asked yet.
    pub fn find(context: &Context) -> Result<Self, Failure> {
        let found = find::server(context)?;
        Ok(Self { address: found.address, token: found.token, data_dir: found.data_dir })
    }

    /// The server of this process.
    pub fn of(address: std::net::SocketAddr, token: &str) -> Self {
        Self { address: Address::from(address), token: token.to_owned(), data_dir: None }
    }

    /// The folder of the server's state, where that is known to be on this machine.
    pub fn data_dir(&self) -> Option<&std::path::Path> {
        self.data_dir.as_deref()
    }

    /// Asks for one thing.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(self.send("GET", path, None).await?.json(&self.address)?)
    }

    /// Sends something and reads the answer.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(std::io::Error::from)?;
        read(self.send("POST", path, Some(body)).await?.json(&self.address)?)
    }

    /// Removes something.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send("DELETE", path, None).await?.check(&self.address)
    }

    /// A page of a list.
    pub async fn page<T: DeserializeOwned>(&self, query: &Query) -> Result<Vec<T>, Failure> {
        let page: items::Page<T> = self.get(&query.to_string()).await?;
        Ok(page.items)
    }

    /// The first item of a list that fits; all pages are looked through.
    pub async fn first<T: DeserializeOwned>(
        &self,
        query: Query,
        fits: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, Failure> {
        Ok(self.fitting(query, 1, fits).await?.pop())
    }

    /// The first items of a list that fit, at most `count`; all pages are looked through.
    pub async fn fitting<T: DeserializeOwned>(
        &self,
        query: Query,
        count: usize,
        fits: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        let query = query.with("pageSize", PAGE_SIZE.to_string());
        let mut next = None;
        for _ in 0..MAX_PAGES {
            let page = match &next {
                Some(token) => query.clone().with("pageToken", token),
                None => query.clone(),
            };
            let page: items::Page<T> = self.get(&page.to_string()).await?;
            let room = count - found.len();
            found.extend(page.items.into_iter().filter(|item| fits(item)).take(room));
            next = page.next_page_token;
            if next.is_none() || found.len() == count {
                return Ok(found);
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        let seen = u64::from(PAGE_SIZE) * MAX_PAGES as u64;
        let message = format!("it is not among the newest {seen} of {}", query.path());
        Err(Failure::new(ErrorCode::ResourceExhausted, message))
    }

    /// The bytes of a text.
    pub async fn text(&self, path: &str) -> Result<bytes::Bytes, Failure> {
        let answer = self.send("GET", path, None).await?;
        answer.check(&self.address)?;
        Ok(answer.body)
    }

    /// Follows a stream of events to its end; goes on behind what was seen when the connection breaks.
    pub async fn follow(
        &self,
        path: &str,
        mut take: impl FnMut(Event) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut last_id = None;
        let mut reopened = 0;
        loop {
            let broke = match self.follow_once(path, &mut last_id, &mut reopened, &mut take).await {
                Ok(()) => return Ok(()),
                Err(Ended::Failed(failure)) => return Err(failure),
                Err(Ended::Broke(failure)) => failure,
            };
            if reopened == MAX_REOPENED {
                return Err(broke);
            }
            reopened += 1;
            tokio::time::sleep(std::time::Duration::from_millis(200) * reopened).await;
        }
    }

    async fn follow_once(
        &self,
        path: &str,
        last_id: &mut Option<String>,
        reopened: &mut u32,
        take: &mut impl FnMut(Event) -> Result<(), Failure>,
    ) -> Result<(), Ended> {
        let mut request = self.request("GET", path, None);
        request.headers.push(("accept", "text/event-stream".to_owned()));
        if let Some(id) = last_id {
            request.headers.push(("last-event-id", id.clone()));
        }
        let is_first = *reopened == 0;
        let opened = http::open(&self.address, request).await;
        let mut body = opened.map_err(|failure| match is_first {
            true => Ended::Failed(failure),
            false => Ended::Broke(failure),
        })?;
        let mut parser = events::Parser::default();
        loop {
            let Some(chunk) = body.next().await.map_err(Ended::Broke)? else {
                let message = format!("{} ended the stream in the middle", self.address);
                return Err(Ended::Broke(Failure::new(ErrorCode::Unavailable, message)));
            };
            for event in parser.push(&chunk).map_err(Ended::Failed)? {
                *reopened = 0;
                match event.name.as_str() {
                    "end" => return Ok(()),
                    "problem" => return Err(self.problem(&event)),
                    _ => {}
                }
                if !event.id.is_empty() {
                    *last_id = Some(event.id.clone());
                }
                take(event).map_err(Ended::Failed)?;
            }
        }
    }

    fn problem(&self, event: &Event) -> Ended {
        let problem: Value = serde_json::from_str(&event.data).unwrap_or_default();
        Ended::Failed(http::failure_of(&problem, 500, &self.address))
    }

    async fn send(
        &self,
        method: &'static str,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        http::send(&self.address, self.request(method, path, body)).await
    }

    fn request<'a>(
        &self,
        method: &'static str,
        path: &'a str,
        body: Option<Vec<u8>>,
    ) -> Request<'a> {
        let mut headers = vec![("authorization", format!("Bearer {}", self.token))];
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Request { method, path, headers, body: body.unwrap_or_default().into() }
    }
}

/// Why a stream ended before its end.
enum Ended {
    /// Opening it again may help.
    Broke(Failure),
    /// It won't.
    Failed(Failure),
}

fn read<T: DeserializeOwned>(json: Value) -> Result<T, Failure> {
    serde_json::from_value(json).map_err(|error| {
        let message = format!("the server's answer can't be read: {error}");
        Failure::new(ErrorCode::Internal, message)
            .help("are `sandgate` and the server of the same version? compare `sandgate --version` with /version")
    })
}

#[cfg(test)]
mod tests;
