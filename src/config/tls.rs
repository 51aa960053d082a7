//! `[tls]` and `[mtls]`: TLS in the process, and how the certificates of clients get here.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::values::{list, path};
use super::{Issuer, Settings};

/// TLS, and whose certificates are trusted.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// With what the main listener speaks TLS; it speaks plain HTTP without.
    pub main: Option<PemPair>,
    /// The listener that asks for certificates of clients, if there is one.
    pub mutual: Option<MutualTls>,
    /// The authorities whose certificates are trusted to name a client, a PEM bundle.
    pub client_ca: Option<PathBuf>,
    /// What those authorities have revoked, PEM or DER.
    pub crls: Vec<PathBuf>,
    /// The URL at which certificates are asked for, as the issuer is the URL at which they are not.
    pub url: Option<Issuer>,
    /// The header by which trusted proxies tell the certificate of a client.
    pub header: Option<CertificateHeader>,
}

/// A certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPair {
    /// The certificate, and after it those that lead to an authority.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The listener that asks for certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualTls {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it shows itself.
    pub pair: PemPair,
}

/// How a proxy tells the certificate of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateHeader {
    /// `Client-Cert` (RFC 9440).
    ClientCert,
    /// `X-Forwarded-Client-Cert`, as Envoy sends it.
    XForwardedClientCert,
}

// === impl CertificateHeader ===

impl CertificateHeader {
    /// The header's name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCert => "client-cert",
            Self::XForwardedClientCert => "x-forwarded-client-cert",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        [Self::ClientCert, Self::XForwardedClientCert]
            .into_iter()
            .find(|header| text.eq_ignore_ascii_case(header.name()))
            .ok_or_else(|| "write client-cert or x-forwarded-client-cert".to_owned())
    }
}

// === impl Settings ===

impl Settings {
    pub(super) fn tls(&mut self, listen: SocketAddr, proxies: bool) -> TlsSettings {
        let names: Vec<_> = ["mtls.client_ca", "mtls.crls", "mtls.url"]
            .into_iter()
            .filter(|name| self.is_set(name))
            .collect();
        let listener_is_meant = self.is_set("mtls.listen");
        let header_is_meant = self.is_set("server.client_certificate_header");
        let main = self.pair("tls");
        let own = self.pair("mtls");
        let mutual_listen = self.take("mtls.listen", |text| {
            text.parse().map_err(|_| "write an address and a port, for example 127.0.0.1:8443".to_owned())
        });
        let client_ca = self.take("mtls.client_ca", path);
        let crls = self.take("mtls.crls", list(path)).unwrap_or_default();
        let url = self.take("mtls.url", |text| match Issuer::parse(text) {
            Ok(url) if url.as_str().starts_with("https:") => Ok(url),
            Ok(_) => Err("use https: without TLS there are no certificates".to_owned()),
            Err(problem) => Err(problem),
        });
        let header = self.take("server.client_certificate_header", CertificateHeader::parse);
        if header_is_meant && !proxies {
            self.refuse(
                "server.client_certificate_header",
                "server",
                "set server.trusted_proxies to the proxies that send it: it is believed from nobody else",
            );
        }
        if !listener_is_meant && own.is_some() {
            self.refuse(
                "mtls.certificate",
                "mtls",
                "set mtls.listen too: it is the certificate of that listener",
            );
        }
        let nobody_asks = !listener_is_meant && !header_is_meant;
        for name in names.into_iter().filter(|_| nobody_asks) {
            self.refuse(
                name,
                "mtls",
                "set mtls.listen, or server.client_certificate_header: nobody asks for certificates of clients",
            );
        }
        if !crls.is_empty() && client_ca.is_none() {
            self.refuse("mtls.crls", "mtls", "set mtls.client_ca to the authorities that have issued them");
        }
        let mutual = mutual_listen.and_then(|listen| self.mutual(listen, own, main.as_ref()));
        if mutual_listen.is_some_and(|mutual| mutual == listen && mutual.port() != 0) {
            self.refuse(
                "mtls.listen",
                &listen.to_string(),
                "use another port than that of listen: browsers would be asked for certificates there",
            );
        }
        TlsSettings { main, mutual, client_ca, crls, url, header }
    }

    fn mutual(
        &mut self,
        listen: SocketAddr,
        own: Option<PemPair>,
        main: Option<&PemPair>,
    ) -> Option<MutualTls> {
        let pair = own.or_else(|| main.cloned());
        if pair.is_none() && !self.refused(&["mtls.certificate", "mtls.key", "tls.certificate", "tls.key"]) {
            self.refuse(
                "mtls.listen",
                &listen.to_string(),
                "set tls.certificate and tls.key, or mtls.certificate and mtls.key: the listener needs them",
            );
        }
        pair.map(|pair| MutualTls { listen, pair })
    }

