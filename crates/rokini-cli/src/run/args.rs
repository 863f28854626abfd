//! The arguments of `rokini run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use rokini_handlers::HttpFormat;

use crate::args::duration;
use crate::worker::args::WorkerArgs;

/// Run a handler in any language as a worker of a group: a record is done when the handler says so
///
/// The handler is a program after `--`, started for each shard in a process group of its own. The workers of a group
/// share the shards; start as many as you like, anywhere. SIGTERM and an interrupt hand the shards over: programs get
/// the end of their standard input, finish what they have, and are ended at last. A second signal ends all at once.
///
/// --handler lines: the program gets a record a line on its standard input: a JSON object with token, shard, epoch (the
/// fencing token), sequence, sub_sequence, key, arrival, attempt, and data (text) or data_base64 (anything else). It
/// writes a line for what is done to its standard output, in any order: the token, `{"ack": [1, 2]}`,
/// `{"ack_through": 9}`, or `{"fail": 3, "error": "why"}` for a record that is to come again. All other lines are its log.
///
/// --handler lambda: the program is the runtime client of a Lambda function, such as `python -m awslambdaric app.handler`.
/// It gets the events that Lambda makes of Kinesis records, and may answer with `batchItemFailures`.
///
/// --handler http: the same events go to --url by POST; 2xx is done (with `batchItemFailures`, in part), 429 and 503 are a
/// request to wait, everything else is a failure.
///
/// --handler multilang: the program is an application of the KCL (amazon_kclpy, aws-kcl, ...). A record is done when the
/// application has checkpointed it. `--properties FILE` takes everything from the properties of such an application.
///
/// What a program does not confirm comes again: when it fails, ends, or says nothing for `handler_timeout` (5m unless
/// set). `on_failure`, `max_attempts`, `bisect`, `park` and `dead_letter` say what becomes of records that fail too
/// often; `concurrency` gives each shard several programs, each with partition keys of its own. A program that does not
/// start delays its shard, and no record pays for it.
///
/// Settings are given as for `rokini consume`; `--print-config` shows all.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) worker: WorkerArgs,
    #[command(flatten)]
    pub(super) handler: HandlerArgs,
}

/// What kind of handler it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandlerKind {
    /// A program that reads records as lines and writes which are done
    Lines,
    /// A Lambda function by its own runtime client
    Lambda,
    /// An HTTP service
    Http,
    /// An application of the KCL, by its MultiLang protocol
    Multilang,
}

impl HandlerKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Lambda => "lambda",
            Self::Http => "http",
            Self::Multilang => "multilang",
        }
    }
}

/// In which form an HTTP service gets records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The event that Lambda gives a function
    Lambda,
    /// CloudEvents, binary: a request for each record
    CloudeventsBinary,
    /// CloudEvents, structured: a request for each record
    CloudeventsStructured,
    /// CloudEvents, batched
    CloudeventsBatch,
}

impl From<Format> for HttpFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Lambda => Self::Lambda,
            Format::CloudeventsBinary => Self::CloudEventsBinary,
            Format::CloudeventsStructured => Self::CloudEventsStructured,
            Format::CloudeventsBatch => Self::CloudEventsBatch,
        }
    }
}

