//! How settings are written: for each kind of value what is accepted, how it is read, printed and checked.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use rokini_lease::BillingMode;

use crate::types::duration::{self, LONGEST};
use crate::types::named::Named;
use crate::types::stream_ref::{self, StreamRef};

type Parse<Value> = Box<dyn Fn(&str) -> Option<Value>>;
type Print<Value> = Box<dyn Fn(&Value) -> Option<String>>;
type Check<Value, Given> = Box<dyn Fn(Given) -> Result<Value, String>>;

/// How the values of a setting are written. A typed setter takes a `Given`, from which the value is made.
pub(super) struct Form<Value, Given = Value> {
    /// What is accepted, for an error.
    pub(super) accepted: String,
    pub(super) parse: Parse<Value>,
    /// As `parse` takes it; `None` where there is no value.
    pub(super) text: Print<Value>,
    /// The value that a program gave, or the text of what was wrong.
    pub(super) check: Check<Value, Given>,
}

/// A form whose setter takes the value itself, which `is_good` has to allow, however it was given.
fn form<Value: 'static>(
    accepted: impl Into<String>,
    parse: impl Fn(&str) -> Option<Value> + 'static,
    text: impl Fn(&Value) -> String + Copy + 'static,
    is_good: impl Fn(&Value) -> bool + Copy + 'static,
) -> Form<Value> {
    Form {
        accepted: accepted.into(),
        parse: Box::new(move |given| parse(given).filter(is_good)),
        text: Box::new(move |value| Some(text(value))),
        check: Box::new(move |value| if is_good(&value) { Ok(value) } else { Err(text(&value)) }),
    }
}

/// A value with one text everywhere, such as `true`.
pub(super) fn own_text<Value: FromStr + Display + 'static>(accepted: impl Into<String>) -> Form<Value> {
    form(accepted, |text| text.parse().ok(), Value::to_string, |_| true)
}

pub(super) fn truth_value() -> Form<bool> {
    own_text("`true` or `false`")
}

/// One of a few names.
pub(super) fn choice<E: Named + FromStr + Display>() -> Form<E> {
    own_text(E::names())
}

/// Any of a few names, with commas between them.
pub(super) fn choices<E: Named + Ord>() -> Form<BTreeSet<E>> {
    form(
        format!("`{NONE}`, or a list out of {} with commas between them", E::names()),
        |text| if text == NONE { Some(BTreeSet::new()) } else { text.split(',').map(E::named).collect() },
        |value| joined(value.iter().map(|choice| choice.text().to_owned())),
        |_| true,
    )
}

pub(super) fn any_duration() -> Form<Duration> {
    duration_form(duration::ACCEPTED.to_owned(), Duration::ZERO, LONGEST)
}

pub(super) fn duration_from(least: Duration) -> Form<Duration> {
    let accepted = format!("at least `{}`: {}", duration::text(least), duration::ACCEPTED);
    duration_form(accepted, least, LONGEST)
}

pub(super) fn duration_within(least: Duration, most: Duration) -> Form<Duration> {
    let bounds = format!("`{}` to `{}`", duration::text(least), duration::text(most));
    duration_form(format!("{bounds}: {}", duration::ACCEPTED), least, most)
}

fn duration_form(accepted: String, least: Duration, most: Duration) -> Form<Duration> {
    let is_good = move |value: &Duration| (least..=most).contains(value);
    form(accepted, duration::parse_any, |value| duration::text(*value), is_good)
}

/// One of the two resolutions of CloudWatch.
pub(super) fn cloudwatch_resolution() -> Form<Duration> {
    let is_good = |value: &Duration| [1_000, 60_000].contains(&value.as_millis());
    let accepted = "`1m`, or `1s` for high resolution";
    form(accepted, duration::parse, |value| duration::text(*value), is_good)
}

/// A type of whole numbers from 1 on, which programs give as the plain type.
pub(super) trait Count: Display + Copy + 'static {
    type Plain: FromStr + Display + Copy;

    fn new(plain: Self::Plain, most: u64) -> Option<Self>;
}

macro_rules! counts {
    ($($type:ty as $plain:ty),+) => {
        $(impl Count for $type {
            type Plain = $plain;

            fn new(plain: $plain, most: u64) -> Option<Self> {
                let is_within = (1..=most).contains(&u64::try_from(plain).ok()?);
                if is_within { Self::try_from(plain).ok() } else { None }
            }
        })+
    };
}
counts!(u8 as u8, u16 as u16, NonZeroU16 as u16, NonZeroU32 as u32, NonZeroUsize as usize);

pub(super) fn count<N: Count>() -> Form<N, N::Plain> {
    count_form("a whole number, 1 or more".to_owned(), u64::MAX)
}

