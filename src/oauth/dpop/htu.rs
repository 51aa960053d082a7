//! Comparing `htu` with the URL of the request (RFC 9449 §4.3), after the syntax-based and scheme-based
//! normalisation of RFC 3986 §6.2.2 and §6.2.3.
//!
//! Not the URL Standard's, by which browsers read what people type: it takes `\` for `/`, drops line ends, and
//! reads `0x7f.1` as an address.

/// Whether both name the same, query and fragment aside. What is no http or https URL names nothing.
pub(super) fn same(one: &str, other: &str) -> bool {
    normalised(one).is_some_and(|one| normalised(other) == Some(one))
}

/// The one spelling of a URL, without query and fragment; none of what has user information (RFC 9110 §4.2.4)
/// or a character that no URI has.
fn normalised(url: &str) -> Option<String> {
    if !url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)) {
        return None;
    }
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // The colons of an IPv6 address stand inside brackets.
    let end_of_host = authority.find(']').unwrap_or(0);
    let (host, port) = match authority[end_of_host..].find(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(end_of_host + colon);
            (host, &port[1..])
        }
        None => (authority, ""),
    };
    if host.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // After the percent-encoding, so that what was hidden in it is lower case too.
    let host = plain(host)?.to_ascii_lowercase();
    if host.contains('@') {
        return None;
    }
    let port = if port.is_empty() || port == default_port { String::new() } else { format!(":{port}") };
    Some(format!("{scheme}://{host}{port}{}", without_dots(&plain(path)?)))
}

/// Percent-encoding in capitals, and none where it is not needed (RFC 3986 §6.2.2.1, §6.2.2.2). None when a
/// percent sign stands for nothing.
fn plain(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            plain.push_str(&digits.to_ascii_uppercase());
        }
        plain.push_str(&part[2..]);
    }
    Some(plain)
}

/// A path without `.` and `..` (RFC 3986 §5.2.4), and with a slash at least (§6.2.3).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://id.example.com/oauth2/token";

    #[test]
    fn spellings_of_one_url_are_the_same_rfc3986_6_2() {
        for same_url in [
            URL,
            "HTTPS://ID.Example.COM/oauth2/token",
            "https://id.example.com:443/oauth2/token",
            "https://id.example.com:/oauth2/token",
            "https://id.example.com/oauth2/token?a=b",
            "https://id.example.com/oauth2/token#a",
            "https://id.example.com/oauth2/token?a=/../#b?c",
            "https://id.example.com/%6fauth2/%74oken",
            "https://%69d.example.com/oauth2/token",
            "https://%49D.example.com/oauth2/token",
            "https://id.example.com/./oauth2/../oauth2/./token",
            "https://id.example.com/../oauth2/token",
            "https://id.example.com/%2e%2E/oauth2/token",
        ] {
            assert!(same(same_url, URL), "{same_url}");
        }
        assert!(same("http://localhost", "http://LOCALHOST:80/"));
        assert!(same("http://[::1]:80/a", "http://[::1]/a"));
        assert!(same("http://[::1]:8080/a", "http://[::1]:8080/a"));
        assert!(same("https://h/a%2fb", "https://h/a%2Fb"));
        assert!(same("https://h/a/b/..", "https://h/a/"));
        assert!(same("https://h/a/.", "https://h/a/"));
    }

    #[test]
    fn other_urls_are_not() {
        for other in [
            "",
            "/oauth2/token",
            "id.example.com/oauth2/token",
            "//id.example.com/oauth2/token",
            "https:/id.example.com/oauth2/token",
            "https:///oauth2/token",
            "ftp://id.example.com/oauth2/token",
            "http://id.example.com/oauth2/token",
            "http://id.example.com:443/oauth2/token",
            "https://id.example.com:80/oauth2/token",
            "https://id.example.com:0443/oauth2/token",
            "https://id.example.com:443x/oauth2/token",
            "https://id.example.com:443:443/oauth2/token",
            "https://id.example.com./oauth2/token",
            "https://evil.example.com/oauth2/token",
            "https://id.example.com@evil.example/oauth2/token",
            "https://u@id.example.com/oauth2/token",
            "https://u%40id.example.com/oauth2/token",
            "https://id.example.com",
            "https://id.example.com/OAuth2/token",
            "https://id.example.com/oauth2/token/",
            "https://id.example.com//oauth2/token",
            "https://id.example.com/oauth2%2Ftoken",
            "https://id.example.com/oauth2/token%",
            "https://id.example.com/oauth2/token%0",
            "https://id.example.com/oauth2/token%zz",
            "https://id.example.com/oauth2/token%3F",
            "https://id.example.com\\oauth2\\token",
            "https://id.example.com/oauth2/token\n",
            " https://id.example.com/oauth2/token",
            "https://id.example.com/oauth2/tok en",
            "https://id.éxample.com/oauth2/token",
        ] {
            assert!(!same(other, URL), "{other}");
        }
        // What is no URL is not even the same as itself.
        assert!(!same("token", "token"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}", rest in "[a-zA-Z0-9%:/?#\\[\\]@.]{0,40}") {
            let _ = normalised(&text);
            let _ = normalised(&format!("https://{rest}"));
        }

        /// Where the URL Standard and RFC 3986 agree, this does too.
        #[test]
        fn it_agrees_with_another_reader(
            host in "[a-zA-Z][a-zA-Z0-9-]{0,8}[a-z]\\.example", port in 1_u16..,
            path in "(/(\\.|\\.\\.|[a-zA-Z0-9~_-]{0,4})){0,6}",
        ) {
            let text = format!("https://{host}:{port}{path}");
            let theirs = url::Url::parse(&text).unwrap();
            let expected = theirs.to_string();
            prop_assert_eq!(normalised(&text), Some(expected.clone()));
            prop_assert_eq!(normalised(&expected), Some(expected), "and is the same a second time");
        }
    }
}
