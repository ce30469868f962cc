//! One request over HTTP/1.1: bounded in time and size, and what went wrong in words.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use sandgate_domain::ErrorCode;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::failure::Failure;
use crate::progress::clean;

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long the start of an answer may take: longer than the server gives its own services.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// How long the rest of an answer may take.
const BODY_DEADLINE: Duration = Duration::from_secs(120);
/// How long a stream may be silent: several times as long as the server's own sign of life.
const SILENCE_DEADLINE: Duration = Duration::from_secs(60);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads `http://host:port`, or `host:port`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let message = format!("`{}` is no address of a server: {why}", clean(text.as_bytes()));
            Failure::new(ErrorCode::InvalidArgument, message)
                .help("give one such as `--server http://127.0.0.1:8080`")
        };
        if text.starts_with("https://") {
            let message = "this client speaks plain HTTP only, and a token must not cross a network in the open";
            return Err(Failure::new(ErrorCode::Unsupported, message).help(
                "reach the server over a tunnel: `ssh -L 8080:127.0.0.1:8080 <host>`, then `--server http://127.0.0.1:8080`",
            ));
        }
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = with_scheme.parse().map_err(|error| wrong(&format!("{error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("it must start with http://"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("it must end behind the port"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong("it must be a host and a port, and nothing else"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 80,
            Some(rest) => {
                let digits = rest.strip_prefix(':').and_then(|digits| digits.parse().ok());
                digits.ok_or_else(|| wrong("its port is no number from 0 to 65535"))?
            }
            None => return Err(wrong("it must be a host and a port, and nothing else")),
        };
        Ok(Self { host: authority.host().to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        Self { host, port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}:{}", self.host, self.port)
    }
}

/// What is asked.
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path and its query.
    pub path: &'a str,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The JSON of a good answer.
    pub fn json(&self, address: &Address) -> Result<Value, Failure> {
        self.check(address)?;
        serde_json::from_slice(&self.body).map_err(|_| {
            let message = format!("what answers at {address} is no Sandgate: it sent no JSON");
            Failure::new(ErrorCode::Internal, message).help("check the address given with --server")
        })
    }

    /// Whether the answer is a good one; else the failure that it tells.
    pub fn check(&self, address: &Address) -> Result<(), Failure> {
        if self.status.is_success() {
            return Ok(());
        }
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        Err(failure_of(&problem, self.status.as_u16(), address))
    }
}

/// Sends a request and reads the whole answer.
pub async fn send(address: &Address, request: Request<'_>) -> Result<Answer, Failure> {
    let (parts, body) = start(address, request).await?.into_parts();
    let whole = Limited::new(body, MAX_ANSWER_BYTES).collect();
    let whole = match tokio::time::timeout(BODY_DEADLINE, whole).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("{address} sent more than {} MiB", MAX_ANSWER_BYTES >> 20);
            return Err(Failure::new(ErrorCode::ResourceExhausted, message));
        }
        Ok(Err(error)) => return Err(broke_off(address, &error.to_string())),
        Err(_elapsed) => return Err(too_slow(address, BODY_DEADLINE)),
    };
    Ok(Answer { status: parts.status, body: whole.to_bytes() })
}

/// The body of a good answer that goes on.
pub struct Stream {
    address: Address,
    body: Incoming,
}

/// Sends a request whose answer goes on.
pub async fn open(address: &Address, request: Request<'_>) -> Result<Stream, Failure> {
    let response = start(address, request).await?;
    if response.status().is_success() {
        return Ok(Stream { address: address.clone(), body: response.into_body() });
    }
    let status = response.status();
    let whole = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
    let body = match tokio::time::timeout(BODY_DEADLINE, whole).await {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(_)) | Err(_) => Bytes::new(),
    };
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(failure_of(&problem, status.as_u16(), address))
}

impl Stream {
    /// The next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match tokio::time::timeout(SILENCE_DEADLINE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broke_off(&self.address, &error.to_string())),
                Err(_elapsed) => return Err(too_slow(&self.address, SILENCE_DEADLINE)),
            }
        }
    }
}

