//! Which addresses outside Jeton calls, when a registration names them: who may write clients must not be able to
//! make the server ask what only its own network reaches (SSRF).

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use super::error::FieldError;

/// The most characters of a URL.
pub const LONGEST_URL: usize = 500;

/// What Jeton may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Whether over http too: then anybody on the way can put in keys of their own.
    pub allow_http: bool,
    /// Networks that are called although they are not the internet.
    pub allowed_networks: Vec<IpNet>,
}

/// What of IPv4 is not the internet (IANA's special-purpose registry, and multicast).
const V4: &[&str] = &[
    "0.0.0.0/8",       // this network; unspecified
    "10.0.0.0/8",      // private
    "100.64.0.0/10",   // carrier-grade NAT
    "127.0.0.0/8",     // loopback
    "169.254.0.0/16",  // link-local, and the metadata of clouds
    "172.16.0.0/12",   // private
    "192.0.0.0/24",    // protocol assignments
    "192.0.2.0/24",    // documentation
    "192.88.99.0/24",  // 6to4 relays, deprecated
    "192.168.0.0/16",  // private
    "198.18.0.0/15",   // benchmarks
    "198.51.100.0/24", // documentation
    "203.0.113.0/24",  // documentation
    "224.0.0.0/4",     // multicast
    "240.0.0.0/4",     // reserved; broadcast
];

/// What of IPv6's global unicast, `2000::/3`, is not the internet. Everything beside that is not either: among it
/// unspecified, loopback, v4-mapped and v4-compatible, NAT64, discard, unique local, link-local and multicast.
const V6: &[&str] = &[
    "2001::/23",     // protocol assignments, with Teredo and ORCHID
    "2001:db8::/32", // documentation
    "2002::/16",     // 6to4: an IPv4 address in disguise
    "3fff::/20",     // documentation
];

// === impl Outside ===

impl Outside {
    /// Checks a URL that a client or an issuer is to be registered with. A name is checked by [`Outside::permits`]
    /// when it is called: what it resolves to now need not be what it resolves to then.
    ///
    /// # Errors
    /// It is no URL, or one that would never be called.
    pub fn check(&self, field: &'static str, text: &str) -> Result<Url, FieldError> {
        self.checked(text).map_err(|(problem, fix)| FieldError::new(field, problem, fix))
    }

    fn checked(&self, text: &str) -> Result<Url, (String, &'static str)> {
        let refuse = |problem: &str, fix: &'static str| Err((problem.to_owned(), fix));
        let example = "write an absolute URL, for example https://billing.example.com/jwks.json";
        if text.len() > LONGEST_URL || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return refuse(
                "it is too long, or has white space",
                "use at most 500 characters without white space",
            );
        }
        let Ok(url) = Url::parse(text) else { return refuse("it is not a URL", example) };
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => {
                return refuse("it is not https", "use https; only outbound.allow_http = true allows http");
            }
            _ => return refuse("it is not https", example),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return refuse("it has a user or a fragment", "leave out user, password and fragment");
        }
        let address = match url.host() {
            None => return refuse("it has no host", example),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        };
        match address {
            Some(address) if !self.permits(address) => Err((
                format!("{address} is not an address of the internet"),
                "name a public host, or list its network in outbound.allowed_networks",
            )),
            _ => Ok(url),
        }
    }

    /// Whether this address is called.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.allowed_networks.iter().any(|network| network.contains(&address))
    }
}

fn is_public(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(_) => V4,
        IpAddr::V6(address) if !is_global_unicast(address) => return false,
        IpAddr::V6(_) => V6,
    };
    // A text that is no network would let nothing pass; a test reads them all.
    !special.iter().any(|text| text.parse::<IpNet>().is_ok_and(|network| network.contains(&address)))
}

const fn is_global_unicast(address: Ipv6Addr) -> bool {
    address.segments()[0] >> 13 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(outside: &Outside, address: &str) -> bool {
        outside.permits(address.parse().unwrap())
    }

    #[test]
    fn only_the_internet_is_called() {
        for text in V4.iter().chain(V6) {
            assert!(text.parse::<IpNet>().is_ok(), "{text}");
        }
        let outside = Outside::default();
        for public in
            ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "2606:4700::1", "2a00::1"]
        {
            assert!(permits(&outside, public), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!permits(&outside, special), "{special}");
        }
    }

    #[test]
    fn what_an_operator_lists_is_called_and_nothing_beside_it() {
        let outside = Outside {
            allow_http: false,
            allowed_networks: vec!["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()],
        };
        for listed in ["10.1.2.3", "fd00:1::9"] {
            assert!(permits(&outside, listed), "{listed}");
        }
        for beside in ["10.2.0.1", "127.0.0.1", "fd00:2::1", "::ffff:10.1.2.3", "64:ff9b::a01:203"] {
            assert!(!permits(&outside, beside), "{beside}");
        }
    }

    #[test]
    fn a_url_is_https_and_names_nothing_inside() {
        let outside = Outside::default();
        for good in [
            "https://a.example/jwks",
            "https://a.example:8443/k?x=1",
            "https://8.8.8.8/",
            "https://[2a00::1]/",
        ] {
            assert!(outside.check("jwks_uri", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "http://a.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://u@a.example/",
            "https://u:p@a.example/",
            "https://a.example/#k",
            "https://a.example/ b",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:7f00:1]/",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert!(outside.check("jwks_uri", bad).is_err(), "{bad}");
        }
        let lenient = Outside { allow_http: true, allowed_networks: vec!["127.0.0.0/8".parse().unwrap()] };
        assert!(lenient.check("jwks_uri", "http://127.0.0.1:1/jwks").is_ok());
        assert!(lenient.check("jwks_uri", "http://10.0.0.1/jwks").is_err());
    }
}
