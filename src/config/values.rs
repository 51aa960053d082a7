//! What the texts of settings mean.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::{Issuance, LogFormat, MetricsListener};

/// Ends each text of a list in which one has a comma: such a list only the file can give.
const END: char = '\u{1f}';

pub(super) fn plain_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(values) => {
            values.iter().map(|value| value.as_str()).collect::<Option<Vec<_>>>().map(|texts| joined(&texts))
        }
        _ => None,
    }
}

fn joined(texts: &[&str]) -> String {
    if texts.iter().any(|text| text.contains(',')) {
        texts.iter().flat_map(|text| text.chars().chain([END])).collect()
    } else {
        texts.join(",")
    }
}

/// The texts of a list.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let end = if text.contains(END) { END } else { ',' };
    text.split(end).map(str::trim).filter(|part| !part.is_empty())
}

/// Kubernetes sets `JETON_PORT`, `JETON_SERVICE_HOST` and the like in every pod beside a service that
/// is called `jeton` or `jeton-something`. They are not ours: no setting is called like them.
pub(super) fn is_kubernetes_service_link(rest: &str) -> bool {
    rest == "PORT"
        || rest.ends_with("_PORT")
        || rest.starts_with("PORT_")
        || rest.contains("_PORT_")
        || rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
}

pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= 1_024);
    count.ok_or_else(|| "write a number of threads from 1 to 1024".to_owned())
}

pub(super) fn metrics_listener(text: &str) -> Result<MetricsListener, String> {
    match text {
        "off" => Ok(MetricsListener::Off),
        address => address
            .parse()
            .map(MetricsListener::At)
            .map_err(|_| "write an address and a port, for example 127.0.0.1:9464, or off".to_owned()),
    }
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".to_owned())
}

pub(super) fn required(text: &str) -> Result<bool, String> {
    match text {
        "required" => Ok(true),
        "optional" => Ok(false),
        _ => Err("write required or optional".to_owned()),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (1..=31_536_000).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number of seconds, at least 1".to_owned())
}

pub(super) fn issuance(text: &str) -> Result<Issuance, String> {
    match text {
        "durable" => Ok(Issuance::Durable),
        "buffered" => Ok(Issuance::Buffered),
        _ => Err("write durable or buffered".to_owned()),
    }
}

pub(super) fn days(text: &str) -> Result<Duration, String> {
    text.strip_suffix('d')
        .and_then(|days| days.parse().ok())
        .filter(|days| (1..=36_500).contains(days))
        .map(|days: u64| Duration::from_hours(24 * days))
        .ok_or_else(|| "write a number of days, for example 400d".to_owned())
}

pub(super) fn clients(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|clients| (100..=10_000_000).contains(clients))
        .ok_or_else(|| "write a number of clients from 100 to 10000000".to_owned())
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    parts(text)
        .map(|part| {
            part.parse::<IpNet>()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("'{part}' is not a network such as 10.0.0.0/8"))
        })
        .collect()
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    }
}

pub(super) fn log_directives(text: &str) -> Result<String, String> {
    tracing_subscriber::EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "write error, warn, info, debug, trace, or directives such as jeton=debug".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "what `take` wants")]
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

#[expect(clippy::unnecessary_wraps, reason = "what `take` wants")]
pub(super) fn secret(text: &str) -> Result<SecretString, String> {
    Ok(SecretString::from(text.to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "what `take` wants")]
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// `off` for none.
pub(super) fn off_or<T>(
    value: impl FnOnce(&str) -> Result<T, String>,
) -> impl FnOnce(&str) -> Result<Option<T>, String> {
    move |text| match text {
        "off" => Ok(None),
        text => value(text).map(Some).map_err(|problem| format!("{problem}, or off")),
    }
}

/// Several values.
pub(super) fn list<T>(one: impl Fn(&str) -> Result<T, String>) -> impl Fn(&str) -> Result<Vec<T>, String> {
    move |text| parts(text).map(&one).collect()
}
