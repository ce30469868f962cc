//! The table of routes and who may call each.

use axum::http::Method;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Everybody, where only this machine can reach us; else who has the token.
    OpenOnLoopback,
    /// Everybody who asks under one of our names: this is where a token becomes a session.
    Login,
    /// Who signed the body; the handler verifies it.
    Signature,
    /// Who has the token.
    Token,
    /// Who has the token; answered with a page.
    Page,
}

/// Every route: method, path, and who may call it.
pub const TABLE: &[(Method, &str, Access)] = &[
    (Method::GET, "/livez", Access::Open),
    (Method::GET, "/readyz", Access::Open),
    (Method::GET, "/version", Access::Open),
    (Method::GET, "/metrics", Access::OpenOnLoopback),
    (Method::GET, "/openapi.json", Access::Token),
    (Method::GET, "/login", Access::Login),
    (Method::POST, "/login", Access::Login),
    (Method::GET, "/assets/{name}", Access::Open),
    (Method::GET, "/", Access::Page),
    (Method::GET, "/runs", Access::Page),
    (Method::GET, "/runs/{id}", Access::Page),
    (Method::GET, "/runs/{id}/live", Access::Page),
    (Method::POST, "/runs/{id}/cancel", Access::Page),
    (Method::POST, "/runs/{id}/rerun", Access::Page),
    (Method::GET, "/gates/{id}", Access::Page),
    (Method::GET, "/snapshots", Access::Page),
    (Method::GET, "/sandboxes", Access::Page),
    (Method::GET, "/deliveries", Access::Page),
    (Method::POST, "/deliveries/{id}/redeliver", Access::Page),
    (Method::GET, "/pull-requests", Access::Page),
    (Method::GET, "/pull-requests/{id}", Access::Page),
    (Method::POST, "/pull-requests/{id}/approve", Access::Page),
    (Method::POST, "/api/webhooks/github", Access::Signature),
    (Method::POST, "/api/webhooks/github/ping", Access::Open),
    (Method::GET, "/api/webhooks/health", Access::Open),
    (Method::GET, "/api/v1/repos", Access::Token),
    (Method::POST, "/api/v1/repos", Access::Token),
    (Method::DELETE, "/api/v1/repos/{owner}/{name}", Access::Token),
    (Method::GET, "/api/v1/pull-requests", Access::Token),
    (Method::POST, "/api/v1/pull-requests", Access::Token),
    (Method::GET, "/api/v1/pull-requests/{id}", Access::Token),
    (Method::POST, "/api/v1/pull-requests/{id}/push", Access::Token),
    (Method::POST, "/api/v1/pull-requests/{id}/close", Access::Token),
    (Method::POST, "/api/v1/pull-requests/{id}/approve", Access::Token),
    (Method::GET, "/api/v1/runs", Access::Token),
    (Method::POST, "/api/v1/runs", Access::Token),
    (Method::GET, "/api/v1/runs/{id}", Access::Token),
    (Method::POST, "/api/v1/runs/{id}/cancel", Access::Token),
    (Method::POST, "/api/v1/runs/{id}/rerun", Access::Token),
    (Method::GET, "/api/v1/runs/{id}/events", Access::Token),
    (Method::GET, "/api/v1/gates/{id}", Access::Token),
    (Method::GET, "/api/v1/gates/{id}/log", Access::Token),
    (Method::GET, "/api/v1/sandboxes", Access::Token),
    (Method::GET, "/api/v1/snapshots", Access::Token),
    (Method::GET, "/api/v1/snapshots/{id}", Access::Token),
    (Method::DELETE, "/api/v1/snapshots/{id}", Access::Token),
    (Method::GET, "/api/v1/deliveries", Access::Token),
    (Method::POST, "/api/v1/deliveries/{id}/redeliver", Access::Token),
];

/// What the table says about a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Who may call it.
    Entry(Access),
    /// The path is known, with these methods.
    OtherMethods(String),
    /// The path has no entry.
    Nothing,
}

/// Looks a matched route up; HEAD is where GET is.
pub fn lookup(method: &Method, path: &str) -> Lookup {
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for (known, at, access) in TABLE {
        if *at == path && known == wanted {
            return Lookup::Entry(*access);
        }
        if *at == path {
            allowed.push(known.as_str());
        }
    }
    if allowed.is_empty() { Lookup::Nothing } else { Lookup::OtherMethods(allowed.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_entry_is_nothing_and_other_methods_are_named() {
        assert_eq!(lookup(&Method::GET, "/api/v1/later"), Lookup::Nothing);
        assert_eq!(lookup(&Method::HEAD, "/livez"), Lookup::Entry(Access::Open));
        let allowed = "GET, DELETE".to_owned();
        assert_eq!(lookup(&Method::PUT, "/api/v1/snapshots/{id}"), Lookup::OtherMethods(allowed));
    }

    #[test]
    fn no_route_has_two_entries() {
        let mut routes: Vec<String> =
            TABLE.iter().map(|row| format!("{} {}", row.0, row.1)).collect();
        routes.sort();
        assert!(routes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
