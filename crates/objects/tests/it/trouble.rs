//! Readers that break, and repositories that want them to run something.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandgate_objects::{Error, ObjectId};

use crate::support::{Fixture, readers};

/// The processes that run `cat-file` in this repository.
fn processes(fixture: &Fixture) -> Vec<u32> {
    let folder = fixture.git_dir().canonicalize().unwrap();
    let is_reader = |process: &PathBuf| {
        let here = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        here && line.split(|byte| *byte == 0).any(|word| word == b"cat-file")
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    all.filter(is_reader)
        .filter_map(|process| process.file_name()?.to_str()?.parse().ok())
        .collect()
}

/// A program in the place of git. Another process writes it: a file that is open for writing here could not be run.
fn impostor(folder: &Path, script: &str) -> PathBuf {
    let program = folder.join("git");
    let written = Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod +x \"$2\"", "sh", script])
        .arg(&program)
        .status();
    assert!(written.unwrap().success());
    program
}

#[test]
fn a_killed_reader_is_replaced_and_none_outlives_its_pool() {
    let fixture = Fixture::new("sha1");
    let commit: ObjectId = fixture.commit("file", "x").parse().unwrap();
    let objects = fixture.objects();
    for _ in 0..3 {
        assert!(objects.find(commit).unwrap().is_some());
        let running = processes(&fixture);
        assert_eq!(running.len(), 1, "one reader answers all questions");
        let killed = Command::new("kill").args(["-9", &running[0].to_string()]).status();
        assert!(killed.unwrap().success());
    }
    assert!(objects.find(commit).unwrap().is_some());
    drop(objects);
    assert_eq!(processes(&fixture), [0_u32; 0]);
}

#[test]
fn readers_in_the_same_repository_work_side_by_side() {
    let fixture = Fixture::new("sha1");
    let commit: ObjectId = fixture.commit("file", &"x".repeat(1 << 20)).parse().unwrap();
    let objects = fixture.objects();
    let tree = objects.tree(objects.commit(commit).unwrap().tree).unwrap();
    let file = tree.find(b"file").unwrap().id;
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut bytes = 0;
                let result = objects.blobs::<Error>(&[file; 20], &mut |_, _, chunk| {
                    bytes += chunk.len();
                    Ok(())
                });
                assert!(result.is_ok() && bytes == 20 << 20);
            });
        }
    });
    assert!(processes(&fixture).len() <= 8);
}

#[test]
fn a_git_that_ends_says_why() {
    let fixture = Fixture::new("sha1");
    let id: ObjectId = "1".repeat(40).parse().unwrap();
    for (script, wanted) in [
        ("echo 'fatal: no \u{1b}[31mluck' >&2; exit 1", "fatal: no  [31mluck"),
        ("read line; echo garbage", "cannot be read: `garbage`"),
        ("read line; yes | tr -d '\\n'", "a line without end"),
        ("read line; yes >&2 & yes", "cannot be read: `y`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let objects = readers(&impostor(folder.path(), script)).open(&fixture.git_dir()).unwrap();
        let error = objects.find(id).unwrap_err().to_string();
        assert!(error.contains(wanted), "{script}: {error}");
    }
    let objects = readers(Path::new("/nonexistent/git")).open(&fixture.git_dir()).unwrap();
    assert!(matches!(objects.find(id), Err(Error::Io { .. })));
}

#[test]
fn nothing_of_a_configuration_runs() {
    let fixture = Fixture::new("sha1");
    fixture.commit(".gitattributes", "* filter=evil diff=evil text=auto\n");
    let commit: ObjectId = fixture.commit("file", "x").parse().unwrap();
    let mark = fixture.folder.path().join("mark");
    let trap = fixture.folder.path().join("trap");
    std::fs::write(&trap, format!("#!/bin/sh\necho x > '{}'\n", mark.display())).unwrap();
    std::fs::set_permissions(&trap, PermissionsExt::from_mode(0o755)).unwrap();
    let trap = trap.to_str().unwrap();
    for (key, value) in [
        ("core.fsmonitor", trap),
        ("core.sshCommand", trap),
        ("core.alternateRefsCommand", trap),
        ("core.pager", trap),
        ("filter.evil.smudge", trap),
        ("diff.evil.textconv", trap),
        ("alias.cat-file", &format!("!{trap}")),
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", "."),
        ("remote.origin.uploadpack", trap),
    ] {
        fixture.git(&["config", key, value]);
    }
    let missing = "1".repeat(40);
    fixture.try_git(&["cat-file", "-p", &missing]);
    assert!(std::fs::remove_file(&mark).is_ok(), "the positive control did not fire");
    let objects = fixture.objects();
    let tree = objects.tree(objects.commit(commit).unwrap().tree).unwrap();
    assert_eq!(&*objects.blob(tree.find(b"file").unwrap().id, 9).unwrap(), b"x");
    assert_eq!(objects.find(missing.parse().unwrap()).unwrap(), None);
    assert!(!mark.exists());
}