    /// A certificate and its key: both or none.
    fn pair(&mut self, section: &str) -> Option<PemPair> {
        let [certificate, key] = ["certificate", "key"].map(|name| format!("{section}.{name}"));
        match (self.take(&certificate, path), self.take(&key, path)) {
            (Some(certificate), Some(key)) => Some(PemPair { certificate, key }),
            (Some(_), None) => {
                self.refuse(&certificate, section, format!("set {key} to the file with its private key too"));
                None
            }
            (None, Some(_)) => {
                self.refuse(&key, section, format!("set {certificate} to the file with its certificate too"));
                None
            }
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const PAIR: [(&str, &str); 2] =
        [("JETON_TLS__CERTIFICATE", "/tls/cert.pem"), ("JETON_TLS__KEY", "/tls/key.pem")];

    fn load(environment: &[(&str, &str)]) -> Result<Config, String> {
        let all = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(None, all).map_err(|error| error.to_string())
    }

    fn with_pair(more: &[(&str, &str)]) -> Result<Config, String> {
        load(&[&PAIR[..], more].concat())
    }

    #[test]
    fn without_settings_there_is_no_tls() {
        let tls = load(&[]).unwrap().tls;
        assert!(tls.main.is_none() && tls.mutual.is_none() && tls.header.is_none());
    }

    #[test]
    fn tls_lets_it_listen_anywhere() {
        assert!(with_pair(&[("JETON_LISTEN", "192.0.2.1:8443")]).unwrap().tls.main.is_some());
        let problem = load(&[("JETON_LISTEN", "0.0.0.0:8443")]).unwrap_err();
        assert!(problem.contains("tls.certificate"), "{problem}");
    }

    #[test]
    fn the_second_listener_takes_the_certificate_of_the_first_unless_it_has_its_own() {
        let listen = ("JETON_MTLS__LISTEN", "127.0.0.1:9443");
        let shared = with_pair(&[listen]).unwrap().tls;
        assert_eq!(shared.mutual.unwrap().pair, shared.main.unwrap());
        let own = [listen, ("JETON_MTLS__CERTIFICATE", "/m/c.pem"), ("JETON_MTLS__KEY", "/m/k.pem")];
        let alone = load(&own).unwrap().tls;
        assert!(alone.main.is_none());
        assert_eq!(alone.mutual.unwrap().pair.key, PathBuf::from("/m/k.pem"));
        assert_eq!(with_pair(&own).unwrap().tls.mutual.unwrap().pair.certificate, PathBuf::from("/m/c.pem"));
    }

    #[test]
    fn every_contradiction_says_what_to_do() {
        let listen = ("JETON_MTLS__LISTEN", "127.0.0.1:9443");
        let proxies = ("JETON_SERVER__TRUSTED_PROXIES", "10.0.0.1");
        let header = ("JETON_SERVER__CLIENT_CERTIFICATE_HEADER", "client-cert");
        let ca = ("JETON_MTLS__CLIENT_CA", "/ca.pem");
        for (bad, said) in [
            (&[PAIR[0]][..], "tls.key"),
            (&[PAIR[1]], "tls.certificate"),
            (&[listen], "tls.certificate and tls.key"),
            (&[listen, PAIR[0]], "tls.key"),
            (&[ca], "mtls.listen"),
            (&[("JETON_MTLS__URL", "https://mtls.example")], "mtls.listen"),
            (&[("JETON_MTLS__CERTIFICATE", "/c"), ("JETON_MTLS__KEY", "/k"), header, proxies], "mtls.listen"),
            (&[PAIR[0], PAIR[1], listen, ("JETON_MTLS__CRLS", "/a,/b")], "mtls.client_ca"),
            (&[PAIR[0], PAIR[1], listen, ("JETON_LISTEN", "127.0.0.1:9443")], "another port"),
            (&[PAIR[0], PAIR[1], listen, ("JETON_MTLS__URL", "http://localhost")], "https"),
            (&[PAIR[0], PAIR[1], ("JETON_ISSUER", "http://localhost:8080")], "https"),
            (&[PAIR[0], PAIR[1], ("JETON_LISTEN", "0.0.0.0:8443")], "the URL that callers use"),
            (&[header], "server.trusted_proxies"),
            (&[proxies, ("JETON_SERVER__CLIENT_CERTIFICATE_HEADER", "x-ssl-cert")], "client-cert or"),
        ] {
            let problem = load(bad).map(drop).expect_err(said);
            assert!(problem.contains(said), "{said}: {problem}");
            assert_eq!(problem.lines().count(), 2, "one problem, told once: {problem}");
        }
        let at_once = load(&[PAIR[0], header, ("JETON_MTLS__LISTEN", "here")]).unwrap_err();
        assert_eq!(at_once.lines().count(), 4, "{at_once}");
    }

    #[test]
    fn a_proxy_may_ask_for_certificates_instead() {
        let tls = load(&[
            ("JETON_SERVER__TRUSTED_PROXIES", "10.0.0.1"),
            ("JETON_SERVER__CLIENT_CERTIFICATE_HEADER", "X-Forwarded-Client-Cert"),
            ("JETON_MTLS__CLIENT_CA", "/ca.pem"),
            ("JETON_MTLS__CRLS", "/a.crl,/b.crl"),
            ("JETON_MTLS__URL", "https://mtls.example"),
        ])
        .unwrap()
        .tls;
        assert_eq!(tls.header, Some(CertificateHeader::XForwardedClientCert));
        assert_eq!(tls.crls.len(), 2);
        assert!(tls.mutual.is_none());
    }
}
