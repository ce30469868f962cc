//! The skeleton directory: planned from what was found, made once, and used again as long as nothing it depends on changes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::etc::{COPIED, OWN};
use super::fingerprint::{fingerprint, stamp};
use super::links::linked_names;
use super::mirror::{Mirror, make_folder, make_parent};
use super::registries::Settings;
use super::toolchains::Tools;
use super::{Bind, GATE_HOME, HostBase, HostEnvironment, WORKSPACE};
use crate::Error;
use crate::layers::{Owner, remove_tree};

/// Changes when the same facts give another skeleton.
const FORMAT: &str = "sandgate skeleton 2";

/// Empty folders of the skeleton, with their modes.
const FOLDERS: [(&str, u32); 16] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("proc", 0o755),
    ("root", 0o755),
    ("run", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("usr", 0o755),
];

/// Everything that a skeleton depends on.
pub(super) struct Plan {
    tools: Tools,
    settings: Settings,
    env: Vec<(String, String)>,
    fingerprint: String,
    owner: Owner,
    key: String,
}

impl Plan {
    pub(super) fn new(
        environment: &HostEnvironment,
        tools: Tools,
        settings: Settings,
        owner: Owner,
    ) -> Result<Self, Error> {
        if !Path::new("/usr/bin").is_dir() {
            return Err(Error::HostUnsupported { what: "it has no /usr/bin".to_owned() });
        }
        let env = env(environment, &tools, &settings);
        let fingerprint = fingerprint(&tools);
        let mut plan = Self { tools, settings, env, fingerprint, owner, key: String::new() };
        plan.key = plan.key_of_facts();
        Ok(plan)
    }

    /// The base with this plan's skeleton, which is made now if it is not there.
    pub(super) fn publish(&self, skeletons: &Path) -> Result<HostBase, Error> {
        let folder = skeletons.join(&self.key);
        if let Some(base) = read_record(&folder) {
            return Ok(base);
        }
        make_folder(skeletons)?;
        let temporary = skeletons.join(format!(".new-{}-{}", self.key, std::process::id()));
        let handle = fs::File::open(skeletons).map_err(Error::io("open", skeletons))?;
        let temporary_name = c_name(&temporary);
        remove_tree(&handle, &temporary_name)?;
        let made = self.make(&temporary, &folder);
        if made.is_err() {
            remove_tree(&handle, &temporary_name)?;
        }
        let base = made?;
        // A folder with the name but without a record is what a crash left.
        if folder.exists() && read_record(&folder).is_none() {
            remove_tree(&handle, &c_name(&folder))?;
        }
        let renamed = rustix::fs::renameat_with(
            rustix::fs::CWD,
            &temporary,
            rustix::fs::CWD,
            &folder,
            RenameFlags::NOREPLACE,
        );
        match renamed {
            Ok(()) => Ok(base),
            Err(Errno::EXIST) => {
                remove_tree(&handle, &temporary_name)?;
                read_record(&folder).ok_or_else(|| Error::HostUnsupported {
                    what: format!("its skeleton `{}` cannot be read", folder.display()),
                })
            }
            Err(errno) => Err(Error::system("create", &folder)(errno)),
        }
    }

    fn make(&self, temporary: &Path, folder: &Path) -> Result<HostBase, Error> {
        let root = temporary.join("root");
        make_folder(&root)?;
        for (name, mode) in FOLDERS {
            make_folder(&root.join(name))?;
            set_mode(&root.join(name), mode)?;
        }
        let visible = |path: &Path| self.tools.is_visible(path) && !path.starts_with("/etc");
        let mut mirror = Mirror::new(&root, &visible);
        self.make_etc(&root, &mut mirror)?;
        let mut refused = mirror.refused;
        let binds = self.make_mount_points(&root, &folder.join("root"))?;
        self.make_home(&root)?;
        link(&root, "var/run", "/run")?;
        link(&root, "var/lock", "/run/lock")?;
        refused.extend(self.tools.refused.iter().cloned());
        refused.extend(self.settings.refused.iter().cloned());
        refused.sort();
        let mut exposed: Vec<_> = self.tools.listed.iter().cloned().collect();
        exposed.extend(self.settings.listed.iter().cloned());
        exposed.sort();
        let base = HostBase {
            fingerprint: self.fingerprint.clone(),
            skeleton: folder.join("root"),
            binds,
            env: self.env.clone(),
            exposed,
            refused,
        };
        write_record(temporary, &base)?;
        Ok(base)
    }

