//! Signatures: read, never verified.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use rokini_wire::{ErrorCode, ServiceError};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature says about who signed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Signature {
    /// The access key id.
    pub(crate) access_key: String,
    /// The region the request is signed for.
    pub(crate) region: Option<String>,
}

/// The signature of a request, from the header or from a presigned URL. `None` if it is not signed.
///
/// # Errors
/// IncompleteSignature if a part is missing.
pub(crate) fn signature(headers: &HeaderMap, uri: &Uri) -> Result<Option<Signature>, ServiceError> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(presigned(uri)) };
    let header = header.to_str().unwrap_or_default();
    let parts = header.strip_prefix(ALGORITHM).unwrap_or_default();
    let part = |name: &str| {
        let find = |part: &str| part.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        parts.split(',').find_map(find).filter(|value| !value.is_empty())
    };
    for name in ["Credential", "SignedHeaders", "Signature"] {
        if part(name).is_none() {
            let message = format!("Authorization header requires '{name}' parameter. Authorization={header}");
            return Err(ServiceError::new(ErrorCode::IncompleteSignature, message));
        }
    }
    Ok(part("Credential").map(|credential| of_credential(credential.split('/'))))
}

fn presigned(uri: &Uri) -> Option<Signature> {
    let credential = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    Some(of_credential(credential.replace("%2F", "/").replace("%2f", "/").split('/')))
}

/// `ACCESS_KEY/DATE/REGION/SERVICE/aws4_request`
fn of_credential<'a>(mut parts: impl Iterator<Item = &'a str>) -> Signature {
    let access_key = parts.next().unwrap_or_default().to_owned();
    Signature { access_key, region: parts.nth(1).filter(|region| !region.is_empty()).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: Option<&str>, uri: &'static str) -> Result<Option<Signature>, ErrorCode> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        signature(&headers, &Uri::from_static(uri)).map_err(|error| error.code)
    }

    #[test]
    fn signatures() {
        let scope = "AKID/20260101/eu-west-1/kinesis/aws4_request";
        let whole = format!("{ALGORITHM} Credential={scope}, SignedHeaders=host;x-amz-date, Signature=abc");
        let query =
            "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2Fkinesis";
        let signed = Signature { access_key: "AKID".to_owned(), region: Some("eu-west-1".to_owned()) };
        assert_eq!(of(Some(&whole), "/"), Ok(Some(signed.clone())));
        assert_eq!(of(None, "/"), Ok(None));
        assert_eq!(of(None, query), Ok(Some(signed)));
        for bad in [
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=AKID/x",
            "AWS4-HMAC-SHA256 Credential=, SignedHeaders=a, Signature=b",
        ] {
            assert_eq!(of(Some(bad), "/"), Err(ErrorCode::IncompleteSignature), "{bad}");
        }
    }
}
