//! What the arguments of commands about clients mean.

use clap::{Arg, Args, Command, CommandFactory};

use super::Arguments;
use crate::domain::client::GrantType;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, ResourceServerName, RoleName, SecretId};
use crate::domain::time::Timestamp;

#[derive(Debug, Args)]
pub(super) struct End {
    /// Its end, for example 2027-01-01T00:00:00Z. Without this and --expires-in it has none of its own.
    #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "expires_in")]
    pub(super) expires_at: Option<Timestamp>,
    /// Its end in seconds from now.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    pub(super) expires_in: Option<u32>,
}

pub(super) fn client_id(text: &str) -> Result<ClientId, FieldError> {
    ClientId::new(text)
}

/// The short name is the end of the registered one, which nobody types.
pub(super) fn grant_type(text: &str) -> Result<GrantType, String> {
    let short = GrantType::ALL.iter().find(|grant| grant.as_str().rsplit(':').next() == Some(text));
    short.map_or_else(|| text.parse(), |grant| Ok(*grant))
}

pub(super) fn role_name(text: &str) -> Result<RoleName, FieldError> {
    RoleName::new(text)
}

pub(super) fn resource_server_name(text: &str) -> Result<ResourceServerName, FieldError> {
    ResourceServerName::new(text)
}

pub(super) fn secret_id(text: &str) -> Result<SecretId, FieldError> {
    SecretId::new(text)
}

pub(super) fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| "write a time such as 2027-01-01T00:00:00Z".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "write a number of seconds, for example 7776000 for 90 days".to_owned())
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A value that may begin with a hyphen, as identifiers do, and is none of the program's own flags.
pub(super) fn no_flag(text: &str) -> Result<String, String> {
    let mut program = Arguments::command();
    program.build();
    if is_flag(&program, text) {
        return Err(format!("{text} stands where the value should"));
    }
    Ok(text.to_owned())
}

/// Whether a command or one below it has this flag, which may have its value with it.
fn is_flag(command: &Command, text: &str) -> bool {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    let is_its = |flag: &Arg| {
        let long = flag.get_long_and_visible_aliases().into_iter().flatten();
        let short = flag.get_short_and_visible_aliases().into_iter().flatten();
        long.into_iter().any(|long| name.strip_prefix("--") == Some(long))
            || short.into_iter().any(|short| name.strip_prefix('-') == Some(short.to_string().as_str()))
    };
    command.get_arguments().any(is_its) || command.get_subcommands().any(|below| is_flag(below, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asks for help and reads `<CLIENT_ID>  Whose.` knows no more than before.
    #[test]
    fn the_help_of_every_argument_says_what_it_is() {
        fn look(command: &Command, found: &mut Vec<String>) {
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                if help.split_whitespace().count() < 3
                    && !["help", "version"].contains(&argument.get_id().as_str())
                {
                    found.push(format!("{} {}: {help:?}", command.get_name(), argument.get_id()));
                }
            }
            command.get_subcommands().for_each(|below| look(below, found));
        }
        let mut program = Arguments::command();
        program.build();
        let mut found = Vec::new();
        look(&program, &mut found);
        // The `help` that clap adds to each has an argument without one.
        found.retain(|line| !line.starts_with("help "));
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn a_flag_is_no_value_and_what_only_begins_with_a_hyphen_is_one() {
        let flags = [
            "--help",
            "-h",
            "--json",
            "--config",
            "--config=jeton.toml",
            "--client",
            "--txn=-x",
            "--version",
        ];
        for flag in flags {
            assert!(no_flag(flag).is_err(), "{flag}");
        }
        for value in ["-3mFqk0C", "-hFqk0C", "--X9-_aZ", "-", "--", "billing", "--jti-of-somebody"] {
            assert_eq!(no_flag(value).unwrap(), value);
        }
    }
}
