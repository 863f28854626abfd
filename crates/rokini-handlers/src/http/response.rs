//! What the answer of a service means.

use std::error::Error;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use rokini::Record;

use crate::batch_event::answer::{Outcome, function_error, read_answer};

/// What the answer of a service means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Outcome(Outcome),
    Failed(String),
    /// It takes nothing at present; how long it wants to be left alone.
    NotTaken(Option<Duration>, String),
}

/// Whether Lambda's runtime interface emulator answers there.
pub(super) fn is_emulator(path: &str) -> bool {
    let function = path.split_once("/2015-03-31/functions/").map(|(_, rest)| rest);
    function.is_some_and(|rest| rest.ends_with("/invocations"))
}

/// `emulator`: whether the answer is that of the runtime interface emulator, which has a form of its own for what went wrong.
pub(super) fn read_response(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    records: &[Record],
    emulator: bool,
) -> Answer {
    let text = String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
    if status.is_success() {
        // The emulator answers 200 also where the function failed, and where it was ended because it took too long.
        return match function_error(body) {
            Some(error) => Answer::Failed(error),
            None if emulator && text.starts_with("Task timed out after ") => Answer::Failed(text),
            None => Answer::Outcome(read_answer(body, records)),
        };
    }
    if emulator && status == StatusCode::BAD_REQUEST && text.is_empty() {
        // It takes one call at a time, and says no more than this to another one.
        return Answer::NotTaken(None, "the function works on another event".to_owned());
    }
    // It stands in place of a function whose process has ended, too, and says so.
    if emulator && let Some(error) = function_error(body) {
        return Answer::Failed(error);
    }
    let what = if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") };
    match status {
        // The last two are a proxy's, before a service that is not there just now.
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::BAD_GATEWAY
        | StatusCode::GATEWAY_TIMEOUT => Answer::NotTaken(retry_after(headers), what),
        _ => Answer::Failed(what),
    }
}

/// Seconds, or a date of the server's own clock, which its `Date` tells.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let now = date(headers.get("date")?.to_str().ok()?)?;
    Some(date(text)?.duration_since(now).unwrap_or_default())
}

/// An error with its causes, without what they repeat.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let records = [Record::new(7_u128.into(), "k", "d", 0), Record::new(8_u128.into(), "k", "d", 0)];
        read_response(StatusCode::from_u16(status).unwrap(), &map, body.as_bytes(), &records, false)
    }

    #[test]
    fn m3_the_emulator_says_in_its_own_form_that_a_function_took_too_long_or_is_busy() {
        let read = |status: StatusCode, body: &str, emulator| {
            read_response(status, &HeaderMap::new(), body.as_bytes(), &[], emulator)
        };
        let late = "Task timed out after 3.00 seconds";
        assert_eq!(read(StatusCode::OK, late, true), Answer::Failed(late.to_owned()));
        assert_eq!(
            read(StatusCode::OK, "\"Task timed out after all\"", true),
            Answer::Outcome(Outcome::Done)
        );
        assert!(matches!(read(StatusCode::BAD_REQUEST, "", true), Answer::NotTaken(None, _)));
        assert!(matches!(read(StatusCode::BAD_REQUEST, "no", true), Answer::Failed(_)));
        assert!(matches!(read(StatusCode::BAD_REQUEST, "", false), Answer::Failed(_)));
        let ended = r#"{"errorType":"Runtime.ExitError","errorMessage":"exit status 7"}"#;
        let failed = Answer::Failed("Runtime.ExitError: exit status 7".to_owned());
        assert_eq!(read(StatusCode::BAD_GATEWAY, ended, true), failed);
        assert!(matches!(read(StatusCode::BAD_GATEWAY, ended, false), Answer::NotTaken(..)), "a proxy's");
        assert!(matches!(read(StatusCode::BAD_GATEWAY, "", true), Answer::NotTaken(..)));
        for (path, emulator) in [
            ("/2015-03-31/functions/function/invocations", true),
            ("/behind/a/proxy/2015-03-31/functions/bill/invocations", true),
            ("/2015-03-31/functions/function", false),
            ("/invocations", false),
        ] {
            assert_eq!(is_emulator(path), emulator, "{path}");
        }
    }

    #[test]
    fn answers_mean_what_their_status_says() {
        for status in [200, 202, 204] {
            assert_eq!(read(status, &[], ""), Answer::Outcome(Outcome::Done));
        }
        let partial = read(200, &[], r#"{"batchItemFailures":[{"itemIdentifier":"8"}]}"#);
        assert!(matches!(partial, Answer::Outcome(Outcome::From(1, _))));
        let emulator = read(200, &[], r#"{"errorType":"ValueError","errorMessage":"boom"}"#);
        assert_eq!(emulator, Answer::Failed("ValueError: boom".to_owned()));
        for status in [301, 400, 404, 408, 413, 500, 501] {
            assert!(matches!(read(status, &[], "no"), Answer::Failed(_)), "{status}");
        }
    }

    #[test]
    fn a_service_says_how_long_it_wants_to_be_left_alone() {
        let wait = |headers: &[(&'static str, &str)]| match read(503, headers, "") {
            Answer::NotTaken(wait, _) => wait.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        };
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        for (headers, seconds) in [
            (&[][..], None),
            (&[("retry-after", "17")], Some(17)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "Wed, 21 Oct 2015 07:29:00 GMT"), date], Some(60)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:20:00 GMT"), date], Some(0)),
            (&[("retry-after", "Wed, 21 Oct 2015 07:29:00 GMT")], None),
        ] {
            assert_eq!(wait(headers), seconds, "{headers:?}");
        }
        assert!(matches!(read(429, &[("retry-after", "1")], ""), Answer::NotTaken(Some(_), _)));
    }
}
