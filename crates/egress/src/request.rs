//! One request: a tunnel for `CONNECT`, an exchange for plain HTTP, or a text that says why not.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::Error;
use crate::headers;
use crate::meter::{Activity, Watched};
use crate::proxy::{HEAD_BYTES, Place, Shared};
use crate::target::{Target, shown};

/// A text of ours, or the answer of a server as it arrives.
pub(crate) type Body = Either<Full<Bytes>, Incoming>;

/// How much of a tunnel is held at a time, in each direction.
const TUNNEL_BYTES: usize = 32 * 1024;

/// Carries the request; whatever fails becomes an answer and an incident.
pub(crate) async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    place: Place,
) -> Response<Body> {
    let carried = if request.method() == Method::CONNECT {
        connect(request, &shared, place).await
    } else {
        forward(request, &shared, place).await
    };
    carried.unwrap_or_else(|error| {
        let text = error.full_text();
        shared.ledger.record(&error, &text);
        tracing::debug!(proxy.error = %text, "the proxy did not carry a request");
        say(&error, &text)
    })
}

fn say(error: &Error, text: &str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(format!("sandgate: {text}\n"))));
    *response.status_mut() = error.status();
    let plain_text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain_text);
    response
}

async fn connect(
    mut request: Request<Incoming>,
    shared: &Arc<Shared>,
    place: Place,
) -> Result<Response<Body>, Error> {
    let authority = request.uri().authority();
    let authority = authority.ok_or(Error::Request("CONNECT takes host:port"))?;
    if authority.port().is_none() {
        return Err(Error::Request("CONNECT takes host:port, and the port is missing"));
    }
    let target = Target::parse(authority, 443)
        .map_err(|reason| Error::Refused { target: shown(authority), reason })?;
    let (outside, activity) = reach(&target, shared).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let tunnel = tunnel(upgrade, outside, activity, Arc::clone(shared));
    let stop = shared.shutdown.clone();
    shared.tasks.spawn(async move {
        stop.run_until_cancelled(tunnel).await;
        drop(place);
    });
    Ok(Response::new(Either::Left(Full::default())))
}

async fn tunnel(
    upgrade: OnUpgrade,
    mut outside: Watched<TcpStream>,
    activity: Arc<Activity>,
    shared: Arc<Shared>,
) {
    let mut inside = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => {
            tracing::debug!(%error, "a client left before its tunnel was up");
            return;
        }
    };
    let (up, down) = (TUNNEL_BYTES, TUNNEL_BYTES);
    tokio::select! {
        ended = tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut outside, up, down) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a tunnel broke");
            }
        }
        () = activity.quiet_for(shared.limits.idle) => tracing::debug!("a tunnel went quiet"),
    }
}

async fn forward(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    place: Place,
) -> Result<Response<Body>, Error> {
    let (target, request) = rewrite(request)?;
    let (outside, activity) = reach(&target, shared).await?;
    let exchange = |source| Error::Exchange { target: target.to_string(), source };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .preserve_header_case(true)
        .handshake(TokioIo::new(outside))
        .await
        .map_err(exchange)?;
    let stop = shared.shutdown.clone();
    let limit = shared.limits.idle;
    let watched = Arc::clone(&activity);
    shared.tasks.spawn(async move {
        tokio::select! {
            // What breaks here breaks the answer or its body too, and is told there.
            _ = connection => {}
            () = watched.quiet_for(limit) => {}
            () = stop.cancelled() => {}
        }
        drop(place);
    });
    let response = sender.send_request(request).await.map_err(|source| {
        let target = target.to_string();
        match activity.expired() {
            true => Error::Idle { target, seconds: limit.as_secs() },
            false => Error::Exchange { target, source },
        }
    })?;
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11;
    headers::pass_on(&mut parts.headers);
    Ok(Response::from_parts(parts, Either::Right(body)))
}

/// The request as the server gets it: origin form, `Host` of the target, without what belonged to the proxy connection.
fn rewrite(request: Request<Incoming>) -> Result<(Target, Request<Incoming>), Error> {
    let (mut parts, body) = request.into_parts();
    let Some(authority) = parts.uri.authority().cloned() else {
        return Err(Error::Request("it names no server; send GET http://host/path or CONNECT"));
    };
    if parts.uri.scheme_str() != Some("http") {
        return Err(Error::Request("only http:// is carried in this form; send CONNECT for https"));
    }
    let target = Target::parse(&authority, 80)
        .map_err(|reason| Error::Refused { target: shown(&authority), reason })?;
    let host = HeaderValue::from_str(authority.as_str())
        .map_err(|_| Error::Request("its host does not fit into a header"))?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().map_err(|_| Error::Request("its path cannot be read"))?;
    parts.version = Version::HTTP_11;
    headers::pass_on(&mut parts.headers);
    parts.headers.insert(header::HOST, host);
    Ok((target, Request::from_parts(parts, body)))
}

async fn reach(
    target: &Target,
    shared: &Shared,
) -> Result<(Watched<TcpStream>, Arc<Activity>), Error> {
    let stream = shared.dialer.connect(target).await?;
    stream
        .set_nodelay(true)
        .map_err(|source| Error::Connect { target: target.to_string(), source })?;
    let activity = Arc::new(Activity::default());
    let ledger = Arc::clone(&shared.ledger);
    Ok((Watched::outside(stream, Arc::clone(&activity), ledger), activity))
}
