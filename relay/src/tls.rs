//! Encryption, with certificates from files that may change.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{self, Level};
use crate::log;

/// The certificate in force.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    acceptor: RefCell<TlsAcceptor>,
    /// When the files were changed that are in force.
    changed: RefCell<[Option<SystemTime>; 2]>,
}

impl Tls {
    /// Reads the files; `None` if none are named.
    ///
    /// # Errors
    ///
    /// Says which file is wrong.
    pub(crate) fn start(settings: &config::Tls) -> io::Result<Option<Self>> {
        let Some((certificate, key)) = settings.certificate.clone().zip(settings.key.clone()) else {
            return Ok(None);
        };
        let changed = [changed(&certificate), changed(&key)];
        let acceptor = RefCell::new(load(&certificate, &key)?);
        Ok(Some(Self { certificate, key, acceptor, changed: RefCell::new(changed) }))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.borrow().clone()
    }

    /// Reads the files again if they changed. What is in force stays so while they are wrong.
    pub(crate) fn reload(&self) {
        let found = [changed(&self.certificate), changed(&self.key)];
        if *self.changed.borrow() == found {
            return;
        }
        match load(&self.certificate, &self.key) {
            Ok(acceptor) => {
                *self.acceptor.borrow_mut() = acceptor;
                *self.changed.borrow_mut() = found;
                log::line(Level::Info, "the certificate was read again", &[]);
            }
            Err(error) => log::line(Level::Warn, "the certificate is left as it was", &[("why", &error)]),
        }
    }
}

fn load(certificate: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let told = |path: &Path, error: &dyn std::fmt::Display| {
        io::Error::other(format!("{} is no use: {error}.", path.display()))
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(|chain| chain.collect());
    let chain = chain.map_err(|error| told(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| told(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| told(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
