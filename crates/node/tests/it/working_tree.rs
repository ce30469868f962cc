//! Layers of working trees.

use sandgate_node::Error;
use sandgate_node::layers::Layer;
use sandgate_node::source::{SourceOptions, Tree, UnsupportedEntry};

use crate::support::{Fixture, git_in, layer_id, owner};

fn layer(fixture: &Fixture, number: u128, tree: &Tree) -> Result<Layer, Error> {
    let options = SourceOptions::default();
    fixture.open().source_layer(&fixture.store(), layer_id(number), tree, &options, owner())
}

#[test]
fn a_working_tree_is_taken_as_it_is() {
    let fixture = Fixture::new();
    for name in ["same", "changed", "deleted", "staged", "dir/becomes-link", "becomes-dir"] {
        fixture.write(name, name);
    }
    fixture.write(".gitignore", "ignored\ntarget/\n");
    fixture.commit("one");
    let clean = fixture.open().working_tree(None).unwrap();
    assert!(!clean.dirty());

    fixture.write("changed", "CHANGED");
    fixture.write("untracked", "u");
    fixture.write("ignored", "i");
    fixture.write("target/x", "i");
    fixture.write("personal", "i");
    fixture.write("nested/x", "x");
    git_in(&fixture.repo().join("nested"), &["init", "-q"]);
    git_in(&fixture.repo().join("nested"), &["commit", "-q", "--allow-empty", "-m", "n"]);
    fixture.write("staged", "s1");
    fixture.git(&["add", "staged"]);
    fixture.write("staged", "s2");
    let repo = fixture.repo();
    std::fs::remove_file(repo.join("deleted")).unwrap();
    std::fs::remove_file(repo.join("becomes-dir")).unwrap();
    fixture.write("becomes-dir/file", "f");
    std::fs::remove_dir_all(repo.join("dir")).unwrap();
    std::os::unix::fs::symlink("/etc", repo.join("dir")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(repo.join("socket")).unwrap();
    let excludes = fixture.folder.path().join("excludes");
    std::fs::write(&excludes, "personal\n").unwrap();

    let tree = fixture.open().working_tree(Some(&excludes)).unwrap();
    assert!(tree.dirty());
    let paths: Vec<_> =
        tree.paths().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(
        paths,
        [".gitignore", "becomes-dir/file", "changed", "dir", "same", "staged", "untracked"]
    );
    assert!(
        tree.unsupported()
            .contains(&UnsupportedEntry::NestedRepository { path: "nested".to_owned() })
    );

    let layer = layer(&fixture, 1, &tree).unwrap();
    let workspace = layer.path.join("workspace");
    assert_eq!(std::fs::read_to_string(workspace.join("staged")).unwrap(), "s2");
    assert_eq!(std::fs::read_link(workspace.join("dir")).unwrap().to_str(), Some("/etc"));
    assert!(!workspace.join("deleted").exists() && !workspace.join("ignored").exists());
    assert_eq!(
        git_in(&workspace, &["status", "--porcelain"]),
        " D becomes-dir\n M changed\n D deleted\n D dir/becomes-link\n M staged\n?? dir\n?? untracked\n"
    );
}

#[test]
fn an_unchanged_tree_has_the_same_key() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit("one");
    fixture.write("a", "2");
    let options = SourceOptions::default();
    let key = || fixture.open().working_tree(None).unwrap().layer_key(&options);
    let first = key();
    fixture.write("a", "2");
    assert_eq!(first, key());
    fixture.write("a", "3");
    assert_ne!(first, key());
    fixture.write("a", "2");
    fixture.write("b", "");
    assert_ne!(first, key());
}

#[test]
fn a_file_changed_after_the_look_is_noticed() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit("one");
    type Change = fn(&Fixture);
    let changes: [Change; 4] = [
        |fixture| fixture.write("a", "2"),
        |fixture| std::fs::remove_file(fixture.repo().join("a")).unwrap(),
        |fixture| {
            std::fs::remove_file(fixture.repo().join("a")).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", fixture.repo().join("a")).unwrap();
        },
        |fixture| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(fixture.repo().join("a"), mode).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        fixture.git(&["checkout", "-q", "-f", "."]);
        let tree = fixture.open().working_tree(None).unwrap();
        change(&fixture);
        let result = layer(&fixture, number as u128, &tree);
        assert!(matches!(result, Err(Error::SourceChanged(_))), "{number}: {result:?}");
    }
}

#[test]
fn a_setup_in_a_sha256_repository_works_too() {
    let fixture = Fixture::new();
    let repo = fixture.repo();
    std::fs::remove_dir_all(repo.join(".git")).unwrap();
    fixture.git(&["init", "-q", "-b", "main", "--object-format=sha256"]);
    fixture.write("a", "1");
    fixture.commit("one");
    let tree = fixture.open().working_tree(None).unwrap();
    assert!(!tree.dirty());
    let workspace = layer(&fixture, 1, &tree).unwrap().path.join("workspace");
    assert_eq!(git_in(&workspace, &["status", "--porcelain"]), "");
    git_in(&workspace, &["fsck", "--strict"]);
}
