//! What a test says when the machine can't carry it out: never a silent success.

use std::path::Path;

/// Says why `test` is not carried out, on its output and in the list that `.ci/test` prints at its end.
///
/// # Panics
/// If the list can't be written.
pub fn skip(test: &str, reason: &str) {
    println!("skipped: {reason}");
    #[expect(
        clippy::disallowed_methods,
        reason = "the list is handed from the script to the tests by a variable"
    )]
    let folder = std::env::var_os("SANDGATE_TEST_SKIPS");
    if let Some(folder) = folder {
        let path = Path::new(&folder).join(test);
        let written = std::fs::write(&path, reason);
        written.unwrap_or_else(|error| panic!("cannot write `{}`: {error}", path.display()));
    }
}
