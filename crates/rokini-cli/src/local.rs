//! `rokini local`: Kinesis and DynamoDB on this machine, until stopped.

mod database;
mod descendants;
#[cfg(target_os = "linux")]
mod keep_program;
mod program;
mod program_status;
mod proxy;
mod serving;

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rokini_local::{Database, DynamoError, DynamoSettings, LocalDynamo, LocalKinesis, StartError};

use crate::args::duration_with_unit;
use crate::context::Context;
use crate::error::{CliError, Status};
use database::{Opened, open_database};
#[cfg(target_os = "linux")]
pub(crate) use keep_program::{KEEP_PROGRAM, keep_program};
use proxy::Proxy;
use serving::Serving;

/// Serve Kinesis and DynamoDB on this machine until stopped
///
/// They listen on the loopback interface, unless --listen names another, and keep everything in memory unless --data names a directory. Any
/// region and any credentials are accepted: each region has its own streams, and so has each access key id of twelve
/// digits, which is an account. Standard output gets the variables that point AWS clients here, rokini
/// included.
///
/// With `-- PROGRAM ARGUMENTS` the program runs with those variables set, on ports that are free, and this command ends
/// with it, with its exit status: for test suites, `rokini local --stream orders:4 -- pytest`. On Linux whatever the program
/// started and left running ends with it too: by SIGTERM, and after five seconds by SIGKILL; and all of it ends, at once,
/// where this command is itself killed.
///
/// Kinesis answers as AWS does, its rate limits included. Its endpoint has more paths: /_rokini/faults lists (GET), adds
/// (POST) and removes (DELETE) faults that calls meet; /_rokini/clock shows the time of the service and moves it on, so
/// that iterators expire and records pass their retention at once; /_rokini/calls lists the calls and who made them;
/// /_rokini/limits turns rate limits on and off; /_rokini/health answers with
/// status 200 once both services do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The port of Kinesis; 0 for any free one. Default: 4567, with a program any free one
    #[arg(long, value_name = "PORT")]
    kinesis_port: Option<u16>,
    /// The port of DynamoDB; 0 for any free one. Default: 8000, with a program any free one
    #[arg(long, value_name = "PORT")]
    dynamodb_port: Option<u16>,
    /// The address to listen at. Another than the default is for containers, whose port others reach; names by which they do
    /// are given by --host-name
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Make this stream at the start, unless it exists; may be given several times
    #[arg(long = "stream", value_name = "NAME:SHARDS", value_parser = stream)]
    streams: Vec<(String, i32)>,
    /// Keep streams and tables in this directory, and start with those that are there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Do not enforce the rate limits of AWS, neither those of shards nor those of calls
    #[arg(long)]
    no_limits: bool,
    /// Serve Kinesis over HTTPS with the certificates of this PEM file, the server's own first
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The region of `--stream` and of callers whose requests are not signed; others are in the region they sign for
    #[arg(long, default_value = "us-east-1", value_name = "REGION", value_parser = region)]
    region: String,
    /// The account of callers whose access key id is no account; an access key id of twelve digits is
    #[arg(long, default_value = "000000000000", value_name = "ID", value_parser = account)]
    account: String,
    /// Answer requests for this host name too, such as a container's; `*` for any. May be given several times
    #[arg(long = "host-name", value_name = "NAME")]
    host_names: Vec<String>,
    /// Let web pages of this origin use the endpoints, such as `http://localhost:3000`; `*` for any. May be given several times
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<String>,
    /// How long streams stay CREATING, UPDATING and DELETING, and consumers CREATING
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = duration_with_unit)]
    status_change: Duration,
    /// Write the object of `--json` as a line to this open file descriptor once both services answer: for scripts
    ///
    /// It is a pipe, a terminal or a file, which is added to; a socket cannot be opened again by its number. It stays open
    /// until this command ends, and a program after `--` has it too: read one line from it, and not to its end.
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
    /// A program to run beside the services, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

const EXAMPLES: &str = r#"Examples:
  rokini local --stream orders:4          # serve a stream of four shards
  rokini local --data ./local             # keep streams and positions
  rokini local --kinesis-port 0 --json    # any free port; the object says which
  rokini local --stream orders:4 -- pytest # a test suite, on ports of its own

In another terminal, once the printed lines are pasted there:
  rokini put orders hello
  rokini consume orders --group billing
  # the next three reads are throttled
  curl $AWS_ENDPOINT_URL_KINESIS/_rokini/faults \
    --json '{"operation":"GetRecords","times":3,"fault":{"kind":"throttle"}}'
  # a day passes
  curl $AWS_ENDPOINT_URL_KINESIS/_rokini/clock --json '{"advance_millis":86400000}'

Other kinds of faults: delay, error, jump, drop_before, drop_after, hang_before,
hang_after, cut_after, empty, fail_records."#;

/// Twelve digits.
fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("expected the twelve digits of an account, such as `123456789012`".to_owned())
    }
}

/// Small letters, digits and hyphens, as in the names of AWS.
fn region(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a region, such as `eu-west-1`".to_owned())
    }
}

