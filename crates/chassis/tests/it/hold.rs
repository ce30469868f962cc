//! Who holds a data folder.

use sandgate_chassis::{Error, Hold};
use sandgate_domain::ErrorCode;
use tempfile::TempDir;

#[test]
fn a_server_holds_its_folder_alone_and_is_named() {
    let folder = TempDir::new().unwrap();
    let server = Hold::exclusive(folder.path(), "`sandgate dev`, process 12").unwrap();
    for error in [
        Hold::exclusive(folder.path(), "another").unwrap_err(),
        Hold::shared(folder.path()).unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::Conflict);
        assert!(error.to_string().contains("`sandgate dev`, process 12"), "{error}");
    }
    drop(server);
    Hold::shared(folder.path()).unwrap();
}

#[test]
fn runs_share_a_folder_and_keep_a_server_out() {
    let folder = TempDir::new().unwrap();
    // A server that was killed left its name.
    std::fs::write(folder.path().join("lock"), "a server of yesterday").unwrap();
    let runs = [Hold::shared(folder.path()).unwrap(), Hold::shared(folder.path()).unwrap()];
    let error = Hold::exclusive(folder.path(), "a server").unwrap_err();
    assert!(matches!(&error, Error::Held { holder, .. } if holder.contains("process")), "{error}");
    assert!(!error.to_string().contains("yesterday"), "{error}");
    drop(runs);
    Hold::exclusive(folder.path(), "a server").unwrap();
}
