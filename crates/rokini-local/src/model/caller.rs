//! Who calls: what decides in which account and region a name is looked up, and what is allowed.

use crate::model::scope::{Scope, is_account};

/// Who makes a call. What is not said is that of the model: its own account and region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    pub(crate) account: Option<String>,
    pub(crate) region: Option<String>,
}

impl Caller {
    /// A caller of the model's own account and region, who may name ARNs of any region.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls from this account, if it is one: twelve digits. Anything else is the model's own account.
    #[must_use]
    pub fn account(self, id: &str) -> Self {
        Self { account: is_account(id).then(|| id.to_owned()), ..self }
    }

    /// Where the caller is; `home` says what the caller does not.
    pub(crate) fn scope(&self, home: &Scope) -> Scope {
        let Self { account, region } = self;
        if account.is_none() && region.is_none() {
            return home.clone();
        }
        Scope::new(account.as_deref().unwrap_or(&home.account), region.as_deref().unwrap_or(&home.region))
    }

    /// Calls an endpoint of this region, such as `eu-west-1`. ARNs of other regions are not found there.
    #[must_use]
    pub fn region(self, name: impl Into<String>) -> Self {
        Self { region: Some(name.into()), ..self }
    }
}
