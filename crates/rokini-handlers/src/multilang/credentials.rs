//! Where the properties of a KCL application have credentials from: the names of Java classes, with arguments.

use rokini::Error;

use super::properties::wrong;

/// Where the properties of a KCL application have credentials from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsSource {
    /// The default chain of the AWS SDK.
    DefaultChain,
    /// A profile of the shared configuration files; `None` for the one that `AWS_PROFILE` names.
    Profile(Option<String>),
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// The token in the file that `AWS_WEB_IDENTITY_TOKEN_FILE` names.
    WebIdentityToken,
    /// The endpoint that `AWS_CONTAINER_CREDENTIALS_...` names.
    Container,
    /// The instance metadata service.
    InstanceProfile,
    /// A role that is assumed with the credentials of the default chain.
    AssumedRole(RoleToAssume),
}

/// A role that is assumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoleToAssume {
    /// Its ARN.
    pub arn: String,
    /// The name of the session.
    pub session_name: String,
    /// The external id that its trust policy may ask for.
    pub external_id: Option<String>,
    /// The region of the STS endpoint, where it is not that of the application.
    pub region: Option<String>,
    /// The STS endpoint, where it is not that of the region.
    pub endpoint: Option<String>,
}

/// What a provider of the properties is here.
enum Provider {
    Known(Vec<CredentialsSource>),
    /// It is none here, and what does the same.
    Refused(&'static str),
    Unknown,
}

/// Providers with commas between them, each `Name|argument|...`: a chain. Those that are not known are left out with a warning,
/// as long as one is known.
pub(super) fn read(
    key: &str,
    value: &str,
    warnings: &mut Vec<String>,
) -> Result<Vec<CredentialsSource>, Error> {
    let (mut sources, mut reasons) = (Vec::new(), Vec::new());
    for provider in value.split(',').map(str::trim).filter(|provider| !provider.is_empty()) {
        let mut parts = provider.split('|').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default();
        match provider_of(name, parts).map_err(|reason| wrong(format!("`{key}`: `{provider}` {reason}")))? {
            Provider::Known(known) => sources.extend(known),
            Provider::Refused(reason) => reasons.push(format!("`{name}` does not exist here: {reason}")),
            Provider::Unknown => reasons.push(format!("the provider `{name}` is not known here")),
        }
    }
    if sources.is_empty() {
        let reasons = reasons.join("; ");
        return Err(wrong(format!(
            "`{key} = {value}` names no provider that is known here ({reasons}): use `DefaultCredentialsProvider`, or a profile of the \
             shared configuration by `ProfileCredentialsProvider|NAME`"
        )));
    }
    warnings.extend(reasons.into_iter().map(|reason| format!("`{key}`: {reason}; it is left out")));
    Ok(sources)
}

fn provider_of<'a>(name: &str, mut arguments: impl Iterator<Item = &'a str>) -> Result<Provider, String> {
    use CredentialsSource::{
        Container, DefaultChain, Environment, InstanceProfile, Profile, WebIdentityToken,
    };
    let one = |source| Ok(Provider::Known(vec![source]));
    match name {
        // The second is of the SDK of version 1, as properties from the days of the KCL 1 have it.
        "DefaultCredentialsProvider" | "DefaultAWSCredentialsProviderChain" => one(DefaultChain),
        "ProfileCredentialsProvider" => {
            one(Profile(arguments.next().filter(|name| !name.is_empty()).map(str::to_owned)))
        }
        "EnvironmentVariableCredentialsProvider" => one(Environment),
        "WebIdentityTokenFileCredentialsProvider" | "StsWebIdentityTokenFileCredentialsProvider" => {
            one(WebIdentityToken)
        }
        "ContainerCredentialsProvider" => one(Container),
        "InstanceProfileCredentialsProvider" => one(InstanceProfile),
        "EC2ContainerCredentialsProviderWrapper" => Ok(Provider::Known(vec![Container, InstanceProfile])),
        "StsAssumeRoleCredentialsProvider"
        | "KclStsAssumeRoleCredentialsProvider"
        | "STSAssumeRoleSessionCredentialsProvider" => {
            one(CredentialsSource::AssumedRole(assumed_role(arguments)?))
        }
        "SystemPropertyCredentialsProvider" | "SystemPropertiesCredentialsProvider" => Ok(Provider::Refused(
            "there are no system properties of a JVM; set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and use \
                 `EnvironmentVariableCredentialsProvider`",
        )),
        "ProcessCredentialsProvider" => Ok(Provider::Refused(
            "put the command as `credential_process` into a profile, and use `ProfileCredentialsProvider|NAME`",
        )),
        "StaticCredentialsProvider"
        | "PropertiesFileCredentialsProvider"
        | "ClasspathPropertiesFileCredentialsProvider" => {
            Ok(Provider::Refused("put the keys into a profile, and use `ProfileCredentialsProvider|NAME`"))
        }
        "AnonymousCredentialsProvider" => Ok(Provider::Refused(
            "Kinesis and DynamoDB take no calls without a signature; for local services set any `AWS_ACCESS_KEY_ID` and \
             `AWS_SECRET_ACCESS_KEY`, and use `EnvironmentVariableCredentialsProvider`",
        )),
        _ => Ok(Provider::Unknown),
    }
}

