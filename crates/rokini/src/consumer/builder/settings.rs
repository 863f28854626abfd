//! The setters of the builder, one for each key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::ConsumerBuilder;
use crate::config::table::settings_table;
use crate::config::{
    Balance, CloudWatchDimension, CloudWatchLevel, KplHashRange, Monitoring, OnDataLoss, Retrieval, Wire,
};
use crate::types::dead_letter_target::DeadLetterTarget;
use crate::types::failure::OnFailure;
use crate::types::start_position::StartPosition;

macro_rules! setter {
    (($($doc:tt)+) $field:ident) => {};
    (($($doc:tt)+) $field:ident $given:ty) => {
        $($doc)+
        pub fn $field(mut self, value: $given) -> Self {
            let mistake = self.config.$field(value).err();
            self.note(mistake)
        }
    };
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])+ $key:ident = $name:literal: $field:ident: $type:ty = $default:expr, $form:expr $(, set($given:ty))?;)+) => {
        /// The settings, each described at its [`ConfigKey`](crate::ConfigKey) too. A value out of bounds is an error of
        /// [`ConsumerBuilder::build`].
        impl ConsumerBuilder {
            $(setter! { ($(#[doc = $doc])+) $field $($given)? })+
        }
    };
}
settings_table!(setters);
