//! ListShards: filters and pages.

use rokini_wire::shapes::shard::{ListShardsRequest, ListShardsResponse, ShardFilter};
use rokini_wire::{ErrorCode, ServiceError, ShardFilterType, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, resource_in_use};
use crate::model::scope::StreamKey;
use crate::model::shard::{Shard, shard_number};
use crate::model::token::{Token, TokenKind};

/// Default and largest page, as the service documents.
const PAGE_SIZE: usize = 1000;

impl Model {
    /// Lists shards in order of their ids.
    ///
    /// # Errors
    /// ResourceNotFound, ResourceInUse while the stream is being created, InvalidArgument, ExpiredNextToken, Validation.
    pub fn list_shards(
        &mut self,
        now: Timestamp,
        request: &ListShardsRequest,
    ) -> Result<ListShardsResponse, ServiceError> {
        let page = match &request.next_token {
            Some(token) => self.continued_page(now, request, token)?,
            None => Page::first(request)?,
        };
        let seed = self.settings.seed;
        let stream = match &page.stream {
            Some((key, created)) => {
                let stream = self.streams.find_in_token(now, key)?;
                if stream.created != *created {
                    return Err(invalid_argument(
                        "The provided NextToken belongs to a stream that no longer exists.",
                    ));
                }
                stream
            }
            None => self.streams.find(now, &request.stream_name, &request.stream_arn)?,
        };
        stream.must_be_created()?;
        if request.stream_creation_timestamp.is_some_and(|created| created.secs() != stream.created.secs()) {
            return Err(resource_in_use(format!("No {} was created at the given time.", stream.label())));
        }
        stream.forget_expired_shards(now);
        // A stream younger than its retention period has its horizon at its creation.
        let horizon = stream.trim_horizon(now).max(stream.created);
        let passes = |shard: &&Shard| {
            page.after.is_none_or(|after| shard.number > after) && page.filter.passes(shard, horizon)
        };
        let limit = usize::try_from(request.max_results.unwrap_or(1000)).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
        let mut rest = stream.shards().filter(passes);
        let shards: Vec<&Shard> = rest.by_ref().take(limit).collect();
        let last = shards.last().filter(|_| rest.next().is_some());
        let next_token = last.map(|last| {
            let token = Token {
                kind: TokenKind::ShardPage,
                made: now,
                stream_created: stream.created,
                shard: last.number,
                offset: page.filter.time().map_or(0, |time| time.millis().cast_unsigned()),
                text: format!("{}/{}", page.filter.name(), stream.key().to_text()),
            };
            token.seal(seed)
        });
        let shards: Vec<_> = shards.into_iter().map(Shard::describe).collect();
        let mut response = ListShardsResponse::new().shards(shards);
        response.next_token = next_token;
        Ok(response)
    }

    fn continued_page(
        &self,
        now: Timestamp,
        request: &ListShardsRequest,
        token: &str,
    ) -> Result<Page, ServiceError> {
        let given_too = [
            ("StreamName", request.stream_name.is_some()),
            ("StreamARN", request.stream_arn.is_some()),
            ("StreamCreationTimestamp", request.stream_creation_timestamp.is_some()),
            ("ExclusiveStartShardId", request.exclusive_start_shard_id.is_some()),
            ("ShardFilter", request.shard_filter.is_some()),
        ];
        if let Some((name, _)) = given_too.iter().find(|(_, given)| *given) {
            return Err(invalid_argument(format!("NextToken and {name} cannot be provided together.")));
        }
        let token = self.open_token(now, token, TokenKind::ShardPage)?;
        let (filter, key) = token.text.split_once('/').unwrap_or_default();
        let key = StreamKey::from_text(key).ok_or_else(invalid_token)?;
        Ok(Page {
            stream: Some((key, token.stream_created)),
            after: Some(token.shard),
            filter: Filter::from_token(filter, Timestamp::from_millis(token.offset.cast_signed())),
        })
    }

    /// The name a page of the caller's streams or queues starts after. Another account's token, or another region's, is none.
    pub(super) fn name_in_token(
        &self,
        now: Timestamp,
        text: &str,
        kind: TokenKind,
    ) -> Result<String, ServiceError> {
        let token = self.open_token(now, text, kind)?;
        let key = StreamKey::from_text(&token.text).filter(|key| key.scope == self.streams.scope());
        key.map(|key| key.name).ok_or_else(invalid_token)
    }

