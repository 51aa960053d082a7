//! The only HTTP client: what Jeton asks of others.
//!
//! An answer comes in time and in reasonable size, or it is a fault. Nobody is followed elsewhere, no proxy of the
//! environment is used, and of an https issuer nothing is asked over http.
//!
//! Whom an operator has configured may be anywhere ([`Outbound::new`]): whoever writes the configuration can reach
//! this network anyway. Whom a registration names must be outside ([`Outbound::guarded`]).

mod guard;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use reqwest::tls::TlsInfo;

use self::guard::{Guard, Lookup, NotPermitted};
use crate::domain::error::{Fault, FieldError};
use crate::domain::outside::Outside;

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long a whole answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same, where a registration says who is asked.
const PATIENCE_OUTSIDE: Duration = Duration::from_secs(3);

/// The largest answer, in bytes. Key sets and tokens are a few thousand.
const LARGEST: usize = 512 * 1_024;

/// The same, where a registration says who is asked: some publish the keys of many tenants in one set.
const LARGEST_OUTSIDE: usize = 1_024 * 1_024;

/// Asks others.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
    largest: usize,
    /// Who may be asked; anybody, when absent.
    outside: Option<Arc<Outside>>,
}

/// The certificate, in DER, that was shown for an answer: an extension of it, where it came over TLS from somebody whom
/// an operator has configured.
#[derive(Clone, Debug)]
pub struct ShownCertificate(pub Vec<u8>);

/// Why there is no answer. It holds nothing that was sent.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It did not come, or not in time.
    #[error("{0}")]
    Away(String),
    /// It is too large.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// It is not asked: that would be the same the next time.
    #[error("{0}")]
    Refused(String),
}

// === impl Outbound ===

impl Outbound {
    /// For an issuer, which is asked over TLS unless it is on this machine and says http itself. Who may speak for a
    /// name, the operating system's certificates say.
    ///
    /// # Errors
    /// The operating system has no certificates.
    pub fn new(issuer: &str) -> Result<Self, Fault> {
        let over_tls = issuer.starts_with("https:");
        let builder = builder(PATIENCE).https_only(over_tls).tls_info(true);
        // Without TLS nothing is proven by a certificate, so none are needed.
        let builder = if over_tls { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|error| {
            Fault::internal(format!(
                "the certificates that TLS to {issuer} needs: {}; install ca-certificates, or set SSL_CERT_FILE",
                whole(&error)
            ))
        })?;
        Ok(Self { client, largest: LARGEST, outside: None })
    }

    /// For whomever registrations name: only outside, and over TLS unless configured otherwise.
    ///
    /// # Errors
    /// The operating system has no certificates.
    pub fn guarded(outside: Arc<Outside>) -> Result<Self, Fault> {
        Self::resolving(outside, guard::system())
    }

    fn resolving(outside: Arc<Outside>, lookup: Arc<Lookup>) -> Result<Self, Fault> {
        let guard = Guard { outside: Arc::clone(&outside), lookup };
        let builder = builder(PATIENCE_OUTSIDE).https_only(!outside.allow_http).dns_resolver(Arc::new(guard));
        let client = builder.build().map_err(|error| {
            Fault::internal(format!(
                "the certificates that TLS to keys elsewhere needs: {}; install ca-certificates, or set SSL_CERT_FILE",
                whole(&error)
            ))
        })?;
        Ok(Self { client, largest: LARGEST_OUTSIDE, outside: Some(outside) })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// There is none in time, or it is too large.
    pub async fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let request = reqwest::Request::try_from(request).map_err(away)?;
        // The resolver sees names only: an address that stands in the URL itself is judged here.
        if let Some(outside) = &self.outside {
            let refused = |error: FieldError| NoAnswer::Refused(error.problem);
            outside.check("url", request.url().as_str()).map_err(refused)?;
        }
        let mut answer = self.client.execute(request).await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(away)? {
            if body.len() + part.len() > self.largest {
                return Err(NoAnswer::TooLarge(self.largest));
            }
            body.extend_from_slice(&part);
        }
        let mut response = Response::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let shown = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        if let Some(der) = shown {
            response.extensions_mut().insert(ShownCertificate(der.to_owned()));
        }
        Ok(response)
    }
}

fn builder(patience: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECTING)
        .timeout(patience)
        // Asked now and then, by several threads: a connection that is kept is more often gone than of use.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("jeton/", env!("CARGO_PKG_VERSION")))
}