/// `arn|session`, then `endpoint=URL^REGION`, `endpointRegion=REGION` and `externalId=ID`.
fn assumed_role<'a>(mut arguments: impl Iterator<Item = &'a str>) -> Result<RoleToAssume, String> {
    let arn = arguments.next().filter(|arn| arn.starts_with("arn:"));
    let session = arguments.next().filter(|name| !name.is_empty() && !name.contains('='));
    let (Some(arn), Some(session)) = (arn, session) else {
        return Err("needs the ARN of a role and the name of a session: `…|ARN|SESSION`".to_owned());
    };
    let mut role =
        RoleToAssume { arn: arn.to_owned(), session_name: session.to_owned(), ..RoleToAssume::default() };
    for argument in arguments {
        match argument.split_once('=') {
            Some(("endpoint", place)) => {
                let (url, region) =
                    place.split_once('^').ok_or("has an endpoint without a region: `endpoint=URL^REGION`")?;
                let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
                (role.endpoint, role.region) = (Some(url), Some(region.to_owned()));
            }
            Some(("endpointRegion", region)) => role.region = Some(region.to_owned()),
            Some(("externalId", id)) => role.external_id = Some(id.to_owned()),
            _ => {
                return Err(format!(
                    "has `{argument}`: `endpoint`, `endpointRegion` and `externalId` are known"
                ));
            }
        }
    }
    Ok(role)
}

#[cfg(test)]
mod tests {
    use super::CredentialsSource::*;
    use super::*;

    #[test]
    fn m2_each_class_of_the_kcl_is_known_or_says_what_is_to_be_set() {
        let role = |arn: &str, session: &str| RoleToAssume {
            arn: arn.to_owned(),
            session_name: session.to_owned(),
            ..RoleToAssume::default()
        };
        let read = |value: &str| {
            let mut warnings = Vec::new();
            let sources =
                read("AwsCredentialsProvider", value, &mut warnings).map_err(|error| error.to_string());
            (sources, warnings.join("\n"))
        };
        for (value, wanted) in [
            ("DefaultCredentialsProvider", vec![DefaultChain]),
            ("software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider", vec![DefaultChain]),
            ("DefaultAWSCredentialsProviderChain", vec![DefaultChain]),
            ("ProfileCredentialsProvider", vec![Profile(None)]),
            ("ProfileCredentialsProvider|billing", vec![Profile(Some("billing".to_owned()))]),
            (
                "EnvironmentVariableCredentialsProvider , InstanceProfileCredentialsProvider",
                vec![Environment, InstanceProfile],
            ),
            ("WebIdentityTokenFileCredentialsProvider", vec![WebIdentityToken]),
            ("ContainerCredentialsProvider", vec![Container]),
            ("EC2ContainerCredentialsProviderWrapper", vec![Container, InstanceProfile]),
            (
                "StsAssumeRoleCredentialsProvider|arn:aws:iam::1:role/r|s",
                vec![AssumedRole(role("arn:aws:iam::1:role/r", "s"))],
            ),
            (
                "STSAssumeRoleSessionCredentialsProvider|arn:x|s|externalId=7|endpointRegion=eu-west-1",
                vec![AssumedRole(RoleToAssume {
                    external_id: Some("7".to_owned()),
                    region: Some("eu-west-1".to_owned()),
                    ..role("arn:x", "s")
                })],
            ),
            (
                "StsAssumeRoleCredentialsProvider|arn:x|s|endpoint=sts.us-east-2.amazonaws.com^us-east-2",
                vec![AssumedRole(RoleToAssume {
                    endpoint: Some("https://sts.us-east-2.amazonaws.com".to_owned()),
                    region: Some("us-east-2".to_owned()),
                    ..role("arn:x", "s")
                })],
            ),
        ] {
            assert_eq!(read(value), (Ok(wanted), String::new()), "{value}");
        }
        for (value, said) in [
            ("com.example.Mine", "`Mine` is not known"),
            ("SystemPropertyCredentialsProvider", "AWS_ACCESS_KEY_ID"),
            ("ProcessCredentialsProvider", "credential_process"),
            ("AnonymousCredentialsProvider", "EnvironmentVariableCredentialsProvider"),
            ("StaticCredentialsProvider", "ProfileCredentialsProvider|NAME"),
            ("StsAssumeRoleCredentialsProvider", "the ARN of a role"),
            ("StsAssumeRoleCredentialsProvider|arn:x", "the name of a session"),
            ("StsAssumeRoleCredentialsProvider|arn:x|s|endpoint=https://x", "URL^REGION"),
            ("StsAssumeRoleCredentialsProvider|arn:x|s|external=1", "externalId"),
        ] {
            let error = read(value).0.unwrap_err();
            assert!(error.contains(said), "{value}: {error}");
        }
        let (sources, warnings) =
            read("com.example.Mine, SystemPropertyCredentialsProvider, DefaultCredentialsProvider");
        assert_eq!(sources, Ok(vec![DefaultChain]));
        assert!(
            warnings.contains("`Mine` is not known") && warnings.contains("system properties"),
            "{warnings}"
        );
    }
}
