//! The only HTTP client: what Jeton asks of other issuers.
//!
//! An answer comes in time and in reasonable size, or it is a fault. Nobody is followed elsewhere, no proxy of the
//! environment is used, and of an https issuer nothing is asked over http.

use std::error::Error;
use std::time::Duration;

use http::{Request, Response};

use crate::domain::error::Fault;

/// How long a connection may take.
const CONNECTING: Duration = Duration::from_secs(3);

/// How long a whole answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer, in bytes. Key sets and tokens are a few thousand.
const LARGEST: usize = 512 * 1_024;

/// Asks other issuers.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
}

/// Why there is no answer. It holds nothing that was sent.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It did not come, or not in time.
    #[error("{0}")]
    Away(String),
    /// It is too large.
    #[error("the answer has more than {LARGEST} bytes")]
    TooLarge,
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
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECTING)
            .timeout(PATIENCE)
            // Asked now and then, by several threads: a connection that is kept is more often gone than of use.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("jeton/", env!("CARGO_PKG_VERSION")))
            .https_only(over_tls);
        // Without TLS nothing is proven by a certificate, so none are needed.
        let builder = if over_tls { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|error| {
            Fault::internal(format!(
                "the certificates that TLS to {issuer} needs: {}; install ca-certificates, or set SSL_CERT_FILE",
                whole(&error)
            ))
        })?;
        Ok(Self { client })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// There is none in time, or it is too large.
    pub async fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
        let request = reqwest::Request::try_from(request).map_err(away)?;
        let mut answer = self.client.execute(request).await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(away)? {
            if body.len() + part.len() > LARGEST {
                return Err(NoAnswer::TooLarge);
            }
            body.extend_from_slice(&part);
        }
        let mut response = Response::new(body);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

fn away(error: reqwest::Error) -> NoAnswer {
    // The address says nothing new, and could hold what is nobody else's business.
    NoAnswer::Away(whole(&error.without_url()))
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
        assert!(matches!(answered(endless).await, Err(NoAnswer::TooLarge)));
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
}
