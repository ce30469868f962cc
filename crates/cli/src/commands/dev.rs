//! `sandgate dev`: everything in one process.

use std::path::PathBuf;

use clap::Args;
use sandgate_chassis::{ConfigFlag, ConfigSources, LoadedConfig, Shutdown};
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::server::Server;

/// Arguments of `sandgate dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where HTTP is answered: pages, REST, webhooks [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where gRPC is answered [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    grpc_listen: Option<String>,
    /// The configuration [default: sandgate.yaml, if it is there]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Print the bound addresses as one line of JSON
    #[arg(long)]
    print_address: bool,
}

/// The folder for state, if `--data-dir` names no other one.
pub const DATA_DIR: &str = ".sandgate";

/// Serves until a signal.
pub async fn run(context: &Context, command: Dev) -> Result<Exit, Failure> {
    let context = context.with_data_dir(DATA_DIR);
    let shutdown = Shutdown::on_signals()?;
    let flag =
        |key, flag, value: Option<String>| value.map(|value| ConfigFlag { key, flag, value });
    let flags = [
        flag("server.listen", "--listen", command.listen),
        flag("server.grpcListen", "--grpc-listen", command.grpc_listen),
    ];
    let loaded = LoadedConfig::load(ConfigSources {
        file: command.config.as_deref(),
        folder: &std::env::current_dir()?,
        environment: &context.environment,
        flags: flags.into_iter().flatten().collect(),
    })?;
    let server = Server::start(&context, &loaded.config, shutdown).await?;
    if command.print_address {
        let addresses =
            json!({ "http": server.record.address, "grpc": server.record.grpc_address });
        output::write(&format!("{addresses}\n"))?;
    }
    eprintln!("serving  http://{}", server.record.address);
    eprintln!("log in   {}", server.login_link());
    if loaded.config.webhook_secrets.is_empty() {
        eprintln!(
            "webhooks are refused until `webhooks.github.secrets` is set (GITHUB_WEBHOOK_SECRET)"
        );
    }
    eprintln!("next     sandgate repo add <path> --name owner/repo");
    server.run().await?;
    Ok(Exit::Ok)
}
