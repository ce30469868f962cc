//! The host base on this machine, with homes of ours.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sandgate_node::base::{HostBase, HostEnvironment, sweep_skeletons};
use tempfile::TempDir;

use crate::support::owner;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A home with toolchains, and with what must stay hidden.
fn home(folder: &Path) -> PathBuf {
    let home = folder.join("home/u");
    for (path, text) in [
        (".cargo/bin/rustup", "x"),
        (".cargo/credentials.toml", "s3cret"),
        (".cargo/registry/index/x", "x"),
        (".cargo/config.toml", "[registries.x]\nindex = 'https://u:s3cret@x/'\ntoken = 's3cret'\n"),
        (".rustup/toolchains/stable/lib/librustc_driver-1.so", "x"),
        (".rustup/settings.toml", "x"),
        (".nvm/versions/node/v20/bin/node", "x"),
        (".nvm/nvm.sh", "x"),
        (".local/share/pipx/venvs/black/bin/black", "x"),
        (".local/share/pipx/venvs/black/pyvenv.cfg", "x"),
        (".local/bin/script", "x"),
        ("project/.venv/bin/python", "x"),
        ("project/.venv/pyvenv.cfg", "x"),
        ("project/tool", "x"),
        (".ssh/id_ed25519", "s3cret"),
        (".npmrc", "registry=https://r/\n//r/:_authToken=s3cret\n"),
        (".config/pip/pip.conf", "[global]\nindex-url = https://u:s3cret@p/\n"),
        (".config/go/env", "GOPROXY=https://u:s3cret@g,direct\nGOFLAGS=-x\n"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\n"),
        ("key.pem", "-----BEGIN PRIVATE KEY-----\ns3cret\n"),
    ] {
        put(&home, path, text);
    }
    std::os::unix::fs::symlink(
        "../share/pipx/venvs/black/bin/black",
        home.join(".local/bin/black"),
    )
    .unwrap();
    std::os::unix::fs::symlink("../../project/tool", home.join(".local/bin/tool")).unwrap();
    std::os::unix::fs::symlink("../../.ssh/id_ed25519", home.join(".local/bin/key")).unwrap();
    home
}

fn environment(home: &Path) -> HostEnvironment {
    let mut path = vec![home.join("project/.venv/bin"), home.to_owned(), home.join(".ssh")];
    path.extend(
        [".cargo/bin", ".nvm/versions/node/v20/bin", ".local/bin", "gone/bin"]
            .map(|sub| home.join(sub)),
    );
    path.extend(
        [".", "/usr/bin", "/bin", "/usr/bin", "/proc/self", "/usr/../etc"].map(PathBuf::from),
    );
    let text = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let variables = [
        ("PIP_EXTRA_INDEX_URL", "https://u:s3cret@e/".to_owned()),
        ("NODE_EXTRA_CA_CERTS", text("ca.pem")),
        ("REQUESTS_CA_BUNDLE", text("key.pem")),
        ("PIP_FIND_LINKS", text("project")),
        ("AWS_SECRET_ACCESS_KEY", "s3cret".to_owned()),
        ("CARGO_REGISTRIES_X_TOKEN", "s3cret".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    HostEnvironment { home: Some(home.to_owned()), path, variables: variables.to_vec() }
}

/// All files below a folder, as text where they are.
fn everything(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            everything(&entry.path(), text);
        } else if kind.is_file() {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
        }
    }
}

#[test]
fn toolchains_are_visible_and_nothing_else_of_a_home() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let home = home(&root);
    let skeletons = root.join("skeletons");
    let base = HostBase::discover(&environment(&home), &skeletons, owner()).unwrap();

    let below_home: Vec<_> = base
        .binds
        .iter()
        .filter_map(|bind| bind.source.strip_prefix(&home).ok())
        .map(|path| path.to_str().unwrap())
        .collect();
    assert_eq!(
        below_home,
        [
            ".cargo/bin",
            ".local/bin",
            ".local/share/pipx/venvs/black",
            ".nvm/nvm.sh",
            ".nvm/versions",
            ".rustup",
            "project/tool"
        ]
    );
    for bind in &base.binds {
        let point = base.skeleton.join(bind.target.strip_prefix("/").unwrap());
        assert_eq!(point.is_dir(), bind.source.is_dir(), "{bind:?}");
    }
    let env = |name: &str| {
        base.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let at = |sub: &str| home.join(sub).to_str().unwrap().to_owned();
    assert_eq!(
        env("PATH").unwrap(),
        format!(
            "/home/gate/.local/bin:/home/gate/.cargo/bin:{}:{}:{}:/usr/bin:/bin",
            at(".cargo/bin"),
            at(".nvm/versions/node/v20/bin"),
            at(".local/bin")
        )
    );
    assert_eq!(env("RUSTUP_HOME"), Some(at(".rustup").as_str()));
    assert_eq!(env("CARGO_HOME"), Some("/home/gate/.cargo"));
    assert_eq!(env("GOPROXY"), Some("https://g,direct"));
    assert_eq!(env("PIP_EXTRA_INDEX_URL"), Some("https://e/"));
    assert_eq!(env("NODE_EXTRA_CA_CERTS"), Some("/etc/ssl/host/NODE_EXTRA_CA_CERTS.pem"));
    assert_ne!(env("REQUESTS_CA_BUNDLE"), Some(at("key.pem").as_str()));
    assert_eq!(env("PIP_FIND_LINKS"), None);

    let refused: Vec<_> = base.refused.iter().map(|refused| format!("{refused:?}")).collect();
    for part in [
        ".venv/bin",
        "the home itself",
        "private folder",
        "/proc/self",
        "no absolute path",
        "PIP_FIND_LINKS",
        "_authToken",
        "registries.x.token",
        "key.pem",
    ] {
        assert!(refused.iter().any(|line| line.contains(part)), "{part}: {refused:#?}");
    }
    let mut text = format!("{base:?}");
    everything(&skeletons, &mut text);
    assert!(!text.contains("s3cret"));
    assert!(text.contains("index = \"https://x/\"") && text.contains("registry=https://r/"));
}

#[test]
fn the_skeleton_is_complete_mapped_and_used_again() {
    let folder = TempDir::new().unwrap();
    let skeletons = folder.path().join("skeletons");
    let environment = HostEnvironment {
        home: Some(folder.path().join("none")),
        path: vec!["/usr/bin".into()],
        variables: Vec::new(),
    };
    let base = HostBase::discover(&environment, &skeletons, owner()).unwrap();
    let skeleton = &base.skeleton;
    for path in [
        "etc/passwd",
        "etc/hosts",
        "etc/os-release",
        "usr",
        "workspace",
        "home/gate/.cargo",
        "tmp",
        "proc",
        "dev",
    ] {
        assert!(skeleton.join(path).symlink_metadata().is_ok(), "{path}");
    }
    for path in ["etc/shadow", "etc/ssh", "etc/sudoers", "etc/ssl/private"] {
        assert!(skeleton.join(path).symlink_metadata().is_err(), "{path}");
    }
    if Path::new("/bin").is_symlink() {
        assert_eq!(
            std::fs::read_link(skeleton.join("bin")).unwrap(),
            std::fs::read_link("/bin").unwrap()
        );
    }
    let (user, mode) = (rustix::process::geteuid().as_raw(), |path: &str| {
        skeleton.join(path).metadata().unwrap().mode() & 0o7777
    });
    assert_eq!((mode("tmp"), mode("etc/passwd"), mode("home")), (0o1777, 0o644, 0o755));
    assert_eq!(skeleton.join("etc").metadata().unwrap().uid(), user);
    let gate = owner().map_or(user, |(gate, _)| gate);
    assert_eq!(skeleton.join("home/gate/.cargo").metadata().unwrap().uid(), gate);
    assert_eq!(skeleton.join("workspace").metadata().unwrap().uid(), gate);

    let inode = skeleton.metadata().unwrap().ino();
    let started = std::time::Instant::now();
    let again = HostBase::discover(&environment, &skeletons, owner()).unwrap();
    println!("warm discovery: {:?}", started.elapsed());
    assert_eq!((&base, inode), (&again, again.skeleton.metadata().unwrap().ino()));

    let mut other = environment.clone();
    other.path.push("/usr/local/bin".into());
    let other = HostBase::discover(&other, &skeletons, owner()).unwrap();
    assert_ne!(other.skeleton, base.skeleton);
    assert_eq!(other.fingerprint, base.fingerprint);
    assert_eq!(sweep_skeletons(&skeletons, &[&base]).unwrap(), 1);
    assert!(base.skeleton.is_dir() && !other.skeleton.exists());
}
