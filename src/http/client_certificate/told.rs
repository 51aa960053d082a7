//! How a proxy tells the certificate of a client: `Client-Cert` (RFC 9440), or Envoy's `X-Forwarded-Client-Cert`.
//!
//! Read strictly: what can be read in two ways could be read in another way by the proxy that wrote it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::CertificateHeader;

type Chain = Vec<CertificateDer<'static>>;

/// Byte sequences of RFC 8941 §4.2.7, which may lack their padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most certificates that are told of one client, and their most bytes: as much as fits into a handshake. No path
/// to an authority is longer.
const MOST: usize = 10;
const LARGEST: usize = 64 << 10;

const TOO_MUCH: &str = "the proxy sends more than 10 certificates, or more than 64 KiB of them: it must send the client's \
                        own, and those alone that lead from it to an authority";
const ONE_HEADER: &str = "the proxy sends more than one header with the client's certificate: it must replace what the \
                          client sends, not add to it";
const CLIENT_CERT: &str = "the proxy's Client-Cert is not one certificate as RFC 9440 section 2.1 has it: base64 of its DER between colons";
const CLIENT_CERT_CHAIN: &str =
    "the proxy's Client-Cert-Chain is not a list of certificates as RFC 9440 section 2.2 has it";
const FORWARDED: &str = "the proxy's x-forwarded-client-cert cannot be read: it is one element of key=value pairs, with \
                         Cert, and perhaps Chain, as URL-encoded PEM";
const ONE_ELEMENT: &str = "the proxy's x-forwarded-client-cert has more than one element: set \
                           forward_client_cert_details to SANITIZE_SET, so that it tells of its own client alone";
const NO_CERT: &str = "the proxy's x-forwarded-client-cert has no Cert: set cert: true in \
                       set_current_client_cert_details";

/// The leaf and what came along, if a header tells it.
///
/// # Errors
/// It cannot be read; in words for whoever runs the proxy.
pub(super) fn chain(header: CertificateHeader, headers: &HeaderMap) -> Result<Option<Chain>, &'static str> {
    let mut values = headers.get_all(header.name()).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ONE_HEADER);
    }
    let chain = match header {
        CertificateHeader::ClientCert => {
            let leaf = value.to_str().ok().and_then(byte_sequence).ok_or(CLIENT_CERT)?;
            let mut chain = vec![leaf];
            for value in headers.get_all("client-cert-chain") {
                let list = value.to_str().map_err(|_| CLIENT_CERT_CHAIN)?;
                for item in list.split(',') {
                    chain.push(byte_sequence(item).ok_or(CLIENT_CERT_CHAIN)?);
                }
            }
            chain
        }
        CertificateHeader::XForwardedClientCert => forwarded(value.to_str().map_err(|_| FORWARDED)?)?,
    };
    let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
    if chain.len() > MOST || bytes > LARGEST {
        return Err(TOO_MUCH);
    }
    Ok(Some(chain))
}

fn byte_sequence(text: &str) -> Option<CertificateDer<'static>> {
    let text = text.trim_matches([' ', '\t']).strip_prefix(':')?.strip_suffix(':')?;
    BASE64.decode(text).ok().map(CertificateDer::from)
}

/// Envoy's form: elements between commas, pairs between semicolons; a value that holds one of these, or `=`, stands
/// in quotes, with `\"` for a quote.
fn forwarded(header: &str) -> Result<Chain, &'static str> {
    let (mut cert, mut chain) = (None, None);
    for (key, value) in pairs(header)? {
        let slot = match key.to_ascii_lowercase().as_str() {
            "cert" => &mut cert,
            "chain" => &mut chain,
            _ => continue,
        };
        if slot.replace(certificates(&value)?).is_some() {
            return Err(FORWARDED);
        }
    }
    let mut leaf: Chain = cert.ok_or(NO_CERT)?;
    if leaf.len() != 1 {
        return Err(FORWARDED);
    }
    // Envoy's Chain begins with the leaf again, which leads nowhere and does no harm.
    leaf.extend(chain.unwrap_or_default());
    Ok(leaf)
}