const HEADING: &str = "Handler options";

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(super) struct HandlerArgs {
    /// What kind of handler it is
    #[arg(long, value_enum, value_name = "KIND", help_heading = HEADING)]
    pub(super) handler: Option<HandlerKind>,
    /// What people write who know `--multilang` from launchers: `--handler multilang`
    #[arg(long, hide = true, conflicts_with = "handler", help_heading = HEADING)]
    pub(super) multilang: bool,
    /// How many processes are started before a shard needs them, 1000 at most. Default: 1
    #[arg(long, value_name = "N", help_heading = HEADING)]
    pub(super) spares: Option<usize>,
    /// How long a process may take until it is ready. Default: 60s
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = HEADING)]
    pub(super) start_timeout: Option<Duration>,
    /// How long a process may take to end once it was asked to, before it is ended by force. Default: 5s
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = HEADING)]
    pub(super) stop_timeout: Option<Duration>,
    /// --handler lambda: the name that the function is told. Default: the group
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(super) function_name: Option<String>,
    /// --handler lambda: the version that the function is told. Default: that of the event source mapping, else $LATEST
    #[arg(long, value_name = "VERSION", help_heading = HEADING)]
    pub(super) function_version: Option<String>,
    /// --handler lambda: an event source mapping as `aws lambda get-event-source-mapping` writes it, for settings that are
    /// not given otherwise
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(super) event_source_mapping: Option<PathBuf>,
    /// --handler http: where records are sent
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    pub(super) url: Option<String>,
    /// --handler http: in which form. Default: lambda
    #[arg(long, value_enum, value_name = "FORM", help_heading = HEADING)]
    pub(super) format: Option<Format>,
    /// --handler http: a file with a bearer token, read again when it changes
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(super) bearer_token_file: Option<PathBuf>,
    /// --handler http: a file with headers, `Name: value` in each line, read again when it changes
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(super) header_file: Option<PathBuf>,
    /// --handler http: speak HTTP/2 without TLS
    #[arg(long, help_heading = HEADING)]
    pub(super) http2: bool,
    /// --handler multilang: the properties file of a KCL application, for everything that is not given otherwise
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(super) properties: Option<PathBuf>,
    /// The region where neither the properties nor an option names one: what `-Daws.region` is to the KCL
    #[arg(long, hide = true, requires = "properties", value_name = "REGION", help_heading = HEADING)]
    pub(super) region_unless_set: Option<String>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

impl HandlerArgs {
    /// Options that were given and are for other kinds, with the kind they are for.
    pub(super) fn misplaced(&self, kind: HandlerKind) -> Option<(&'static str, HandlerKind)> {
        use HandlerKind::{Http, Lambda, Multilang};
        let given = [
            ("--function-name", self.function_name.is_some(), Lambda),
            ("--function-version", self.function_version.is_some(), Lambda),
            ("--event-source-mapping", self.event_source_mapping.is_some(), Lambda),
            ("--url", self.url.is_some(), Http),
            ("--format", self.format.is_some(), Http),
            ("--bearer-token-file", self.bearer_token_file.is_some(), Http),
            ("--header-file", self.header_file.is_some(), Http),
            ("--http2", self.http2, Http),
            ("--properties", self.properties.is_some(), Multilang),
        ];
        let misplaced = given.into_iter().find(|(_, is_given, of)| *is_given && *of != kind);
        misplaced.map(|(option, _, of)| (option, of))
    }

    /// Options that are about processes, where the kind has none.
    pub(super) fn about_processes(&self) -> Option<&'static str> {
        let given = [
            ("--spares", self.spares.is_some()),
            ("--start-timeout", self.start_timeout.is_some()),
            ("--stop-timeout", self.stop_timeout.is_some()),
            ("a program after `--`", !self.command.is_empty()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}

const EXAMPLES: &str = r#"Examples:
  rokini run orders --group billing --handler lines -- ./bill
  rokini run orders --group billing --handler lines --set concurrency=4 -- python3 bill.py
  rokini run orders --group billing --handler lines --set on_failure=dead_letter \
    --set max_attempts=3 --set dead_letter=file:dead.jsonl -- ./bill
  rokini run orders -g billing --handler lambda -- python3 -m awslambdaric app.handler
  rokini run orders --group billing --handler http --url http://127.0.0.1:8080/orders
  rokini run orders --group billing --handler multilang -- python3 app.py
  rokini run --properties app.properties

A program for `--handler lines`, in Python:
  import json, sys
  for line in sys.stdin:
      record = json.loads(line)
      handle(record["data"])
      print(record["token"], flush=True)"#;
