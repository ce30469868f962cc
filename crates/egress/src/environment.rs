//! The variables that lead the tools inside a sandbox to the proxy.

use std::net::{Ipv4Addr, SocketAddr};

/// Where the proxy listens inside the sandbox.
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3128);

/// What tools reach without the proxy: the sandbox's own loopback.
const DIRECT: &str = "localhost,127.0.0.1,::1";

/// The proxy variables for a sandbox with `network: full`.
///
/// - Both spellings: curl reads plain HTTP's proxy from the lower-case one only, some tools know the upper-case one only.
/// - No `ALL_PROXY` and no `npm_config_…`: whoever reads these reads `https_proxy` too.
/// - `NODE_USE_ENV_PROXY`: node's own `fetch` ignores the others without it (from node 22.21 and 24 on; older ones can't).
/// - `JAVA_TOOL_OPTIONS`: the JVM knows no proxy variable. Its price is one line on standard error at each start.
pub fn environment() -> Vec<(&'static str, String)> {
    let proxy = format!("http://{ADDRESS}");
    let (host, port) = (ADDRESS.ip(), ADDRESS.port());
    let java = format!(
        "-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} -Dhttps.proxyHost={host} -Dhttps.proxyPort={port}"
    );
    vec![
        ("http_proxy", proxy.clone()),
        ("https_proxy", proxy.clone()),
        ("HTTP_PROXY", proxy.clone()),
        ("HTTPS_PROXY", proxy),
        ("no_proxy", DIRECT.to_owned()),
        ("NO_PROXY", DIRECT.to_owned()),
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
        ("JAVA_TOOL_OPTIONS", java),
    ]
}
