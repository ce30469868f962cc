//! From a target to a connection: look the name up once, judge every address, connect to a judged one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::lookup::Lookups;
use crate::policy::{Judged, Policy};
use crate::target::{Host, Target};

/// How long one address has before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Makes the connections of one sandbox.
#[derive(Debug)]
pub(crate) struct Dialer {
    policy: Policy,
    lookups: Lookups,
}

impl Dialer {
    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, lookups: Lookups::new() }
    }

    /// Connects to the target if the policy allows one of its addresses.
    pub(crate) async fn connect(&self, target: &Target) -> Result<TcpStream, Error> {
        let limit = self.policy.limits.connect;
        match tokio::time::timeout(limit, self.reach(target)).await {
            Ok(reached) => reached,
            Err(_) => {
                Err(Error::ConnectTimeout { target: target.to_string(), seconds: limit.as_secs() })
            }
        }
    }

    async fn reach(&self, target: &Target) -> Result<TcpStream, Error> {
        self.policy
            .judge_port(target.port)
            .map_err(|reason| Error::Refused { target: target.to_string(), reason })?;
        let found = self
            .look_up(target)
            .await
            .map_err(|source| Error::Lookup { target: target.to_string(), source })?;
        let judged = judge_all(&self.policy, target, found)?;
        connect_first(judged)
            .await
            .map_err(|source| Error::Connect { target: target.to_string(), source })
    }

    async fn look_up(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        let addresses = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.lookups.addresses(name).await?,
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect())
    }
}

/// The addresses that may be connected to; if there is none, why the first one may not.
fn judge_all(
    policy: &Policy,
    target: &Target,
    found: Vec<SocketAddr>,
) -> Result<Vec<Judged>, Error> {
    let mut allowed = Vec::new();
    let mut refused = None;
    for address in found {
        match policy.judge(address) {
            Ok(judged) if allowed.contains(&judged) => {}
            Ok(judged) => allowed.push(judged),
            Err(reason) => {
                refused.get_or_insert((address, reason));
            }
        }
    }
    match refused {
        Some((address, reason)) if allowed.is_empty() => {
            let target = match target.host {
                Host::Address(_) => target.to_string(),
                Host::Name(_) => format!("{target} at {}", address.ip()),
            };
            Err(Error::Refused { target, reason })
        }
        Some(_) | None => Ok(allowed),
    }
}

/// The first connection that succeeds; an address that is slow gets company, one that fails is followed at once.
async fn connect_first(addresses: Vec<Judged>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut running = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
    loop {
        let more = match waiting.next() {
            Some(judged) => {
                running.spawn(TcpStream::connect(judged.address()));
                waiting.len() > 0
            }
            None => false,
        };
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            () = tokio::time::sleep(HEAD_START), if more => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = error,
            Some(Err(error)) => failure = io::Error::other(error),
            None => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::address::Refusal;

    fn policy(listed: &[SocketAddr]) -> Policy {
        Policy { listed: listed.to_vec(), ..Policy::default() }
    }

    fn name(port: u16) -> Target {
        Target { host: Host::Name("rebind.example".into()), port }
    }

    #[test]
    fn of_a_mixed_answer_only_the_allowed_addresses_remain() {
        let found = ["169.254.169.254:443", "203.0.113.80:443", "[::ffff:203.0.113.80]:443"]
            .map(|text| text.parse().unwrap());
        let judged = judge_all(&policy(&[]), &name(443), found.to_vec()).unwrap();
        let left: Vec<_> = judged.into_iter().map(Judged::address).collect();
        assert_eq!(left, [found[1]]);
    }

    #[test]
    fn an_answer_without_allowed_addresses_is_refused_with_address_and_reason() {
        let found = vec!["127.0.0.1:443".parse().unwrap(), "10.0.0.1:443".parse().unwrap()];
        let error = judge_all(&policy(&[]), &name(443), found).unwrap_err();
        assert!(matches!(error, Error::Refused { reason: Refusal::Loopback, .. }));
        assert!(error.to_string().contains("rebind.example:443 at 127.0.0.1"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_fails_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let gone = TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let judged = judge_all(&policy(&[closed, open]), &name(80), vec![closed, open]).unwrap();
        let stream = connect_first(judged).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);

        let judged = judge_all(&policy(&[closed]), &name(80), vec![closed]).unwrap();
        let error = connect_first(judged).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
