//! What every command starts from: the environment, the clock, the flags.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use sandgate_chassis::{
    ConfigFlag, ConfigSources, Environment, LoadedConfig, LogLevel, SystemClock, SystemIds,
    arm_fail_point, start_json_logging, start_logging,
};
use sandgate_domain::{Clock, ErrorCode, Ids, TenantId};

use crate::args::Global;
use crate::failure::Failure;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON document a line, with each start and stop.
    Json,
}

/// What every command starts from.
#[derive(Clone)]
pub struct Context {
    /// The flags.
    pub global: Global,
    /// The variables of this process.
    pub environment: Environment,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn Ids>,
    /// Whose things they are.
    pub tenant: TenantId,
    /// Whether standard error is coloured.
    pub colour: bool,
}

impl Context {
    /// Reads the environment and starts logging.
    pub fn new(global: Global) -> Result<Self, Failure> {
        let environment = Environment::read();
        let colour = global.color.on_stderr(&environment);
        let is_json = global.log_format == LogFormat::Json;
        let level = match (global.quiet, global.verbose) {
            (true, _) => LogLevel::Error,
            (false, 0) if !is_json => LogLevel::Warn,
            (false, 0 | 1) => LogLevel::Info,
            (false, _) => LogLevel::Debug,
        };
        if is_json {
            start_json_logging(level);
        } else {
            start_logging(level, colour);
        }
        arm_fail_point(&environment)?;
        Ok(Self {
            global,
            environment,
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            tenant: TenantId::default(),
            colour,
        })
    }

    /// The same, with another folder for state unless the user named one.
    pub fn with_data_dir(&self, folder: &str) -> Self {
        let mut global = self.global.clone();
        global.data_dir.get_or_insert_with(|| PathBuf::from(folder));
        Self { global, ..self.clone() }
    }

    /// The configuration of the server: defaults, the file, variables, these flags.
    pub fn config(&self, flags: Vec<ConfigFlag>) -> Result<LoadedConfig, Failure> {
        Ok(LoadedConfig::load(ConfigSources {
            file: self.global.config.as_deref(),
            folder: &std::env::current_dir()?,
            environment: &self.environment,
            flags,
        })?)
    }

    /// Tells what was done or could be done next, unless the user wants quiet.
    pub fn tell(&self, text: impl std::fmt::Display) {
        if !self.global.quiet {
            eprintln!("{text}");
        }
    }

    /// The user's own list of files that git ignores everywhere, if there is one.
    pub fn ignore_file(&self) -> Option<PathBuf> {
        self.environment
            .config_folder()
            .map(|folder| folder.join("git/ignore"))
            .filter(|p| p.is_file())
    }

    /// The folder for state, made if it is not there.
    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        let folder = match &self.global.data_dir {
            Some(folder) => std::path::absolute(folder)?,
            None => self
                .environment
                .state_folder()
                .map_err(|error| Failure::from_error(ErrorCode::InvalidArgument, &error))?,
        };
        std::fs::create_dir_all(&folder).map_err(|error| {
            let folder = folder.display();
            Failure::new(ErrorCode::Internal, format!("can't make the folder `{folder}`: {error}"))
                .help("give another one with --data-dir")
        })?;
        Ok(folder)
    }
}
