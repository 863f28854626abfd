//! What a request for records says, out of the hands of the SDK.

use aws_smithy_schema::Schema;
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeSerializer};
use aws_smithy_types::{BigDecimal, BigInteger, Blob, DateTime, Document};
use rokini_wire::shapes::consumer::{StartingPosition, SubscribeToShardRequest};
use rokini_wire::shapes::record::GetRecordsRequest;
use rokini_wire::{ShardIteratorType, Timestamp};

/// Takes the members of a request for records, those of its position among them. Any other member is an error: it would be
/// left out in silence.
#[derive(Debug, Default)]
pub(super) struct RequestMembers {
    shard_iterator: Option<String>,
    limit: Option<i32>,
    stream_arn: Option<String>,
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    position: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<DateTime>,
}

impl RequestMembers {
    pub(super) fn of(input: &dyn SerializableStruct, schema: &Schema<'_>) -> Result<Self, SerdeError> {
        let mut members = Self::default();
        members.write_struct(schema, input)?;
        Ok(members)
    }

    pub(super) fn get_records(self) -> Result<GetRecordsRequest, SerdeError> {
        let mut request = GetRecordsRequest::new(required(self.shard_iterator, "ShardIterator")?);
        request.limit = self.limit;
        request.stream_arn = self.stream_arn;
        Ok(request)
    }

    pub(super) fn subscribe_to_shard(self) -> Result<SubscribeToShardRequest, SerdeError> {
        let kind = required(self.position, "StartingPosition")?;
        let mut position = StartingPosition::new(ShardIteratorType::from(kind.as_str()));
        position.sequence_number = self.sequence_number;
        let millis = self.timestamp.map(|time| time.to_millis()).transpose();
        position.timestamp =
            millis.map_err(|error| SerdeError::custom(error.to_string()))?.map(Timestamp::from_millis);
        let consumer = required(self.consumer_arn, "ConsumerARN")?;
        Ok(SubscribeToShardRequest::new(consumer, required(self.shard_id, "ShardId")?, position))
    }
}

fn required<T>(member: Option<T>, name: &'static str) -> Result<T, SerdeError> {
    member.ok_or_else(|| SerdeError::missing_member(name))
}

fn unknown<T>(schema: &Schema<'_>) -> Result<T, SerdeError> {
    Err(SerdeError::unknown_member(schema.member_name().unwrap_or("no name")))
}

impl ShapeSerializer for RequestMembers {
    fn write_struct(&mut self, _: &Schema<'_>, value: &dyn SerializableStruct) -> Result<(), SerdeError> {
        value.serialize_members(self)
    }

    fn write_string(&mut self, schema: &Schema<'_>, value: &str) -> Result<(), SerdeError> {
        match schema.member_name() {
            Some("ShardIterator") => self.shard_iterator = Some(value.to_owned()),
            Some("StreamARN") => self.stream_arn = Some(value.to_owned()),
            Some("ConsumerARN") => self.consumer_arn = Some(value.to_owned()),
            Some("ShardId") => self.shard_id = Some(value.to_owned()),
            Some("Type") => self.position = Some(value.to_owned()),
            Some("SequenceNumber") => self.sequence_number = Some(value.to_owned()),
            _ => return unknown(schema),
        }
        Ok(())
    }

    fn write_integer(&mut self, schema: &Schema<'_>, value: i32) -> Result<(), SerdeError> {
        match schema.member_name() {
            Some("Limit") => self.limit = Some(value),
            _ => return unknown(schema),
        }
        Ok(())
    }

    fn write_list(
        &mut self,
        schema: &Schema<'_>,
        _: &dyn Fn(&mut dyn ShapeSerializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_map(
        &mut self,
        schema: &Schema<'_>,
        _: &dyn Fn(&mut dyn ShapeSerializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_boolean(&mut self, schema: &Schema<'_>, _: bool) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_byte(&mut self, schema: &Schema<'_>, _: i8) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_short(&mut self, schema: &Schema<'_>, _: i16) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_long(&mut self, schema: &Schema<'_>, _: i64) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_float(&mut self, schema: &Schema<'_>, _: f32) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_double(&mut self, schema: &Schema<'_>, _: f64) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_big_integer(&mut self, schema: &Schema<'_>, _: &BigInteger) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_big_decimal(&mut self, schema: &Schema<'_>, _: &BigDecimal) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_blob(&mut self, schema: &Schema<'_>, _: Blob) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_timestamp(&mut self, schema: &Schema<'_>, value: &DateTime) -> Result<(), SerdeError> {
        match schema.member_name() {
            Some("Timestamp") => self.timestamp = Some(*value),
            _ => return unknown(schema),
        }
        Ok(())
    }

    fn write_document(&mut self, schema: &Schema<'_>, _: &Document) -> Result<(), SerdeError> {
        unknown(schema)
    }

    fn write_null(&mut self, schema: &Schema<'_>) -> Result<(), SerdeError> {
        unknown(schema)
    }
}
