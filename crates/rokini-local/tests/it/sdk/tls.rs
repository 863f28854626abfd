//! HTTPS.

use aws_smithy_http_client::Builder as HttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rokini_local::LocalKinesis;

use super::client;

#[tokio::test]
async fn the_sdk_speaks_https() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let builder = LocalKinesis::builder().stream("orders", 1).tls(certificate.as_str(), key.as_str());
    let local = builder.start().await.unwrap();
    assert!(local.endpoint_url().starts_with("https://"));
    let trust = TrustStore::empty().with_pem_certificate(certificate.as_bytes());
    let context = TlsContext::builder().with_trust_store(trust).build().unwrap();
    let http =
        HttpClient::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https();
    let config = client::kinesis(&local).config().to_builder().http_client(http).build();
    let answer = aws_sdk_kinesis::Client::from_conf(config).list_streams().send().await.unwrap();
    assert_eq!(answer.stream_names(), ["orders"]);
    local.shutdown().await;
    assert!(LocalKinesis::builder().tls("nonsense", "nonsense").start().await.is_err());
}
