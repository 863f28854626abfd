//! A client of the AWS SDK for Rust that is pointed at the endpoint.

use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Region};

use crate::local::LocalKinesis;

impl LocalKinesis {
    /// A client in the model's own account and region. Nothing of the environment counts for it.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_of("local")
    }

    /// A client with this access key id: one of twelve digits is an account, any other tells readers apart, as
    /// [`LocalKinesis::wait_until_consumed`] and faults do.
    #[must_use]
    pub fn client_of(&self, access_key_id: &str) -> Client {
        let region = self.model().with_model(|model, _| model.settings().region.clone());
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.endpoint_url())
            .region(Region::new(region))
            .credentials_provider(Credentials::from_keys(access_key_id, "local", None))
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        Client::from_conf(config.build())
    }
}
