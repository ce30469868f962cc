//! `sandgate dev`: everything in one process.

use clap::Args;
use sandgate_chassis::{Config, ConfigFlag, Shutdown};
use serde_json::json;

use crate::context::{Context, LogFormat};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::server::Server;

/// Arguments of `sandgate dev`.
#[derive(Debug, Args)]
pub struct Dev {
    #[command(flatten)]
    settings: Settings,
    /// Print the bound addresses as one line of JSON
    #[arg(long)]
    print_address: bool,
}

/// Flags that set keys of the configuration.
#[derive(Debug, Args)]
pub struct Settings {
    /// Where HTTP is answered: pages, REST, webhooks [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where gRPC is answered [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    grpc_listen: Option<String>,
}

impl Settings {
    /// The flags that were given.
    pub fn flags(self) -> Vec<ConfigFlag> {
        let flag =
            |key, flag, value: Option<String>| value.map(|value| ConfigFlag { key, flag, value });
        let flags = [
            flag("server.listen", "--listen", self.listen),
            flag("server.grpcListen", "--grpc-listen", self.grpc_listen),
        ];
        flags.into_iter().flatten().collect()
    }
}

/// The folder for state, if `--data-dir` names no other one.
pub const DATA_DIR: &str = ".sandgate";

/// Serves until a signal.
pub async fn run(context: &Context, command: Dev) -> Result<Exit, Failure> {
    let context = context.with_data_dir(DATA_DIR);
    let shutdown = Shutdown::on_signals()?;
    let loaded = context.config(command.settings.flags())?;
    let server = Server::start(&context, &loaded.config, shutdown).await?;
    if command.print_address {
        let addresses =
            json!({ "http": server.record.address, "grpc": server.record.grpc_address });
        output::write(&format!("{addresses}\n"))?;
    }
    match context.global.log_format {
        LogFormat::Text => greet(&server, &loaded.config),
        LogFormat::Json => announce(&server, &loaded.config),
    }
    server.run().await?;
    Ok(Exit::Ok)
}

fn greet(server: &Server, config: &Config) {
    eprintln!("serving  http://{}", server.record.address);
    eprintln!("log in   {}", server.login_link());
    if config.webhook_secrets.is_empty() {
        eprintln!(
            "webhooks are refused until `webhooks.github.secrets` is set (GITHUB_WEBHOOK_SECRET)"
        );
    }
    eprintln!("next     sandgate repo add <path> --name owner/repo");
}

/// The same for machines. Logs are kept and shipped, so the login link is left out: it opens everything.
fn announce(server: &Server, config: &Config) {
    tracing::info!(
        http.address = %server.record.address,
        grpc.address = %server.record.grpc_address,
        token.path = %server.record.token_path.display(),
        webhooks.accepted = !config.webhook_secrets.is_empty(),
        "serving"
    );
}
