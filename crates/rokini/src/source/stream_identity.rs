//! Which incarnation of a stream an id means: its name with its time of creation.

use rokini_lease::StreamId;

/// Name and time of creation, which ids end in, behind an `@`.
fn parts(id: &StreamId) -> Option<(&str, u64)> {
    let (name, created) = id.as_str().rsplit_once('@')?;
    Some((name, created.parse().ok()?))
}

/// Whether both are incarnations of one stream, and `other` the earlier one.
pub(crate) fn is_older(other: &StreamId, current: &StreamId) -> bool {
    match (parts(other), parts(current)) {
        (Some((other_name, before)), Some((name, now))) => {
            other_name == name && before < now && !is_same(other, current)
        }
        _ => false,
    }
}

/// Whether both are one incarnation of one stream. Its time of creation is answered to the second at times, to the
/// millisecond at others, and no stream is made twice within a second.
pub(crate) fn is_same(one: &StreamId, other: &StreamId) -> bool {
    one == other
        || match (parts(one), parts(other)) {
            (Some((one, made)), Some((other, at))) => one == other && made / 1_000 == at / 1_000,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c14_only_an_earlier_incarnation_of_the_same_stream_is_outdated() {
        let id = |text: &str| StreamId::new(text).unwrap();
        let current = id("orders@1700000000000");
        assert!(is_older(&id("orders@1600000000000"), &current));
        for other in ["orders@1700000000000", "orders@1800000000000", "bills@1600000000000", "orders"] {
            assert!(!is_older(&id(other), &current), "{other}");
        }
    }

    #[test]
    fn c14_a_creation_time_of_other_precision_is_no_other_stream() {
        let id = |text: &str| StreamId::new(text).unwrap();
        let exact = id("orders@1700000000123");
        for same in ["orders@1700000000123", "orders@1700000000000", "orders@1700000000120"] {
            assert!(is_same(&id(same), &exact) && is_same(&exact, &id(same)), "{same}");
            assert!(!is_older(&id(same), &exact) && !is_older(&exact, &id(same)), "{same}");
        }
        for other in ["orders@1700000001000", "orders@1699999999999", "bills@1700000000123", "orders"] {
            assert!(!is_same(&id(other), &exact), "{other}");
        }
    }
}
