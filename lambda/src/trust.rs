//! Which certificate authorities the function trusts: Mozilla's list as it was when the function was built, or those of the
//! file that `SSL_CERT_FILE` names, and then no others.
//!
//! The list is compiled in because reading the machine's certificates at each cold start costs more than the rest of the
//! start. Who has an authority of their own, or another idea of the list, names a file.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::ffi::OsStr;

/// The variable that other programs read too.
const CERT_FILE: &str = "SSL_CERT_FILE";

/// Why no authorities are trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read as PEM.
    #[error("reading the certificates of SSL_CERT_FILE failed")]
    File(#[source] pem::Error),
    /// A certificate of the file is none of an authority.
    #[error("a certificate of SSL_CERT_FILE cannot be used")]
    Certificate(#[source] rustls::Error),
    /// The file holds no certificate.
    #[error("SSL_CERT_FILE holds no certificate")]
    Empty,
}

/// TLS for clients. The process must have installed its rustls crypto provider.
///
/// # Errors
/// [`TrustError`]: the file that `SSL_CERT_FILE` names cannot be used.
pub fn tls() -> Result<ClientConfig, TrustError> {
    let roots = match std::env::var_os(CERT_FILE).filter(|path| !path.is_empty()) {
        Some(path) => of_file(&path)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn of_file(path: &OsStr) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(TrustError::File)? {
        roots.add(certificate.map_err(TrustError::File)?).map_err(TrustError::Certificate)?;
    }
    if roots.is_empty() { Err(TrustError::Empty) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_nothing_to_trust_is_an_error() {
        assert!(matches!(of_file(OsStr::new("/nowhere")), Err(TrustError::File(_))));
        assert!(matches!(of_file(OsStr::new("/dev/null")), Err(TrustError::Empty)));
    }
}
