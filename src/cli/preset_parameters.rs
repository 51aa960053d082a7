//! What names a workload on a known platform, as options: `--repository o/r --environment prod`.

use std::collections::BTreeMap;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::domain::presets::parameter_names;

/// The options that were given, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct PresetParameters(pub(super) BTreeMap<String, String>);

// === impl PresetParameters ===

impl FromArgMatches for PresetParameters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for name in parameter_names().into_keys() {
            let value = matches.try_get_one::<String>(name);
            let value =
                value.map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, error.to_string()))?;
            if let Some(value) = value {
                self.0.insert(name.to_owned(), value.clone());
            }
        }
        Ok(())
    }
}

impl Args for PresetParameters {
    fn augment_args(mut command: Command) -> Command {
        for (name, uses) in parameter_names() {
            let told: Vec<String> =
                uses.iter().map(|(platform, about)| format!("{platform}: {about}")).collect();
            let argument = Arg::new(name).long(name).value_name("TEXT").help(told.join("; "));
            command = command.arg(argument.help_heading("What names a workload").requires("preset"));
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
