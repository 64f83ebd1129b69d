//! Encryption, with a certificate from files that may change, or one that is fetched.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WantsServerCert;
use tokio_rustls::rustls::{ConfigBuilder, Error, ServerConfig};

use crate::config::{self, Level, Settings};
use crate::{acme, log};

/// The certificate in force.
pub(crate) struct Tls {
    acceptor: RefCell<TlsAcceptor>,
    /// What it was read from; absent where it is fetched.
    files: Option<RefCell<Files>>,
}

/// Files, and when those were changed that are in force.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    changed: [Option<SystemTime>; 2],
}

impl Tls {
    /// Reads the files, or starts to fetch a certificate; `None` if neither is asked for.
    ///
    /// # Errors
    ///
    /// Says which file is wrong.
    pub(crate) fn start(settings: &Settings) -> io::Result<Option<Self>> {
        if !settings.acme.domains.is_empty() {
            let acceptor = RefCell::new(acme::start(&settings.acme)?);
            return Ok(Some(Self { acceptor, files: None }));
        }
        let Some(files) = Files::look(&settings.tls) else { return Ok(None) };
        let acceptor = RefCell::new(files.load()?);
        Ok(Some(Self { acceptor, files: Some(RefCell::new(files)) }))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.borrow().clone()
    }

    /// Reads the files again if they are others or changed. What is in force stays so while they are wrong.
    pub(crate) fn reload(&self, settings: &config::Tls) {
        let Some((files, found)) = self.files.as_ref().zip(Files::look(settings)) else { return };
        if *files.borrow() == found {
            return;
        }
        match found.load() {
            Ok(acceptor) => {
                *self.acceptor.borrow_mut() = acceptor;
                *files.borrow_mut() = found;
                log::line(Level::Info, "the certificate was read again", &[]);
            }
            Err(error) => log::line(Level::Warn, "the certificate is left as it was", &[("why", &error)]),
        }
    }
}

/// Reads the files without using them.
///
/// # Errors
///
/// Says which file is wrong.
pub(crate) fn check(settings: &config::Tls) -> io::Result<()> {
    Files::look(settings).map_or(Ok(()), |files| files.load().map(drop))
}

impl Files {
    fn look(settings: &config::Tls) -> Option<Self> {
        let (certificate, key) = settings.certificate.clone().zip(settings.key.clone())?;
        let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        let changed = [changed(&certificate), changed(&key)];
        Some(Self { certificate, key, changed })
    }

    fn load(&self) -> io::Result<TlsAcceptor> {
        let chain = read_certificates(&self.certificate)?;
        let private =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| unread(&self.key, "key", &error))?;
        let config = server_config()?.with_single_cert(chain, private).map_err(|error| match error {
            Error::InconsistentKeys(_) => io::Error::other(format!(
                "{} is not the key of the certificate in {}.",
                self.key.display(),
                self.certificate.display()
            )),
            error => no_use(&self.certificate, &error),
        })?;
        Ok(acceptor(config, &[HTTP]))
    }
}

/// Begins the configuration of a server without clients that prove who they are.
pub(crate) fn server_config() -> io::Result<ConfigBuilder<ServerConfig, WantsServerCert>> {
    Ok(ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth())
}

/// Completes it with what is spoken.
pub(crate) fn acceptor(mut config: ServerConfig, protocols: &[&[u8]]) -> TlsAcceptor {
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Reads the certificates of a PEM file.
pub(crate) fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(|chain| chain.collect());
    let chain =
        chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
    chain.map_err(|error| unread(path, "certificate", &error))
}

fn unread(path: &Path, what: &str, error: &pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => io::Error::other(format!("{} cannot be read: {error}.", path.display())),
        pem::Error::NoItemsFound => io::Error::other(format!("{} holds no {what} (PEM).", path.display())),
        error => no_use(path, error),
    }
}

pub(crate) fn no_use(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{} is no use: {error}.", path.display()))
}

/// What is spoken over TLS.
pub(crate) const HTTP: &[u8] = b"http/1.1";
