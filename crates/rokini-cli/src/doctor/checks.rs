//! Checks that ask nobody but this machine.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_credential_types::provider::ProvideCredentials;
use rokini::lease::WallClock;
use rokini::{ConsumerConfig, MEMORY_OVERHEAD};
use tokio::time::timeout;

use super::check::Check;
use super::host;
use crate::aws::Aws;

/// How long a provider of credentials may take.
const CREDENTIALS_WAIT: Duration = Duration::from_secs(5);
/// Open files that a worker needs beside its connections.
const FILES: u64 = 256;

pub(super) fn configuration(config: &ConsumerConfig) -> Vec<Check> {
    let name = "settings";
    let mut checks = Vec::new();
    match config.check(WallClock::system().millis()) {
        Ok(()) => checks.push(Check::ok(name, "they go together")),
        Err(error) => checks.push(Check::fail(name, error.to_string(), "change what it names")),
    }
    if config.streams.is_empty() {
        checks.push(Check::warn(
            "stream",
            "none is named, so nothing of a stream was looked at: no permission, limit or lag",
            "name it: `rokini doctor STREAM --group NAME`, or set `ROKINI_STREAM`",
        ));
    }
    if config.group.is_none() && !config.broadcast {
        checks.push(Check::warn("group", "none is named", "give `--group NAME`, or set `ROKINI_GROUP`"));
    }
    checks
}

pub(super) fn host(config: &ConsumerConfig) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(files) = host::open_files() {
        checks.push(match files < FILES {
            false => Check::ok("open-files", format!("up to {files}")),
            true => {
                Check::warn("open-files", format!("at most {files}"), "raise the limit: `ulimit -n 4096`")
            }
        });
    }
    if let Some(memory) = host::memory() {
        let budget = config.memory_budget.get() as u64;
        let megabytes = |bytes: u64| format!("{} MB", bytes >> 20);
        let what = format!("{} for a budget of {}", megabytes(memory), megabytes(budget));
        let beside = MEMORY_OVERHEAD as u64;
        checks.push(match budget.saturating_add(beside) > memory {
            false => Check::ok("memory", what),
            true => Check::fail(
                "memory",
                format!("{what} and about {} beside it", megabytes(beside)),
                "lower `memory_budget`, or give the worker more",
            ),
        });
    }
    checks
}

pub(super) async fn credentials(aws: &Aws) -> Check {
    let name = "credentials";
    let next = "set `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or give the machine a role; \
                `aws sts get-caller-identity` shows whose they are";
    let Some(provider) = aws.config.credentials_provider() else {
        return Check::fail(name, "no provider is configured", next);
    };
    match timeout(CREDENTIALS_WAIT, provider.provide_credentials()).await {
        Err(_) => Check::fail(name, format!("no provider answered within {CREDENTIALS_WAIT:?}"), next),
        Ok(Err(error)) => Check::fail(name, rokini::credentials_problem(&error), next),
        Ok(Ok(found)) => {
            let key = found.access_key_id();
            let shown = format!("{}… {}", key.chars().take(4).collect::<String>(), origin(&found));
            match rokini::credentials_end(&found)
                .map(|at| at.duration_since(SystemTime::from(WallTime::now())))
            {
                None => Check::ok(name, format!("key {shown}, without an end")),
                Some(Ok(left)) => {
                    Check::ok(name, format!("key {shown}, for {} minutes more", left.as_secs() / 60))
                }
                Some(Err(_)) => Check::fail(name, format!("key {shown} is expired"), next),
            }
        }
    }
}

/// The time of the host, by the clock that commands go by.
struct WallTime(u64);

impl WallTime {
    fn now() -> Self {
        Self(WallClock::system().millis())
    }
}

impl From<WallTime> for SystemTime {
    fn from(time: WallTime) -> Self {
        Self::UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

/// Who gave the credentials, as far as they say so.
fn origin(credentials: &Credentials) -> String {
    let features = credentials.get_property::<Vec<Feature>>();
    let names: Vec<&str> = features.into_iter().flatten().filter_map(provider).collect();
    if names.is_empty() { "of an own provider".to_owned() } else { format!("of {}", names.join(", ")) }
}

fn provider(feature: &Feature) -> Option<&'static str> {
    Some(match feature {
        Feature::CredentialsEnvVars => "the environment",
        Feature::CredentialsProfile
        | Feature::CredentialsProfileSourceProfile
        | Feature::CredentialsProfileNamedProvider => "the profile",
        Feature::CredentialsEnvVarsStsWebIdToken
        | Feature::CredentialsProfileStsWebIdToken
        | Feature::CredentialsStsAssumeRoleWebId => "a web identity token",
        Feature::CredentialsStsAssumeRole | Feature::CredentialsStsAssumeRoleSaml => "an assumed role",
        Feature::CredentialsStsFederationToken | Feature::CredentialsStsSessionToken => "a session token",
        Feature::CredentialsProfileSso | Feature::CredentialsSso => "single sign-on",
        Feature::CredentialsProfileLogin | Feature::CredentialsLogin => "a login",
        Feature::CredentialsProfileProcess | Feature::CredentialsProcess => "a process of the profile",
        Feature::CredentialsHttp => "the container's role",
        Feature::CredentialsImds => "the instance's metadata service",
        Feature::CredentialsCode => "the program",
        _ => return None,
    })
}
