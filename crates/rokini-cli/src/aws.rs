//! Region, profile and endpoints, and errors of AWS calls with the next step for people.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use rokini::{
    AwsOptions, ErrorKind, HttpOptions, KinesisSource, Settings, StreamDescription, StreamRef, StreamSource,
};

use crate::error::CliError;

const HEADING: &str = "AWS options";
const TABLES: &str = "aws dynamodb list-tables";

/// Region and profile.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AwsArgs {
    /// The region, in place of AWS_REGION
    #[arg(long, value_name = "REGION", help_heading = HEADING)]
    region: Option<String>,
    /// The profile of the shared configuration files, in place of AWS_PROFILE
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    profile: Option<String>,
    /// The endpoint of both services, in place of AWS_ENDPOINT_URL
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    endpoint_url: Option<String>,
}

/// How long one try of a call may take, and all its tries together: that nobody answers is to be known within 10 s. What moves
/// records has limits of its own.
const ATTEMPT: Duration = Duration::from_secs(4);
const OPERATION: Duration = Duration::from_secs(9);

/// So long a search for credentials may take that is made again.
const QUICK_SEARCH: Duration = Duration::from_secs(1);

/// The AWS configuration.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    pub(crate) config: SdkConfig,
    /// How the services are reached.
    pub(crate) http: HttpOptions,
    /// What `--endpoint-url` says: it goes before all that the environment and profiles say.
    given: Option<String>,
}

/// A service by the name that endpoint settings have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kinesis,
    DynamoDb,
    /// Where metrics may go.
    CloudWatch,
    /// Where dead letters may go.
    Sqs,
}

impl AwsArgs {
    pub(crate) async fn load(&self) -> Result<Aws, CliError> {
        let aws = self.load_unchecked(None, None, Vec::new()).await?;
        check_credentials(&aws.config).await?;
        Ok(aws)
    }

    /// Whether the options name a profile.
    pub(crate) fn has_profile(&self) -> bool {
        self.profile.is_some()
    }

    /// The same without asking the providers of credentials whether they can be had, and with what something else says where
    /// the options do not.
    pub(crate) async fn load_unchecked(
        &self,
        region: Option<&str>,
        profile: Option<&str>,
        endpoints: Vec<(Service, String)>,
    ) -> Result<Aws, CliError> {
        let http = HttpOptions::from_env()?;
        let mut options = AwsOptions::default().http(http.clone());
        if let Some(region) = self.region.as_deref().or(region) {
            options = options.region(region);
        }
        if let Some(profile) = self.profile.as_deref().or(profile) {
            options = options.profile(profile);
        }
        if let Some(url) = &self.endpoint_url {
            if host_of(url).is_none() {
                return Err(CliError::usage(format!("`--endpoint-url` is `{url}`, which is no URL"))
                    .next("give one such as `http://127.0.0.1:4567`"));
            }
            options = options.endpoint_url(url);
        }
        let config = options.load().await.map_err(|error| {
            CliError::from(error).next("`export AWS_REGION=us-east-1`, or give `--region`")
        })?;
        let times = config.timeout_config().map_or_else(TimeoutConfig::builder, |times| times.to_builder());
        let times = times.operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build();
        let config = config.into_builder().timeout_config(times).build();
        let config = if endpoints.is_empty() {
            config
        } else {
            let others = config.clone();
            config.into_builder().service_config(Endpoints { endpoints, others }).build()
        };
        let aws = Aws { config, http, given: self.endpoint_url.clone() };
        aws.check_endpoints()?;
        Ok(aws)
    }
}

/// That there are none at all is said by the first call, with what it was about, unless the search for them took its time: a
/// call would search again.
pub(crate) async fn check_credentials(config: &SdkConfig) -> Result<(), CliError> {
    let begun = Instant::now();
    let Err(error) = rokini::check_credentials(config).await else { return Ok(()) };
    let is_none = std::error::Error::source(&error).is_some();
    if is_none && begun.elapsed() < QUICK_SEARCH {
        return Ok(());
    }
    Err(CliError::from(error).next(
        "`rokini doctor` shows which provider fails; without a metadata service `AWS_EC2_METADATA_DISABLED=true` says so at \
         once",
    ))
}

/// Endpoints of single services, before those of the environment.
#[derive(Debug)]
struct Endpoints {
    endpoints: Vec<(Service, String)>,
    others: SdkConfig,
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let of_service = |(service, _): &&(Service, String)| service.id() == key.service_id();
        let given = self.endpoints.iter().find(of_service).filter(|_| key.env() == "AWS_ENDPOINT_URL");
        given.map(|(_, url)| url.clone()).or_else(|| self.others.service_config()?.load_config(key))
    }
}

impl Service {
    /// As the SDK names it.
    fn id(self) -> &'static str {
        match self {
            Self::Kinesis => "Kinesis",
            Self::DynamoDb => "DynamoDB",
            Self::CloudWatch => "CloudWatch",
            Self::Sqs => "SQS",
        }
    }
}

impl Aws {
    pub(crate) fn region(&self) -> &str {
        self.config.region().map_or("", AsRef::as_ref)
    }

    /// The endpoint that was set for a service, if any: the way the SDK's clients find it.
    pub(crate) fn endpoint(&self, service: Service) -> Option<String> {
        if self.given.is_some() {
            return self.given.clone();
        }
        let key = ServiceConfigKey::builder()
            .service_id(service.id())
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url");
        let set = key.build().ok().and_then(|key| self.config.service_config()?.load_config(key));
        set.or_else(|| self.config.endpoint_url().map(str::to_owned))
    }

