//! What git has written is read as it is.

use sandgate_objects::{Error, Kind, ObjectId};

use crate::support::{FORMATS, Fixture, program, readers};

fn id(text: &str) -> ObjectId {
    text.parse().unwrap()
}

#[test]
fn commits_folders_and_files_of_both_formats() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let first = fixture.commit("a/b/file", "x\n");
        let second = fixture.commit("a/other", "y\n");
        let objects = fixture.objects();
        let head = objects.head().unwrap().unwrap();
        assert_eq!((head.id, head.kind), (id(&second), Kind::Commit));
        let commit = objects.commit(head.id).unwrap();
        assert_eq!(commit.parents, [id(&first)]);
        let seconds = fixture.git(&["show", "--no-patch", "--format=%ct", "HEAD"]);
        assert_eq!(commit.seconds, seconds.parse().ok());
        let top = objects.tree(commit.tree).unwrap();
        let folder = objects.tree(top.find(b"a").unwrap().id).unwrap();
        let names: Vec<_> = folder.entries().map(|entry| entry.name.to_vec()).collect();
        assert_eq!(names, [b"b".to_vec(), b"other".to_vec()]);
        let other = folder.find(b"other").unwrap();
        assert_eq!(&*objects.blob(other.id, 2).unwrap(), b"y\n");
        assert!(matches!(objects.blob(other.id, 1), Err(Error::TooLarge { bytes: 2, .. })));
    }
}

#[test]
fn many_files_come_in_order_whatever_their_length() {
    let fixture = Fixture::new("sha1");
    let mut texts: Vec<String> = (0..300).map(|n| "z".repeat(n * n)).collect();
    texts.push("y".repeat(5 << 20));
    for (number, text) in texts.iter().enumerate() {
        std::fs::write(fixture.folder.path().join(format!("{number:04}")), text).unwrap();
    }
    fixture.commit("last", "x");
    for is_packed in [false, true] {
        if is_packed {
            fixture.git(&["repack", "-adq"]);
        }
        let objects = fixture.objects();
        let head = objects.head().unwrap().unwrap();
        let tree = objects.tree(objects.commit(head.id).unwrap().tree).unwrap();
        let ids: Vec<_> = tree.entries().take(texts.len()).map(|entry| entry.id).collect();
        // The same reader answers again after it was heard to the end.
        for _ in 0..2 {
            let mut read = vec![String::new(); ids.len()];
            objects
                .blobs::<Error>(&ids, &mut |index, length, chunk| {
                    assert_eq!(length, texts[index].len() as u64);
                    read[index].push_str(std::str::from_utf8(chunk).unwrap());
                    Ok(())
                })
                .unwrap();
            assert!(read == texts);
        }
    }
}

#[test]
fn what_is_not_there_or_something_else_is_named() {
    let fixture = Fixture::new("sha1");
    let objects = fixture.objects();
    assert_eq!(objects.head().unwrap(), None, "nothing is committed yet");
    let commit = id(&fixture.commit("file", "x"));
    let gone = id(&"1".repeat(40));
    assert_eq!(objects.find(gone).unwrap(), None);
    assert!(matches!(objects.commit(gone), Err(Error::Missing { id }) if id == gone));
    assert!(matches!(objects.tree(commit), Err(Error::OtherKind { found: Kind::Commit, .. })));
    let both = objects.commits(&[gone, commit, gone]).unwrap();
    assert!(both[0].is_none() && both[1].is_some() && both[2].is_none());
    // What was read is known; and it is still no folder.
    assert!(matches!(objects.tree(commit), Err(Error::OtherKind { .. })));
    let error = objects.blobs::<Error>(&[gone], &mut |_, _, _| Ok(()));
    assert!(matches!(error, Err(Error::Missing { .. })));
}

#[test]
fn what_is_written_later_is_seen_at_once() {
    let fixture = Fixture::new("sha1");
    let objects = fixture.objects();
    for number in 0..5 {
        let commit = fixture.commit("file", &number.to_string());
        assert_eq!(objects.head().unwrap().unwrap().id, id(&commit));
        assert!(objects.commit(id(&commit)).is_ok());
        if number == 3 {
            fixture.git(&["gc", "--quiet", "--prune=now"]);
        }
    }
}

#[test]
fn another_repository_in_the_same_place_is_another_one() {
    let readers = readers(&program());
    let one = Fixture::new("sha1");
    let first = id(&one.commit("file", "one"));
    assert!(readers.open(&one.git_dir()).unwrap().commit(first).is_ok());
    std::fs::remove_dir_all(one.git_dir()).unwrap();
    let error = readers.open(&one.git_dir()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    one.git(&["init", "--quiet", "--initial-branch=main"]);
    let second = id(&one.commit("file", "two"));
    let objects = readers.open(&one.git_dir()).unwrap();
    assert_eq!(objects.find(first).unwrap(), None);
    assert!(matches!(objects.commit(first), Err(Error::Missing { .. })));
    assert!(objects.commit(second).is_ok());
}
