//! Whether the services can be reached: a line for each endpoint, with the step at which it fails.

use std::time::Duration;

use futures::future::join_all;
use rokini::{
    ConsumerConfig, DeadLetterTarget, EndpointProbe, HttpOptions, Monitoring, ProbeError, ProbeStep,
    Retrieval, TlsProbe,
};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::check::{Check, CheckStatus};
use crate::aws::{Aws, Service, is_loopback};

/// How long each step may take: a name, a connection, TLS, an answer.
const STEP: Duration = Duration::from_secs(4);
/// A certificate that ends within this is told.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where calls of a configuration go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// A stable name, as checks have it.
    name: &'static str,
    service: Service,
    url: String,
    /// Whether records are to be pushed by it.
    pushes: bool,
}

/// The URL that the SDK's client of a service calls in a region.
macro_rules! of_region {
    ($sdk:ident, $aws:expr $(, $member:ident = $value:expr)*) => {{
        use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let (config, region) = (&$aws.config, $aws.region());
        let params = Params::builder().region(region).set_use_fips(config.use_fips());
        let params = params.set_use_dual_stack(config.use_dual_stack())$(.$member($value))*.build();
        match params {
            Ok(params) => {
                let found = DefaultResolver::new().resolve_endpoint(&params).await;
                found.map(|endpoint| endpoint.url().to_owned()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }};
}

/// The endpoints that a configuration needs. `Err`: none can be told.
pub(super) async fn endpoints(config: &ConsumerConfig, aws: &Aws) -> Vec<Result<Endpoint, Check>> {
    let mut found = Vec::new();
    let pushes = config.retrieval != Retrieval::Polling;
    let mut add = |name, service, set: Option<String>, url: Result<String, String>| {
        let url = set.map_or(url, Ok);
        let endpoint =
            url.map(|url| Endpoint { name, service, url, pushes: pushes && service == Service::Kinesis });
        let endpoint = endpoint.map_err(|error| {
            Check::fail(name, error, "set the region (`AWS_REGION`, `--region`), or an endpoint")
        });
        if !found.contains(&endpoint) {
            found.push(endpoint);
        }
    };
    let arns: Vec<&str> = config.streams.iter().filter_map(|stream| stream.arn()).collect();
    if arns.len() < config.streams.len() || arns.is_empty() {
        let url = of_region!(aws_sdk_kinesis, aws);
        add("kinesis-endpoint", Service::Kinesis, aws.endpoint(Service::Kinesis), url);
    }
    // Where a stream is named by its ARN, its account has hosts of its own, for records and for what is asked of the stream.
    for arn in arns {
        for operations in ["data", "control"] {
            let url = of_region!(aws_sdk_kinesis, aws, stream_arn = arn, operation_type = operations);
            add("kinesis-endpoint", Service::Kinesis, aws.endpoint(Service::Kinesis), url);
        }
    }
    if !config.broadcast {
        let url = of_region!(aws_sdk_dynamodb, aws);
        add("dynamodb-endpoint", Service::DynamoDb, aws.endpoint(Service::DynamoDb), url);
    }
    if config.monitoring.contains(&Monitoring::CloudWatch) {
        let url = of_region!(aws_sdk_cloudwatch, aws);
        add("cloudwatch-endpoint", Service::CloudWatch, aws.endpoint(Service::CloudWatch), url);
    }
    if matches!(config.dead_letter, Some(DeadLetterTarget::Sqs(_))) {
        let url = of_region!(aws_sdk_sqs, aws);
        add("sqs-endpoint", Service::Sqs, aws.endpoint(Service::Sqs), url);
    }
    found
}

/// Goes to each of them, all at once. `now_millis`: the time, for their certificates.
pub(super) async fn reach(
    endpoints: Vec<Result<Endpoint, Check>>,
    http: &HttpOptions,
    now_millis: u64,
) -> Vec<(Option<Service>, Check)> {
    let each = endpoints.into_iter().map(async |endpoint| match endpoint {
        Ok(endpoint) => {
            let said = match http.probe(&endpoint.url, STEP).await {
                Ok(reached) => reached_check(&endpoint, &reached, now_millis),
                Err(error) => not_reached(&endpoint, &error),
            };
            (Some(endpoint.service), said)
        }
        Err(check) => (None, check),
    });
    join_all(each).await
}

/// Whether calls of a service would come to nothing.
pub(super) fn is_cut_off(checks: &[(Option<Service>, Check)], service: Service) -> bool {
    checks.iter().any(|(of, check)| *of == Some(service) && check.status == CheckStatus::Fail)
}

fn reached_check(endpoint: &Endpoint, reached: &EndpointProbe, now_millis: u64) -> Check {
    let way = match (&reached.proxy, reached.addresses.len()) {
        (Some(proxy), _) => format!("by the proxy {proxy}"),
        (None, 1) => "1 address".to_owned(),
        (None, addresses) => format!("{addresses} addresses"),
    };
    let mut what = format!(
        "{}: {way} in {}, connected in {}",
        endpoint.url,
        millis(reached.lookup),
        millis(reached.connect)
    );
    let mut warning = None;
    match &reached.tls {
        Some(tls) => {
            let protocol = if tls.http2 { "HTTP/2 and HTTP/1.1" } else { "HTTP/1.1 alone" };
            let (certificate, ends_soon) = certificate(tls, now_millis);
            what += &format!(", {} with {protocol} in {}, {certificate}", tls.version, millis(tls.handshake));
            if ends_soon {
                warning = Some(
                    "have the certificate of this endpoint, or of the proxy on the way, renewed in time",
                );
            }
            if endpoint.pushes && !tls.http2 {
                warning = Some(
                    "fan-out needs HTTP/2: the shards are polled where it cannot be had; see what stands between",
                );
            }
        }
        None if is_loopback(&endpoint.url) => what += ", on this machine",
        None => {
            what += ", without TLS";
            warning = Some("use https outside of this machine");
        }
    }
    what += &format!("; HTTP {} in {}", reached.status, millis(reached.answer));
    match warning {
        Some(next) => Check::warn(endpoint.name, what, next),
        None => Check::ok(endpoint.name, what),
    }
}

fn not_reached(endpoint: &Endpoint, error: &ProbeError) -> Check {
    let is_local = is_loopback(&endpoint.url);
    let next = match error.step() {
        ProbeStep::Dns => {
            "check the region, the `AWS_ENDPOINT_URL...` settings and the name server of this host; a network without a \
             way out needs a VPC endpoint with private DNS"
        }
        ProbeStep::Connect if is_local => "start it: `rokini local`",
        ProbeStep::Connect => {
            "check routes, security groups and firewalls on the way, and the proxy (`HTTPS_PROXY`, `NO_PROXY`)"
        }
        ProbeStep::Tls => {
            "check the clock; where a proxy looks into TLS, or the endpoint is your own, name its certificate by \
             `AWS_CA_BUNDLE`"
        }
        _ => {
            "what answers there is no service of AWS: check the `AWS_ENDPOINT_URL...` settings and what stands between"
        }
    };
    let cause = std::error::Error::source(error).map(super::call::deepest).unwrap_or_default();
    Check::fail(endpoint.name, format!("{}: {} failed: {cause}", endpoint.url, error.step()), next)
}

/// Whose certificate it is, by whom and for how long, and whether that is not for long.
fn certificate(tls: &TlsProbe, now_millis: u64) -> (String, bool) {
    let Ok((_, read)) = X509Certificate::from_der(&tls.certificate) else {
        return ("with a certificate that cannot be read".to_owned(), false);
    };
    let ends = u64::try_from(read.validity().not_after.timestamp()).unwrap_or_default();
    let left = Duration::from_secs(ends.saturating_sub(now_millis / 1000));
    let days = left.as_secs() / (24 * 3600);
    let (subject, issuer) = (name(read.subject()), name(read.issuer()));
    (format!("certificate of {subject} by {issuer} for {days} days more"), left < ENDS_SOON)
}

/// The common name, or all of it.
fn name(of: &X509Name<'_>) -> String {
    let common = of.iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| of.to_string(), str::to_owned)
}

fn millis(took: Duration) -> String {
    match took.as_micros() {
        micros @ ..1_000 => format!("{:.1} ms", micros as f64 / 1000.0),
        micros => format!("{} ms", micros / 1000),
    }
}
