//! The table of gokini, and that of vmware-go-kcl, which grew out of the same one.

use super::item::{Attributes, Item};
use super::row::{OldItem, OldPosition, OldRow, OldStream, sequence, shard};

pub(super) fn read_gokini(item: &Item) -> OldItem {
    read(item, "SequenceID")
}

pub(super) fn read_vmware(item: &Item) -> OldItem {
    read(item, "Checkpoint")
}

fn read(item: &Item, checkpoint: &str) -> OldItem {
    match row(Attributes(item), checkpoint) {
        Ok(row) => row.into(),
        Err(why) => OldItem::Foreign(why),
    }
}

fn row(attributes: Attributes<'_>, checkpoint: &str) -> Result<OldRow, String> {
    let id = shard(attributes.text("ShardID"), "ShardID")?;
    let position = match attributes.stored_text(checkpoint)? {
        Some("SHARD_END") => OldPosition::ShardEnd,
        // Whether all of a closed shard is done is a question to the stream: it is read on to its end.
        Some(number) => OldPosition::Through(sequence(number, checkpoint)?, None),
        None if attributes.is_true("Closed") => OldPosition::ShardEnd,
        None => OldPosition::Nothing,
    };
    let mut row = OldRow::new(OldStream::TheOnly, id, position);
    row.owner = attributes.text("AssignedTo").map(str::to_owned);
    row.claim = attributes.text("ClaimRequest").map(str::to_owned);
    row.lease_until = attributes.time("LeaseTimeout");
    row.pulse = format!("{} {}", row.position, attributes.text("LeaseTimeout").unwrap_or_default());
    Ok(row)
}
