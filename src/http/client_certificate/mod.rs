//! The certificate that came with a request: shown at a listener of ours, or told by a proxy.

mod told;

use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::config::CertificateHeader;
use crate::domain::certificate::PeerCertificate;
use crate::runtime::tls::{ClientTrust, Shown};

/// The certificate that the caller holds the key of, as an extension of its request; or why what a proxy says about
/// it cannot be read, in words for whoever runs the proxy.
#[derive(Clone, Debug)]
pub(super) struct ClientCertificate(pub(super) Result<Arc<PeerCertificate>, &'static str>);

// === impl ClientCertificate ===

impl ClientCertificate {
    /// The certificate of whoever stands at the other end, or behind the proxy there: `header` is that of a proxy
    /// which is believed. Then the certificate of the connection is the proxy's own, and means nothing here.
    ///
    /// Nothing else reads these headers, so from anybody else they are as good as not sent.
    pub(super) fn find(
        header: Option<CertificateHeader>,
        shown: Option<&Shown>,
        headers: &HeaderMap,
        trust: &ClientTrust,
    ) -> Option<Self> {
        let Some(header) = header else { return shown.map(|shown| Self(Ok(shown.now()))) };
        let told = told::chain(header, headers).transpose()?;
        let shown = told
            .and_then(|chain| trust.told(chain).map_err(|_| "the certificate that a proxy sends is not one"));
        Some(Self(shown.map(|shown| shown.now())))
    }

    /// That of a request, if there is one.
    ///
    /// # Errors
    /// What a proxy says about it cannot be read: nothing may be decided about the request.
    pub(super) fn of(extensions: &Extensions) -> Result<Option<Arc<PeerCertificate>>, &'static str> {
        extensions.get::<Self>().map(|certificate| certificate.0.clone()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_certificate_that_its_extension_holds() {
        let mut extensions = Extensions::new();
        assert_eq!(ClientCertificate::of(&extensions), Ok(None));
        let key = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let certificate = Arc::new(PeerCertificate::parse(key.cert.der(), false).unwrap());
        extensions.insert(ClientCertificate(Ok(Arc::clone(&certificate))));
        assert_eq!(ClientCertificate::of(&extensions), Ok(Some(certificate)));
        extensions.insert(ClientCertificate(Err("unreadable")));
        assert_eq!(ClientCertificate::of(&extensions), Err("unreadable"));
    }
}
