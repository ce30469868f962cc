//! The one mapping between our error codes and gRPC statuses. The stable code travels in the metadata, so that it survives
//! where several codes share a status.

use sandgate_domain::ErrorCode;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The metadata key of the stable code.
pub const CODE_KEY: &str = "sandgate-code";

/// The codes of [`ErrorCode`] and the status each is sent as.
const TABLE: [(ErrorCode, Code); 9] = [
    (ErrorCode::InvalidArgument, Code::InvalidArgument),
    (ErrorCode::NotFound, Code::NotFound),
    (ErrorCode::Conflict, Code::Aborted),
    (ErrorCode::PermissionDenied, Code::PermissionDenied),
    (ErrorCode::Unsupported, Code::Unimplemented),
    (ErrorCode::Unavailable, Code::Unavailable),
    (ErrorCode::DeadlineExceeded, Code::DeadlineExceeded),
    (ErrorCode::ResourceExhausted, Code::ResourceExhausted),
    (ErrorCode::Internal, Code::Internal),
];

/// The status for an error: its code, and the text for the caller.
pub fn status(code: ErrorCode, message: impl Into<String>) -> Status {
    let sent = TABLE.iter().find(|(known, _)| *known == code).map_or(Code::Internal, |row| row.1);
    let mut status = Status::new(sent, message);
    status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static(code.as_str()));
    status
}

/// The status for an error with all of its causes, for a caller on our own side who is to write them down.
pub fn status_with_causes(code: ErrorCode, error: &dyn std::error::Error) -> Status {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    status(code, text)
}

/// The code of a status: the one in its metadata, else the nearest to what gRPC says.
pub fn error_code(status: &Status) -> ErrorCode {
    let named = status.metadata().get(CODE_KEY).and_then(|value| value.to_str().ok());
    let stated = TABLE.iter().find(|(code, _)| Some(code.as_str()) == named);
    stated.map_or_else(|| nearest(status.code()), |row| row.0)
}

fn nearest(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidArgument,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => ErrorCode::Conflict,
        Code::PermissionDenied | Code::Unauthenticated => ErrorCode::PermissionDenied,
        Code::Unimplemented => ErrorCode::Unsupported,
        Code::Unavailable | Code::Cancelled => ErrorCode::Unavailable,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        Code::Ok | Code::Unknown | Code::DataLoss | Code::Internal => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_with_and_without_metadata() {
        for (code, sent) in TABLE {
            let full = status(code, "why");
            assert_eq!((full.code(), full.message()), (sent, "why"));
            assert_eq!(error_code(&full), code);
            assert_eq!(error_code(&Status::new(sent, "why")), code);
        }
    }

    #[test]
    fn causes_are_told_in_order() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot seal")]
        struct Outer(#[source] crate::FieldError);

        let error = Outer(crate::FieldError { field: "id", problem: "is empty".to_owned() });
        let told = status_with_causes(ErrorCode::Internal, &error);
        assert_eq!(told.message(), "cannot seal: field `id`: is empty");
    }

    #[test]
    fn an_unknown_name_in_the_metadata_falls_back_to_the_status() {
        let mut strange = Status::not_found("no");
        strange.metadata_mut().insert(CODE_KEY, MetadataValue::from_static("later_invention"));
        assert_eq!(error_code(&strange), ErrorCode::NotFound);
    }
}