async fn start(address: &Address, request: Request<'_>) -> Result<Response<Incoming>, Failure> {
    let host = format!("{}:{}", address.host, address.port);
    let connecting = TcpStream::connect(host.as_str());
    let stream = match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(address, &error.to_string())),
        Err(_elapsed) => return Err(unreachable(address, "it did not answer in time")),
    };
    let mut builder =
        hyper::Request::builder().method(request.method).uri(request.path).header("host", host);
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    let wanted = builder.body(Full::new(request.body)).map_err(|error| {
        Failure::new(ErrorCode::InvalidArgument, format!("the request can't be made: {error}"))
    })?;
    let answering = async {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await?;
        // It ends with the connection; what goes wrong there is seen by who waits for the answer.
        tokio::spawn(connection);
        sender.send_request(wanted).await
    };
    match tokio::time::timeout(ANSWER_DEADLINE, answering).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(broke_off(address, &error.to_string())),
        Err(_elapsed) => Err(too_slow(address, ANSWER_DEADLINE)),
    }
}

/// The failure that an answer tells: its problem, or only its status.
pub fn failure_of(problem: &Value, status: u16, address: &Address) -> Failure {
    let field = |name: &str| problem.get(name).and_then(Value::as_str);
    let kind = field("code").and_then(kind_of_code).unwrap_or_else(|| kind_of_status(status));
    let message = match field("detail").or_else(|| field("title")) {
        // What it says is meant for who writes requests by hand.
        Some(_) if status == 401 => {
            format!("{address} does not know the access token that was sent")
        }
        Some(text) => clean(text.as_bytes()),
        None => format!("{address} answered {status} without a reason"),
    };
    let failure = Failure::new(kind, message);
    let failure = match field("code") {
        Some(code) => Failure { code: clean(code.as_bytes()), ..failure },
        None => failure,
    };
    match (status, field("code")) {
        (401, _) => failure.help(
            "give the server's own folder with --data-dir, or its token in SANDGATE_TOKEN (which comes first): the only line of `<data-dir>/token`",
        ),
        (403, Some("host_not_allowed")) => failure.help("give --server as the server printed its address"),
        (404 | 405, None) => failure.help("check the address given with --server, and that the server is of this version"),
        (503, _) => failure.help("try again in a few seconds"),
        (_, Some("internal")) => failure.help("look into what the server printed to standard error"),
        _ => failure,
    }
}

fn kind_of_code(code: &str) -> Option<ErrorCode> {
    let all = [
        ErrorCode::InvalidArgument,
        ErrorCode::NotFound,
        ErrorCode::Conflict,
        ErrorCode::PermissionDenied,
        ErrorCode::Unsupported,
        ErrorCode::Unavailable,
        ErrorCode::DeadlineExceeded,
        ErrorCode::ResourceExhausted,
        ErrorCode::Internal,
    ];
    all.into_iter().find(|kind| kind.as_str() == code)
}

fn kind_of_status(status: u16) -> ErrorCode {
    match status {
        401 | 403 => ErrorCode::PermissionDenied,
        404 | 410 => ErrorCode::NotFound,
        409 | 412 => ErrorCode::Conflict,
        429 => ErrorCode::ResourceExhausted,
        501 => ErrorCode::Unsupported,
        502 | 503 => ErrorCode::Unavailable,
        408 | 504 => ErrorCode::DeadlineExceeded,
        400..=499 => ErrorCode::InvalidArgument,
        _ => ErrorCode::Internal,
    }
}

fn unreachable(address: &Address, why: &str) -> Failure {
    let message = format!("no server answers at {address}: {why}");
    Failure::new(ErrorCode::Unavailable, message)
        .help("start one with `sandgate dev`, or name another one with --server")
}

fn broke_off(address: &Address, why: &str) -> Failure {
    let message = format!("the connection to {address} broke off: {why}");
    Failure::new(ErrorCode::Unavailable, message)
        .help("is it a Sandgate that listens there, and does it still run?")
}

fn too_slow(address: &Address, waited: Duration) -> Failure {
    let message = format!("{address} sent nothing for {} s", waited.as_secs());
    Failure::new(ErrorCode::DeadlineExceeded, message)
        .help("look into what the server printed to standard error")
}

#[cfg(test)]
mod tests;
