//! Sums of real trees, and the pace on a made-up clock.

use super::*;

const QUOTA: Quota = Quota { bytes: 1000, inodes: 100 };

fn at(start: Instant, milliseconds: u64) -> Instant {
    start + Duration::from_millis(milliseconds)
}

#[test]
fn an_idle_file_system_is_not_walked() {
    let start = Instant::now();
    let fullness = Fullness { bytes: 5000, inodes: 50 };
    let pace = Pace::new(QUOTA, fullness, start);
    assert!(!pace.due(fullness, at(start, 29_000)));
    assert!(pace.due(fullness, at(start, 30_000)));
}

#[test]
fn little_movement_waits_a_second_and_much_does_not() {
    let start = Instant::now();
    let pace = Pace::new(QUOTA, Fullness::default(), start);
    let little = Fullness { bytes: 10, inodes: 1 };
    assert!(!pace.due(little, at(start, 900)));
    assert!(pace.due(little, at(start, 1000)));
    assert!(pace.due(Fullness { bytes: 501, inodes: 1 }, at(start, 50)));
    assert!(pace.due(Fullness { bytes: 10, inodes: 51 }, at(start, 50)));
}

#[test]
fn walks_take_at_most_a_tenth_of_the_time() {
    let start = Instant::now();
    let mut pace = Pace::new(QUOTA, Fullness::default(), start);
    let walked = pace.walked(Measure::default(), Fullness::default(), start, at(start, 200));
    assert_eq!(walked, None);
    let much = Fullness { bytes: 900, inodes: 90 };
    assert!(!pace.due(much, at(start, 2100)));
    assert!(pace.due(much, at(start, 2200)));
}

#[test]
fn broken_limits_are_named() {
    let start = Instant::now();
    let mut pace = Pace::new(QUOTA, Fullness::default(), start);
    let mut walk = |bytes, inodes, closed, grown| {
        let fullness = Fullness { bytes: grown, inodes: 0 };
        pace.walked(Measure { bytes, inodes, closed }, fullness, start, start)
    };
    assert_eq!(walk(1000, 100, 0, 5000), None);
    assert_eq!(walk(1001, 1, 0, 0), Some(Limit::DiskBytes));
    assert_eq!(walk(1, 101, 0, 0), Some(Limit::DiskInodes));
    assert_eq!(walk(1, 1, 1, 5000), Some(Limit::DiskBytes));
}

const LARGE: Quota = Quota { bytes: u64::MAX, inodes: u64::MAX };

#[test]
fn hard_links_count_once_and_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), vec![1; 100_000]).unwrap();
    std::fs::hard_link(folder.path().join("file"), folder.path().join("twin")).unwrap();
    std::os::unix::fs::symlink("/usr", folder.path().join("link")).unwrap();
    let found = measure(folder.path(), LARGE).unwrap();
    assert_eq!(found.inodes, 2);
    assert!((98_000..150_000).contains(&found.bytes), "{}", found.bytes);
}

#[test]
fn a_tree_deeper_than_any_path_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let name = "d".repeat(200);
    let mut parent = OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
    for _ in 0..60 {
        rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755)).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        parent = rustix::fs::openat(&parent, &name, flags, Mode::empty()).unwrap();
    }
    assert_eq!(measure(folder.path(), LARGE).unwrap().inodes, 60);
}

#[test]
fn a_walk_stops_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    for outer in 0..10 {
        let inner = folder.path().join(outer.to_string());
        std::fs::create_dir(&inner).unwrap();
        for file in 0..10 {
            std::fs::write(inner.join(file.to_string()), "").unwrap();
        }
    }
    let quota = Quota { bytes: u64::MAX, inodes: 15 };
    let found = measure(folder.path(), quota).unwrap();
    assert_eq!(quota.broken(found), Some(Limit::DiskInodes));
    assert!(found.inodes < 40, "{}", found.inodes);
}