    fn make_etc(&self, root: &Path, mirror: &mut Mirror<'_>) -> Result<(), Error> {
        let etc = root.join("etc");
        for (name, text) in OWN {
            write(&etc.join(name), text)?;
        }
        write(&etc.join("profile"), &profile(&self.env))?;
        link(root, "etc/mtab", "/proc/mounts")?;
        for (path, text) in &self.settings.files {
            if path.starts_with("/etc") {
                write(&inside(root, path), text)?;
            }
        }
        let linked = linked_names(&self.tools.system);
        for name in COPIED.iter().map(Path::new).chain(linked.iter().map(PathBuf::as_path)) {
            mirror.copy(&Path::new("/etc").join(name))?;
        }
        for path in self.settings.named_in_etc() {
            mirror.copy(&path)?;
        }
        for (source, target) in &self.settings.copies {
            let text = fs::read(source).map_err(Error::io("read", source))?;
            write_bytes(&inside(root, target), &text)?;
        }
        Ok(())
    }

    /// The links and mount points of the system folders, of toolchains, and of settings that are covered.
    fn make_mount_points(&self, root: &Path, published: &Path) -> Result<Vec<Bind>, Error> {
        let mut binds = Vec::new();
        for path in self.tools.system.iter().chain(&self.tools.exposed) {
            let target = inside(root, path);
            if self.tools.system.contains(path)
                && let Ok(link_target) = fs::read_link(path)
            {
                std::os::unix::fs::symlink(&link_target, &target)
                    .map_err(Error::io("create", &target))?;
                continue;
            }
            if path.is_dir() {
                make_folder(&target)?;
            } else {
                write(&target, "")?;
            }
            binds.push(Bind { source: path.clone(), target: path.clone() });
        }
        for path in &self.settings.covers {
            let name = path.to_string_lossy().trim_start_matches('/').replace('/', "-");
            let cover = Path::new("etc/sandgate").join(name);
            let text = self.settings.files.iter().find(|(known, _)| known == path);
            write(&root.join(&cover), text.map_or("", |(_, text)| text))?;
            binds.push(Bind { source: published.join(cover), target: path.clone() });
        }
        Ok(binds)
    }

    fn make_home(&self, root: &Path) -> Result<(), Error> {
        let home = inside(root, Path::new(GATE_HOME));
        for name in ["", ".cache", ".cargo", ".config", ".local/bin"] {
            make_folder(&home.join(name))?;
        }
        for (path, text) in
            self.settings.files.iter().filter(|(path, _)| path.starts_with(GATE_HOME))
        {
            write(&inside(root, path), text)?;
        }
        let workspace = inside(root, Path::new(WORKSPACE));
        make_folder(&workspace)?;
        let Some((user, group)) = self.owner else { return Ok(()) };
        let mut pending = vec![home, workspace];
        while let Some(path) = pending.pop() {
            chown(&path, Some(user), Some(group))
                .map_err(Error::io("change the owner of", &path))?;
            if path.is_dir() {
                for entry in fs::read_dir(&path).map_err(Error::io("list", &path))? {
                    pending.push(entry.map_err(Error::io("list", &path))?.path());
                }
            }
        }
        Ok(())
    }

