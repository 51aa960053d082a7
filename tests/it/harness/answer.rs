use serde_json::Value;

/// A raw HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Reads a whole answer, as it came over the wire with `Connection: close`.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Self { status, headers, body }
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status and hands the JSON on.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts the status and the text of a plain answer.
    #[track_caller]
    pub(crate) fn expect_text(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.body.trim_end()), (status, text), "{self:?}");
    }

    /// Asserts an OAuth error by all that RFC 6749 §5.2 says of it, and hands its description on.
    #[track_caller]
    pub(crate) fn expect_oauth_error(&self, status: u16, error: &str) -> String {
        let body = self.expect(status);
        assert_eq!(body["error"], error, "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "RFC 6749 5.1: {self:?}");
        assert_eq!(self.header("pragma"), Some("no-cache"), "RFC 6749 5.1: {self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        let challenge =
            self.header("www-authenticate").is_some_and(|value| value.starts_with("Basic realm="));
        assert_eq!(
            challenge,
            error == "invalid_client",
            "RFC 6749 5.2: a challenge with invalid_client: {self:?}"
        );
        assert_eq!(status == 401, error == "invalid_client", "{self:?}");
        let description = body["error_description"].as_str().unwrap();
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(description.bytes().all(allowed), "RFC 6749 5.2 characters: {description}");
        assert!(!description.is_empty());
        description.to_owned()
    }

    /// [`Answer::expect_oauth_error`] for one row of a table, which a failure names.
    #[track_caller]
    pub(crate) fn expect_refusal(&self, row: &str, status: u16, error: &str) -> String {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(error)), "{row}: {self:?}");
        self.expect_oauth_error(status, error)
    }

    /// All that a caller could tell two answers apart by, other than what differs by design.
    pub(crate) fn comparable(&self) -> (u16, Vec<(String, String)>, &str) {
        let differs = |name: &str| matches!(name, "x-request-id" | "date");
        let headers = self.headers.iter().filter(|(name, _)| !differs(name)).cloned().collect();
        (self.status, headers, &self.body)
    }

    /// Asserts an RFC 9457 problem of this kind (the last part of its `type`).
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, kind: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(body["type"], format!("urn:jeton:problem:{kind}"), "{self:?}");
        assert_eq!(body["status"], status, "{self:?}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{self:?}");
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        body
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
