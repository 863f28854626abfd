//! Tags of streams and consumers.

use std::collections::BTreeMap;

use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::shapes::tags::{
    AddTagsToStreamRequest, ListTagsForResourceRequest, ListTagsForResourceResponse,
    ListTagsForStreamRequest, ListTagsForStreamResponse, RemoveTagsFromStreamRequest, Tag,
    TagResourceRequest, UntagResourceRequest,
};
use rokini_wire::{ServiceError, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, no_consumer, no_queue};
use crate::model::scope::Resource;

/// Most tags of a stream, consumer or queue, as the service documents.
const MAX_TAGS: usize = 50;

type Tags = BTreeMap<String, String>;

impl Model {
    /// Sets tags on a stream.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is CREATING or DELETING, InvalidArgument, Validation.
    pub fn add_tags_to_stream(
        &mut self,
        now: Timestamp,
        request: &AddTagsToStreamRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        stream.must_stand()?;
        add(&mut stream.tags, &request.tags)
    }

    /// Removes tags from a stream.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is CREATING or DELETING, InvalidArgument, Validation.
    pub fn remove_tags_from_stream(
        &mut self,
        now: Timestamp,
        request: &RemoveTagsFromStreamRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        stream.must_stand()?;
        Ok(remove(&mut stream.tags, &request.tag_keys))
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
        let stream = self.streams.find(now, &request.stream_name, &request.stream_arn)?;
        let after = request.exclusive_start_tag_key.as_ref();
        let mut rest = stream.tags.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        let limit = usize::try_from(request.limit.unwrap_or(50)).unwrap_or(50);
        let tags: Vec<Tag> = rest.by_ref().take(limit).map(describe).collect();
        Ok(ListTagsForStreamResponse::new(tags, rest.next().is_some()))
    }

    /// Sets tags on a stream, consumer or queue.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is CREATING or DELETING, InvalidArgument, Validation.
    pub fn tag_resource(
        &mut self,
        now: Timestamp,
        request: &TagResourceRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        add(self.changeable_tags_of(now, &request.resource_arn)?, &request.tags)
    }

    /// Removes tags from a stream, consumer or queue.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is CREATING or DELETING, InvalidArgument, Validation.
    pub fn untag_resource(
        &mut self,
        now: Timestamp,
        request: &UntagResourceRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        Ok(remove(self.changeable_tags_of(now, &request.resource_arn)?, &request.tag_keys))
    }

    /// Lists the tags of a stream, consumer or queue.
    ///
    /// # Errors
    /// ResourceNotFound, InvalidArgument.
    pub fn list_tags_for_resource(
        &mut self,
        now: Timestamp,
        request: &ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, ServiceError> {
        let tags = self.tags_of(now, &request.resource_arn)?;
        let tags: Vec<Tag> = tags.iter().map(describe).collect();
        Ok(ListTagsForResourceResponse::new().tags(tags))
    }

    /// Consumers and queues carry tags in every state, streams only while they stand.
    fn changeable_tags_of(&mut self, now: Timestamp, arn: &str) -> Result<&mut Tags, ServiceError> {
        if let Some(Resource::Stream(_)) = self.streams.arn_here(arn)?.map(|arn| arn.resource) {
            self.streams.find_by_arn(now, arn)?.must_stand()?;
        }
        self.tags_of(now, arn)
    }

    fn tags_of(&mut self, now: Timestamp, arn: &str) -> Result<&mut Tags, ServiceError> {
        match self.streams.arn_here(arn)?.map(|arn| arn.resource) {
            Some(Resource::Consumer { .. }) => {
                let (stream, name) = self.streams.find_consumer(now, arn)?;
                let consumer = stream.consumers.get_mut(name);
                consumer.map(|consumer| &mut consumer.tags).ok_or_else(|| no_consumer(name))
            }
            Some(Resource::Queue(_)) => {
                let (stream, id) = self.streams.find_queue(now, arn)?;
                stream.queues.get_mut(id).map(|queue| &mut queue.tags).ok_or_else(|| no_queue(arn))
            }
            _ => Ok(&mut self.streams.find_by_arn(now, arn)?.tags),
        }
    }
}

fn describe((key, value): (&String, &String)) -> Tag {
    Tag::new(key).value(value)
}

fn add(present: &mut Tags, more: &Tags) -> Result<EmptyResponse, ServiceError> {
    check_tags(more)?;
    let new = more.keys().filter(|key| !present.contains_key(*key)).count();
    if present.len() + new > MAX_TAGS {
        return Err(invalid_argument(format!(
            "At most {MAX_TAGS} tags can be set; {} would be.",
            present.len() + new
        )));
    }
    present.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(EmptyResponse::new())
}

fn is_legal(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_./=+-@:".contains(c))
}

/// Tags as the service accepts them.
pub(super) fn check_tags(tags: &Tags) -> Result<(), ServiceError> {
    if tags.iter().any(|(key, value)| !is_legal(key) || !is_legal(value) || key.starts_with("aws:")) {
        return Err(invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - @ :. \
             Keys must not begin with aws:.",
        ));
    }
    if tags.len() > MAX_TAGS {
        return Err(invalid_argument(format!(
            "At most {MAX_TAGS} tags can be set; {} would be.",
            tags.len()
        )));
    }
    Ok(())
}

fn remove(tags: &mut Tags, keys: &[String]) -> EmptyResponse {
    tags.retain(|key, _| !keys.contains(key));
    EmptyResponse::new()
}
