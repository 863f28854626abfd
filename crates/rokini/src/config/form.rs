//! The forms in which settings are written: each parses, prints and checks the values of its settings.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use rokini_lease::{BillingMode, GroupId, WorkerName};

use crate::types::dead_letter_target::{self, DeadLetterTarget};
use crate::types::duration;
use crate::types::named::Named;
use crate::types::start_position::{self, StartPosition};
use crate::types::stream_ref::{self, StreamRef};

/// How the values of a setting are written. Implemented by types that have no values.
pub(super) trait Form {
    /// What [`Settings`](super::settings::Settings) have.
    type Value;

    /// What is accepted, for an error.
    fn accepted() -> String;

    fn parse(text: &str) -> Option<Self::Value>;

    /// As [`Form::parse`] takes it; `None` where there is no value.
    fn text(value: &Self::Value) -> Option<String>;
}

/// What a typed setter takes.
pub(super) trait Setter: Form {
    type Given;

    /// The value that a program gave, or the text of what was wrong.
    fn check(given: Self::Given) -> Result<Self::Value, String>;
}

const YEAR_MILLIS: u64 = 365 * 24 * 3_600_000;

/// A duration, with bounds in milliseconds.
pub(super) struct Span<const LEAST: u64 = 0, const MOST: u64 = YEAR_MILLIS>;

impl<const LEAST: u64, const MOST: u64> Form for Span<LEAST, MOST> {
    type Value = Duration;

    fn accepted() -> String {
        let least = duration::text(Duration::from_millis(LEAST));
        let most = duration::text(Duration::from_millis(MOST));
        match (LEAST, MOST) {
            (0, YEAR_MILLIS) => duration::ACCEPTED.to_owned(),
            (_, YEAR_MILLIS) => format!("at least `{least}`: {}", duration::ACCEPTED),
            _ => format!("`{least}` to `{most}`: {}", duration::ACCEPTED),
        }
    }

    fn parse(text: &str) -> Option<Duration> {
        duration::parse_any(text).and_then(|duration| Self::check(duration).ok())
    }

    fn text(value: &Duration) -> Option<String> {
        Some(duration::text(*value))
    }
}

impl<const LEAST: u64, const MOST: u64> Setter for Span<LEAST, MOST> {
    type Given = Duration;

    fn check(given: Duration) -> Result<Duration, String> {
        let bounds = Duration::from_millis(LEAST)..=Duration::from_millis(MOST);
        if bounds.contains(&given) { Ok(given) } else { Err(duration::text(given)) }
    }
}

/// A type of whole numbers from 1 on.
pub(super) trait Number: Display + Copy {
    /// The plain type.
    type Plain: FromStr + Display + Copy;

    fn new(plain: Self::Plain, most: u64) -> Option<Self>;
}

macro_rules! numbers {
    ($($type:ty as $plain:ty),+) => {
        $(impl Number for $type {
            type Plain = $plain;

            fn new(plain: $plain, most: u64) -> Option<Self> {
                let value = u64::try_from(plain).ok()?;
                if (1..=most).contains(&value) { Self::try_from(plain).ok() } else { None }
            }
        })+
    };
}
numbers!(u8 as u8, u16 as u16, NonZeroU16 as u16, NonZeroU32 as u32, NonZeroUsize as usize);

/// A whole number from 1 on.
pub(super) struct Whole<N, const MOST: u64 = { u64::MAX }>(PhantomData<N>);

impl<N: Number, const MOST: u64> Form for Whole<N, MOST> {
    type Value = N;

    fn accepted() -> String {
        match MOST {
            u64::MAX => "a whole number, 1 or more".to_owned(),
            _ => format!("a whole number from 1 to {MOST}"),
        }
    }

    fn parse(text: &str) -> Option<N> {
        N::new(text.parse().ok()?, MOST)
    }

    fn text(value: &N) -> Option<String> {
        Some(value.to_string())
    }
}

impl<N: Number, const MOST: u64> Setter for Whole<N, MOST> {
    type Given = N::Plain;

    fn check(given: N::Plain) -> Result<N, String> {
        N::new(given, MOST).ok_or_else(|| given.to_string())
    }
}

/// A limit; without one the largest number.
pub(super) struct Most;

