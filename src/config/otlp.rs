//! `[otlp]`: where traces and logs go.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use super::values::{parts, truth};
use super::{Config, Settings};

/// Where traces and logs go.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// The collector's URL, without a slash at its end; `/v1/traces` and `/v1/logs` follow.
    pub endpoint: String,
    /// What it wants to be sent with every request, a key of its own for example.
    pub headers: Vec<(String, SecretString)>,
    /// What this service is called there.
    pub service_name: String,
    /// How many of the requests are traced whose caller does not say.
    pub sampled: Share,
    /// Whether logs go there as well.
    pub logs: bool,
}

/// A part of many: from none to all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

// === impl Share ===

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1.0);

    /// Whether what has this number, of 56 random bits, is among them. Those that a smaller share has, a larger one has
    /// too (OpenTelemetry's consistent probability sampling).
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is from 0 to 1, and a double holds 2^56"
    )]
    pub fn has(self, random: u64) -> bool {
        let below_are_not = ((1.0 - self.0) * 2_f64.powi(56)) as u64;
        random >= below_are_not
    }

    fn parse(text: &str) -> Result<Self, String> {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share
            .map(Self)
            .ok_or_else(|| "write a number from 0 to 1, for example 0.01 for one in a hundred".to_owned())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Config ===

impl Config {
    /// Where traces and logs go, without what is sent along.
    pub(super) fn otlp_told(&self) -> Vec<(&'static str, String)> {
        let Some(otlp) = &self.otlp else { return vec![("otlp.endpoint", "none".to_owned())] };
        vec![
            ("otlp.endpoint", otlp.endpoint.clone()),
            ("otlp.service_name", otlp.service_name.clone()),
            ("otlp.sampled", otlp.sampled.to_string()),
            ("otlp.logs", otlp.logs.to_string()),
        ]
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn otlp(&mut self) -> Option<Otlp> {
        const ALL: [&str; 4] = ["otlp.headers", "otlp.service_name", "otlp.sampled", "otlp.logs"];
        let meant = ALL.into_iter().find(|name| self.is_set(name));
        let given = self.is_set("otlp.endpoint");
        let endpoint = self.take("otlp.endpoint", endpoint);
        let headers = self.take("otlp.headers", headers).unwrap_or_default();
        let service_name = self.take("otlp.service_name", name);
        let sampled = self.take("otlp.sampled", Share::parse).unwrap_or(Share::ALL);
        let logs = self.take("otlp.logs", truth).unwrap_or(true);
        if let Some(meant) = meant.filter(|_| !given) {
            self.refuse(
                meant,
                "otlp.endpoint is missing",
                "set otlp.endpoint as well: without it nothing is sent",
            );
        }
        let service_name = service_name.unwrap_or_else(|| "jeton".to_owned());
        Some(Otlp { endpoint: endpoint?, headers, service_name, sampled, logs })
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let advice = "write the collector's URL for OTLP over HTTP, for example http://127.0.0.1:4318";
    let url = Url::parse(text).map_err(|_| advice.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(advice.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "leave user and password out, and put what the collector wants into otlp.headers".to_owned()
        );
    }
    // As it was understood: `HTTPS:` is `https:`.
    let base = url.as_str().trim_end_matches('/');
    if base.ends_with("/v1/traces") || base.ends_with("/v1/logs") {
        return Err("leave /v1/traces out: it is added, as /v1/logs is".to_owned());
    }
    Ok(base.to_owned())
}

/// What is wrong is told without its value, which is a secret.
fn headers(text: &str) -> Result<Vec<(String, SecretString)>, String> {
    let header = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let name = http::HeaderName::try_from(name.trim()).ok()?;
        let value = http::HeaderValue::try_from(value.trim()).ok()?;
        Some((name.as_str().to_owned(), SecretString::from(value.to_str().ok()?.to_owned())))
    };
    parts(text)
        .map(|part| {
            header(part).ok_or_else(|| "write name=value, several of them separated by commas".to_owned())
        })
        .collect()
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=100).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| "write a name of at most 100 characters".to_owned())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{Otlp, Share};
    use crate::config::Config;

    fn otlp(settings: &[(&str, &str)]) -> Result<Option<Otlp>, String> {
        let environment =
            settings.iter().map(|(name, value)| (format!("JETON_OTLP__{name}"), (*value).to_owned()));
        Config::load(None, environment).map(|config| config.otlp).map_err(|error| error.to_string())
    }

    #[test]
    fn off_until_there_is_an_endpoint() {
        assert!(otlp(&[]).unwrap().is_none());
        let given = otlp(&[("ENDPOINT", "http://127.0.0.1:4318/")]).unwrap().unwrap();
        assert_eq!(
            (given.endpoint.as_str(), given.service_name.as_str()),
            ("http://127.0.0.1:4318", "jeton")
        );
        assert!(given.logs && given.headers.is_empty() && given.sampled.to_string() == "1");
        let all = [
            ("ENDPOINT", "https://otel.example/otlp"),
            ("HEADERS", "authorization=Bearer s3cret=, x-tenant=a"),
            ("SAMPLED", "0.01"),
            ("LOGS", "false"),
        ];
        let given = otlp(&all).unwrap().unwrap();
        assert_eq!(given.headers[0].0, "authorization");
        assert_eq!(given.headers[0].1.expose_secret(), "Bearer s3cret=");
        assert!(!format!("{given:?}").contains("s3cret"));
    }

    #[test]
    fn a_share_is_of_the_random_bits() {
        let has = |share: &str, random: u64| Share::parse(share).unwrap().has(random);
        let last = (1 << 56) - 1;
        assert!(has("1", 0) && !has("0", last) && has("0.5", last) && has("0.01", last));
        assert!(has("0.5", 1 << 55) && !has("0.5", (1 << 55) - 1) && !has("0.01", 1 << 55));
    }

    #[test]
    fn what_is_sent_along_is_told_nowhere() {
        let environment = [("ENDPOINT", "http://otel:4318"), ("HEADERS", "authorization=Bearer s3cret")];
        let environment = environment.map(|(name, value)| (format!("JETON_OTLP__{name}"), value.to_owned()));
        let config = Config::load(None, environment).unwrap();
        let told = format!("{:?} {config:?}", config.told());
        assert!(told.contains("http://otel:4318") && !told.contains("s3cret"), "{told}");
    }

    #[test]
    fn what_is_wrong_is_said_and_no_header() {
        for (settings, advice) in [
            (vec![("ENDPOINT", "127.0.0.1:4317")], "for example http://127.0.0.1:4318"),
            (vec![("ENDPOINT", "http://a:s3cret@otel")], "otlp.headers"),
            (vec![("ENDPOINT", "http://otel:4318/v1/traces/")], "leave /v1/traces out"),
            (vec![("ENDPOINT", "http://otel:4318"), ("SAMPLED", "1.5")], "from 0 to 1"),
            (vec![("ENDPOINT", "http://otel:4318"), ("HEADERS", "Bearer s3cret")], "name=value"),
            (vec![("ENDPOINT", "http://otel:4318"), ("HEADERS", "a=s3cret\nb: c")], "name=value"),
            (vec![("SAMPLED", "0.5")], "set otlp.endpoint as well"),
            (vec![("ENDPOINT", "http://otel:4318"), ("PROTOCOL", "grpc")], "no such setting"),
        ] {
            let problem = otlp(&settings).unwrap_err();
            assert!(problem.contains(advice) && !problem.contains("s3cret"), "{problem}");
        }
    }
}
