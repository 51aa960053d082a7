//! The pages as a browser without scripts uses them: a cookie, forms, and where they lead.

use secrecy::ExposeSecret;
use totp_rs::{Builder, Secret};

use super::{Answer, Server};

/// A password that is accepted.
pub(crate) const PASSWORD: &str = "quiet heron violet ladder";

/// One person's browser.
pub(crate) struct Browser<'a> {
    pub(crate) server: &'a Server,
    /// What stands in the one cookie.
    pub(crate) cookie: Option<String>,
}

/// Somebody who has signed in, and what they sign in with.
pub(crate) struct Person<'a> {
    pub(crate) browser: Browser<'a>,
    pub(crate) name: &'static str,
    pub(crate) secret: String,
    pub(crate) recovery_codes: Vec<String>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        Self { server, cookie: None }
    }

    fn headers(&self) -> Vec<String> {
        let cookie = self.cookie.iter().map(|value| format!("Cookie: jeton_session={value}"));
        cookie.chain(["Sec-Fetch-Site: same-origin".to_owned(), "User-Agent: Test/1".to_owned()]).collect()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let headers = self.headers();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = self.server.send("GET", path, &headers, "").await;
        self.keep(answer)
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut headers = self.headers();
        headers.push("Content-Type: application/x-www-form-urlencoded".to_owned());
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = self.server.send("POST", path, &headers, body).await;
        self.keep(answer)
    }

    fn keep(&mut self, answer: Answer) -> Answer {
        if let Some(cookie) = answer.header("set-cookie") {
            let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
            self.cookie = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        answer
    }

    /// Whether the dashboard is shown.
    pub(crate) async fn is_in(&mut self) -> bool {
        self.get("/admin").await.status == 200
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        self.post("/admin/sign-in", &[("name", name), ("password", password)]).await
    }

    /// Follows a link, sets [`PASSWORD`], gets a second factor, and is signed in.
    pub(crate) async fn set_up(mut self, link: &str, name: &'static str) -> Person<'a> {
        let link = link.split_once("link=").unwrap().1;
        let fields = [("link", link), ("name", name), ("password", PASSWORD), ("again", PASSWORD)];
        let answer = self.post("/admin/set-up", &fields).await;
        answer.expect_redirect("/admin/second-factor");
        let answer = self.get("/admin/second-factor").await;
        let secret = field(&answer, "secret");
        let code = code(&secret, self.server);
        let answer = self.post("/admin/second-factor", &[("secret", &secret), ("code", &code)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let recovery_codes = codes(&answer);
        Person { browser: self, name, secret, recovery_codes }
    }
}

impl Person<'_> {
    /// The code that the device shows now.
    pub(crate) fn code(&self) -> String {
        code(&self.secret, self.browser.server)
    }
}

impl Server {
    /// The first administrator, by the link that was logged at the start.
    pub(crate) async fn first(&self, name: &'static str) -> Person<'_> {
        let link = self.app.first_link().unwrap().expose_secret().to_owned();
        Browser::new(self).set_up(&link, name).await
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect_redirect(&self, to: &str) {
        assert_eq!((self.status, self.header("location")), (303, Some(to)), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn expect_page(&self, status: u16, part: &str) {
        assert!(self.status == status && self.body.contains(part), "{status} with {part:?}: {self:?}");
    }
}

/// The value of a field in a page.
#[track_caller]
pub(crate) fn field(answer: &Answer, name: &str) -> String {
    let (_, rest) =
        answer.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{answer:?}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The recovery codes in a page.
pub(crate) fn codes(answer: &Answer) -> Vec<String> {
    let parts = answer.body.split("<li><code>").skip(1);
    parts.map(|part| part.split('<').next().unwrap().to_owned()).collect()
}

/// The code that a device with this secret shows now.
pub(crate) fn code(secret: &str, server: &Server) -> String {
    use jeton::runtime::clock::Clock;

    let secret = Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    totp.generate(u64::try_from(server.clock.now().as_seconds()).unwrap()).to_string()
}
