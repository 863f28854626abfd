//! `rokini run`: a worker of a group whose handler is another process, or a service.

mod args;
mod credentials;
mod event_source_mapping;
mod exec_child;
mod files;
mod gain;
mod handler;
mod ineffective;
mod java;
mod observer;
mod process;

use std::time::Duration;

use rokini::{ConfigKey, Consumer, ErrorKind, HttpOptions, Monitoring, OtlpTraces};
use rokini_handlers::HandlerContext;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::args::Args;
use self::args::{HandlerArgs, HandlerKind};
pub(crate) use self::exec_child::{EXEC_CHILD, KEEP_GROUPS, exec_child};
use self::files::Files;
use self::handler::Handler;
pub(crate) use self::java::{JavaCommand, java_command};
use self::observer::ShowEvents;
use crate::aws::Service;
use crate::context::Context;
use crate::error::{CliError, Status};
use crate::output::Output;
use crate::worker::run::{WorkerIdentity, outcome, preflight, run_until_stopped};
use crate::worker::settings::{EffectiveSettings, read};

/// How long the last output of processes is waited for at the end.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: Args, context: &Context) -> Result<Status, CliError> {
    let kind = kind_of(&args.handler)?;
    let mut effective = read(&args.worker, "run", ineffective::of(kind))?;
    let files = Files::read(&args.handler)?;
    files.apply(&mut effective)?;
    let exported = !args.worker.print_config && effective.config.monitoring.contains(&Monitoring::Otlp);
    let traces = || OtlpTraces::new(&effective.config, "rokini", &HttpOptions::from_env()?);
    let traces = exported.then(traces).transpose()?;
    context.ui.install_tracing(traces.as_ref());
    for warning in files.warnings() {
        context.ui.warn(warning);
    }
    let result = Box::pin(run_handler(args, kind, files, effective, context)).await;
    if let Some(traces) = traces
        && let Err(error) = traces.shutdown().await
    {
        context.ui.warn(error);
    }
    result
}

fn kind_of(handler: &HandlerArgs) -> Result<HandlerKind, CliError> {
    let by_file = (handler.properties.is_some() || handler.multilang).then_some(HandlerKind::Multilang);
    let kind = handler.handler.or(by_file).ok_or_else(|| {
        CliError::usage("no kind of handler is named")
            .next("`rokini run STREAM --group NAME --handler lines -- PROGRAM`; `rokini run --help` shows all kinds")
    })?;
    if kind == HandlerKind::Lines && handler.start_timeout.is_some() {
        return Err(CliError::usage("`--start-timeout` has no effect with `--handler lines`").next(
            "remove it: a program gets records as soon as it runs, and `handler_timeout` bounds how long it may be silent",
        ));
    }
    if let Some((option, of)) = handler.misplaced(kind) {
        return Err(CliError::usage(format!("`{option}` has no effect with `--handler {}`", kind.name()))
            .next(format!("remove it; it is for `--handler {}`", of.name())));
    }
    Ok(kind)
}

async fn run_handler(
    args: Args,
    kind: HandlerKind,
    files: Files,
    mut effective: EffectiveSettings,
    context: &Context,
) -> Result<Status, CliError> {
    let aws = match &files.application {
        Some(application) => credentials::load(&args.worker.aws, application).await,
        None => args.worker.aws.load().await,
    };
    if aws.as_ref().is_ok_and(|aws| aws.is_local(Service::DynamoDb)) {
        effective.set_default(ConfigKey::CreateTable, "true")?;
    }
    ineffective::set_defaults(kind, files.application.is_some(), &mut effective)?;
    effective.check()?;
    if args.worker.print_config {
        Output::stdout()?.write(effective.render(context.json)).await?;
        return Ok(Status::DONE);
    }
    let (streams, group) = effective.required()?;
    let prepared = handler::prepare(&args.handler, kind, &files, &effective)?;
    let aws = aws?;
    let checked = tokio::select! {
        checked = preflight(&effective, &aws, streams, group.clone()) => checked,
        () = context.stop.requested() => return Ok(Status::DONE),
    };
    checked?;
    let sources = handler::sources(kind, &aws, streams).await?;
    let lanes = effective.config.concurrency.get();
    let max_leases = effective.config.max_leases;
    let expected = gain::expected(&effective.config, &aws, &group).await * lanes;
    // The handler ends what takes too long: it knows whether a process is to be ended with the call.
    let mut config = effective.config;
    let identity = WorkerIdentity::of(&config);
    config.set(ConfigKey::HandlerTimeout, "unlimited")?;
    if kind == HandlerKind::Multilang {
        config.set(ConfigKey::AutoCheckpoint, "false")?;
    }
    let shared = HandlerContext::new(rand::random()).observer(ShowEvents(context.ui.clone()));
    let is_measured = !config.monitoring.is_empty();
    let builder = Consumer::builder().config(config).aws(&aws.config).http(aws.http.clone());
    let handler = Handler::new(prepared, sources, &shared)?;
    let result = async {
        tokio::select! {
            () = handler.warm(expected) => {}
            () = context.stop.requested() => {}
        }
        let consumer = handler.attach(builder).build().await?;
        let worker = consumer.handle();
        let prepare = async |shards: usize| handler.warm(shards * lanes).await;
        let endless = CancellationToken::new();
        tokio::select! {
            result = run_until_stopped(consumer, &identity, &endless, context) => result,
            never = gain::watch(&worker, max_leases, prepare) => match never {},
        }
    };
    let result = tokio::select! {
        result = result => result,
        never = handler.measure(), if is_measured => match never {},
        // Nobody else reaps what processes leave to process 1.
        never = shared.reap_orphans(), if std::process::id() == 1 => match never {},
    };
    handler.close().await;
    // A process that somebody else started from a handler may keep its output open.
    let _ = timeout(LAST_OUTPUT, shared.ended()).await;
    let report = result.map_err(|error| match error.kind() {
        // The stream and the table are checked by now, so it is a setting of this worker.
        ErrorKind::Configuration => error.into(),
        _ => aws.explain(error, Service::DynamoDb),
    })?;
    outcome(&report, &identity, "done", context)
}
