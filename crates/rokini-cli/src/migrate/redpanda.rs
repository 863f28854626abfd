//! The table of the `aws_kinesis` input of Redpanda Connect (and of Benthos before it).

use super::item::{Attributes, Item};
use super::row::{OldItem, OldPosition, OldRow, OldStream, sequence, shard};

pub(super) fn read(item: &Item) -> OldItem {
    match row(Attributes(item)) {
        Ok(row) => row.into(),
        Err(why) => OldItem::Foreign(why),
    }
}

fn row(attributes: Attributes<'_>) -> Result<OldRow, String> {
    let stream = attributes.text("StreamID").ok_or("it has no `StreamID`")?;
    let id = shard(attributes.text("ShardID"), "ShardID")?;
    let position = match attributes.stored_text("SequenceNumber")? {
        Some(number) => OldPosition::Through(sequence(number, "SequenceNumber")?, None),
        None => OldPosition::Nothing,
    };
    let mut row = OldRow::new(OldStream::Named(stream.to_owned()), id, position);
    row.owner = attributes.text("ClientID").map(str::to_owned);
    row.lease_until = attributes.time("LeaseTimeout");
    row.pulse = format!("{} {}", row.position, attributes.text("LeaseTimeout").unwrap_or_default());
    Ok(row)
}