impl Form for Most {
    type Value = NonZeroUsize;

    fn accepted() -> String {
        Or::<Unlimited, Whole<NonZeroUsize>>::accepted()
    }

    fn parse(text: &str) -> Option<NonZeroUsize> {
        Or::<Unlimited, Whole<NonZeroUsize>>::parse(text).map(|limit| limit.unwrap_or(NonZeroUsize::MAX))
    }

    fn text(value: &NonZeroUsize) -> Option<String> {
        Or::<Unlimited, Whole<NonZeroUsize>>::text(&Some(*value).filter(|value| *value < NonZeroUsize::MAX))
    }
}

impl Setter for Most {
    type Given = usize;

    fn check(given: usize) -> Result<NonZeroUsize, String> {
        Whole::<NonZeroUsize>::check(given)
    }
}

/// A word in place of a value.
pub(super) trait Word {
    const WORD: &'static str;
}

/// Any number or time.
pub(super) struct Unlimited;
/// The number that the group began with.
pub(super) struct Stored;
pub(super) struct NoValue;

impl Word for Unlimited {
    const WORD: &'static str = "unlimited";
}

impl Word for Stored {
    const WORD: &'static str = "stored";
}

impl Word for NoValue {
    const WORD: &'static str = NONE;
}

/// What stands for a list without members.
pub(super) const NONE: &str = "none";

/// A value, or a word for none.
pub(super) struct Or<W, F>(PhantomData<(W, F)>);

impl<W: Word, F: Form> Form for Or<W, F> {
    type Value = Option<F::Value>;

    fn accepted() -> String {
        format!("`{}`, or {}", W::WORD, F::accepted())
    }

    fn parse(text: &str) -> Option<Self::Value> {
        if text == W::WORD { Some(None) } else { F::parse(text).map(Some) }
    }

    fn text(value: &Self::Value) -> Option<String> {
        value.as_ref().map_or_else(|| Some(W::WORD.to_owned()), F::text)
    }
}

impl<W: Word, F: Setter> Setter for Or<W, F> {
    type Given = Option<F::Given>;

    fn check(given: Self::Given) -> Result<Self::Value, String> {
        given.map(F::check).transpose()
    }
}

/// A value that need not be there, and then has no text.
pub(super) struct Unset<F>(PhantomData<F>);

impl<F: Form> Form for Unset<F> {
    type Value = Option<F::Value>;

    fn accepted() -> String {
        F::accepted()
    }

    fn parse(text: &str) -> Option<Self::Value> {
        F::parse(text).map(Some)
    }

    fn text(value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(F::text)
    }
}

impl<F: Setter> Setter for Unset<F> {
    type Given = F::Given;

    fn check(given: F::Given) -> Result<Self::Value, String> {
        F::check(given).map(Some)
    }
}

/// Any of a few names, with commas between them.
pub(super) struct Choices<E>(PhantomData<E>);

impl<E: Named + Ord> Form for Choices<E> {
    type Value = BTreeSet<E>;

    fn accepted() -> String {
        format!("`{NONE}`, or a list out of {} with commas between them", E::names())
    }

    fn parse(text: &str) -> Option<BTreeSet<E>> {
        if text == NONE { Some(BTreeSet::new()) } else { text.split(',').map(E::named).collect() }
    }

    fn text(value: &BTreeSet<E>) -> Option<String> {
        let names: Vec<_> = value.iter().map(|choice| choice.text()).collect();
        Some(if names.is_empty() { NONE.to_owned() } else { names.join(",") })
    }
}

impl<E: Named + Ord> Setter for Choices<E> {
    type Given = BTreeSet<E>;

    fn check(given: BTreeSet<E>) -> Result<BTreeSet<E>, String> {
        Ok(given)
    }
}

/// A type with a text form of its own.
pub(super) trait Written: FromStr + Display {
    fn accepted() -> String;
}

impl<E: Named + FromStr + Display> Written for E {
    fn accepted() -> String {
        E::names()
    }
}

macro_rules! written {
    ($($type:ty: $accepted:expr;)+) => {
        $(impl Written for $type {
            fn accepted() -> String {
                $accepted.to_owned()
            }
        })+
    };
}
written! {
    bool: "`true` or `false`";
    StartPosition: start_position::ACCEPTED;
    DeadLetterTarget: dead_letter_target::ACCEPTED;
    SocketAddr: "an IP address with a port such as `0.0.0.0:9464`";
}

