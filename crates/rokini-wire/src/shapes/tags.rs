//! Tags.

use std::collections::BTreeMap;

shapes! {
    /// A tag.
    pub struct Tag {
        /// Key.
        pub key: String,
        /// Value.
        pub value: Option<String>,
    }

    /// Sets tags on a stream.
    pub struct AddTagsToStreamRequest {
        stream_name | stream_arn,
        /// The tags.
        pub tags: BTreeMap<String, String>,
    }

    /// Removes tags from a stream.
    pub struct RemoveTagsFromStreamRequest {
        stream_name | stream_arn,
        /// Their keys.
        pub tag_keys: Vec<String>,
    }

    /// Asks for a page of a stream's tags.
    pub struct ListTagsForStreamRequest {
        stream_name | stream_arn,
        /// The page starts after this key.
        pub exclusive_start_tag_key: Option<String>,
        /// Largest number in the answer, at most 50.
        pub limit: Option<i32>,
    }

    /// Answer to [`ListTagsForStreamRequest`].
    pub struct ListTagsForStreamResponse {
        /// The page.
        pub tags: Vec<Tag>,
        /// Whether more follow.
        pub has_more_tags: bool,
    }

    /// Sets tags on a stream, consumer or queue.
    pub struct TagResourceRequest {
        /// ARN of the stream, consumer or queue.
        #[serde(rename = "ResourceARN")]
        pub resource_arn: String,
        /// The tags.
        pub tags: BTreeMap<String, String>,
        stream_id,
    }

    /// Removes tags from a stream, consumer or queue.
    pub struct UntagResourceRequest {
        /// ARN of the stream, consumer or queue.
        #[serde(rename = "ResourceARN")]
        pub resource_arn: String,
        /// Their keys.
        pub tag_keys: Vec<String>,
        stream_id,
    }

    /// Asks for the tags of a stream, consumer or queue.
    pub struct ListTagsForResourceRequest {
        /// ARN of the stream, consumer or queue.
        #[serde(rename = "ResourceARN")]
        pub resource_arn: String,
        stream_id,
    }

    /// Answer to [`ListTagsForResourceRequest`].
    pub struct ListTagsForResourceResponse {
        /// The tags.
        pub tags: Option<Vec<Tag>>,
    }
}
