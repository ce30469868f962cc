//! A full disk, and a source that belongs to somebody else. Both need root; elsewhere they say so.

use std::path::Path;
use std::process::Command;

use sandgate_domain::ErrorCode;
use sandgate_forge::Error;
use sandgate_forge::local::Mirrors;

use crate::repository::{Repository, git, mirrors, name};

/// A small file system in memory, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self(folder))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "umount failed");
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_no_mirror() {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: mount: {reason}"),
    };
    let source = Repository::new();
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 3 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push(u8::try_from(state >> 56).unwrap());
    }
    std::fs::write(source.path.join("noise"), noise).unwrap();
    source.git(&["add", "noise"]);
    source.git(&["commit", "--quiet", "--message", "noise"]);
    let mirrors = Mirrors::open(&disk.0.path().join("mirrors"), git().await).unwrap();
    let error = mirrors.add(&name("o/r"), &source.path).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error}");
    assert!(mirrors.list().unwrap().is_empty());
}

#[tokio::test]
async fn a_source_of_another_user_is_refused_with_the_way_out() {
    let source = Repository::new();
    if let Err(error) = give_away(&source.path) {
        return println!("skipped: chown: {error}");
    }
    let (_folder, mirrors) = mirrors().await;
    let error = mirrors.add(&name("o/r"), &source.path).await.unwrap_err();
    assert!(matches!(error, Error::OwnedByOther { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::PermissionDenied);
}

fn give_away(path: &Path) -> Result<(), std::io::Error> {
    std::os::unix::fs::chown(path, Some(65_534), None)?;
    std::os::unix::fs::chown(path.join(".git"), Some(65_534), None)
}