fn pairs(header: &str) -> Result<Vec<(String, String)>, &'static str> {
    let mut pairs = Vec::new();
    let mut rest = header.trim();
    loop {
        let (key, after) = rest.split_once('=').ok_or(FORWARDED)?;
        let (value, after) = after.strip_prefix('"').map_or_else(|| Ok(until_end(after)), until_quote)?;
        pairs.push((key.trim().to_owned(), value));
        if after.is_empty() {
            return Ok(pairs);
        }
        rest = match (after.strip_prefix(';'), after.starts_with(',')) {
            (Some(rest), _) => rest,
            (None, true) => return Err(ONE_ELEMENT),
            (None, false) => return Err(FORWARDED),
        };
    }
}

/// The text up to the end of a value without quotes, and what follows that.
fn until_end(text: &str) -> (String, &str) {
    let (value, rest) = text.split_at(text.find([';', ',']).unwrap_or(text.len()));
    (value.to_owned(), rest)
}

/// The text up to the closing quote, and what follows that.
fn until_quote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(characters.next().ok_or(FORWARDED)?.1),
            other => value.push(other),
        }
    }
    Err(FORWARDED)
}

/// The certificates of URL-encoded PEM.
fn certificates(value: &str) -> Result<Chain, &'static str> {
    let mut pem = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    pem.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or(FORWARDED)?;
        pem.push(byte);
        pem.extend_from_slice(&part.as_bytes()[2..]);
    }
    let chain: Result<Chain, _> = CertificateDer::pem_slice_iter(&pem).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(FORWARDED)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as PADDED;
    use http::{HeaderName, HeaderValue};

    use super::*;

    const RFC9440: CertificateHeader = CertificateHeader::ClientCert;
    const ENVOY: CertificateHeader = CertificateHeader::XForwardedClientCert;

    fn told(header: CertificateHeader, lines: &[(&str, &str)]) -> Result<Option<Vec<Vec<u8>>>, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, HeaderValue::try_from(*value).unwrap());
        }
        let chain = chain(header, &headers)?;
        Ok(chain.map(|chain| chain.iter().map(|certificate| certificate.to_vec()).collect()))
    }

    fn pem(bytes: &[u8]) -> String {
        let text =
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", PADDED.encode(bytes));
        let encoded = text.bytes().map(|byte| match byte {
            b'-' | b'+' | b'/' | b'=' | b' ' | b'\n' => format!("%{byte:02X}"),
            plain => char::from(plain).to_string(),
        });
        encoded.collect()
    }

    #[test]
    fn client_cert_is_one_byte_sequence_rfc9440_2_1() {
        let leaf = vec![0xfb, 0xff, 1, 2];
        let read = |value: &str| told(RFC9440, &[("client-cert", value)]);
        assert_eq!(told(RFC9440, &[]), Ok(None));
        for good in [":+/8BAg==:", ":+/8BAg:", "  :+/8BAg==:\t"] {
            assert_eq!(read(good), Ok(Some(vec![leaf.clone()])), "{good}");
        }
        for bad in
            ["", "+/8BAg==", ":+/8BAg==", ":-_8BAg==:", ":+/8B Ag==:", ":+/8BAg==:;a=1", "::,::", ":*:"]
        {
            assert_eq!(read(bad), Err(CLIENT_CERT), "{bad}");
        }
        let twice = [("client-cert", ":AQ==:"), ("client-cert", ":AQ==:")];
        assert_eq!(told(RFC9440, &twice), Err(ONE_HEADER));
        // The other form's header is not looked at.
        assert_eq!(told(RFC9440, &[("x-forwarded-client-cert", "Cert=1")]), Ok(None));
    }

    #[test]
    fn client_cert_chain_is_a_list_of_them_rfc9440_2_2() {
        let with = |chain: &[&str]| {
            let chain = chain.iter().map(|value| ("client-cert-chain", *value));
            told(RFC9440, &[("client-cert", ":AQ==:")].into_iter().chain(chain).collect::<Vec<_>>())
        };
        let whole = Ok(Some(vec![vec![1], vec![2], vec![3]]));
        assert_eq!(with(&[":Ag==:, :Aw==:"]), whole);
        assert_eq!(with(&[":Ag==:", ":Aw==:"]), whole);
        assert_eq!(with(&[":Ag==:,"]), Err(CLIENT_CERT_CHAIN));
        assert_eq!(told(RFC9440, &[("client-cert-chain", ":Ag==:")]), Ok(None));
    }

    #[test]
    fn envoys_header_is_read() {
        let read = |value: &str| told(ENVOY, &[("x-forwarded-client-cert", value)]);
        let (leaf, other) = (pem(&[0xfb, 0xff]), pem(&[2, 3]));
        let leaf_alone = Ok(Some(vec![vec![0xfb, 0xff]]));
        assert_eq!(read(&format!("Cert=\"{leaf}\"")), leaf_alone);
        assert_eq!(read(&format!("cert={leaf}")), leaf_alone);
        let whole = format!(
            "By=spiffe://a/b;Hash=468ed33b;Subject=\"CN=\\\"a\\\",O=x;y\";URI=;Cert=\"{leaf}\";Chain=\"{leaf}{other}\""
        );
        assert_eq!(read(&whole), Ok(Some(vec![vec![0xfb, 0xff], vec![0xfb, 0xff], vec![2, 3]])));
        assert_eq!(read("By=spiffe://a/b;Hash=468ed33b"), Err(NO_CERT));
        assert_eq!(read(&format!("Cert=\"{leaf}\",By=x;Cert=\"{other}\"")), Err(ONE_ELEMENT));
        assert_eq!(read(&format!("By=x,Cert=\"{leaf}\"")), Err(ONE_ELEMENT));
        for bad in [
            String::new(),
            "Cert".to_owned(),
            "Cert=".to_owned(),
            "Cert=\"%\"".to_owned(),
            "Cert=\"%2\"".to_owned(),
            "Cert=\"%zz\"".to_owned(),
            "Cert=\"%+1\"".to_owned(),
            format!("Cert=\"{leaf}"),
            format!("Cert=\"{leaf}\"x"),
            format!("Cert=\"{leaf}{other}\""),
            format!("Cert=\"{leaf}\";Cert=\"{leaf}\""),
            format!("Cert=\"{leaf}\";"),
        ] {
            assert_eq!(read(&bad), Err(FORWARDED), "{bad}");
        }
        let line = format!("Cert=\"{leaf}\"");
        let twice = [("x-forwarded-client-cert", line.as_str()), ("x-forwarded-client-cert", &line)];
        assert_eq!(told(ENVOY, &twice), Err(ONE_HEADER));
    }

    #[test]
    fn a_chain_is_no_longer_than_one_needs_to_be() {
        let told_with = |others: usize, bytes: usize| {
            let one = format!(":{}:", PADDED.encode(vec![1; bytes]));
            let chain = vec![one; others].join(", ");
            told(RFC9440, &[("client-cert", ":AQ==:"), ("client-cert-chain", &chain)])
        };
        assert_eq!(told_with(9, 1).unwrap().unwrap().len(), 10);
        assert_eq!(told_with(10, 1), Err(TOO_MUCH));
        assert!(told_with(1, LARGEST - 1).is_ok());
        assert_eq!(told_with(1, LARGEST), Err(TOO_MUCH));
        let envoy = |others: usize| {
            let line = format!("Cert=\"{}\";Chain=\"{}\"", pem(&[1]), pem(&[2]).repeat(others));
            told(ENVOY, &[("x-forwarded-client-cert", line.as_str())])
        };
        assert_eq!(envoy(9).unwrap().unwrap().len(), 10);
        assert_eq!(envoy(10), Err(TOO_MUCH));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(value in "[ -~]{0,80}|(Cert|Chain|By)=\"?[%0-9A-F\\\\\",;=]{0,40}") {
            let one = [("client-cert", value.as_str()), ("client-cert-chain", &value)];
            let _ = told(RFC9440, &one);
            if let Ok(Some(chain)) = told(ENVOY, &[("x-forwarded-client-cert", &value)]) {
                proptest::prop_assert!(!chain.is_empty());
            }
        }
    }
}
