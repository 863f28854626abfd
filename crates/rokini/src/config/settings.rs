//! The values of all settings.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use rokini_lease::{BillingMode, GroupId, WorkerName};

use crate::config::choices::{
    Balance, CloudWatchDimension, CloudWatchLevel, KplHashRange, Monitoring, OnDataLoss, Retrieval, Wire,
};
use crate::config::form::{
    DEFAULT_UNITS, Form, NONE, UNLIMITED, any_duration, billing_mode, choice, choices, cloudwatch_namespace,
    cloudwatch_resolution, collector_url, consumer_name, count, count_up_to, duration_from, duration_within,
    headers, name, optional, own_text, streams, table_name, tags, truth_value, word_or,
};
use crate::config::key::ConfigKey;
use crate::config::secret;
use crate::config::table::settings_table;
use crate::types::dead_letter_target::{self, DeadLetterTarget};
use crate::types::failure::OnFailure;
use crate::types::start_position::{self, StartPosition};
use crate::types::stream_ref::StreamRef;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $key:ident = $name:literal: $field:ident: $type:ty = $default:expr, $form:expr $(, set($given:ty))?;)+) => {
        /// The values of all settings. What each one does, its unit and its default is written at its [`ConfigKey`].
        ///
        /// `Debug` shows them as texts, and secrets as `***`.
        #[derive(Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Settings {
            $(
                #[doc = concat!("[`ConfigKey::", stringify!($key), "`]")]
                pub $field: $type,
            )+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Settings {
            /// Reads one value. `Err` says what would be accepted.
            pub(super) fn parse(&mut self, key: ConfigKey, text: &str) -> Result<(), String> {
                match key {
                    $(ConfigKey::$key => {
                        let form: Form<$type, _> = $form;
                        self.$field = (form.parse)(text).ok_or(form.accepted)?;
                    })+
                }
                self.settle_billing();
                Ok(())
            }

            /// Takes over one value.
            pub(super) fn take(&mut self, key: ConfigKey, other: &Self) {
                match key {
                    $(ConfigKey::$key => self.$field.clone_from(&other.$field),)+
                }
                self.settle_billing();
            }

            /// The value as [`Settings::parse`] takes it; `None` where there is none.
            pub(super) fn text(&self, key: ConfigKey) -> Option<String> {
                match key {
                    $(ConfigKey::$key => {
                        let form: Form<$type, _> = $form;
                        (form.text)(&self.$field)
                    })+
                }
            }

            $($(
                /// The value that a program gave. `Err` has the text of what was wrong, and what would be accepted.
                pub(super) fn $field(&mut self, value: $given) -> Result<(), (String, String)> {
                    let form: Form<$type, _> = $form;
                    self.$field = (form.check)(value.into()).map_err(|shown| (shown, form.accepted))?;
                    self.settle_billing();
                    Ok(())
                }
            )?)+
        }
    };
}
settings_table!(settings);

impl Settings {
    /// The value as people may see it; `None` where there is none.
    pub(crate) fn shown(&self, key: ConfigKey) -> Option<String> {
        self.text(key).map(|text| secret::shown(key, &text))
    }

    /// The time between two heartbeats: as set, or two fifths of the failover time.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat.unwrap_or(self.failover * 2 / 5)
    }

    /// The mode has the units, which are settings of their own.
    fn settle_billing(&mut self) {
        if let BillingMode::Provisioned { read_units, write_units } = &mut self.billing_mode {
            (*read_units, *write_units) = (self.read_capacity_units.get(), self.write_capacity_units.get());
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Settings");
        for key in ConfigKey::ALL {
            shown.field(key.name(), &self.shown(*key));
        }
        shown.finish()
    }
}