    /// A URL that is none says so at once, and not as a service that cannot be reached.
    fn check_endpoints(&self) -> Result<(), CliError> {
        for service in [Service::Kinesis, Service::DynamoDb] {
            if let Some(url) = self.endpoint(service).filter(|url| host_of(url).is_none()) {
                let (name, variable) = (service.id(), service.id().to_uppercase());
                return Err(CliError::usage(format!("the endpoint of {name} is `{url}`, which is no URL")).next(
                    format!(
                        "give one such as `http://127.0.0.1:4567`: by `--endpoint-url`, `AWS_ENDPOINT_URL` or \
                         `AWS_ENDPOINT_URL_{variable}`"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Whether a service is one on this machine, which costs nothing and may be changed freely.
    pub(crate) fn is_local(&self, service: Service) -> bool {
        self.endpoint(service).is_some_and(|url| is_loopback(&url))
    }

    /// Opens a stream for reading, and checks that it exists.
    pub(crate) async fn open(
        &self,
        stream: &StreamRef,
    ) -> Result<(KinesisSource, StreamDescription), CliError> {
        let source = KinesisSource::new(&self.config, stream.clone(), &Settings::default(), rand::random())?;
        let described = source.describe().await.map_err(|error| self.explain(error, Service::Kinesis))?;
        Ok((source, described))
    }

    /// Adds the next step to an error of the library in a call of a service.
    pub(crate) fn explain(&self, error: rokini::Error, service: Service) -> CliError {
        let kind = error.kind();
        let error = CliError::from(error);
        let next = self.next_for(kind, service);
        match next {
            Some(next) => error.next(next),
            None => error,
        }
    }

    fn next_for(&self, kind: ErrorKind, service: Service) -> Option<String> {
        let region = self.region();
        let local = match service {
            Service::Kinesis => "rokini local --stream NAME:SHARDS",
            _ => "rokini local",
        };
        match kind {
            ErrorKind::Retry if self.is_local(service) => Some(format!("start it: `{local}`")),
            ErrorKind::Retry if self.given.is_some() => {
                Some("check the network, the proxy and `--endpoint-url`, then run it again".to_owned())
            }
            ErrorKind::Retry => Some(
                "check the network, proxy and `AWS_ENDPOINT_URL...` settings, then run it again".to_owned(),
            ),
            ErrorKind::Permission => {
                Some("`aws sts get-caller-identity` shows whose credentials these are".to_owned())
            }
            ErrorKind::Configuration => Some(match (service, self.endpoint(service)) {
                (Service::Kinesis, _) => {
                    let endpoint = self.given.as_ref().map(|url| format!(" --endpoint-url {url}"));
                    let endpoint = endpoint.unwrap_or_default();
                    format!("`rokini stream list --region {region}{endpoint}` shows what there is")
                }
                (_, Some(url)) => {
                    format!("`{TABLES} --region {region} --endpoint-url {url}` shows what there is")
                }
                (_, None) => format!("`{TABLES} --region {region}` shows what there is"),
            }),
            ErrorKind::Throttled if service == Service::DynamoDb => Some(
                "give the table more capacity, or set it to on demand (`rokini doctor` shows which it has); until then workers may \
                 not get their heartbeats through either: `/readyz` of each says how it stands"
                    .to_owned(),
            ),
            ErrorKind::Throttled => Some("run it again in a few seconds".to_owned()),
            _ => None,
        }
    }
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let is_this =
        |host: &str| host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    host_of(url).is_some_and(is_this)
}

/// The host that a URL of HTTP or HTTPS names, without the brackets of an IPv6 address. `None` for what is no such URL.
fn host_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host.strip_prefix('[') {
        Some(v6) => {
            let (v6, port) = v6.split_once(']')?;
            v6.parse::<Ipv6Addr>().ok()?;
            (v6, port)
        }
        None => {
            let (host, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_name) {
                return None;
            }
            (host, port)
        }
    };
    let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    has_port.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for url in [
            "http://127.0.0.1:4567",
            "http://127.1.2.3",
            "http://localhost:8000/",
            "https://[::1]:8000/x",
            "http://user@localhost:1",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "",
            "localhost",
            "http://localhost.example.com",
            "http://10.0.0.1:8000",
            "https://dynamodb.us-east-1.amazonaws.com",
            "http://127.0.0.1@example.com",
            "http://[2001:db8::1]",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url_of_http() {
        for (url, host) in [
            ("http://localhost:4567", "localhost"),
            ("HTTPS://kinesis.eu-west-1.amazonaws.com/", "kinesis.eu-west-1.amazonaws.com"),
            ("http://my_container", "my_container"),
            ("http://user:secret@[::1]:8000/x?y", "::1"),
        ] {
            assert_eq!(host_of(url), Some(host), "{url}");
        }
        for url in [
            "",
            "nonsense",
            "localhost:4567",
            "http://",
            "http:///x",
            "http://x y",
            "ftp://localhost",
            "http://localhost:99999",
            "http://localhost:port",
            "http://[::1",
            "http://[host]",
        ] {
            assert_eq!(host_of(url), None, "{url}");
        }
    }
}
