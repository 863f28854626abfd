//! What a request is for: needed by faults, inspection and rates before it is carried out.

use crate::model::scope::{Arn, Resource, Scope, StreamKey};
use crate::model::shard::{shard_id, shard_number};
use crate::model::token::{Token, TokenKind};

/// What a request says about its stream and shard, in whatever way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Target<'a> {
    stream_name: Option<&'a str>,
    /// Of a stream, of one of its consumers, whose ARN begins with the stream's, or of a queue, which is named by its id.
    arn: Option<&'a str>,
    shard_id: Option<&'a str>,
    shard_iterator: Option<&'a str>,
    /// A token of ListShards.
    next_token: Option<&'a str>,
}

/// What a request is about, in which account and region, and the id of the shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResolvedTarget {
    /// A stream, or a queue by its id.
    pub(crate) key: Option<StreamKey>,
    pub(crate) arn: Option<String>,
    pub(crate) shard: Option<String>,
}

impl ResolvedTarget {
    fn stream(key: Option<StreamKey>, shard: Option<String>) -> Self {
        let arn = key.as_ref().map(StreamKey::arn);
        Self { key, arn, shard }
    }

    /// The ARN of the queue, if it is one.
    pub(crate) fn queue_arn(&self) -> Option<&str> {
        let arn = self.arn.as_deref()?;
        matches!(Arn::parse(arn)?.resource, Resource::Queue(_)).then_some(arn)
    }

    /// The name of the stream, or the id of the queue.
    pub(crate) fn name(&self) -> Option<&str> {
        self.key.as_ref().map(|key| &*key.name)
    }
}

impl<'a> Target<'a> {
    /// A stream by its name or its ARN.
    pub(crate) fn stream(name: &'a Option<String>, arn: &'a Option<String>) -> Self {
        Self { stream_name: name.as_deref(), ..Self::arn(arn) }
    }

    /// A stream by its name.
    pub(crate) fn named(name: &'a str) -> Self {
        Self { stream_name: Some(name), ..Self::default() }
    }

    /// A stream, consumer or queue by its ARN.
    pub(crate) fn arn(arn: impl Into<Option<&'a String>>) -> Self {
        Self { arn: arn.into().map(String::as_str), ..Self::default() }
    }

    pub(crate) fn shard(self, id: &'a str) -> Self {
        Self { shard_id: Some(id), ..self }
    }

    pub(crate) fn shard_iterator(self, iterator: &'a str) -> Self {
        Self { shard_iterator: Some(iterator), ..self }
    }

    pub(crate) fn page_of_shards(self, next_token: &'a Option<String>) -> Self {
        Self { next_token: next_token.as_deref(), ..self }
    }

    /// What a caller in this account and region means, as far as the request tells it. The seed opens iterators and tokens.
    pub(crate) fn resolve(self, seed: u64, home: &Scope) -> ResolvedTarget {
        let open = |text: Option<&str>, kind| text.and_then(|text| Token::open(text, kind, seed));
        if let Some(token) = open(self.shard_iterator, TokenKind::Iterator) {
            return ResolvedTarget::stream(StreamKey::from_text(&token.text), Some(shard_id(token.shard)));
        }
        if let Some(token) = open(self.next_token, TokenKind::ShardPage) {
            // What the page is filtered by stands before the stream.
            let key = token.text.split_once('/').and_then(|(_, key)| StreamKey::from_text(key));
            return ResolvedTarget::stream(key, None);
        }
        let shard = self.shard_id.map(|id| shard_number(id).map_or_else(|| id.to_owned(), shard_id));
        // A name is the caller's, an ARN says whose it is. Where both are given and disagree, the call fails.
        let named = |name: &str, scope| StreamKey { scope, name: name.to_owned() };
        match self.arn.and_then(Arn::parse) {
            Some(Arn { scope, resource: Resource::Queue(id) }) => {
                ResolvedTarget { arn: self.arn.map(str::to_owned), key: Some(named(id, scope)), shard }
            }
            Some(Arn { scope, resource: Resource::Stream(stream) | Resource::Consumer { stream, .. } }) => {
                ResolvedTarget::stream(Some(named(stream, scope)), shard)
            }
            _ => ResolvedTarget::stream(self.stream_name.map(|name| named(name, home.clone())), shard),
        }
    }
}