    /// Opens a page token, which lives for [`LocalSettings::token_life`](crate::LocalSettings::token_life).
    pub(super) fn open_token(
        &self,
        now: Timestamp,
        text: &str,
        kind: TokenKind,
    ) -> Result<Token, ServiceError> {
        let token = Token::open(text, kind, self.settings.seed).ok_or_else(invalid_token)?;
        if now > token.made.plus(self.settings.token_life) {
            return Err(ServiceError::new(
                ErrorCode::ExpiredNextToken,
                "The provided NextToken has expired.",
            ));
        }
        Ok(token)
    }
}

pub(super) fn invalid_token() -> ServiceError {
    invalid_argument("The provided NextToken is not valid.")
}

/// What one page shows.
struct Page {
    /// The stream and its creation, from a token.
    stream: Option<(StreamKey, Timestamp)>,
    after: Option<u32>,
    filter: Filter,
}

impl Page {
    fn first(request: &ListShardsRequest) -> Result<Self, ServiceError> {
        let (filter, after_filter) = Filter::new(request.shard_filter.as_ref())?;
        let after = match (&request.exclusive_start_shard_id, after_filter) {
            (Some(_), Some(_)) => {
                return Err(invalid_argument(
                    "ExclusiveStartShardId and ShardFilter AFTER_SHARD_ID cannot be provided together.",
                ));
            }
            (Some(id), None) => Some(parse_shard(id)?),
            (None, after) => after,
        };
        Ok(Self { stream: None, after, filter })
    }
}

fn parse_shard(id: &str) -> Result<u32, ServiceError> {
    shard_number(id).ok_or_else(|| invalid_argument(format!("Invalid ShardId {id}.")))
}

/// The documented filters, except AFTER_SHARD_ID, which is a position to start at.
enum Filter {
    All,
    AtTrimHorizon,
    AtLatest,
    AtTimestamp(Timestamp),
    FromTimestamp(Timestamp),
}

impl Filter {
    /// The filter and the shard it starts after.
    fn new(filter: Option<&ShardFilter>) -> Result<(Self, Option<u32>), ServiceError> {
        let Some(filter) = filter else { return Ok((Self::All, None)) };
        let time = || {
            filter.timestamp.ok_or_else(|| {
                invalid_argument(format!(
                    "Timestamp must be provided when ShardFilter Type is {}.",
                    filter.kind
                ))
            })
        };
        Ok(match filter.kind {
            ShardFilterType::AfterShardId => {
                let id = filter.shard_id.as_deref().ok_or_else(|| {
                    invalid_argument("ShardId must be provided when ShardFilter Type is AFTER_SHARD_ID.")
                })?;
                (Self::All, Some(parse_shard(id)?))
            }
            ShardFilterType::AtTrimHorizon => (Self::AtTrimHorizon, None),
            ShardFilterType::AtLatest => (Self::AtLatest, None),
            ShardFilterType::AtTimestamp => (Self::AtTimestamp(time()?), None),
            ShardFilterType::FromTimestamp => (Self::FromTimestamp(time()?), None),
            _ => (Self::All, None),
        })
    }

    /// Times before the trim horizon mean the trim horizon.
    fn passes(&self, shard: &Shard, horizon: Timestamp) -> bool {
        let open_at =
            |time: Timestamp| shard.opened <= time && shard.closed.is_none_or(|closed| closed >= time);
        // The first shards open some time after the creation of the stream.
        let at_horizon = || shard.opened <= horizon || shard.parents().next().is_none();
        match *self {
            Self::All => true,
            Self::AtLatest => shard.closed.is_none(),
            Self::AtTrimHorizon => at_horizon(),
            Self::AtTimestamp(time) if time <= horizon => at_horizon(),
            Self::AtTimestamp(time) => open_at(time),
            Self::FromTimestamp(time) => shard.closed.is_none_or(|closed| closed >= time.max(horizon)),
        }
    }

    fn time(&self) -> Option<Timestamp> {
        match *self {
            Self::AtTimestamp(time) | Self::FromTimestamp(time) => Some(time),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::AtTrimHorizon => "at_trim_horizon",
            Self::AtLatest => "at_latest",
            Self::AtTimestamp(_) => "at_timestamp",
            Self::FromTimestamp(_) => "from_timestamp",
        }
    }

    fn from_token(name: &str, time: Timestamp) -> Self {
        match name {
            "at_trim_horizon" => Self::AtTrimHorizon,
            "at_latest" => Self::AtLatest,
            "at_timestamp" => Self::AtTimestamp(time),
            "from_timestamp" => Self::FromTimestamp(time),
            _ => Self::All,
        }
    }
}
