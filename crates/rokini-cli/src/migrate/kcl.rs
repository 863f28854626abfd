//! The lease table of the Kinesis Client Library, versions 1 to 3.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use rokini::lease::{LeaseRow, Position, Progress};

use super::item::{Attributes, Item};
use super::row::{OldItem, OldPosition, OldRow, OldStream, sequence, shard};

/// The partition key.
pub(super) const KEY: &str = "leaseKey";
pub(super) const COUNTER: &str = "leaseCounter";
/// More user records than a record of 10 MiB can pack: all of it is done, whatever it holds.
const ALL_OF_IT: u64 = i64::MAX as u64;

pub(super) fn read(item: &Item) -> OldItem {
    let attributes = Attributes(item);
    let Some(key) = attributes.text(KEY) else {
        return OldItem::Foreign(format!("it has no `{KEY}`"));
    };
    // Version 3.5 keeps the leader, workers and migrations beside the leases. What has no counter is none of them.
    let is_lease = attributes.text("entityType").is_none_or(|kind| kind == "LEASE");
    let counts = attributes.number(COUNTER).is_some();
    let is_shard = key.rsplit(':').next().is_some_and(|id| id.starts_with("shardId-"));
    if !is_lease || !counts && !is_shard {
        return OldItem::Other;
    }
    if !counts {
        return OldItem::Foreign(format!("its `{COUNTER}` is not a number, as that of a lease is"));
    }
    match lease(attributes) {
        Ok(row) => row.into(),
        Err(why) => OldItem::Foreign(why),
    }
}

fn lease(attributes: Attributes<'_>) -> Result<OldRow, String> {
    let key = attributes.text(KEY).unwrap_or_default();
    let parts: Vec<&str> = key.split(':').collect();
    let (stream, id) = match parts[..] {
        [_account, name, seconds, id] => {
            let seconds = seconds.parse().map_err(|_| format!("`{key}` has no time of creation"))?;
            (OldStream::Made { name: name.to_owned(), seconds }, id)
        }
        _ => (OldStream::TheOnly, key),
    };
    let position = position(attributes, "checkpoint", "checkpointSubSequenceNumber")?;
    let mut row = OldRow::new(stream, shard(Some(id), KEY)?, position.unwrap_or(OldPosition::Nothing));
    // While a lease is handed over, `leaseOwner` is who is to get it.
    let owner = attributes.text("checkpointOwner").or_else(|| attributes.text("leaseOwner"));
    row.owner = owner.map(str::to_owned);
    row.pulse = format!("{} {}", attributes.number(COUNTER).unwrap_or_default(), row.position);
    let pending = position_of_pending(attributes)?;
    let state = attributes.bytes("pendingCheckpointState");
    row.pending = pending.map(|position| (position, state.unwrap_or_default().to_vec()));
    Ok(row)
}

fn position_of_pending(attributes: Attributes<'_>) -> Result<Option<OldPosition>, String> {
    position(attributes, "pendingCheckpoint", "pendingCheckpointSubSequenceNumber")
}

fn position(attributes: Attributes<'_>, name: &str, sub: &str) -> Result<Option<OldPosition>, String> {
    let Some(text) = attributes.stored_text(name)? else { return Ok(None) };
    Ok(Some(match text {
        "TRIM_HORIZON" => OldPosition::TrimHorizon,
        "LATEST" => OldPosition::Latest,
        "AT_TIMESTAMP" => OldPosition::AtTimestamp,
        "SHARD_END" => OldPosition::ShardEnd,
        _ => {
            let value = attributes.number(sub).unwrap_or("0");
            let sub = value
                .parse()
                .map_err(|_| format!("its `{sub}` is `{value}`, which is not a sub-sequence number"))?;
            OldPosition::Through(sequence(text, name)?, Some(sub))
        }
    }))
}

/// A position as the KCL stores it: text and sub-sequence number. `None` where it has no words for it.
fn stored(position: Position) -> Option<(String, u64)> {
    Some(match position {
        Position::TrimHorizon => ("TRIM_HORIZON".to_owned(), 0),
        Position::AtTimestamp(_) => ("AT_TIMESTAMP".to_owned(), 0),
        Position::ShardEnd => ("SHARD_END".to_owned(), 0),
        Position::Sequence(number, Progress::Whole) => (number.to_string(), ALL_OF_IT),
        Position::Sequence(number, Progress::Through(sub)) => (number.to_string(), sub),
        // The KCL stores what is done, and what comes before this record is not known.
        Position::Sequence(_, Progress::Nothing) => return None,
    })
}

