//! The resolver inside the connector: one lookup an attempt, every address vetted, only vetted ones handed on.
//!
//! Resolving here and not before the request leaves no moment in which a name could change its answer between the
//! judgement and the dial. One refused address refuses the name: who mixes them is trying something.
//! Literal addresses never come here; [`Guard::check`] has judged them.

use super::Guard;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a callback host has no address to dial.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The lookup failed.
    #[error("looking up the callback host {host}")]
    Lookup {
        /// The name looked up.
        host: String,
        /// The resolver's own error.
        #[source]
        source: BoxError,
    },
    /// The lookup found nothing.
    #[error("the callback host {host} has no address; check its DNS records")]
    Empty {
        /// The name looked up.
        host: String,
    },
}

/// The machine's own resolver (`getaddrinfo`: `/etc/hosts`, then DNS).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addrs: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

/// Vets what another resolver answers. An error of it is [`Refused`](super::Refused) or [`ResolveError`].
pub struct VettingResolver {
    guard: Arc<Guard>,
    inner: Arc<dyn Resolve>,
}

impl VettingResolver {
    /// `guard` judges the answers of `inner`.
    #[must_use]
    pub fn new(guard: Arc<Guard>, inner: Arc<dyn Resolve>) -> VettingResolver {
        VettingResolver { guard, inner }
    }
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let guard = Arc::clone(&self.guard);
        let lookup = self.inner.resolve(name);
        Box::pin(async move {
            let answer = match lookup.await {
                Ok(addrs) => addrs.map(|addr| addr.ip()).collect(),
                Err(source) => return Err(ResolveError::Lookup { host, source }.into()),
            };
            vetted(&guard, host, answer)
        })
    }
}

/// The addresses to dial: all of `answer`, or an error. Port and scope of the inner resolver are dropped: port 0 lets
/// the connector put in the URL's, which was checked.
fn vetted(guard: &Guard, host: String, answer: Vec<IpAddr>) -> Result<Addrs, BoxError> {
    if answer.is_empty() {
        return Err(ResolveError::Empty { host }.into());
    }
    answer.iter().try_for_each(|addr| guard.vet_for(&host, *addr))?;
    Ok(Box::new(answer.into_iter().map(|addr| SocketAddr::new(addr, 0))))
}