pub(super) fn count_up_to<N: Count>(most: u64) -> Form<N, N::Plain> {
    count_form(format!("a whole number from 1 to {most}"), most)
}

fn count_form<N: Count>(accepted: String, most: u64) -> Form<N, N::Plain> {
    Form {
        accepted,
        parse: Box::new(move |text| N::new(text.parse().ok()?, most)),
        text: Box::new(|value| Some(value.to_string())),
        check: Box::new(move |given| N::new(given, most).ok_or_else(|| given.to_string())),
    }
}

/// A value that need not be there, and then has no text.
pub(super) fn optional<V: 'static, G: 'static>(form: Form<V, G>) -> Form<Option<V>, G> {
    Form {
        accepted: form.accepted,
        parse: Box::new(move |text| (form.parse)(text).map(Some)),
        text: Box::new(move |value| (form.text)(value.as_ref()?)),
        check: Box::new(move |given| (form.check)(given).map(Some)),
    }
}

/// A value, or a word for none.
pub(super) fn word_or<V: 'static, G: 'static>(
    word: &'static str,
    form: Form<V, G>,
) -> Form<Option<V>, Option<G>> {
    Form {
        accepted: format!("`{word}`, or {}", form.accepted),
        parse: Box::new(move |text| if text == word { Some(None) } else { (form.parse)(text).map(Some) }),
        text: Box::new(move |value| value.as_ref().map_or_else(|| Some(word.to_owned()), &form.text)),
        check: Box::new(move |given| given.map(&form.check).transpose()),
    }
}

pub(super) const UNLIMITED: &str = "unlimited";

/// What stands for a list without members.
pub(super) const NONE: &str = "none";

fn joined(members: impl Iterator<Item = String>) -> String {
    let members: Vec<_> = members.collect();
    if members.is_empty() { NONE.to_owned() } else { members.join(",") }
}

/// A text that has to keep a rule; a setter takes the text.
fn checked_text<Value: Display + 'static>(
    accepted: &str,
    read: fn(&str) -> Option<Value>,
) -> Form<Value, String> {
    Form {
        accepted: accepted.to_owned(),
        parse: Box::new(read),
        text: Box::new(|value| Some(value.to_string())),
        check: Box::new(move |given| read(&given).ok_or(given)),
    }
}

/// The name of a group or of a worker.
pub(super) fn name<Value: Display + 'static>(read: fn(&str) -> Option<Value>) -> Form<Value, String> {
    checked_text("1 to 255 characters out of letters, digits, `.`, `_`, `-`, `@` and `/`", read)
}

/// What DynamoDB allows as the name of a table.
pub(super) fn table_name() -> Form<String, String> {
    checked_text("a table name: 3 to 255 letters, digits, `_`, `.`, `-`", |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        ((3..=255).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.to_owned())
    })
}

/// What CloudWatch allows as a namespace.
pub(super) fn cloudwatch_namespace() -> Form<String, String> {
    let accepted =
        "a namespace: 1 to 255 letters, digits, ` `, `.`, `-`, `_`, `/`, `#`, `:`, not beginning with `:`";
    checked_text(accepted, |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_/#:".contains(c);
        let is_good = (1..=255).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(':');
        is_good.then(|| text.to_owned())
    })
}

/// The URL of an OpenTelemetry collector.
pub(super) fn collector_url() -> Form<String, String> {
    checked_text("the URL of a collector such as `http://127.0.0.1:4318`", |text| {
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let has_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
        (has_host && text.parse::<hyper::Uri>().is_ok()).then(|| text.to_owned())
    })
}

/// Names and ARNs, with commas between them. One that is named twice counts once.
pub(super) fn streams() -> Form<Vec<StreamRef>> {
    Form {
        text: Box::new(|value| {
            let names: Vec<_> = value.iter().map(ToString::to_string).collect();
            (!names.is_empty()).then(|| names.join(", "))
        }),
        ..form(
            stream_ref::ACCEPTED,
            |text| {
                let streams: Option<Vec<_>> =
                    text.split(',').map(|part| stream_ref::parse(part.trim())).collect();
                streams.map(each_once)
            },
            |_| String::new(),
            |_| true,
        )
    }
}

pub(super) fn each_once(streams: impl IntoIterator<Item = StreamRef>) -> Vec<StreamRef> {
    let mut all = Vec::new();
    for stream in streams {
        if !all.contains(&stream) {
            all.push(stream);
        }
    }
    all
}

