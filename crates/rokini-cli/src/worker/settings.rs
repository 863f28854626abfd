//! The settings in effect: the command line over the environment over the file.

use std::fmt::Write as _;
use std::path::Path;

use rokini::lease::{GroupId, WallClock};
use rokini::{ConfigKey, ConfigOrigin, ConsumerConfig, StreamRef};
use serde_json::json;

use super::args::WorkerArgs;
use crate::args::environment;
use crate::error::CliError;

/// The settings in effect.
#[derive(Debug)]
pub(crate) struct EffectiveSettings {
    pub(crate) config: ConsumerConfig,
    /// Those that this command chose by itself.
    own_defaults: Vec<ConfigKey>,
    /// Those that come from a file of another system.
    foreign: Vec<ConfigKey>,
    now_millis: u64,
    /// Of the command.
    ineffective: Ineffective,
    command: &'static str,
}

/// Settings that cannot act in a command, why, and what has an effect in their place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ineffective {
    pub(crate) settings: &'static [(ConfigKey, &'static str)],
    pub(crate) instead: &'static str,
}

/// Reads file, environment and options.
pub(crate) fn read(
    args: &WorkerArgs,
    command: &'static str,
    ineffective: Ineffective,
) -> Result<EffectiveSettings, CliError> {
    let file = args.config.as_deref().map(|path| read_file(path, command)).transpose()?.unwrap_or_default();
    let environment = ConsumerConfig::from_env(environment())?;
    let mut config = file.merge(environment);
    let now_millis = WallClock::system().millis();
    let options = [
        (ConfigKey::Stream, args.stream.as_ref().map(ToString::to_string)),
        (ConfigKey::Group, args.group.clone()),
        (ConfigKey::Worker, args.worker.clone()),
        (ConfigKey::Start, args.start.map(|start| start.to_string())),
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
        let key: ConfigKey = key.trim().parse().map_err(|error| {
            CliError::from(error).next(format!("`rokini {command} --print-config` shows every key"))
        })?;
        config.set(key, text.trim())?;
    }
    let mut effective = EffectiveSettings {
        config,
        own_defaults: Vec::new(),
        foreign: Vec::new(),
        now_millis,
        ineffective,
        command,
    };
    effective.set_default(ConfigKey::Worker, &worker_name())?;
    Ok(effective)
}

fn read_file(path: &Path, command: &str) -> Result<ConsumerConfig, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::usage(format!("cannot read the configuration file `{}`", path.display())).because(&error)
    })?;
    ConsumerConfig::from_toml_str(&text).map_err(|error| {
        let mut error = CliError::from(error);
        error.what = format!("{}: {}", path.display(), error.what);
        error.next(format!("`rokini {command} --print-config` shows every key, in the form of the file"))
    })
}

/// Host name and process id: a host has no two live processes of one id, and containers differ in their host name.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let host: String = host.trim().chars().filter(allowed).take(200).collect();
    let host = if host.is_empty() { "worker" } else { &host };
    format!("{host}-{}", std::process::id())
}

impl EffectiveSettings {
    /// Sets a key that is not set anywhere.
    pub(crate) fn set_default(&mut self, key: ConfigKey, text: &str) -> Result<(), CliError> {
        if self.config.origin(key) == ConfigOrigin::Default {
            self.config.set(key, text)?;
            self.own_defaults.push(key);
        }
        Ok(())
    }

    /// Sets a key that is not set anywhere else, by what a file of another system says.
    pub(crate) fn set_by_file(&mut self, key: ConfigKey, text: &str) -> Result<(), CliError> {
        if self.config.origin(key) == ConfigOrigin::Default
            || self.own_defaults.contains(&key)
            || self.foreign.contains(&key)
        {
            self.config.set(key, text)?;
            self.own_defaults.retain(|known| *known != key);
            self.foreign.push(key);
        }
        Ok(())
    }

    /// The streams and the group, which must be set.
    pub(crate) fn required(&self) -> Result<(&[StreamRef], GroupId), CliError> {
        if self.config.streams.is_empty() {
            return Err(CliError::usage("no stream is named")
                .next(format!("`rokini {} STREAM --group GROUP`, or set `ROKINI_STREAM`", self.command)));
        }
        let group = self.config.group.clone().ok_or_else(|| {
            CliError::usage("no group is named")
                .next("give `--group NAME`, or set `ROKINI_GROUP`; the workers of a group share the shards")
        })?;
        Ok((&self.config.streams, group))
    }

    /// Checks that the settings can act here and go together.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.check_effect()?;
        Ok(self.config.check(self.now_millis)?)
    }

    /// Refuses settings that only matter where there is a handler that can fail, or that shares nothing.
    fn check_effect(&self) -> Result<(), CliError> {
        let defaults = ConsumerConfig::default();
        let given = |key: ConfigKey| self.config.text(key) != defaults.text(key);
        let Some((key, why)) = self.ineffective.settings.iter().copied().find(|(key, _)| given(*key)) else {
            return Ok(());
        };
        let value = self.config.text(key).unwrap_or_default();
        Err(CliError::usage(format!("`{key} = {value}` has no effect here: {why}")).next(format!(
            "remove it (it comes from the {}); {}",
            self.origin(key),
            self.ineffective.instead
        )))
    }

    fn origin(&self, key: ConfigKey) -> String {
        match self.config.origin(key) {
            _ if self.own_defaults.contains(&key) => "default".to_owned(),
            _ if self.foreign.contains(&key) => "file".to_owned(),
            ConfigOrigin::Builder => "command line".to_owned(),
            origin => origin.to_string(),
        }
    }

    /// Every setting with its origin, as TOML or JSON.
    pub(crate) fn render(&self, json: bool) -> Vec<u8> {
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
