//! Tokens, records of running servers, and how a command finds them.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sandgate_chassis::{
    Environment, Error, RunningServer, ServerRecord, TOKEN_FILE, find_server,
    load_or_create_step_key, load_or_create_token, read_token,
};
use sandgate_domain::{ErrorCode, Timestamp};
use tempfile::TempDir;

#[test]
fn the_token_is_made_once_for_its_owner_only() {
    let folder = TempDir::new().unwrap();
    assert_eq!(read_token(folder.path()).unwrap(), None);
    let made = load_or_create_token(folder.path()).unwrap();
    let file = folder.path().join(TOKEN_FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.len(), 65);
    assert_eq!(text.trim_end(), made.reveal());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(load_or_create_token(folder.path()).unwrap(), made);
    assert_eq!(read_token(folder.path()).unwrap(), Some(made));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn the_key_of_step_tokens_is_another_secret_and_stays() {
    let folder = TempDir::new().unwrap();
    let token = load_or_create_token(folder.path()).unwrap();
    let key = load_or_create_step_key(folder.path()).unwrap();
    assert_ne!(key, token);
    assert_eq!(load_or_create_step_key(folder.path()).unwrap(), key);
    let file = folder.path().join("keys/step-token");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&folder.path().join("keys"))), (0o600, 0o700));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = load_or_create_step_key(folder.path()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::PermissionDenied);
}

#[test]
fn each_folder_has_its_own_token() {
    let folder = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let first = load_or_create_token(folder.path()).unwrap();
    assert_ne!(load_or_create_token(other.path()).unwrap(), first);
}

#[test]
fn a_token_file_that_others_may_use_or_that_is_damaged_is_refused() {
    let good = "0123456789abcdef".repeat(4);
    for (mode, text, expected) in [
        (0o640, good.clone(), "other users"),
        (0o602, good.clone(), "other users"),
        (0o600, String::new(), "64 hexadecimal digits"),
        (0o600, format!("{good}\n{good}\n"), "64 hexadecimal digits"),
        (0o600, good.replace('0', "g"), "64 hexadecimal digits"),
    ] {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join(TOKEN_FILE);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = load_or_create_token(folder.path()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_link_in_place_of_the_token_is_refused() {
    let folder = TempDir::new().unwrap();
    symlink("/dev/zero", folder.path().join(TOKEN_FILE)).unwrap();
    assert!(matches!(load_or_create_token(folder.path()), Err(Error::File { .. })));
}

struct World {
    root: TempDir,
}

impl World {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    fn environment(&self, more: &[(&str, &str)]) -> Environment {
        let state = (OsString::from("XDG_STATE_HOME"), self.root.path().into());
        let more = more.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Environment::from_variables(std::iter::once(state).chain(more))
    }

    fn records(&self) -> PathBuf {
        self.root.path().join("sandgate/servers")
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder.canonicalize().unwrap()
    }

    fn start(&self, folder: &Path, port: u16) -> RunningServer {
        load_or_create_token(folder).unwrap();
        let record = ServerRecord {
            address: ([127, 0, 0, 1], port).into(),
            grpc_address: ([127, 0, 0, 1], port + 1).into(),
            token_path: folder.join(TOKEN_FILE),
            data_dir: folder.to_owned(),
            pid: std::process::id(),
            started: Timestamp::from_micros(port.into()),
        };
        RunningServer::announce(&self.root.path().join("sandgate"), &record).unwrap()
    }
}

#[test]
fn the_only_server_is_found_until_it_stops() {
    let world = World::new();
    let environment = world.environment(&[]);
    let none = find_server(&environment, None, None).unwrap_err();
    assert_eq!(none.code(), ErrorCode::Unavailable);
    assert!(none.to_string().contains("sandgate dev"), "{none}");

    let folder = world.folder("one");
    let server = world.start(&folder, 4000);
    let found = find_server(&environment, None, None).unwrap();
    assert_eq!(found.url, "http://127.0.0.1:4000");
    assert_eq!(Some(found.token), read_token(&folder).unwrap());
    drop(server);
    assert_eq!(std::fs::read_dir(world.records()).unwrap().count(), 0);
    assert!(matches!(find_server(&environment, None, None), Err(Error::NoServer { .. })));
}

#[test]
fn of_several_servers_the_folder_or_the_address_chooses() {
    let world = World::new();
    let environment = world.environment(&[]);
    let (one, two) = (world.folder("one"), world.folder("two"));
    let _servers = (world.start(&one, 4000), world.start(&two, 5000));
    let error = find_server(&environment, None, None).unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:4000") && error.contains("127.0.0.1:5000"), "{error}");
    let by_folder = find_server(&environment, None, Some(&two)).unwrap();
    assert_eq!(by_folder.url, "http://127.0.0.1:5000");
    let by_url = find_server(&environment, Some("http://127.0.0.1:4000/"), None).unwrap();
    assert_eq!(Some(by_url.token), read_token(&one).unwrap());
    let named = world.environment(&[("SANDGATE_SERVER", "http://127.0.0.1:5000")]);
    assert_eq!(Some(find_server(&named, None, None).unwrap().token), read_token(&two).unwrap());
}

#[test]
fn a_token_from_a_file_is_not_sent_to_a_stranger() {
    let world = World::new();
    let _server = world.start(&world.folder("one"), 4000);
    let stranger = Some("http://elsewhere.example");
    let error = find_server(&world.environment(&[]), stranger, None).unwrap_err();
    assert!(matches!(error, Error::NoToken { .. }), "{error}");
    let environment = world.environment(&[("SANDGATE_TOKEN", "given")]);
    assert_eq!(find_server(&environment, stranger, None).unwrap().token.reveal(), "given");
}

#[test]
fn records_that_a_killed_server_left_are_removed() {
    let world = World::new();
    let server = world.start(&world.folder("one"), 4000);
    let record = std::fs::read_dir(world.records()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read(&record).unwrap();
    drop(server);
    std::fs::write(&record, text).unwrap();
    let found = find_server(&world.environment(&[]), None, None);
    assert!(matches!(found, Err(Error::NoServer { .. })));
    assert!(!record.exists());
}
