//! The AWS SDK set up: configuration, one bounded HTTP client, errors in our words.

pub(crate) mod buffer_pool;
mod credentials;
pub(crate) mod error;
pub(crate) mod http;
mod shared_files;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
pub(crate) use aws_types::SdkConfig;
use aws_types::region::Region;

pub use self::credentials::{check_credentials, credentials_problem};
use self::http::CONNECT;
pub(crate) use self::http::HttpOptions;
use self::shared_files::SharedFiles;
pub use self::shared_files::credentials_end;
use crate::types::error::{Error, ErrorKind};
use crate::types::stream_ref::StreamRef;

/// What to set differently from the environment when the AWS configuration is loaded.
///
/// ```no_run
/// # async fn example() -> Result<(), rokini::Error> {
/// use rokini::AwsOptions;
///
/// let aws = AwsOptions::default().load().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsOptions {
    region: Option<String>,
    profile: Option<String>,
    endpoint_url: Option<String>,
    http: Option<HttpOptions>,
}

impl AwsOptions {
    /// Uses this region in place of `AWS_REGION` and the profile's.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Uses this profile of the shared configuration files in place of `AWS_PROFILE`.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// Sends the calls of every service here, in place of `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_KINESIS` and
    /// `AWS_ENDPOINT_URL_DYNAMODB`.
    #[must_use]
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// Reaches the services this way, in place of what the environment says ([`HttpOptions::from_env`]).
    #[must_use]
    pub fn http(mut self, options: HttpOptions) -> Self {
        self.http = Some(options);
        self
    }

    /// Loads the AWS configuration the standard way, by the AWS SDK: environment variables (`AWS_REGION`,
    /// `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_KINESIS`, ...), the shared configuration files, web
    /// identity, container and instance credentials. Calls go through one HTTP client ([`HttpOptions::client`]), and
    /// through the proxies of the environment. Shared files that are renewed are read again within a minute.
    ///
    /// Where nothing names a region, it asks the instance metadata service, which takes 1 s at most where there
    /// is none.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when no region is set, an endpoint URL is no URL, or a proxy cannot be used.
    pub async fn load(self) -> Result<SdkConfig, Error> {
        let http = self.http.clone().map_or_else(HttpOptions::from_env, Ok)?;
        let client = http.client()?;
        if let Some(url) = &self.endpoint_url {
            check_url(url)?;
        }
        let loader = move || self.loader(client.clone());
        let mut config = loader().load().await;
        if let Some(provider) = config.credentials_provider() {
            let provider = SharedCredentialsProvider::new(SharedFiles::new(provider, loader));
            config = config.into_builder().credentials_provider(provider).build();
        }
        if config.region().is_none_or(|region| region.as_ref().is_empty()) {
            return Err(Error::new(
                ErrorKind::Configuration,
                "no AWS region is set: set `AWS_REGION`, or `region` in the profile that `AWS_PROFILE` names",
            ));
        }
        Ok(config)
    }

    fn loader(&self, client: SharedHttpClient) -> ConfigLoader {
        let mut loader = aws_config::defaults(behavior()).http_client(client);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        loader
    }
}

fn check_url(url: &str) -> Result<(), Error> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Configuration,
            format!("`{url}` is not an endpoint URL: expected one such as `http://127.0.0.1:4567`"),
        )),
    }
}

/// The region of an AWS configuration, which has to be that of the stream's ARN, if it has one.
pub(crate) fn region(aws: &SdkConfig, stream: Option<&StreamRef>) -> Result<String, Error> {
    let wrong = |message: String| Error::new(ErrorKind::Configuration, message);
    let region = aws.region().map(ToString::to_string).filter(|region| !region.is_empty());
    let region = region.ok_or_else(|| wrong("no AWS region is set: set `AWS_REGION`".to_owned()))?;
    match stream.and_then(|stream| Some((stream, stream.region()?))) {
        Some((stream, other)) if other != region => Err(wrong(format!(
            "stream `{stream}` is in region `{other}`, but the AWS configuration says `{region}`: set \
             `AWS_REGION={other}`"
        ))),
        _ => Ok(region),
    }
}

/// An AWS configuration with what is missing in it: the behaviour of the SDK, and the HTTP client.
pub(crate) fn complete(aws: SdkConfig, http: &HttpOptions) -> Result<SdkConfig, Error> {
    let (has_behavior, has_client) = (aws.behavior_version().is_some(), aws.http_client().is_some());
    let mut config = aws.into_builder();
    if !has_behavior {
        config = config.behavior_version(behavior());
    }
    if !has_client {
        config = config.http_client(http.client()?);
    }
    Ok(config.build())
}

/// A complete AWS configuration for calls of the library's own: each try within `attempt`, all `tries` within `total`.
pub(crate) fn bounded(
    aws: &SdkConfig,
    attempt: Duration,
    total: Duration,
    tries: u32,
) -> Result<SdkConfig, Error> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(attempt.min(CONNECT))
        .operation_attempt_timeout(attempt)
        .operation_timeout(total)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(tries);
    complete(aws.to_builder().retry_config(retries).timeout_config(timeouts).build(), &HttpOptions::default())
}

/// The defaults of the SDK that this library was tested with.
pub(crate) fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}
