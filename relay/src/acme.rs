//! A certificate that is fetched from an authority and renewed in time.
//!
//! The authority proves that a name is ours by a TLS handshake on the port of the WebSockets, which it reaches at port
//! 443 of the name (`tls-alpn-01`, RFC 8737): no second port and no second server.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use rustls_acme::caches::DirCache;
use rustls_acme::{AcmeConfig, EventOk};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Acme, Level};
use crate::{log, private, tls};

/// Starts to fetch a certificate. Until it is there, handshakes of clients fail.
///
/// # Errors
///
/// Says which file is wrong.
pub(crate) fn start(settings: &Acme) -> io::Result<TlsAcceptor> {
    let mut config = AcmeConfig::new_with_provider(&settings.domains, Arc::new(ring::default_provider()))
        .contact(settings.contact.iter().map(|address| mailto(address)))
        .directory(&settings.directory.0);
    if let Some(root) = &settings.root {
        config = config.client_tls_config(Arc::new(trusting(root)?));
    }
    if let Some(cache) = &settings.cache {
        // The keys of account and certificate come into it, in files that all may read who come into the folder.
        private::make_folder(cache).map_err(|error| tls::no_use(cache, &error))?;
    }
    let mut state = config.cache_option(settings.cache.clone().map(DirCache::new)).state();
    let server = tls::server_config()?.with_cert_resolver(state.resolver());
    spawn_local(async move {
        while let Some(event) = state.next().await {
            match event {
                Ok(EventOk::DeployedCachedCert) => {
                    log::line(Level::Info, "the certificate of an earlier run is in force", &[]);
                }
                Ok(EventOk::DeployedNewCert) => log::line(Level::Info, "a new certificate is in force", &[]),
                Ok(EventOk::CertCacheStore | EventOk::AccountCacheStore) => {}
                Err(error) => log::line(Level::Warn, "no certificate yet, trying again", &[("why", &error)]),
            }
        }
    });
    Ok(tls::acceptor(server, &[tls::HTTP, CHALLENGE]))
}

/// Trusts one authority alone.
fn trusting(path: &Path) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in tls::read_certificates(path)? {
        roots.add(certificate).map_err(|error| tls::no_use(path, &error))?;
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn mailto(address: &str) -> String {
    if address.contains(':') { address.into() } else { format!("mailto:{address}") }
}

/// What an authority speaks that looks whether a name is ours; a connection with it is over after the handshake.
pub(crate) const CHALLENGE: &[u8] = b"acme-tls/1";
