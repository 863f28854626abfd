//! `rokini doctor`: what a configuration needs, and what of it is there.

mod access;
mod call;
mod check;
mod checks;
mod cost;
mod dry_run;
mod fan_out;
mod host;
mod policy;
mod reach;
mod stream_facts;

use std::path::PathBuf;

use rokini::lease::WallClock;
use rokini::{ConfigKey, ConsumerConfig, StreamRef};

use self::check::{Check, CheckStatus};
use self::policy::{KmsKey, Needs};
use crate::args::environment;
use crate::aws::{AwsArgs, Service};
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;

/// Check whether a configuration works here: credentials, endpoints, permissions, table, limits, clock, cost
///
/// Reads the settings from `ROKINI_...` variables and --config, as workers do. Writes nothing: permissions to write are tried
/// by calls whose condition can never hold, and by dry runs where the service knows them. Each line is ok, warn or fail, with the next step. The exit status is 1 if anything
/// failed. Without a stream nothing of one is looked at, which is warned of: credentials, region, endpoints, this host and the table
/// are. --policy and --terraform print what exactly this configuration needs, and check nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream: its name, or its ARN. Default: the setting `stream`
    stream: Option<StreamRef>,
    /// The group. Default: the setting `group`
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The DynamoDB table of positions. Default: ROKINI_TABLE, or rokini
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How many workers the cost is worked out for. Default: 2
    #[arg(long, value_name = "N", conflicts_with_all = ["policy", "terraform"])]
    workers: Option<u32>,
    /// The KMS key of the stream, by its ARN or id, where it is encrypted by one of your own: for --policy and --terraform
    #[arg(long, value_name = "KEY", requires = "printed")]
    kms_key: Option<KmsKey>,
    /// Print the IAM policy that workers of this configuration need
    #[arg(long, group = "printed")]
    policy: bool,
    /// Print Terraform of the table and the policy
    #[arg(long, group = "printed")]
    terraform: bool,
    #[command(flatten)]
    aws: AwsArgs,
}

const EXAMPLES: &str = "\
Examples:
  rokini doctor orders --group billing
  rokini doctor orders --group billing --policy > policy.json
  rokini doctor --config worker.toml --terraform
  rokini doctor orders --group billing --json | jq '.checks[] | select(.status != \"ok\")'";

/// How many workers the cost is worked out for, where nobody says.
const WORKERS: u32 = 2;

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    context.unless_stopped(Box::pin(doctor(args, context))).await
}

async fn doctor(args: Args, context: &Context) -> Result<Status, CliError> {
    let config = config(&args)?;
    let aws = args.aws.load_unchecked(None, None, Vec::new()).await?;
    let needs = Needs::of(&config, aws.region(), aws.is_local(Service::DynamoDb), args.kms_key.as_ref());
    if args.policy || args.terraform {
        let text = if args.policy { needs.policy() } else { needs.terraform(&config.table) };
        Output::stdout()?.write(text.into_bytes()).await?;
        return Ok(Status::DONE);
    }
    let mut checks = checks::configuration(&config);
    checks.extend(checks::host(&config));
    let credentials = checks::credentials(&aws).await;
    let usable = credentials.status != CheckStatus::Fail;
    checks.push(credentials);
    checks.push(Check::ok("region", aws.region()));
    let endpoints = reach::endpoints(&config, &aws).await;
    let reached = reach::reach(endpoints, &aws.http, WallClock::system().millis()).await;
    // What cannot be reached would be silent for as long again in each call.
    let can_ask = |service| usable && !reach::is_cut_off(&reached, service);
    let (has_kinesis, has_dynamo) = (can_ask(Service::Kinesis), can_ask(Service::DynamoDb));
    checks.extend(reached.into_iter().map(|(_, check)| check));
    let mut streams = Vec::new();
    if has_kinesis {
        let said = Box::pin(access::streams(&config, &aws)).await;
        checks.extend(said.checks);
        checks.extend(Box::pin(dry_run::dry_runs(&config, &aws, &said.dry_runs)).await);
        streams = said.facts;
    }
    if has_dynamo {
        checks.extend(Box::pin(access::table(&config, &aws)).await);
    }
    if has_kinesis && has_dynamo {
        checks.extend(access::group(&config, &aws).await);
    }
    let has_table = checks.iter().any(|check| check.name == "table-layout");
    let untried = needs.untried(has_table || aws.is_local(Service::DynamoDb), &checks);
    checks.extend(untried);
    checks.push(cost::cost(&config, args.workers.unwrap_or(WORKERS), &streams));
    show(&checks, context).await
}

fn config(args: &Args) -> Result<ConsumerConfig, CliError> {
    let file = match &args.config {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::usage(format!("cannot read the configuration file `{}`", path.display()))
                    .because(&error)
            })?;
            ConsumerConfig::from_toml_str(&text)?
        }
        None => ConsumerConfig::default(),
    };
    let mut config = file.merge(ConsumerConfig::from_env(environment())?);
    let options = [
        (ConfigKey::Stream, args.stream.as_ref().map(ToString::to_string)),
        (ConfigKey::Group, args.group.clone()),
        (ConfigKey::Table, args.table.clone()),
    ];
    for (key, text) in options {
        if let Some(text) = text {
            config.set(key, &text)?;
        }
    }
    Ok(config)
}

async fn show(checks: &[Check], context: &Context) -> Result<Status, CliError> {
    let failed = checks.iter().filter(|check| check.status == CheckStatus::Fail).count();
    let warned = checks.iter().filter(|check| check.status == CheckStatus::Warn).count();
    let shown =
        serde_json::json!({ "ok": failed == 0, "failed": failed, "warned": warned, "checks": checks });
    context.show(&shown, || check::text(checks, context.ui.stdout_colors())).await?;
    Ok(if failed == 0 { Status::DONE } else { Status::FAILED })
}
