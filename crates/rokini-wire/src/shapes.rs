//! Requests and responses of the Kinesis Data Streams API.
//!
//! A member the API requires is a plain type and an argument of `new`; any other is an `Option` with a setter of its name,
//! and is left out of the body when `None`. Members are read and changed as fields. Every member of a request is here, channels'
//! destinations aside; members that are not known are passed over on reading.
//!
//! ```
//! use rokini_wire::shapes::record::PutRecordRequest;
//!
//! let request = PutRecordRequest::new("hello").partition_key("key").stream_name("orders");
//! assert_eq!(request.stream_name.as_deref(), Some("orders"));
//! ```

/// Declares shapes as structs that can get members later.
macro_rules! shapes {
    ($($(#[doc = $doc:literal])+ pub struct $name:ident { $($members:tt)* })+) => {
        $(shape! { [$(#[doc = $doc])+] $name [] [] [] $($members)* })+
    };
}

/// Takes the members of one shape one by one, sorts them into all, required and optional ones, and then writes the struct.
macro_rules! shape {
    (@default $name:ident []) => {
        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
    (@default $name:ident [$($required:ident)+]) => {};
    // The members by which most requests name their stream.
    ($docs:tt $name:ident $all:tt $required:tt $optional:tt stream_name | stream_arn, $($rest:tt)*) => {
        shape! { $docs $name $all $required $optional
            /// Name of the stream; this or the ARN.
            pub stream_name: Option<String>,
            /// ARN of the stream; this or the name.
            #[serde(rename = "StreamARN")]
            pub stream_arn: Option<String>,
            stream_id,
            $($rest)*
        }
    };
    // Accepted everywhere.
    ($docs:tt $name:ident $all:tt $required:tt $optional:tt stream_id, $($rest:tt)*) => {
        shape! { $docs $name $all $required $optional
            /// Reserved by the service; means nothing yet.
            pub stream_id: Option<String>,
            $($rest)*
        }
    };
    // Of the operations that can be tried.
    ($docs:tt $name:ident $all:tt $required:tt $optional:tt dry_run, $($rest:tt)*) => {
        shape! { $docs $name $all $required $optional
            /// Whether the call is only checked: nothing is done, and success is the error DryRunOperationException.
            pub dry_run: Option<bool>,
            $($rest)*
        }
    };
    ($docs:tt $name:ident [$($all:tt)*] $required:tt [$($optional:tt)*]
        $(#[doc = $doc:literal])+ $(#[serde(rename = $wire:literal)])? pub $member:ident: Option<$type:ty>, $($rest:tt)*
    ) => {
        shape! { $docs $name
            [$($all)* $(#[doc = $doc])+
                #[serde($(rename = $wire,)? skip_serializing_if = "Option::is_none")] pub $member: Option<$type>,]
            $required
            [$($optional)* [$(#[doc = $doc])+] $member: $type,]
            $($rest)*
        }
    };
    ($docs:tt $name:ident [$($all:tt)*] [$($required:tt)*] $optional:tt
        $(#[doc = $doc:literal])+ $(#[serde(rename = $wire:literal)])? pub $member:ident: $type:ty, $($rest:tt)*
    ) => {
        shape! { $docs $name
            [$($all)* $(#[doc = $doc])+ $(#[serde(rename = $wire)])? pub $member: $type,]
            [$($required)* $member: $type,]
            $optional
            $($rest)*
        }
    };
    ([$($docs:tt)*] $name:ident [$($all:tt)*] [$($required:ident: $required_type:ty,)*]
        [$([$($doc:tt)*] $optional:ident: $optional_type:ty,)*]
    ) => {
        $($docs)*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        // What is derived is not the trait's: it would take a list for the members in their order.
        #[serde(rename_all = "PascalCase", remote = "Self")]
        #[non_exhaustive]
        pub struct $name { $($all)* }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(crate::structure::Structure(deserializer))
            }
        }

        impl $name {
            /// With the members the API requires, and no others.
            #[must_use]
            #[allow(clippy::too_many_arguments, reason = "as many as the API requires")]
            pub fn new($($required: impl Into<$required_type>),*) -> Self {
                Self { $($required: $required.into(),)* $($optional: None,)* }
            }

            $($($doc)*
            #[must_use]
            pub fn $optional(mut self, $optional: impl Into<$optional_type>) -> Self {
                self.$optional = Some($optional.into());
                self
            })*
        }

        shape! { @default $name [$($required)*] }
    };
}

pub mod account;
pub mod channel;
pub mod consumer;
pub mod queue;
pub mod record;
pub mod shard;
pub mod stream;
pub mod tags;
