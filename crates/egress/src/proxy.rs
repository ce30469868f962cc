//! The proxy of one sandbox: takes clients from the listener, within the limits, until it is told to stop.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dial::Dialer;
use crate::error::Error;
use crate::meter::{Activity, Watched};
use crate::own;
use crate::policy::{Limits, Policy};
use crate::request;
use crate::usage::{Incident, Ledger, Usage};

/// The largest head of a request or an answer, in bytes.
pub(crate) const HEAD_BYTES: usize = 32 * 1024;

/// The pause after an accept that failed, for instance because the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running proxy. Dropping this does not stop it; the token given to [`serve`] does.
#[derive(Debug)]
pub struct Proxy {
    ledger: Arc<Ledger>,
    tasks: TaskTracker,
}

impl Proxy {
    /// What has been used so far.
    pub fn usage(&self) -> Usage {
        self.ledger.usage()
    }

    /// What was refused or failed so far: different ones, the first 64.
    pub fn incidents(&self) -> Vec<Incident> {
        self.ledger.incidents()
    }

    /// Returns once the proxy was told to stop and all its connections are closed.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// What all connections of one proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dialer: Dialer,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) limits: Limits,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// One of the limited places for clients; a tunnel keeps it after the HTTP connection has ended.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// Serves the proxy on a listener, which may belong to another network namespace, until `shutdown`.
///
/// Must be called inside a tokio runtime with network and time. On `shutdown` every connection is closed at once.
pub fn serve(
    listener: StdListener,
    policy: Policy,
    shutdown: CancellationToken,
) -> Result<Proxy, Error> {
    own::check()?;
    listener.set_nonblocking(true).map_err(Error::Listener)?;
    let listener = TcpListener::from_std(listener).map_err(Error::Listener)?;
    let ledger = Arc::new(Ledger::default());
    let tasks = TaskTracker::new();
    tasks.close();
    let shared = Arc::new(Shared {
        limits: policy.limits,
        dialer: Dialer::new(policy),
        ledger: Arc::clone(&ledger),
        tasks: tasks.clone(),
        shutdown,
    });
    tasks.spawn(async move {
        shared.shutdown.run_until_cancelled(accept(&listener, &shared)).await;
    });
    Ok(Proxy { ledger, tasks })
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let places = Arc::new(Semaphore::new(shared.limits.connections));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                shared.ledger.count_connection();
                let served = connection(stream, Arc::clone(shared), Arc::new(place));
                let stop = shared.shutdown.clone();
                shared.tasks.spawn(async move { stop.run_until_cancelled(served).await });
            }
            Err(error) => {
                tracing::warn!(%error, "the proxy could not accept a connection of its sandbox");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, place: Place) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a client of the proxy left at once");
        return;
    }
    let limits = shared.limits;
    let activity = Arc::new(Activity::default());
    let client = TokioIo::new(Watched::inside(stream, Arc::clone(&activity)));
    let service = service_fn(move |incoming| {
        let (shared, place) = (Arc::clone(&shared), Arc::clone(&place));
        async move { Ok::<_, Infallible>(request::answer(incoming, shared, place).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .preserve_header_case(true)
        .serve_connection(client, service)
        .with_upgrades();
    // Longer than the outside may take, so that a client still hears that the outside took too long.
    let client_quiet = limits.connect + limits.idle * 2;
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the proxy ended early");
        },
        () = activity.quiet_for(client_quiet) => tracing::debug!("a client of the proxy went quiet"),
    }
}
