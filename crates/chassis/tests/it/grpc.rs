//! The gRPC listener: health for all, everything else for those who know the secret.

use std::net::SocketAddr;

use sandgate_chassis::{Secret, serve_grpc};
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{PATIENCE, Served, limits, listener, shutdown};

const SECRET: &str = "a shared secret";

fn start() -> Served {
    let listener = listener();
    let (address, shutdown) = (listener.address(), shutdown());
    let serving =
        serve_grpc(listener, Routes::default(), Secret::new(SECRET), limits(), shutdown.clone());
    Served { address, shutdown, task: tokio::spawn(serving) }
}

async fn channel(address: SocketAddr) -> tonic::transport::Channel {
    tonic::transport::Endpoint::try_from(format!("http://{address}"))
        .unwrap()
        .timeout(PATIENCE)
        .connect()
        .await
        .unwrap()
}

/// Calls a method that no service has and returns the status.
async fn call(address: SocketAddr, authorization: Option<&str>) -> Code {
    use tower_service::Service as _;
    let mut channel = channel(address).await;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let mut request = Request::post("/sandgate.v1.Runs/List").body(Body::empty()).unwrap();
    if let Some(value) = authorization {
        request.headers_mut().insert("authorization", value.parse().unwrap());
    }
    let response: Response<Body> = channel.call(request).await.unwrap();
    tonic::Status::from_header_map(response.headers()).unwrap().code()
}

#[tokio::test]
async fn calls_need_the_secret() {
    let served = start();
    for (authorization, expected) in [
        (None, Code::Unauthenticated),
        (Some("Bearer "), Code::Unauthenticated),
        (Some("Bearer a shared secreT"), Code::Unauthenticated),
        (Some("Basic a shared secret"), Code::Unauthenticated),
        (Some("a shared secret"), Code::Unauthenticated),
        // Let in, and then there is no such method.
        (Some("Bearer a shared secret"), Code::Unimplemented),
    ] {
        assert_eq!(call(served.address, authorization).await, expected, "{authorization:?}");
    }
    served.shutdown.soft.cancel();
    served.ends().await;
}

#[tokio::test]
async fn health_is_open_and_tells_the_stop() {
    let served = start();
    let mut client = HealthClient::new(channel(served.address).await);
    let question = HealthCheckRequest { service: String::new() };
    let answer = client.check(question.clone()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let mut watch = client.watch(question).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    served.shutdown.soft.cancel();
    let next = tokio::time::timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    served.shutdown.hard.cancel();
    served.ends().await;
}
