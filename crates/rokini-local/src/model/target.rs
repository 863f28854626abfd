//! What a request is for: needed by faults, inspection and rates before it is carried out.

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

/// Name of a stream and id of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResolvedTarget {
    pub(crate) stream: Option<String>,
    pub(crate) shard: Option<String>,
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

    /// The stream's name and the shard's id, as far as the request tells them. The seed opens iterators and tokens.
    pub(crate) fn resolve(self, seed: u64) -> ResolvedTarget {
        let open = |text: Option<&str>, kind| text.and_then(|text| Token::open(text, kind, seed));
        // What a token is for ends with the stream's name.
        let name = |text: &str| text.rsplit('/').next().map(str::to_owned);
        if let Some(token) = open(self.shard_iterator, TokenKind::Iterator) {
            return ResolvedTarget { stream: name(&token.text), shard: Some(shard_id(token.shard)) };
        }
        if let Some(token) = open(self.next_token, TokenKind::ShardPage) {
            return ResolvedTarget { stream: name(&token.text), shard: None };
        }
        let by_arn =
            self.arn.and_then(|arn| arn.split_once(":stream/").or_else(|| arn.split_once(":queue/")));
        let by_arn = by_arn.map(|(_, rest)| rest.split_once('/').map_or(rest, |(name, _)| name));
        let shard = self.shard_id.map(|id| shard_number(id).map_or_else(|| id.to_owned(), shard_id));
        ResolvedTarget { stream: self.stream_name.or(by_arn).map(str::to_owned), shard }
    }
}
