//! What an account decides for all its streams, and who else may use one.

use crate::enums::BillingCommitmentStatus;
use crate::timestamp::Timestamp;

shapes! {
    /// Asks for the account's settings.
    pub struct DescribeAccountSettingsRequest {}

    /// Changes the account's settings.
    pub struct UpdateAccountSettingsRequest {
        /// On-demand Advantage, on or off.
        pub minimum_throughput_billing_commitment: BillingCommitmentInput,
    }

    /// The commitment that is wanted.
    pub struct BillingCommitmentInput {
        /// ENABLED or DISABLED.
        pub status: BillingCommitmentStatus,
    }

    /// Answer to [`DescribeAccountSettingsRequest`] and to [`UpdateAccountSettingsRequest`].
    pub struct AccountSettingsResponse {
        /// On-demand Advantage.
        pub minimum_throughput_billing_commitment: Option<BillingCommitment>,
    }

    /// The commitment to a minimum of throughput, called On-demand Advantage.
    pub struct BillingCommitment {
        /// Whether it holds.
        pub status: BillingCommitmentStatus,
        /// When it began.
        pub started_at: Option<Timestamp>,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
        /// When it may end.
        pub earliest_allowed_end_at: Option<Timestamp>,
    }

    /// Attaches a policy to a stream, consumer or queue.
    pub struct PutResourcePolicyRequest {
        /// ARN of the stream, consumer or queue.
        #[serde(rename = "ResourceARN")]
        pub resource_arn: String,
        /// The policy, as JSON.
        pub policy: String,
        stream_id,
    }

    /// Asks for the policy of a stream, consumer or queue.
    pub struct GetResourcePolicyRequest {
        /// ARN of the stream, consumer or queue.
        #[serde(rename = "ResourceARN")]
        pub resource_arn: String,
        stream_id,
    }

    /// Answer to [`GetResourcePolicyRequest`].
    pub struct GetResourcePolicyResponse {
        /// The policy, as JSON.
        pub policy: String,
    }

    /// Removes the policy of a stream, consumer or queue.
    pub struct DeleteResourcePolicyRequest {
        /// ARN of the stream, consumer or queue.
        #[serde(rename = "ResourceARN")]
        pub resource_arn: String,
        stream_id,
    }
}
