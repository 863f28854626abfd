//! Tags of streams and consumers.

use std::collections::BTreeMap;

use rokini_wire::shapes::stream::Empty;
use rokini_wire::shapes::tags::{
    AddTagsToStreamRequest, ListTagsForResourceRequest, ListTagsForResourceResponse,
    ListTagsForStreamRequest, ListTagsForStreamResponse, RemoveTagsFromStreamRequest, Tag,
    TagResourceRequest, UntagResourceRequest,
};
use rokini_wire::{ServiceError, Timestamp};

use super::Model;
use super::consumers::no_consumer;
use super::errors::{Checks, invalid};

/// Most tags of a stream or consumer, as the service documents.
const MOST_TAGS: usize = 50;

type Tags = BTreeMap<String, String>;

impl Model {
    /// Sets tags on a stream.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn add_tags_to_stream(
        &mut self,
        now: Timestamp,
        request: &AddTagsToStreamRequest,
    ) -> Result<Empty, ServiceError> {
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        add(&mut stream.tags, &request.tags)
    }

    /// Removes tags from a stream.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn remove_tags_from_stream(
        &mut self,
        now: Timestamp,
        request: &RemoveTagsFromStreamRequest,
    ) -> Result<Empty, ServiceError> {
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        remove(&mut stream.tags, &request.tag_keys)
    }

    /// Lists the tags of a stream in order of their keys.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn list_tags_for_stream(
        &mut self,
        now: Timestamp,
        request: &ListTagsForStreamRequest,
    ) -> Result<ListTagsForStreamResponse, ServiceError> {
        let mut checks = Checks::default();
        checks.range(request.limit.unwrap_or(1), "limit", 1..=50);
        checks.done()?;
        let stream = self.streams.find(now, request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let after = request.exclusive_start_tag_key.as_ref();
        let mut rest = stream.tags.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        let limit = usize::try_from(request.limit.unwrap_or(50)).unwrap_or(50);
        let tags = rest.by_ref().take(limit).map(describe).collect();
        Ok(ListTagsForStreamResponse { tags, has_more_tags: rest.next().is_some() })
    }

    /// Sets tags on a stream or consumer.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn tag_resource(
        &mut self,
        now: Timestamp,
        request: &TagResourceRequest,
    ) -> Result<Empty, ServiceError> {
        add(self.tags_of(now, &request.resource_arn)?, &request.tags)
    }

    /// Removes tags from a stream or consumer.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument, Validation.
    pub fn untag_resource(
        &mut self,
        now: Timestamp,
        request: &UntagResourceRequest,
    ) -> Result<Empty, ServiceError> {
        remove(self.tags_of(now, &request.resource_arn)?, &request.tag_keys)
    }

    /// Lists the tags of a stream or consumer.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument.
    pub fn list_tags_for_resource(
        &mut self,
        now: Timestamp,
        request: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, ServiceError> {
        let tags = self.tags_of(now, &request.resource_arn)?;
        Ok(ListTagsForResourceResponse { tags: Some(tags.iter().map(describe).collect()) })
    }

    fn tags_of(&mut self, now: Timestamp, arn: &str) -> Result<&mut Tags, ServiceError> {
        if !arn.contains("/consumer/") {
            return Ok(&mut self.streams.find(now, None, Some(arn))?.tags);
        }
        let (stream, name) = self.streams.find_consumer(now, arn)?;
        stream.consumers.get_mut(name).map(|consumer| &mut consumer.tags).ok_or_else(|| no_consumer(name))
    }
}

fn describe((key, value): (&String, &String)) -> Tag {
    Tag { key: key.clone(), value: Some(value.clone()) }
}

fn add(present: &mut Tags, more: &Tags) -> Result<Empty, ServiceError> {
    check(more)?;
    let new = more.keys().filter(|key| !present.contains_key(*key)).count();
    if present.len() + new > MOST_TAGS {
        return Err(invalid(format!(
            "At most {MOST_TAGS} tags can be set; {} would be.",
            present.len() + new
        )));
    }
    present.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(Empty::default())
}

/// Tags as the service accepts them.
pub(super) fn check(tags: &Tags) -> Result<(), ServiceError> {
    let mut checks = Checks::default();
    for (key, value) in tags {
        checks.length(key, "tags.member.key", 1..=128);
        checks.length(value, "tags.member.value", 0..=256);
    }
    checks.done()?;
    if tags.len() > MOST_TAGS {
        return Err(invalid(format!("At most {MOST_TAGS} tags can be set; {} would be.", tags.len())));
    }
    Ok(())
}

fn remove(tags: &mut Tags, keys: &[String]) -> Result<Empty, ServiceError> {
    let mut checks = Checks::default();
    for key in keys {
        checks.length(key, "tagKeys.member", 1..=128);
    }
    checks.done()?;
    tags.retain(|key, _| !keys.contains(key));
    Ok(Empty::default())
}
