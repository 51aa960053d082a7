//! The certificate that came with a request.

use std::sync::Arc;

use http::Extensions;

use crate::domain::certificate::PeerCertificate;

/// The certificate that the caller holds the key of, as an extension of its request; or why what a proxy says about
/// it cannot be read, in words for whoever runs the proxy.
#[derive(Clone, Debug)]
pub(super) struct ClientCertificate(pub(super) Result<Arc<PeerCertificate>, &'static str>);

// === impl ClientCertificate ===

impl ClientCertificate {
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
