//! The table of harlow/kinesis-consumer.

use super::item::{Attributes, Item};
use super::row::{OldItem, OldPosition, OldRow, OldStream, sequence, shard};

pub(super) fn read(item: &Item) -> OldItem {
    match row(Attributes(item)) {
        Ok(row) => row.into(),
        Err(why) => OldItem::Foreign(why),
    }
}

fn row(attributes: Attributes<'_>) -> Result<OldRow, String> {
    let namespace = attributes.text("namespace").ok_or("it has no `namespace`")?;
    let id = shard(attributes.text("shard_id"), "shard_id")?;
    let position = match attributes.stored_text("sequence_number")? {
        Some(number) => OldPosition::Through(sequence(number, "sequence_number")?, None),
        None => OldPosition::Nothing,
    };
    Ok(OldRow::new(OldStream::Namespace(namespace.to_owned()), id, position))
}
