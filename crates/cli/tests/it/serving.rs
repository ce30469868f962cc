//! A server that listens: the real front doors over services in memory, or recorded answers; and the record of it.

use std::fs::File;
use std::sync::Mutex;

use axum::Router;
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::{self, Doors, Setup, TOKEN};
use crate::world::World;

/// A server on a free port of this machine.
pub struct Server {
    pub address: String,
    runtime: Runtime,
    /// The lock on its record, as a running server holds it.
    record: Mutex<Option<File>>,
}

/// The real front doors, listening.
pub struct Front {
    pub server: Server,
    pub doors: Doors,
}

impl Front {
    /// With something in every service.
    pub fn start() -> Self {
        let (runtime, listener) = listen();
        let bound = listener.local_addr().unwrap().to_string();
        let setup = Setup { bound: bound.clone().leak(), ..Setup::default() };
        let doors = runtime.block_on(async { support::with(setup) });
        support::fill(&doors.memory);
        let server = Server::new(runtime, listener, bound, doors.router.clone());
        Self { server, doors }
    }
}

impl Server {
    /// Answers that are given as routes.
    pub fn recorded(router: Router) -> Self {
        let (runtime, listener) = listen();
        let bound = listener.local_addr().unwrap().to_string();
        Self::new(runtime, listener, bound, router)
    }

    fn new(runtime: Runtime, listener: TcpListener, bound: String, router: Router) -> Self {
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address: format!("http://{bound}"), runtime, record: Mutex::default() }
    }

    /// Waits for something that the server does.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Writes the record that a running server keeps, and its token.
    pub fn write_record(&self, world: &World, pid: u32) {
        let data_dir = world.state().join("served");
        std::fs::create_dir_all(&data_dir).unwrap();
        std::fs::write(data_dir.join("token"), format!("{TOKEN}\n")).unwrap();
        let record = json!({
            "address": self.address, "tokenPath": data_dir.join("token"), "dataDir": data_dir,
            "pid": pid, "startedBy": "a later version may write more",
        });
        let folder = world.state().join("sandgate/servers");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{pid}.json"));
        std::fs::write(&path, record.to_string()).unwrap();
        let lock = File::open(&path).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        *self.record.lock().unwrap() = Some(lock);
    }

    /// Answers no more, and keeps its record as one that hangs does.
    pub fn hang(self) -> Option<File> {
        self.record.into_inner().unwrap()
    }
}

fn listen() -> (Runtime, TcpListener) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    (runtime, listener)
}

/// A world with one commit, and the real front doors with their record.
pub fn served() -> (World, Front) {
    let world = World::with_files(&[("file.txt", "text\n")]);
    let front = Front::start();
    front.server.write_record(&world, std::process::id());
    (world, front)
}
