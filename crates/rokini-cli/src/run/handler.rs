//! The handler in its kind.

use std::collections::BTreeMap;
use std::convert::Infallible;

use rokini::{ConsumerBuilder, StreamRef};
use rokini_handlers::{
    EventSource, FunctionSettings, HandlerContext, HttpPush, HttpSettings, Lambda, Lines, MultiLang,
    MultiLangSettings, ProcessSettings,
};

use super::args::{HandlerArgs, HandlerKind};
use super::files::Files;
use super::process::process_settings;
use crate::aws::{Aws, Service};
use crate::error::CliError;
use crate::worker::settings::EffectiveSettings;

/// A handler that can be started.
pub(super) enum Prepared {
    Lines(ProcessSettings),
    Lambda(ProcessSettings, FunctionSettings),
    Http(HttpSettings),
    MultiLang(ProcessSettings, MultiLangSettings),
}

/// Checks everything that can be known without starting it.
pub(super) fn prepare(
    args: &HandlerArgs,
    kind: HandlerKind,
    files: &Files,
    effective: &EffectiveSettings,
) -> Result<Prepared, CliError> {
    let limit = effective.config.handler_timeout;
    match kind {
        HandlerKind::Lines => Ok(Prepared::Lines(process_settings(args, kind, None, &effective.config)?)),
        HandlerKind::Lambda => {
            let process = process_settings(args, kind, None, &effective.config)?;
            let mapping = files.mapping.as_ref();
            let named = args.function_name.clone().or_else(|| mapping?.function_name.clone());
            let group = || effective.config.group.as_ref().map(ToString::to_string).unwrap_or_default();
            let mut function = FunctionSettings::new(named.unwrap_or_else(group));
            function.arn = mapping.and_then(|mapping| mapping.function_arn.clone());
            let version = args.function_version.clone().or_else(|| mapping?.function_version.clone());
            if let Some(version) = version {
                function.version = version;
            }
            function.report_batch_item_failures = mapping.is_none_or(|mapping| mapping.reports_failures);
            Ok(Prepared::Lambda(process, function))
        }
        HandlerKind::Http => {
            if let Some(option) = args.about_processes() {
                return Err(CliError::usage(format!("{option} has no effect with `--handler http`"))
                    .next("remove it: the service runs by itself"));
            }
            let url = args.url.clone().ok_or_else(|| {
                CliError::usage("no URL is named")
                    .next("give `--url http://...`: where records are sent by POST")
            })?;
            if args.http2 && url.trim_start().to_ascii_lowercase().starts_with("https:") {
                return Err(CliError::usage("`--http2` has no effect with `https`")
                    .next("remove it: over TLS the two sides agree on HTTP/2 by themselves"));
            }
            let mut settings = HttpSettings::new(url);
            settings.format = args.format.map(Into::into).unwrap_or_default();
            settings.timeout = limit;
            settings.bearer_token_file.clone_from(&args.bearer_token_file);
            settings.header_file.clone_from(&args.header_file);
            settings.http2_without_tls = args.http2;
            settings.check()?;
            Ok(Prepared::Http(settings))
        }
        HandlerKind::Multilang => {
            let application = files.application.as_ref();
            let command = application.map(|application| application.command.as_slice());
            let mut process = process_settings(args, kind, command, &effective.config)?;
            // Each message has its limit.
            process.batch_timeout = None;
            let mut multilang =
                application.map(|application| application.multilang.clone()).unwrap_or_default();
            multilang.message_timeout = limit;
            Ok(Prepared::MultiLang(process, multilang))
        }
    }
}

/// What events say of the streams, by their names, where the kind has events.
pub(super) async fn sources(
    kind: HandlerKind,
    aws: &Aws,
    streams: &[StreamRef],
) -> Result<BTreeMap<String, EventSource>, CliError> {
    let mut sources = BTreeMap::new();
    if matches!(kind, HandlerKind::Lambda | HandlerKind::Http) {
        let client = aws_sdk_kinesis::Client::new(&aws.config);
        for stream in streams {
            let call = client.describe_stream_summary();
            let call = match stream.arn() {
                Some(arn) => call.stream_arn(arn),
                None => call.stream_name(stream.name()),
            };
            let described = call.send().await.map_err(|error| {
                let error = rokini::explain_kinesis_error(
                    error,
                    "kinesis:DescribeStreamSummary",
                    stream,
                    aws.region(),
                );
                aws.explain(error, Service::Kinesis)
            })?;
            let arn = described.stream_description_summary().map(|summary| summary.stream_arn().to_owned());
            sources.insert(stream.name().to_owned(), EventSource::of_stream(arn.unwrap_or_default()));
        }
    }
    Ok(sources)
}

#[derive(Clone)]
pub(super) enum Handler {
    Lines(Lines),
    Lambda(Lambda),
    Http(HttpPush),
    MultiLang(MultiLang),
}

impl Handler {
    pub(super) fn new(
        prepared: Prepared,
        sources: BTreeMap<String, EventSource>,
        context: &HandlerContext,
    ) -> Result<Self, CliError> {
        Ok(match prepared {
            Prepared::Lines(process) => Self::Lines(Lines::new(process, context)),
            Prepared::Lambda(process, function) => {
                Self::Lambda(Lambda::new(process, function, sources, context))
            }
            Prepared::Http(settings) => Self::Http(HttpPush::new(settings, sources, context)?),
            Prepared::MultiLang(process, settings) => {
                Self::MultiLang(MultiLang::new(process, settings, context))
            }
        })
    }

    pub(super) fn attach(&self, builder: ConsumerBuilder) -> ConsumerBuilder {
        match self.clone() {
            Self::Lines(lines) => {
                let stats = lines.clone();
                builder.handler_stats(move || stats.stats()).processor(move |shard| lines.processor(shard))
            }
            Self::Lambda(lambda) => {
                let stats = lambda.clone();
                builder.handler_stats(move || stats.stats()).processor(move |shard| lambda.processor(shard))
            }
            Self::Http(http) => {
                let stats = http.clone();
                builder.handler_stats(move || stats.stats()).processor(move |shard| http.processor(shard))
            }
            Self::MultiLang(multilang) => {
                let stats = multilang.clone();
                builder
                    .handler_stats(move || stats.stats())
                    .processor(move |shard| multilang.processor(shard))
            }
        }
    }

    /// Starts so many processes ahead of need.
    pub(super) async fn warm(&self, processes: usize) {
        match self {
            Self::Lines(lines) => lines.warm(processes).await,
            Self::Lambda(lambda) => lambda.warm(processes).await,
            Self::Http(_) => {}
            Self::MultiLang(multilang) => multilang.warm(processes).await,
        }
    }

    /// Looks at what processes use of the machine. Never returns.
    pub(super) async fn measure(&self) -> Infallible {
        match self {
            Self::Lines(lines) => lines.measure().await,
            Self::Lambda(lambda) => lambda.measure().await,
            Self::Http(_) => std::future::pending().await,
            Self::MultiLang(multilang) => multilang.measure().await,
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Lines(lines) => lines.close().await,
            Self::Lambda(lambda) => lambda.close().await,
            Self::Http(_) => {}
            Self::MultiLang(multilang) => multilang.close().await,
        }
    }
}