/// A value with a text form of its own, which a setter takes as a value.
pub(super) struct Parsed<T>(PhantomData<T>);

impl<T: Written> Form for Parsed<T> {
    type Value = T;

    fn accepted() -> String {
        T::accepted()
    }

    fn parse(text: &str) -> Option<T> {
        text.parse().ok()
    }

    fn text(value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

impl<T: Written> Setter for Parsed<T> {
    type Given = T;

    fn check(given: T) -> Result<T, String> {
        Ok(given)
    }
}

/// A text that has to keep a rule.
pub(super) trait Rule {
    type Value: Display;

    const ACCEPTED: &'static str;

    fn read(text: &str) -> Option<Self::Value>;
}

impl Rule for GroupId {
    type Value = Self;

    const ACCEPTED: &'static str = NAME;

    fn read(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

impl Rule for WorkerName {
    type Value = Self;

    const ACCEPTED: &'static str = NAME;

    fn read(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

const NAME: &str = "1 to 255 characters out of letters, digits, `.`, `_`, `-`, `@` and `/`";

/// What DynamoDB allows as the name of a table.
pub(super) struct TableName;

impl Rule for TableName {
    type Value = String;

    const ACCEPTED: &'static str = "a table name: 3 to 255 letters, digits, `_`, `.`, `-`";

    fn read(text: &str) -> Option<String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        ((3..=255).contains(&text.len()) && text.bytes().all(allowed)).then(|| text.to_owned())
    }
}

/// What CloudWatch allows as a namespace.
pub(super) struct Namespace;

impl Rule for Namespace {
    type Value = String;

    const ACCEPTED: &'static str =
        "a namespace: 1 to 255 letters, digits, ` `, `.`, `-`, `_`, `/`, `#`, `:`, not beginning with `:`";

    fn read(text: &str) -> Option<String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_/#:".contains(c);
        let good = (1..=255).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(':');
        good.then(|| text.to_owned())
    }
}

/// The URL of an OpenTelemetry collector.
pub(super) struct CollectorUrl;

impl Rule for CollectorUrl {
    type Value = String;

    const ACCEPTED: &'static str = "the URL of a collector such as `http://127.0.0.1:4318`";

    fn read(text: &str) -> Option<String> {
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let good = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
        (good && text.parse::<hyper::Uri>().is_ok()).then(|| text.to_owned())
    }
}

/// What a text is that keeps a rule; a setter takes the text.
pub(super) struct Checked<R>(PhantomData<R>);

impl<R: Rule> Form for Checked<R> {
    type Value = R::Value;

    fn accepted() -> String {
        R::ACCEPTED.to_owned()
    }

    fn parse(text: &str) -> Option<R::Value> {
        R::read(text)
    }

    fn text(value: &R::Value) -> Option<String> {
        Some(value.to_string())
    }
}

impl<R: Rule> Setter for Checked<R> {
    type Given = String;

    fn check(given: String) -> Result<R::Value, String> {
        R::read(&given).ok_or(given)
    }
}

/// Names and ARNs, with commas between them. One that is named twice counts once.
pub(super) struct Streams;

impl Form for Streams {
    type Value = Vec<StreamRef>;

    fn accepted() -> String {
        stream_ref::ACCEPTED.to_owned()
    }

    fn parse(text: &str) -> Option<Vec<StreamRef>> {
        let mut streams = Vec::new();
        for part in text.split(',') {
            let stream = stream_ref::parse(part.trim())?;
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        Some(streams)
    }

    fn text(value: &Vec<StreamRef>) -> Option<String> {
        let names: Vec<_> = value.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Units of a provisioned table unless they are set, as in the KCL.
pub(super) const DEFAULT_UNITS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// How a table is paid for. The units of a provisioned one are settings of their own.
pub(super) struct Billing;

impl Form for Billing {
    type Value = BillingMode;

    fn accepted() -> String {
        "`pay_per_request` or `provisioned`".to_owned()
    }

    fn parse(text: &str) -> Option<BillingMode> {
        let units = DEFAULT_UNITS.get();
        match text {
            "pay_per_request" => Some(BillingMode::PayPerRequest),
            "provisioned" => Some(BillingMode::Provisioned { read_units: units, write_units: units }),
            _ => None,
        }
    }

    fn text(value: &BillingMode) -> Option<String> {
        Some(match value {
            BillingMode::PayPerRequest => "pay_per_request".to_owned(),
            BillingMode::Provisioned { .. } => "provisioned".to_owned(),
        })
    }
}

/// One of the two resolutions of CloudWatch.
pub(super) struct Resolution;

impl Form for Resolution {
    type Value = Duration;

    fn accepted() -> String {
        "`1m`, or `1s` for high resolution".to_owned()
    }

    fn parse(text: &str) -> Option<Duration> {
        duration::parse(text).and_then(|duration| Self::check(duration).ok())
    }

    fn text(value: &Duration) -> Option<String> {
        Some(duration::text(*value))
    }
}

impl Setter for Resolution {
    type Given = Duration;

    fn check(given: Duration) -> Result<Duration, String> {
        match given.as_millis() {
            1_000 | 60_000 => Ok(given),
            _ => Err(duration::text(given)),
        }
    }
}

/// Headers of HTTP requests, as `name=value` with commas between them.
pub(super) struct Headers;

impl Form for Headers {
    type Value = Vec<(String, String)>;

    fn accepted() -> String {
        format!("`{NONE}`, or headers as `name=value` with commas between them")
    }

    fn parse(text: &str) -> Option<Self::Value> {
        if text == NONE {
            return Some(Vec::new());
        }
        let header = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        let headers: Option<Vec<_>> = text.split(',').map(header).collect();
        Self::check(headers?).ok()
    }

    fn text(value: &Self::Value) -> Option<String> {
        let parts: Vec<_> = value.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(if parts.is_empty() { NONE.to_owned() } else { parts.join(",") })
    }
}

impl Setter for Headers {
    type Given = Vec<(String, String)>;

    fn check(given: Self::Given) -> Result<Self::Value, String> {
        let good = |(name, value): &(String, String)| {
            hyper::header::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && hyper::header::HeaderValue::from_str(value).is_ok()
                && !value.contains(',')
        };
        if given.iter().all(good) { Ok(given) } else { Err(Self::text(&given).unwrap_or_default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bounds() {
        type Records = Whole<u16, 10_000>;
        assert_eq!((Records::parse("1"), Records::parse("10000")), (Some(1), Some(10_000)));
        for text in ["0", "10001", "65536", "-1", "ten", ""] {
            assert_eq!(Records::parse(text), None, "{text}");
        }
        assert_eq!(Records::check(0), Err("0".to_owned()));
        assert!(
            Whole::<NonZeroU32>::parse("0").is_none() && Whole::<NonZeroU32>::parse("4294967296").is_none()
        );
        assert_eq!(Or::<Unlimited, Whole<NonZeroU32>>::parse("unlimited"), Some(None));
        assert_eq!(Most::parse("unlimited"), Some(NonZeroUsize::MAX));
    }

    #[test]
    fn durations_keep_their_bounds_and_are_exact() {
        type Timeout = Or<Unlimited, Span<1>>;
        assert!(Timeout::parse("0s").is_none() && Timeout::parse("999us").is_none());
        assert_eq!(Timeout::parse("unlimited"), Some(None));
        assert!(Span::<0>::parse("366d").is_none() && Span::<0>::check(Duration::MAX).is_err());
        let short = Duration::from_micros(1_500);
        assert_eq!(Span::<0>::check(short), Ok(short));
        assert_eq!(Span::<0>::text(&short).as_deref(), Some("1500us"));
        assert_eq!(Span::<200, 60_000>::check(Duration::from_millis(199)), Err("199ms".to_owned()));
        assert!(Span::<200, 60_000>::parse("61s").is_none());
    }

    #[test]
    fn a_header_cannot_hold_another() {
        let headers = |value: &str| Headers::check(vec![("x".to_owned(), value.to_owned())]);
        assert!(headers("a b").is_ok());
        assert!(headers("a,y=b").is_err() && headers("a\n").is_err());
    }
}