/// The attributes beside key and counter that a lease of the KCL has for this one. `None` where the KCL has no words for
/// its position.
pub(super) fn attributes(lease: &LeaseRow) -> Option<BTreeMap<&'static str, AttributeValue>> {
    let (checkpoint, sub) = stored(lease.position)?;
    let set = |shards: &[rokini::lease::ShardId]| {
        AttributeValue::Ss(shards.iter().map(ToString::to_string).collect())
    };
    let number = |number: u64| AttributeValue::N(number.to_string());
    let mut attributes = BTreeMap::from([
        ("checkpoint", AttributeValue::S(checkpoint)),
        ("checkpointSubSequenceNumber", number(sub)),
        ("ownerSwitchesSinceCheckpoint", number(0)),
    ]);
    // Empty sets cannot be stored.
    if !lease.parents.is_empty() {
        attributes.insert("parentShardId", set(&lease.parents));
    }
    if !lease.children.is_empty() {
        attributes.insert("childShardIds", set(&lease.children));
    }
    if let Some(range) = lease.hash_range {
        attributes.insert("startingHashKey", AttributeValue::S(range.start.to_string()));
        attributes.insert("endingHashKey", AttributeValue::S(range.end.to_string()));
    }
    if let Some(pending) = &lease.pending
        && let Some((text, sub)) = stored(pending.position)
    {
        attributes.insert("pendingCheckpoint", AttributeValue::S(text));
        attributes.insert("pendingCheckpointSubSequenceNumber", number(sub));
        let state = AttributeValue::B(Blob::new(pending.state.to_vec()));
        attributes.insert("pendingCheckpointState", state);
    }
    Some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(attributes: &[(&str, &str)]) -> Item {
        let value = |text: &str| match text.strip_prefix('#') {
            Some(number) => AttributeValue::N(number.to_owned()),
            None => AttributeValue::S(text.to_owned()),
        };
        attributes.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }

    fn row(attributes: &[(&str, &str)]) -> OldRow {
        match read(&item(attributes)) {
            OldItem::Shard(row) => *row,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_of_one_stream_and_of_several() {
        let one = row(&[
            ("leaseKey", "shardId-000000000001"),
            ("leaseCounter", "#7"),
            ("checkpoint", "TRIM_HORIZON"),
        ]);
        assert_eq!(
            (one.stream, one.position, one.owner),
            (OldStream::TheOnly, OldPosition::TrimHorizon, None)
        );
        let several = row(&[
            ("leaseKey", "123456789012:orders:1700000000:shardId-000000000001"),
            ("leaseCounter", "#7"),
            ("leaseOwner", "next"),
            ("checkpointOwner", "present"),
            ("checkpoint", "495"),
            ("checkpointSubSequenceNumber", "#3"),
        ]);
        assert_eq!(several.stream, OldStream::Made { name: "orders".to_owned(), seconds: 1_700_000_000 });
        assert_eq!(several.shard.as_str(), "shardId-000000000001");
        assert_eq!(several.position, OldPosition::Through("495".parse().unwrap(), Some(3)));
        assert_eq!(several.owner.as_deref(), Some("present"));
    }

    #[test]
    fn other_rows_are_passed_over_and_damaged_ones_named() {
        for other in [
            vec![("leaseKey", "Leader"), ("entityType", "LEADER"), ("leaseDuration", "120000")],
            vec![("leaseKey", "Migration3.0"), ("cv", "CLIENT_VERSION_3X")],
            vec![("leaseKey", "w"), ("entityType", "WORKER_METRIC_STATS"), ("leaseCounter", "#1")],
        ] {
            assert_eq!(read(&item(&other)), OldItem::Other, "{other:?}");
        }
        for (foreign, says) in [
            (vec![("ShardID", "shardId-000000000001")], "`leaseKey`"),
            (
                vec![("leaseKey", "shardId-000000000001"), ("leaseCounter", "#1"), ("checkpoint", "x1")],
                "`x1`",
            ),
            (
                vec![("leaseKey", "shardId-000000000001"), ("leaseCounter", "#1"), ("checkpoint", "#5")],
                "`checkpoint` is not a text",
            ),
            (vec![("leaseKey", "shardId-000000000001"), ("leaseCounter", "x")], "`leaseCounter` is not a"),
            (vec![("leaseKey", "1:s:2:shardId-000000000001"), ("checkpoint", "5")], "`leaseCounter`"),
            (vec![("leaseKey", "1:s:then:a"), ("leaseCounter", "#1")], "time of creation"),
            (vec![("leaseKey", "shardId-0000000000x1"), ("leaseCounter", "#1")], "12 digits"),
            (vec![("leaseKey", "shardId-00000000001"), ("leaseCounter", "#1")], "12 digits"),
            (vec![("leaseKey", "shard"), ("leaseCounter", "#1")], "begins with"),
        ] {
            match read(&item(&foreign)) {
                OldItem::Foreign(why) => assert!(why.contains(says), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let key: rokini::lease::LeaseKey = "s@1#a".parse().unwrap();
        for (position, read_as) in [
            (Position::TrimHorizon, OldPosition::TrimHorizon),
            (Position::ShardEnd, OldPosition::ShardEnd),
            (Position::AtTimestamp(7), OldPosition::AtTimestamp),
            (
                Position::Sequence("7".parse().unwrap(), Progress::Through(4)),
                OldPosition::Through("7".parse().unwrap(), Some(4)),
            ),
            (
                Position::after("7".parse().unwrap()),
                OldPosition::Through("7".parse().unwrap(), Some(ALL_OF_IT)),
            ),
        ] {
            let written = attributes(&LeaseRow::new(key.clone(), position)).unwrap();
            let mut item: Item = written.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            item.insert(KEY.to_owned(), AttributeValue::S("shardId-000000000001".to_owned()));
            item.insert(COUNTER.to_owned(), AttributeValue::N("0".to_owned()));
            match read(&item) {
                OldItem::Shard(row) => assert_eq!(row.position, read_as),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(attributes(&LeaseRow::new(key, Position::at("7".parse().unwrap()))), None);
    }
}