fn away(error: reqwest::Error) -> NoAnswer {
    if let Some(refused) = not_permitted(&error) {
        return NoAnswer::Refused(refused.to_string());
    }
    // The address says nothing new, and could hold what is nobody else's business.
    NoAnswer::Away(whole(&error.without_url()))
}

/// What the guard said, if it was the guard.
fn not_permitted(error: &(dyn Error + 'static)) -> Option<NotPermitted> {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<NotPermitted>() {
            return Some(*refused);
        }
        cause = inner.source();
    }
    None
}

/// An error with its causes: the outermost alone says only that something failed.
pub(super) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes of a server that answers with these bytes.
    async fn answered(bytes: Vec<u8>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&bytes).await;
        });
        let outbound = Outbound::new(&url).unwrap();
        outbound.call(Request::get(&url).body(Vec::new()).unwrap()).await
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_nobody_is_followed() {
        let moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\nno";
        let answer = answered(moved.to_vec()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (302, &b"no"[..]));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(LARGEST + 1_000, b'x');
        assert!(matches!(answered(endless).await, Err(NoAnswer::TooLarge(LARGEST))));
    }

    #[tokio::test]
    async fn of_an_https_issuer_nothing_is_asked_over_http() {
        let outbound = Outbound::new("https://sso.example.com").unwrap();
        let asked = outbound.call(Request::get("http://127.0.0.1:1/keys").body(Vec::new()).unwrap()).await;
        let Err(NoAnswer::Away(problem)) = asked else { panic!("it was asked") };
        assert!(problem.contains("scheme"), "{problem}");
    }

    #[tokio::test]
    async fn nobody_there_is_no_answer() {
        let outbound = Outbound::new("http://127.0.0.1:1").unwrap();
        let asked = outbound.call(Request::get("http://127.0.0.1:1/").body(Vec::new()).unwrap()).await;
        assert!(matches!(asked, Err(NoAnswer::Away(problem)) if !problem.contains("127.0.0.1:1/")));
    }

    // === Whom a registration names ===

    /// What comes of a guarded call to a server on this machine, by this host in the URL.
    async fn guarded(outside: Outside, host: &str, lookup: Option<Arc<Lookup>>) -> Result<u16, NoAnswer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{host}:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        });
        let lookup = lookup.unwrap_or_else(guard::system);
        let outbound = Outbound::resolving(Arc::new(outside), lookup).unwrap();
        let answer = outbound.call(Request::get(&url).body(Vec::new()).unwrap()).await;
        answer.map(|answer| answer.status().as_u16())
    }

    fn over_http(networks: &[&str]) -> Outside {
        let allowed_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        Outside { allow_http: true, allowed_networks }
    }

    #[tokio::test]
    async fn nothing_inside_is_called_by_address_or_by_name() {
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1"] {
            let answer = guarded(over_http(&[]), host, None).await;
            assert!(matches!(answer, Err(NoAnswer::Refused(_))), "{host}: {answer:?}");
        }
        for host in ["127.0.0.1", "localhost"] {
            assert_eq!(guarded(over_http(&["127.0.0.0/8"]), host, None).await.unwrap(), 200, "{host}");
        }
    }

    #[tokio::test]
    async fn http_is_not_called_unless_configured() {
        let outside = Outside { allow_http: false, ..over_http(&["127.0.0.0/8"]) };
        assert!(matches!(guarded(outside, "127.0.0.1", None).await, Err(NoAnswer::Refused(_))));
    }

    /// A name that was public when somebody looked, and is bound to the inside for the connection.
    #[tokio::test]
    async fn a_name_is_judged_by_what_the_connection_is_made_to() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let lookup: Arc<Lookup> = Arc::new(move |_| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let address = if first { "8.8.8.8" } else { "127.0.0.1" };
            Box::pin(std::future::ready(Ok(vec![address.parse().unwrap()])))
        });
        let first = lookup("rebound.example".to_owned()).await.unwrap();
        assert!(Outside::default().permits(first[0]), "it looks harmless");
        let answer = guarded(over_http(&[]), "rebound.example", Some(lookup)).await;
        assert!(matches!(answer, Err(NoAnswer::Refused(_))), "{answer:?}");
        // Of several addresses those that are inside are left out.
        let both: Arc<Lookup> = Arc::new(|_| {
            let found = ["10.0.0.1", "127.0.0.1"].map(|address| address.parse().unwrap());
            Box::pin(std::future::ready(Ok(found.to_vec())))
        });
        assert_eq!(guarded(over_http(&["127.0.0.0/8"]), "both.example", Some(both)).await.unwrap(), 200);
    }
}
