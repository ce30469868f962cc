//! How long a sandbox with three layers lives for `/bin/true`: `life [count] [parallel]`, figures in milliseconds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandgate_domain::Resources;
use sandgate_sandbox::{
    Bind, Command, Engine, EngineConfig, Network, Output, Spec, Stdin, enter_if_init,
};

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    enter_if_init();
    tokio::runtime::Runtime::new()?.block_on(measure())
}

type Part = fn(&Life) -> Duration;

#[derive(Default, Clone, Copy)]
struct Life {
    create: Duration,
    first_instruction: Duration,
    exit: Duration,
    total: Duration,
}

async fn measure() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let parallel: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let state = folder.path().join("state");
    fs::create_dir(&state)?;
    let begin = Instant::now();
    let engine = Engine::probe(EngineConfig::new(state)).await?;
    println!("probe {:.1}", begin.elapsed().as_secs_f64() * 1e3);
    println!("{:?}", engine.report().summary());
    let mut workers = Vec::new();
    let begin = Instant::now();
    for worker in 0..parallel {
        let (engine, folder) = (engine.clone(), folder.path().to_owned());
        workers.push(tokio::spawn(async move {
            let mut lives = Vec::new();
            for number in 0..count / parallel {
                lives.push(live(&engine, &folder, worker * 100_000 + number).await?);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(lives)
        }));
    }
    let mut lives = Vec::new();
    for worker in workers {
        lives.extend(worker.await??);
    }
    println!("{:.0} a second", lives.len() as f64 / begin.elapsed().as_secs_f64());
    let parts: [(&str, Part); 4] = [
        ("create", |life| life.create),
        ("first instruction", |life| life.first_instruction),
        ("exit", |life| life.exit),
        ("total", |life| life.total),
    ];
    for (name, part) in parts {
        let mut times: Vec<_> = lives.iter().map(part).collect();
        times.sort();
        let at =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{name:18} p50 {:.2} p90 {:.2} p99 {:.2} min {:.2}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.0)
        );
    }
    Ok(())
}

async fn live(
    engine: &Engine,
    folder: &Path,
    number: usize,
) -> Result<Life, Box<dyn std::error::Error + Send + Sync>> {
    let directory = |path: PathBuf| {
        fs::create_dir_all(&path)?;
        if let Some((user, group)) = engine.layer_owner() {
            chown(&path, Some(user), Some(group))?;
        }
        Ok::<_, std::io::Error>(path)
    };
    let mut binds = vec![Bind::read_only("/usr", "/usr")];
    let skeleton = directory(folder.join("skeleton"))?;
    for name in ["bin", "lib", "lib64"] {
        if !Path::new("/").join(name).is_symlink() {
            binds.push(Bind::read_only(Path::new("/").join(name), Path::new("/").join(name)));
        } else if !skeleton.join(name).is_symlink() {
            // Another worker may have been faster.
            symlink(format!("usr/{name}"), skeleton.join(name)).ok();
        }
    }
    let base = directory(folder.join(format!("life-{number}")))?;
    let spec = Spec {
        name: format!("life-{number}"),
        lower: vec![skeleton, directory(folder.join("setup"))?, directory(folder.join("commit"))?],
        upper: directory(base.join("upper"))?,
        work: directory(base.join("work"))?,
        binds,
        network: Network::None,
        limits: Resources::default(),
    };
    let begin = Instant::now();
    let sandbox = engine.create(spec).await?;
    let create = begin.elapsed();
    let mut command = Command::new(["/bin/true"]);
    let null = || fs::File::options().write(true).open("/dev/null");
    command.stdin = Stdin::Null;
    command.output = Output::Fds { stdout: null()?.into(), stderr: null()?.into() };
    let mut process = sandbox.exec(command).await?;
    let first_instruction = process.started().duration_since(begin);
    if !process.wait().await.success() {
        return Err("true is false".into());
    }
    let exit = begin.elapsed();
    sandbox.destroy().await?;
    Ok(Life { create, first_instruction, exit, total: begin.elapsed() })
}
