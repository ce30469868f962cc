//! Objects written here are those of git.

use sandgate_objects::{Error, Format, Kind, write_loose};

use crate::support::{FORMATS, Fixture};

#[test]
fn git_reads_and_checks_what_is_written() {
    for format in FORMATS {
        let fixture = Fixture::new(format);
        let written = if format == "sha1" { Format::Sha1 } else { Format::Sha256 };
        let objects = fixture.git_dir().join("objects");
        let long = "a line\n".repeat(30_000);
        for text in ["", "x\n", &long] {
            let id = write_loose(&objects, written, Kind::Blob, text.as_bytes()).unwrap();
            assert_eq!(fixture.git(&["cat-file", "blob", &id.to_string()]), text.trim());
            assert_eq!(&*fixture.objects().blob(id, 1 << 20).unwrap(), text.as_bytes());
            let again = write_loose(&objects, written, Kind::Blob, text.as_bytes()).unwrap();
            assert_eq!(again, id);
        }
        fixture.commit("file", "x\n");
        fixture.git(&["fsck", "--full", "--strict"]);
        fixture.git(&["gc", "--quiet"]);
    }
}

#[test]
fn a_disk_that_refuses_is_said() {
    let fixture = Fixture::new("sha1");
    let nowhere = fixture.git_dir().join("HEAD");
    let error = write_loose(&nowhere, Format::Sha1, Kind::Blob, b"x").unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
