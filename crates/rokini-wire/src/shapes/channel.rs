//! Channels: managed delivery of a stream to S3. Destinations and logging are passed over on reading.

use crate::timestamp::Timestamp;

shapes! {
    /// Creates a channel.
    pub struct CreateChannelRequest {
        /// Name, 1 to 128 of `a-zA-Z0-9_.-`.
        pub channel_name: String,
        /// Role by which the service writes to the destination.
        #[serde(rename = "ServiceExecutionRoleARN")]
        pub service_execution_role_arn: String,
        /// The source, exactly one.
        pub stream_configuration_list: Vec<ChannelStreamConfiguration>,
    }

    /// The source of a channel.
    pub struct ChannelStreamConfiguration {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// What its records are.
        pub record_configuration: RecordConfiguration,
    }

    /// What the records of a stream are.
    pub struct RecordConfiguration {
        /// `GSR_JSON`, `JSON`, `STRING` or `BYTE_ARRAY`.
        pub record_format_type: String,
        /// ARN of a schema in the Glue Schema Registry.
        #[serde(rename = "GSRSchemaARN")]
        pub gsr_schema_arn: Option<String>,
    }

    /// Changes a channel.
    pub struct UpdateChannelRequest {
        /// ARN of the channel.
        #[serde(rename = "ChannelARN")]
        pub channel_arn: String,
    }

    /// Asks for a channel.
    pub struct DescribeChannelRequest {
        /// ARN of the channel.
        #[serde(rename = "ChannelARN")]
        pub channel_arn: String,
    }

    /// Deletes a channel.
    pub struct DeleteChannelRequest {
        /// ARN of the channel.
        #[serde(rename = "ChannelARN")]
        pub channel_arn: String,
    }

    /// Asks for a page of the account's channels.
    pub struct ListChannelsRequest {
        /// Only channels of these streams.
        pub stream_filter: Option<Vec<StreamFilter>>,
        /// Largest number in the answer, at most 100.
        pub max_results: Option<i32>,
        /// Continues an earlier answer.
        pub next_token: Option<String>,
    }

    /// A stream whose channels or queues are wanted.
    pub struct StreamFilter {
        /// ARN of the stream.
        #[serde(rename = "StreamARN")]
        pub stream_arn: String,
        /// Tells apart streams that had the same name.
        pub stream_creation_timestamp: Option<Timestamp>,
    }

    /// Answer to [`ListChannelsRequest`].
    pub struct ListChannelsResponse {
        /// The page.
        pub channel_summaries: Vec<ChannelSummary>,
        /// Token for the next page.
        pub next_token: Option<String>,
    }

    /// A channel in a listing.
    pub struct ChannelSummary {
        /// Name.
        pub channel_name: String,
    }
}