/// `NAME:SHARDS`
fn stream(text: &str) -> Result<(String, i32), String> {
    let (name, shards) = text.split_once(':').unwrap_or((text, "1"));
    match shards.parse() {
        Ok(shards @ 1..) if !name.is_empty() => Ok((name.to_owned(), shards)),
        _ => Err("expected a name and a number of shards, such as `orders:4`".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let with_program = !args.program.is_empty();
    let port = |given: Option<u16>, usual| given.unwrap_or(if with_program { 0 } else { usual });
    let (kinesis_port, dynamodb_port) = (port(args.kinesis_port, 4567), port(args.dynamodb_port, 8000));
    let mut kinesis = LocalKinesis::builder()
        .bind(SocketAddr::new(args.listen, kinesis_port))
        .throughput_limits(!args.no_limits)
        .status_change(args.status_change)
        .ready_later()
        .region(&args.region)
        .account(&args.account);
    let mut dynamo = DynamoSettings::new().region(&args.region).account(&args.account);
    for name in &args.host_names {
        kinesis = kinesis.host_name(name);
        dynamo = dynamo.host_name(name);
    }
    for origin in &args.cors_origins {
        kinesis = kinesis.cors_origin(origin);
        dynamo = dynamo.cors_origin(origin);
    }
    for (name, shards) in &args.streams {
        kinesis = kinesis.stream(name, *shards);
    }
    if let Some(directory) = &args.data {
        kinesis = kinesis.data(directory);
    }
    if let (Some(certificates), Some(key)) = (&args.tls_cert, &args.tls_key) {
        kinesis = kinesis.tls(pem(certificates)?, pem(key)?);
    }
    let kinesis = kinesis.start().await.map_err(|error| match error {
        StartError::Listen { source, .. } => {
            port_refused("Kinesis", "--kinesis-port", SocketAddr::new(args.listen, kinesis_port), &source)
        }
        StartError::Stream { name, source } => {
            CliError::usage(format!("the local Kinesis refuses the stream `{name}`")).because(&source)
        }
        StartError::Tls(source) => {
            CliError::usage("the certificate and key of `--tls-cert` and `--tls-key` cannot be used")
                .because(&source)
        }
        StartError::Data(source) => unusable(args.data.as_deref(), &source),
        other => CliError::new(Status::FAILED, "cannot start the local Kinesis").because(&other),
    })?;
    let database = match &args.data {
        // The directory is there by now.
        Some(directory) => open_database(&directory.join("dynamodb.sqlite"), context),
        None => Database::memory()
            .map(|database| Opened { database, is_kept: true })
            .map_err(|error| DynamoError::Open(error.to_string())),
    };
    let Opened { database, is_kept } = database.map_err(|error| unusable(args.data.as_deref(), &error))?;
    let dynamo = dynamo.refuse_changes(!is_kept);
    let dynamo = LocalDynamo::serve_with(database, SocketAddr::new(args.listen, dynamodb_port), dynamo)
        .await
        .map_err(|error| match error {
            DynamoError::Listen { source, .. } => port_refused(
                "DynamoDB",
                "--dynamodb-port",
                SocketAddr::new(args.listen, dynamodb_port),
                &source,
            ),
            other => CliError::new(Status::FAILED, "cannot start the local DynamoDB").because(&other),
        })?;

    kinesis.set_ready();
    let proxy = Proxy::of_environment(args.listen);
    let serving = Serving::new(&kinesis, &dynamo, &proxy);
    if let Some(descriptor) = args.ready_fd {
        serving.tell(descriptor)?;
    }
    let ended = if with_program {
        program::run(&args.program, serving.variables.iter().chain(&proxy.exceptions), context).await
    } else {
        serving.announce(context).await?;
        context.stop.requested().await;
        context.ui.info("stopping");
        Ok(Status::DONE)
    };
    tokio::join!(kinesis.shutdown(), dynamo.shutdown());
    ended
}

fn pem(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path)
        .map_err(|error| CliError::usage(format!("`{}` cannot be read", path.display())).because(&error))
}

fn unusable(directory: Option<&Path>, source: &(dyn std::error::Error + 'static)) -> CliError {
    match directory {
        Some(directory) => CliError::usage(format!("the data in `{}` cannot be used", directory.display()))
            .because(source)
            .next("stop another `rokini local` that uses it, make room on its disk, or name another `--data` directory"),
        None => CliError::new(Status::FAILED, "cannot open a database in memory").because(source),
    }
}

fn port_refused(service: &str, flag: &str, address: SocketAddr, source: &io::Error) -> CliError {
    let port = address.port();
    let error = CliError::usage(format!("cannot serve {service} on {address}")).because(source);
    match source.kind() {
        io::ErrorKind::AddrNotAvailable => {
            error.next("`--listen` takes an address of this machine, or 0.0.0.0 for all of them")
        }
        io::ErrorKind::AddrInUse => error.next(format!(
            "stop what listens there (`ss -ltnp 'sport = :{port}'` shows it), or choose another port: \
             `rokini local {flag} 0` takes any free one"
        )),
        _ => error.next(format!("choose another port: `rokini local {flag} 0` takes any free one")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_a_name() {
        for good in ["us-east-1", "us-isob-east-1", "local"] {
            assert_eq!(region(good), Ok(good.to_owned()));
        }
        for bad in ["", "us east", "us/east", "US-EAST-1", "-1"] {
            assert!(region(bad).unwrap_err().contains("name of a region"), "{bad}");
        }
    }

    #[test]
    fn streams_are_a_name_and_a_number() {
        assert_eq!(stream("orders:4"), Ok(("orders".to_owned(), 4)));
        assert_eq!(stream("orders"), Ok(("orders".to_owned(), 1)));
        for bad in ["", ":4", "orders:", "orders:0", "orders:-1", "orders:four"] {
            assert!(stream(bad).unwrap_err().contains("`orders:4`"), "{bad}");
        }
    }
}
