//! Signing in by an OpenID provider: who is let in, as what, and every way in which an answer does not count.

mod answers;
mod people;
mod provider;
mod tokens;

use std::collections::BTreeMap;

use crate::harness::{Answer, Server};

use self::provider::Provider;

/// The page that people begin on, and the one that they come back to.
const BEGIN: &str = "/admin/sign-in/sso";
const BACK: &str = "/admin/sign-in/sso/callback";

/// A browser that keeps every cookie, and comes from elsewhere when the provider sends it.
struct Browser<'a> {
    server: &'a Server,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, cookies: BTreeMap::new() }
    }

    /// Follows a link; from the provider it is cross-site, which is when `SameSite=Lax` cookies come along.
    async fn get(&mut self, path: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = format!("Cookie: {}", cookies.join("; "));
        let headers = [cookies.as_str(), "Sec-Fetch-Site: cross-site", "User-Agent: Test/1"];
        let answer = self.server.send("GET", path, &headers, "").await;
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, rest) = line.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(rest.starts_with("Path=/; HttpOnly; SameSite=Lax"), "{line}");
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Where the provider is asked to sign somebody in.
    async fn begin(&mut self) -> String {
        let answer = self.get(BEGIN).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }

    /// All of it: to the provider, and back with whoever comes next there.
    async fn sign_in(&mut self, provider: &Provider) -> Answer {
        let back = provider.authorize(&self.begin().await);
        self.get(&back).await
    }

    async fn is_in(&mut self) -> bool {
        self.get("/admin").await.status == 200
    }
}

/// A provider, and the server again, which trusts it.
async fn trusting(server: Server) -> (Server, Provider) {
    let provider = Provider::start(std::sync::Arc::clone(&server.clock)).await;
    let upstream = provider.upstream();
    let server = server.restart_with(|config| config.sso = Some(upstream)).await.unwrap();
    (server, provider)
}

/// The reasons of the refusals in the audit, sorted.
async fn reasons(server: &Server) -> Vec<String> {
    let events = server.events("sign_in_refused").await;
    let mut reasons: Vec<_> =
        events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect();
    reasons.sort_unstable();
    reasons
}

/// Why the audit says that this answer was a refusal.
async fn reason(server: &Server, answer: &Answer) -> String {
    let recorded = server.recorded(answer).await;
    assert_eq!((recorded.kind.as_str(), recorded.outcome.as_str()), ("sign_in_refused", "refused"));
    recorded.detail["reason"].as_str().unwrap().strip_prefix("single sign-on: ").unwrap().to_owned()
}
