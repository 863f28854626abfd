//! The settings in effect: options over the environment over the file.

use std::fmt::Write as _;
use std::path::Path;

use rokini::lease::{GroupId, WallClock};
use rokini::{ConfigKey, ConfigOrigin, ConsumerConfig, StreamRef};
use serde_json::json;

use super::Args;
use crate::error::CliError;

/// The settings in effect.
pub(super) struct Effective {
    pub(super) config: ConsumerConfig,
    /// Those that this command chose by itself.
    chosen: Vec<ConfigKey>,
    now_millis: u64,
}

/// Reads file, environment and options.
pub(super) fn read(args: &Args) -> Result<Effective, CliError> {
    let file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
    let environment = ConsumerConfig::from_env(crate::environment())?;
    let mut config = file.merge(environment);
    let now_millis = WallClock::system().millis();
    let from = args.from.map(|from| from.resolve(now_millis).to_string());
    let options = [
        (ConfigKey::Stream, args.stream.as_ref().map(ToString::to_string)),
        (ConfigKey::Group, args.group.clone()),
        (ConfigKey::Worker, args.worker.clone()),
        (ConfigKey::Start, from),
        (ConfigKey::Table, args.table.clone()),
        (ConfigKey::CreateTable, args.create_table.then(|| "true".to_owned())),
        (ConfigKey::Failover, args.failover.clone()),
        (ConfigKey::Heartbeat, args.heartbeat.clone()),
        (ConfigKey::CheckpointInterval, args.checkpoint_interval.clone()),
        (ConfigKey::ShutdownDeadline, args.shutdown_deadline.clone()),
    ];
    for (key, text) in options {
        if let Some(text) = text {
            config.set(key, &text)?;
        }
    }
    for setting in &args.settings {
        let (key, text) = setting.split_once('=').ok_or_else(|| {
            CliError::usage(format!("`--set {setting}` is not a key and a value"))
                .next("write it as `--set failover=20s`")
        })?;
        let key: ConfigKey = key
            .trim()
            .parse()
            .map_err(|error| CliError::from(error).next("`rokini consume --print-config` shows every key"))?;
        config.set(key, text.trim())?;
    }
    let mut effective = Effective { config, chosen: Vec::new(), now_millis };
    effective.default(ConfigKey::Worker, &worker_name())?;
    Ok(effective)
}

fn read_file(path: &Path) -> Result<ConsumerConfig, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("cannot read the configuration file `{}`", path.display())).because(&error)
    })?;
    ConsumerConfig::from_toml_str(&text).map_err(|error| {
        let mut error = CliError::from(error);
        error.what = format!("{}: {}", path.display(), error.what);
        error.next("`rokini consume --print-config` shows every key, in the form of the file")
    })
}

/// Host name and process id. The same host does not have two live processes of one id; containers differ in their
/// host name.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let host: String = host.trim().chars().filter(allowed).take(200).collect();
    let host = if host.is_empty() { "worker" } else { &host };
    format!("{host}-{}", std::process::id())
}

impl Effective {
    /// Sets what nobody has set.
    pub(super) fn default(&mut self, key: ConfigKey, text: &str) -> Result<(), CliError> {
        if self.config.origin(key) == ConfigOrigin::Default {
            self.config.set(key, text)?;
            self.chosen.push(key);
        }
        Ok(())
    }

    /// Whether they go together, and what must be set.
    pub(super) fn check(&self) -> Result<(&[StreamRef], GroupId), CliError> {
        if self.config.streams.is_empty() {
            return Err(CliError::usage("no stream is named")
                .next("`rokini consume STREAM --group GROUP`, or set `ROKINI_STREAM`"));
        }
        let group = self.config.group.clone().ok_or_else(|| {
            CliError::usage("no group is named")
                .next("give `--group NAME`, or set `ROKINI_GROUP`; members of one group share the shards")
        })?;
        if !self.config.auto_checkpoint {
            return Err(CliError::usage(
                "`auto_checkpoint = false` has no effect here: a record is done once its line is flushed",
            )
            .next(format!("remove it (it comes from the {})", self.origin(ConfigKey::AutoCheckpoint))));
        }
        if self.config.broadcast {
            return Err(CliError::usage(
                "`broadcast = true` has no effect here: `consume` shares its shards",
            )
            .next(format!(
                "`rokini tail STREAM` shows every record; remove it (it comes from the {})",
                self.origin(ConfigKey::Broadcast)
            )));
        }
        self.config.check(self.now_millis)?;
        Ok((&self.config.streams, group))
    }

    fn origin(&self, key: ConfigKey) -> String {
        match self.config.origin(key) {
            _ if self.chosen.contains(&key) => "default".to_owned(),
            ConfigOrigin::Builder => "command line".to_owned(),
            origin => origin.to_string(),
        }
    }

    /// Every setting with its origin, as TOML or JSON.
    pub(super) fn shown(&self, json: bool) -> Vec<u8> {
        if json {
            let settings: serde_json::Map<_, _> = ConfigKey::ALL
                .iter()
                .map(|key| {
                    let shown = json!({ "value": self.config.text(*key), "origin": self.origin(*key) });
                    (key.name().to_owned(), shown)
                })
                .collect();
            return format!("{}\n", serde_json::Value::Object(settings)).into_bytes();
        }
        let mut text = String::new();
        for (line, key) in self.config.effective().lines().zip(ConfigKey::ALL) {
            let _ = match line.rsplit_once(" # ") {
                Some((setting, _)) => writeln!(text, "{setting} # {}", self.origin(*key)),
                None => writeln!(text, "{line}"),
            };
        }
        text.into_bytes()
    }
}
