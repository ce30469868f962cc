//! A `sandgate dev` of its own, as a child process, and the requests that figures send it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use ring::hmac;
use serde_json::Value;

use crate::stand::Stand;

const SECRET: &str = "the secret of these measurements";
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 64 << 20;

/// A server that runs until this is dropped.
pub struct Server {
    child: Child,
    /// Kept open, so that the child can write.
    _stdout: BufReader<ChildStdout>,
    address: String,
    data: PathBuf,
}

impl Server {
    /// Starts one on free ports; returns as soon as it says where it listens.
    pub fn start(stand: &Stand<'_>, data: &Path) -> anyhow::Result<Self> {
        let state = data.with_extension("state");
        fs::create_dir_all(&state)?;
        let error = fs::File::create(data.with_extension("log"))?;
        let any = "127.0.0.1:0";
        let mut command = stand.sandgate(&["dev", "--listen", any, "--grpc-listen", any]);
        let mut child = command
            .args(["--print-address", "--data-dir"])
            .arg(data)
            .current_dir(&state)
            .env("XDG_STATE_HOME", &state)
            .env("GITHUB_WEBHOOK_SECRET", SECRET)
            .stdout(Stdio::piped())
            .stderr(error)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let mut server =
            Self { child, _stdout: stdout, address: String::new(), data: data.to_owned() };
        let addresses: Value = serde_json::from_str(&line)
            .with_context(|| format!("it said {line:?}: {}", server.said()))?;
        server.address = addresses["http"].as_str().context("no address")?.to_owned();
        Ok(server)
    }

    /// Waits until it is ready.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.connect().and_then(|mut connection| connection.get("/readyz"));
            match status {
                Ok((200, _)) => return Ok(()),
                _ if Instant::now() > end => bail!("it is not ready: {}", self.said()),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that stays open.
    pub fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        // Its folder has the token as soon as it listens.
        let token = fs::read_to_string(self.data.join("token"))?.trim().to_owned();
        Ok(Connection { reader: BufReader::new(stream), host: self.address.clone(), token })
    }

    fn said(&self) -> String {
        fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let end = Instant::now() + PATIENCE;
        while asked.is_ok() && Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("a server did not end when it was asked to: it is killed");
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("a server could not be ended: {error}");
        }
    }
}

/// One connection to a server; one request at a time.
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
    token: String,
}

/// When a delivery was sent, and when its answer was here: nanoseconds since 1970.
pub struct Posted {
    pub sent: u128,
    pub answered: u128,
}

impl Connection {
    /// Posts a signed delivery, which must be taken in.
    pub fn deliver(&mut self, id: &str, body: &Value) -> anyhow::Result<Posted> {
        let body = body.to_string();
        let signature = sign(body.as_bytes());
        let headers = format!(
            "x-github-delivery: {id}\r\nx-github-event: pull_request\r\nx-hub-signature-256: {signature}\r\n"
        );
        let sent = nanoseconds();
        let (status, answer) = self.send("POST", "/api/webhooks/github", &headers, &body)?;
        let answered = nanoseconds();
        let answer = String::from_utf8_lossy(&answer);
        let outcome: Value = serde_json::from_str(&answer).unwrap_or_default();
        if status != 202 || outcome["outcome"] != "queued" {
            bail!("a delivery was answered with {status}: {answer}");
        }
        Ok(Posted { sent, answered })
    }

    /// Posts a document to the API.
    pub fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<()> {
        let (status, answer) = self.send("POST", path, "", &body.to_string())?;
        if status >= 300 {
            bail!("POST {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    /// A document of the API.
    pub fn read(&mut self, path: &str) -> anyhow::Result<Value> {
        let (status, answer) = self.get(path)?;
        if status != 200 {
            bail!("GET {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// The status and the body of an answer.
    pub fn get(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.send("GET", path, "", "")
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let Self { host, token, .. } = self;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        self.reader.get_mut().write_all(request.as_bytes())?;
        self.receive()
    }

    fn receive(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).context("no status")?.parse()?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { bail!("no header: {line}") };
            match name {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        if !is_chunked {
            self.take(length, &mut body)?;
            return Ok((status, body));
        }
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            self.take(size, &mut body)?;
            self.line()?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> anyhow::Result<()> {
        if body.len().saturating_add(length) > MAX_BODY {
            bail!("an answer is too long");
        }
        let begin = body.len();
        body.resize(begin + length, 0);
        Ok(self.reader.read_exact(&mut body[begin..])?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The clock that gates read, too.
#[expect(clippy::disallowed_methods, reason = "it is compared with what a shell prints")]
fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// `X-Hub-Signature-256` as a forge makes it.
fn sign(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}
