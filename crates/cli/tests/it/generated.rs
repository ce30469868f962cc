//! Files that are generated and checked in are those that the code of today makes.

use crate::world::World;

#[test]
fn the_published_schema_is_the_one_of_the_code() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sandgate.schema.json");
    let published = std::fs::read_to_string(path).unwrap();
    let made = World::new().sandgate(&["schema"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert!(
        published == made.stdout,
        "docs/sandgate.schema.json is stale; write it with `make generate`"
    );
}
