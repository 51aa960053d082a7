//! What the arguments of commands about clients mean.

use crate::domain::client::GrantType;
use crate::domain::error::FieldError;
use crate::domain::ids::{ClientId, ResourceServerName, RoleName, SecretId};
use crate::domain::time::Timestamp;

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
    match text {
        "--help" | "-h" | "--json" | "--config" => Err(format!("{text} stands where the value should")),
        value => Ok(value.to_owned()),
    }
}
