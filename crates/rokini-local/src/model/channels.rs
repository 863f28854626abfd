//! Channels: known, and honestly refused. Nothing here delivers to S3.

use rokini_wire::shapes::channel::{
    CreateChannelRequest, DeleteChannelRequest, DescribeChannelRequest, ListChannelsRequest,
    ListChannelsResponse, UpdateChannelRequest,
};
use rokini_wire::shapes::stream::EmptyResponse;
use rokini_wire::{ServiceError, StreamMode, Timestamp};

use crate::model::account::Model;
use crate::model::errors::{invalid_argument, resource_not_found, validation};

impl Model {
    /// Refuses to create a channel, for the reason the service would have, or because there is none here.
    ///
    /// # Errors
    /// Always: ResourceNotFound, Validation, InvalidArgument.
    pub fn create_channel(
        &mut self,
        now: Timestamp,
        request: &CreateChannelRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        let [source] = &request.stream_configuration_list[..] else {
            return Err(validation("StreamConfigurationList must contain exactly one entry."));
        };
        let stream = self.streams.find_by_arn(now, &source.stream_arn)?;
        if stream.mode != StreamMode::OnDemand {
            return Err(validation("Channels are not supported for streams in PROVISIONED mode."));
        }
        Err(invalid_argument(
            "The local Kinesis has no channels: it delivers to no bucket and no table. Read the stream with a consumer \
             instead.",
        ))
    }

    /// Changes no channel, since there is none.
    ///
    /// # Errors
    /// Always ResourceNotFound.
    pub fn update_channel(
        &mut self,
        _: Timestamp,
        request: &UpdateChannelRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        Err(no_channel(&request.channel_arn))
    }

    /// Describes no channel, since there is none.
    ///
    /// # Errors
    /// Always ResourceNotFound.
    pub fn describe_channel(
        &mut self,
        _: Timestamp,
        request: &DescribeChannelRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        Err(no_channel(&request.channel_arn))
    }

    /// Deletes no channel, since there is none.
    ///
    /// # Errors
    /// Always ResourceNotFound.
    pub fn delete_channel(
        &mut self,
        _: Timestamp,
        request: &DeleteChannelRequest,
    ) -> Result<EmptyResponse, ServiceError> {
        Err(no_channel(&request.channel_arn))
    }

    /// Lists no channels.
    ///
    /// # Errors
    /// InvalidArgument for a token, since there is no next page.
    pub fn list_channels(
        &mut self,
        _: Timestamp,
        request: &ListChannelsRequest,
    ) -> Result<ListChannelsResponse, ServiceError> {
        if request.next_token.is_some() {
            return Err(invalid_argument("The provided NextToken is not valid."));
        }
        Ok(ListChannelsResponse::new([]))
    }
}

fn no_channel(arn: &str) -> ServiceError {
    resource_not_found(format!("Channel {arn} not found."))
}
