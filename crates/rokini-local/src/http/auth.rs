//! Signatures: read, never verified.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use rokini_wire::{ErrorCode, ServiceError};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The access key id of the caller, from the header or from a presigned URL. `None` if the request is not signed.
///
/// # Errors
/// IncompleteSignature if a part is missing.
pub(crate) fn caller(headers: &HeaderMap, uri: &Uri) -> Result<Option<String>, ServiceError> {
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
    Ok(part("Credential").and_then(|scope| scope.split('/').next().map(str::to_owned)))
}

fn presigned(uri: &Uri) -> Option<String> {
    let credential = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    credential.split(['/', '%']).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: Option<&str>, uri: &'static str) -> Result<Option<String>, ErrorCode> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        caller(&headers, &Uri::from_static(uri)).map_err(|error| error.code)
    }

    #[test]
    fn callers() {
        let scope = "AKID/20260101/us-east-1/kinesis/aws4_request";
        let whole = format!("{ALGORITHM} Credential={scope}, SignedHeaders=host;x-amz-date, Signature=abc");
        let query = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101";
        assert_eq!(of(Some(&whole), "/"), Ok(Some("AKID".into())));
        assert_eq!(of(None, "/"), Ok(None));
        assert_eq!(of(None, query), Ok(Some("AKID".into())));
        for bad in [
            "Bearer x",
            "AWS4-HMAC-SHA256 Credential=AKID/x",
            "AWS4-HMAC-SHA256 Credential=, SignedHeaders=a, Signature=b",
        ] {
            assert_eq!(of(Some(bad), "/"), Err(ErrorCode::IncompleteSignature), "{bad}");
        }
    }
}
