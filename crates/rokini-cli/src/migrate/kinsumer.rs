//! The table of checkpoints of kinsumer.

use super::item::{Attributes, Item};
use super::row::{OldItem, OldPosition, OldRow, OldStream, sequence, shard};

pub(super) fn read(item: &Item) -> OldItem {
    match row(Attributes(item)) {
        Ok(row) => row.into(),
        Err(why) => OldItem::Foreign(why),
    }
}

fn row(attributes: Attributes<'_>) -> Result<OldRow, String> {
    let id = shard(attributes.text("Shard"), "Shard")?;
    let finished = attributes.number("Finished").is_some_and(|at| at != "0");
    let position = match attributes.stored_text("SequenceNumber")? {
        Some(number) => OldPosition::Through(sequence(number, "SequenceNumber")?, None),
        None if finished => OldPosition::ShardEnd,
        None => OldPosition::Nothing,
    };
    let mut row = OldRow::new(OldStream::TheOnly, id, position);
    let owner = attributes.text("OwnerName").or_else(|| attributes.text("OwnerID"));
    row.owner = owner.map(str::to_owned);
    row.pulse = format!("{} {}", row.position, attributes.number("LastUpdate").unwrap_or_default());
    Ok(row)
}
