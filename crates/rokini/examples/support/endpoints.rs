//! Kinesis and DynamoDB in this process, in place of an AWS account.
#![allow(dead_code, reason = "each example uses a part")]

use std::error::Error;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kinesis::primitives::Blob;
use aws_types::SdkConfig;
use rokini::AwsOptions;
use rokini_local::{LocalDynamo, LocalKinesis};

/// Both endpoints, with a stream `orders`.
pub(crate) struct Endpoints {
    kinesis: LocalKinesis,
    dynamo: LocalDynamo,
}

impl Endpoints {
    pub(crate) async fn start(shards: i32) -> Result<Self, Box<dyn Error>> {
        let kinesis = LocalKinesis::builder().stream("orders", shards).start().await?;
        Ok(Self { kinesis, dynamo: LocalDynamo::in_memory().await? })
    }

    /// How to reach Kinesis. With an account: `AwsOptions::default().load().await?`.
    pub(crate) async fn kinesis(&self) -> Result<SdkConfig, Box<dyn Error>> {
        aws(self.kinesis.endpoint_url()).await
    }

    /// How to reach DynamoDB.
    pub(crate) async fn dynamo(&self) -> Result<SdkConfig, Box<dyn Error>> {
        aws(self.dynamo.endpoint_url()).await
    }

    /// Puts records whose partition key is their text.
    pub(crate) async fn put(&self, texts: &[&str]) -> Result<(), Box<dyn Error>> {
        let client = aws_sdk_kinesis::Client::new(&self.kinesis().await?);
        for text in texts {
            let data = Blob::new(*text);
            client.put_record().stream_name("orders").partition_key(*text).data(data).send().await?;
        }
        Ok(())
    }
}

async fn aws(endpoint: String) -> Result<SdkConfig, Box<dyn Error>> {
    let aws = AwsOptions::default().region("us-east-1").endpoint_url(endpoint).load().await?;
    let keys = SharedCredentialsProvider::new(Credentials::from_keys("local", "local", None));
    Ok(aws.into_builder().credentials_provider(keys).build())
}
