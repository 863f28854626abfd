//! Files of other systems that say what to run and how.

use rokini_handlers::KclApplication;

use super::args::HandlerArgs;
use super::event_source_mapping::EventSourceMapping;
use crate::error::CliError;
use crate::worker::settings::EffectiveSettings;

/// What files of other systems say.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) application: Option<KclApplication>,
    pub(super) mapping: Option<EventSourceMapping>,
}

impl Files {
    pub(super) fn read(handler: &HandlerArgs) -> Result<Self, CliError> {
        let unreadable = |path: &std::path::Path, error: &std::io::Error| {
            CliError::usage(format!("cannot read `{}`", path.display())).because(error)
        };
        let application = handler.properties.as_deref().map(|path| {
            let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
            let mut application = KclApplication::from_properties(&bytes).map_err(|error| {
                let mut error = CliError::from(error);
                error.what = format!("{}: {}", path.display(), error.what);
                error
            })?;
            application.region = application.region.or_else(|| handler.region_unless_set.clone());
            Ok::<_, CliError>(application)
        });
        let mapping = handler.event_source_mapping.as_deref().map(|path| {
            let json = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
            EventSourceMapping::read(&json)
        });
        Ok(Self { application: application.transpose()?, mapping: mapping.transpose()? })
    }

    /// What is set otherwise stays.
    pub(super) fn apply(&self, effective: &mut EffectiveSettings) -> Result<(), CliError> {
        let of_application = self.application.iter().flat_map(|application| &application.settings);
        let of_mapping = self.mapping.iter().flat_map(|mapping| &mapping.settings);
        for (key, text) in of_application.chain(of_mapping) {
            effective.set_by_file(*key, text)?;
        }
        Ok(())
    }

    pub(super) fn warnings(&self) -> impl Iterator<Item = &String> {
        let of_application = self.application.iter().flat_map(|application| &application.warnings);
        of_application.chain(self.mapping.iter().flat_map(|mapping| &mapping.warnings))
    }
}
