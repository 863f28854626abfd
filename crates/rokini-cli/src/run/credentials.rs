//! Region, endpoints and credentials as the properties of a KCL application say.

use aws_config::SdkConfig;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::region::Region;
use rokini_handlers::{CredentialsSource, KclApplication, RoleToAssume};

use crate::aws::{Aws, AwsArgs, Service, check_credentials};
use crate::error::CliError;

/// The AWS configuration of an application. What the options say wins.
pub(super) async fn load(args: &AwsArgs, application: &KclApplication) -> Result<Aws, CliError> {
    let KclApplication { region, credentials, kinesis_endpoint, dynamodb_endpoint, .. } = application;
    let endpoints = [(Service::Kinesis, kinesis_endpoint), (Service::DynamoDb, dynamodb_endpoint)];
    let endpoints = endpoints.into_iter().filter_map(|(service, url)| Some((service, url.clone()?)));
    // A profile says more than credentials.
    let profile = match credentials.as_slice() {
        [CredentialsSource::Profile(profile), ..] => profile.as_deref(),
        _ => None,
    };
    let mut aws = args.load_unchecked(region.as_deref(), profile, endpoints.collect()).await?;
    if !args.has_profile() && credentials[..] != [CredentialsSource::DefaultChain] {
        let mut sources = credentials.iter();
        if let Some(first) = sources.next() {
            let mut chain =
                CredentialsProviderChain::first_try(name(first), provider(first, &aws.config).await);
            for source in sources {
                chain = chain.or_else(name(source), provider(source, &aws.config).await);
            }
            let chain = SharedCredentialsProvider::new(chain);
            aws.config = aws.config.into_builder().credentials_provider(chain).build();
        }
    }
    check_credentials(&aws.config).await?;
    Ok(aws)
}

fn name(source: &CredentialsSource) -> &'static str {
    match source {
        CredentialsSource::Profile(_) => "Profile",
        CredentialsSource::Environment => "Environment",
        CredentialsSource::WebIdentityToken => "WebIdentityToken",
        CredentialsSource::Container => "Container",
        CredentialsSource::InstanceProfile => "InstanceProfile",
        CredentialsSource::AssumedRole(_) => "AssumedRole",
        _ => "Default",
    }
}

/// `config` has the default chain.
async fn provider(source: &CredentialsSource, config: &SdkConfig) -> SharedCredentialsProvider {
    let mut settings = ProviderConfig::without_region().with_region(config.region().cloned());
    if let Some(client) = config.http_client() {
        settings = settings.with_http_client(client);
    }
    match source {
        CredentialsSource::Profile(profile) => {
            let mut provider = ProfileFileCredentialsProvider::builder().configure(&settings);
            if let Some(profile) = profile {
                provider = provider.profile_name(profile);
            }
            shared(provider.build())
        }
        CredentialsSource::Environment => shared(EnvironmentVariableCredentialsProvider::new()),
        CredentialsSource::WebIdentityToken => {
            shared(WebIdentityTokenCredentialsProvider::builder().configure(&settings).build())
        }
        CredentialsSource::Container => {
            shared(EcsCredentialsProvider::builder().configure(&settings).build())
        }
        CredentialsSource::InstanceProfile => {
            shared(ImdsCredentialsProvider::builder().configure(&settings).build())
        }
        CredentialsSource::AssumedRole(role) => shared(assume(role, config).await),
        _ => config
            .credentials_provider()
            .unwrap_or_else(|| shared(EnvironmentVariableCredentialsProvider::new())),
    }
}

fn shared(provider: impl ProvideCredentials + 'static) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(provider)
}

async fn assume(role: &RoleToAssume, config: &SdkConfig) -> AssumeRoleProvider {
    let mut config = config.clone();
    if let Some(endpoint) = &role.endpoint {
        config = config.into_builder().endpoint_url(endpoint).build();
    }
    let mut provider =
        AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name).configure(&config);
    if let Some(region) = &role.region {
        provider = provider.region(Region::new(region.clone()));
    }
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    provider.build().await
}
