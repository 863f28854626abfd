//! HTTPS, with a certificate of the caller's.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot serve HTTPS with this certificate and key: both must be PEM, and the key the certificate's own"
)]
pub struct TlsError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Makes ready to encrypt; HTTP/2 is offered before HTTP/1.1.
pub(crate) fn acceptor(certificates_pem: &[u8], key_pem: &[u8]) -> Result<TlsAcceptor, TlsError> {
    build_acceptor(certificates_pem, key_pem).map_err(|source| TlsError { source })
}

fn build_acceptor(
    certificates_pem: &[u8],
    key_pem: &[u8],
) -> Result<TlsAcceptor, Box<dyn std::error::Error + Send + Sync>> {
    let certificates = CertificateDer::pem_slice_iter(certificates_pem).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key_pem)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
