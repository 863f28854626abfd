//! What of a setting's text is shown to people: not what may be a secret.

use crate::config::form::NONE;
use crate::config::key::ConfigKey;

const HIDDEN: &str = "***";

/// The text of a value, or of what was given for one, with `***` for what may be a secret in it.
pub(super) fn shown(key: ConfigKey, text: &str) -> String {
    match key {
        ConfigKey::OtlpHeaders if text != NONE => text.split(',').map(header).collect::<Vec<_>>().join(","),
        ConfigKey::OtlpEndpoint => url(text),
        _ => text.to_owned(),
    }
}

/// Only the name, and where that cannot be one, nothing: it may be a value that was written without a name.
fn header(text: &str) -> String {
    let name = text.split_once('=').map(|(name, _)| name.trim());
    match name.filter(|name| hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok()) {
        Some(name) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    }
}

/// Without user and password, which a URL that is none may have in odd places.
fn url(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}{separator}{HIDDEN}@{rest}"),
        None => text.to_owned(),
    }
}
