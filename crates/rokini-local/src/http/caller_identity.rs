//! GetCallerIdentity of AWS STS, the one call of another service that clients of Kinesis make: the KPL asks in whose account it is.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response};

use crate::http::body::{Body, full_body};
use crate::http::handler::target_header;
use crate::model::{Scope, partition_of};

/// Whether this is the call: a form, which no call to Kinesis is.
pub(crate) fn is_asked(head: &Parts, body: &[u8]) -> bool {
    head.method == Method::POST
        && target_header(&head.headers).is_empty()
        && body.split(|byte| *byte == b'&').any(|pair| pair == b"Action=GetCallerIdentity")
}

/// Says that the caller is the account itself.
pub(crate) fn answer(caller: &Scope) -> Response<Body> {
    let (account, partition) = (&caller.account, partition_of(&caller.region));
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:{partition}:iam::{account}:root</Arn><UserId>{account}</UserId><Account>{account}</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId>\
         </ResponseMetadata></GetCallerIdentityResponse>"
    );
    let mut response = Response::new(full_body(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