/// Units of a provisioned table unless they are set, as in the KCL.
pub(super) const DEFAULT_UNITS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// How a table is paid for. The units of a provisioned one are settings of their own.
pub(super) fn billing_mode() -> Form<BillingMode> {
    let (on_demand, provisioned) = ("pay_per_request", "provisioned");
    let units = DEFAULT_UNITS.get();
    let modes = [
        (on_demand, BillingMode::PayPerRequest),
        (provisioned, BillingMode::Provisioned { read_units: units, write_units: units }),
    ];
    form(
        format!("`{on_demand}` or `{provisioned}`"),
        move |text| modes.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode),
        move |mode| (if *mode == BillingMode::PayPerRequest { on_demand } else { provisioned }).to_owned(),
        |_| true,
    )
}

/// What Kinesis allows as the name of a consumer.
pub(super) fn consumer_name() -> Form<String, String> {
    checked_text(CONSUMER_NAME, |text| is_consumer_name(text).then(|| text.to_owned()))
}

/// What Kinesis allows as the name of a consumer, for people.
pub(crate) const CONSUMER_NAME: &str = "a consumer name: 1 to 128 letters, digits, `_`, `.`, `-`";

/// Whether Kinesis allows it as the name of a consumer.
pub(crate) fn is_consumer_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

/// Tags of a resource of AWS, as `key=value` with commas between them: at most 50, keys of at most 128 characters and values of
/// at most 256.
pub(super) fn tags() -> Form<Vec<(String, String)>> {
    let is_good = |(key, value): &(String, String)| {
        let (key, value) = (key.chars().collect::<Vec<_>>(), value.chars().collect::<Vec<_>>());
        let parts = [',', '='];
        (1..=128).contains(&key.len())
            && value.len() <= 256
            && !key.iter().any(|c| parts.contains(c))
            && !value.contains(&',')
    };
    let tag = |part: &str| {
        let (key, value) = part.split_once('=')?;
        Some((key.trim().to_owned(), value.trim().to_owned()))
    };
    form(
        format!("`{NONE}`, or at most 50 tags as `key=value` with commas between them"),
        move |text| if text == NONE { Some(Vec::new()) } else { text.split(',').map(tag).collect() },
        |value| joined(value.iter().map(|(key, value)| format!("{key}={value}"))),
        move |value| value.len() <= 50 && value.iter().all(is_good),
    )
}

/// Headers of HTTP requests, as `name=value` with commas between them.
pub(super) fn headers() -> Form<Vec<(String, String)>> {
    let is_good = |(name, value): &(String, String)| {
        hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && hyper::header::HeaderValue::from_str(value).is_ok()
            && !value.contains(',')
    };
    let header = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    form(
        format!("`{NONE}`, or headers as `name=value` with commas between them"),
        move |text| if text == NONE { Some(Vec::new()) } else { text.split(',').map(header).collect() },
        |value| joined(value.iter().map(|(name, value)| format!("{name}={value}"))),
        move |value| value.iter().all(is_good),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<V, G>(form: &Form<V, G>, text: &str) -> Option<V> {
        (form.parse)(text)
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let records = count_up_to::<u16>(10_000);
        assert_eq!((parse(&records, "1"), parse(&records, "10000")), (Some(1), Some(10_000)));
        for text in ["0", "10001", "65536", "-1", "ten", ""] {
            assert_eq!(parse(&records, text), None, "{text}");
        }
        assert_eq!((records.check)(0), Err("0".to_owned()));
        let units = count::<NonZeroU32>();
        assert!(parse(&units, "0").is_none() && parse(&units, "4294967296").is_none());
        assert_eq!(parse(&word_or(UNLIMITED, units), "unlimited"), Some(None));
    }

    #[test]
    fn durations_keep_their_bounds_and_are_exact() {
        let timeout = word_or(UNLIMITED, duration_from(Duration::from_millis(1)));
        assert!(parse(&timeout, "0s").is_none() && parse(&timeout, "999us").is_none());
        assert_eq!(parse(&timeout, "unlimited"), Some(None));
        let any = any_duration();
        assert!(parse(&any, "366d").is_none() && (any.check)(Duration::MAX).is_err());
        let short = Duration::from_micros(1_500);
        assert_eq!((any.check)(short), Ok(short));
        assert_eq!((any.text)(&short).as_deref(), Some("1500us"));
        let ceiling = duration_within(Duration::from_millis(200), Duration::from_secs(60));
        assert_eq!((ceiling.check)(Duration::from_millis(199)), Err("199ms".to_owned()));
        assert!(parse(&ceiling, "61s").is_none());
    }

    #[test]
    fn a_header_cannot_hold_another() {
        let headers = |value: &str| (headers().check)(vec![("x".to_owned(), value.to_owned())]);
        assert!(headers("a b").is_ok());
        assert!(headers("a,y=b").is_err() && headers("a\n").is_err());
    }
}