    fn key_of_facts(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut field = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        field(FORMAT);
        field(&self.fingerprint);
        field(&format!("{:?} {:?} {:?}", self.owner, self.env, self.tools));
        field(&format!("{:?}", self.settings));
        for name in COPIED {
            field(&stamp(&Path::new("/etc").join(name)));
        }
        let stamped = [
            "/etc",
            "/etc/ssl/certs",
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/ca-trust/extracted/pem",
            "/usr/lib",
            "/usr/share",
            "/usr/bin",
            "/usr/lib/jvm",
        ];
        for path in stamped.iter().map(Path::new) {
            field(&stamp(path));
        }
        for (source, _) in &self.settings.copies {
            field(&stamp(source));
        }
        for path in self.settings.named_in_etc() {
            field(&stamp(&path));
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// Removes the skeletons in the folder `skeletons` but those of `keep`; nobody may be making one.
pub fn sweep_skeletons(skeletons: &Path, keep: &[&HostBase]) -> Result<usize, Error> {
    let handle = fs::File::open(skeletons).map_err(Error::io("open", skeletons))?;
    let mut removed = 0;
    for entry in fs::read_dir(skeletons).map_err(Error::io("list", skeletons))? {
        let path = entry.map_err(Error::io("list", skeletons))?.path();
        if !keep.iter().any(|base| base.skeleton.starts_with(&path)) {
            remove_tree(&handle, &c_name(&path))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The environment of a sandbox on this base.
fn env(environment: &HostEnvironment, tools: &Tools, settings: &Settings) -> Vec<(String, String)> {
    // What a setup installs for the gate's user comes first.
    let mut path = vec![format!("{GATE_HOME}/.local/bin"), format!("{GATE_HOME}/.cargo/bin")];
    path.extend(tools.path.iter().filter_map(|folder| folder.to_str()).map(str::to_owned));
    if tools.path.is_empty() {
        path.extend(["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned));
    }
    let language = environment.variable("LANG").unwrap_or("C.UTF-8");
    let mut env: Vec<(String, String)> = [
        ("PATH", path.join(":").as_str()),
        ("HOME", GATE_HOME),
        ("USER", "gate"),
        ("LOGNAME", "gate"),
        ("SHELL", "/bin/sh"),
        ("LANG", language),
        ("CARGO_HOME", "/home/gate/.cargo"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    for name in ["JAVA_HOME", "GOROOT", "DOTNET_ROOT", "ANDROID_HOME"] {
        if let Some(value) = environment.variable(name)
            && tools.is_visible(Path::new(value))
        {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    for pair in tools.env.iter().chain(&settings.env) {
        if !env.iter().any(|(known, _)| *known == pair.0) {
            env.push(pair.clone());
        }
    }
    env
}

/// Login shells keep the search path of the base.
fn profile(env: &[(String, String)]) -> String {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    format!("PATH='{}'\nexport PATH\n", path.replace('\'', r"'\''"))
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn link(root: &Path, name: &str, target: &str) -> Result<(), Error> {
    let path = root.join(name);
    std::os::unix::fs::symlink(target, &path).map_err(Error::io("create", path))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    write_bytes(path, text.as_bytes())
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    make_parent(path)?;
    fs::write(path, bytes).map_err(Error::io("write", path))?;
    set_mode(path, 0o644)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::io("change the mode of", path))
}

fn write_record(folder: &Path, base: &HostBase) -> Result<(), Error> {
    let path = folder.join("base.json");
    let text = serde_json::to_vec(base)
        .map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
    fs::write(&path, text).map_err(Error::io("write", &path))
}

fn read_record(folder: &Path) -> Option<HostBase> {
    let base: HostBase = serde_json::from_slice(&fs::read(folder.join("base.json")).ok()?).ok()?;
    base.skeleton.join("etc/passwd").is_file().then_some(base)
}

/// Our own names hold no NUL.
fn c_name(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    std::ffi::CString::new(name).unwrap_or_default()
}
