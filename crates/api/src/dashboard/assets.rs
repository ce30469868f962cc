//! The files that pages load, as part of the binary.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sandgate_domain::ErrorCode;

use crate::problem::Problem;

const FILES: [(&str, &str, &str); 4] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
    ("live.js", "text/javascript; charset=utf-8", include_str!("../../assets/live.js")),
    ("marks.svg", "image/svg+xml", include_str!("../../assets/marks.svg")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// One file.
pub async fn asset(name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let name = name.map_err(|error| Problem::invalid(format!("path: {}", error.body_text())))?;
    let file = FILES.iter().find(|(known, _, _)| *known == name.as_str());
    let (_, media, text) =
        file.ok_or_else(|| Problem::new(ErrorCode::NotFound, "there is no such file"))?;
    // Short, so that pages of a new version don't meet files of the old one for long.
    let headers = [(header::CONTENT_TYPE, *media), (header::CACHE_CONTROL, "public, max-age=60")];
    Ok((headers, *text).into_response())
}
