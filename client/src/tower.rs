//! The door for tower stacks: a [`Layer`] around any service.
//!
//! The breaker is asked before the service within is waited for, so that a refusal never stands in a line. Errors are boxed, as of tower's
//! own layers; [`told`] finds ours in them.

use crate::breaker::Refused;
use crate::call::CallError;
use crate::door::{Carrier, Protection};
use crate::http::{ByStatus, may_repeat};
use crate::outcome::ByResult;
use crate::upstream::{Ends, Injected, Overflow, Tripped, Upstream};
use ::http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::util::ServiceExt;
use tower::{BoxError, Layer, Service};

/// A layer for requests of any kind. Every `Err` counts as the vendor's failure, and nothing is retried, unless told otherwise.
///
/// ```
/// use cutout::{Client, Upstream};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// struct Charge { bank: String, amount: u64 }
///
/// # let fake = cutout::FakeClient::new(["bank-charge"]);
/// # let client: Client = fake.client();
/// let banks = Upstream::builder("bank-charge").class("charge").build(&client)?;
/// let service = ServiceBuilder::new()
///     .layer(cutout::tower::protect(&banks).key(|charge: &Charge| Some(&charge.bank)))
///     .service(service_fn(async |charge: Charge| Ok::<u64, BoxError>(charge.amount)));
/// let paid = service.oneshot(Charge { bank: "0001".to_owned(), amount: 5 }).await?;
/// assert_eq!(paid, 5);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn protect<Q, A>(upstream: &Upstream) -> Protection<Q, A, BoxError> {
    Protection::new(upstream.clone(), ByResult, |_| None)
}

/// A layer for HTTP requests: 5xx answers and errors are failures, and requests that may be made twice are retried as the upstream is set.
///
/// ```
/// # use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let client = cutout::FakeClient::new(["bank-charge"]).client();
/// let banks = cutout::Upstream::builder("bank-charge").build(&client)?;
/// let service = ServiceBuilder::new()
///     .layer(cutout::tower::protect_http(&banks).key(|request| request.headers().get("x-bank-code")?.to_str().ok()))
///     .service(service_fn(async |request: http::Request<String>| {
///         Ok::<_, BoxError>(http::Response::new(request.into_body()))
///     }));
/// let request = http::Request::get("/rates").header("x-bank-code", "0001").body("EUR".to_owned())?;
/// assert_eq!(service.oneshot(request).await?.into_body(), "EUR");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn protect_http<B, C>(upstream: &Upstream) -> Protection<Request<B>, Response<C>, BoxError>
where
    B: Clone + 'static,
{
    Protection::new(upstream.clone(), ByStatus, |request: &Request<B>| {
        may_repeat(request.method(), request.extensions()).then(|| request.clone())
    })
    .with_headers(Request::headers)
}

/// What this crate has to say in an error of a protected service: that the call was not sent, and why, or that it timed out. None: the error is
/// the service's own.
///
/// ```
/// # use tower::{BoxError, Layer, ServiceExt, service_fn};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let fake = cutout::FakeClient::new(["rates"]);
/// # let rates = cutout::Upstream::builder("rates").build(&fake.client())?;
/// let service = cutout::tower::protect(&rates).layer(service_fn(async |_: ()| Err::<u64, BoxError>("no route".into())));
/// let own = service.clone().oneshot(()).await.unwrap_err();
/// assert!(cutout::tower::told(&own).is_none());
/// fake.open::<&str>("rates", &[])?;
/// let refused = service.oneshot(()).await.unwrap_err();
/// assert!(cutout::tower::told(&refused).is_some_and(|told| told.is_not_sent()));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn told(error: &BoxError) -> Option<&CallError<Infallible>> {
    error.downcast_ref()
}

/// A service behind a [`Protection`]. It is always ready, since the breaker is asked before the service within.
///
/// ```
/// use cutout::tower::{Protected, protect};
/// use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let client = cutout::FakeClient::new(["rates"]).client();
/// let rates = cutout::Upstream::builder("rates").build(&client)?;
/// let mut service: Protected<_, u64, u64> = protect(&rates).layer(service_fn(async |asked: u64| Ok::<_, BoxError>(asked + 1)));
/// assert_eq!(service.ready().await?.call(7).await?, 8);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Protected<S, Q, A> {
    inner: S,
    protection: Protection<Q, A, BoxError>,
}

impl<S: Clone, Q, A> Clone for Protected<S, Q, A> {
    fn clone(&self) -> Self {
        Protected { inner: self.inner.clone(), protection: self.protection.clone() }
    }
}

impl<S, Q, A> Layer<S> for Protection<Q, A, BoxError> {
    type Service = Protected<S, Q, A>;

    fn layer(&self, inner: S) -> Self::Service {
        Protected { inner, protection: self.clone() }
    }
}

impl<S, Q, A> Service<Q> for Protected<S, Q, A>
where
    S: Service<Q, Response = A> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    Q: Send + 'static,
    A: Send + 'static,
{
    type Response = A;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<A, BoxError>> + Send>>;

    /// Always ready: the breaker is asked first, and may have an answer while the service within has none.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let (within, protection) = (Within(self.inner.clone()), self.protection.clone());
        Box::pin(async move {
            protection
                .run(request, within)
                .await
                .map_err(|error| error.split().map_or_else(|own| own, Into::into))
        })
    }
}

/// The service within.
struct Within<S>(S);

impl<S> Ends<BoxError> for Within<S> {
    fn within(error: BoxError) -> Result<CallError<Infallible>, BoxError> {
        error
            .downcast()
            .map(|told: Box<CallError<Infallible>>| *told)
            .or_else(|error| error.downcast().map(|told: Box<Refused>| (*told).into()))
            .or_else(|error| error.downcast().map(|told: Box<Overflow>| (*told).into()))
            .or_else(|error| error.downcast().map(|told: Box<Tripped>| (*told).into()))
            .or_else(|error| error.downcast().map(|told: Box<Injected>| (*told).into()))
    }
}

impl<S, Q> Carrier<Q> for Within<S>
where
    S: Service<Q> + Send,
    S::Error: Into<BoxError>,
    S::Future: Send,
    Q: Send,
{
    type Answer = S::Response;
    type Error = BoxError;

    async fn carry(&mut self, request: Q, _: Duration) -> Result<S::Response, BoxError> {
        let ready = self.0.ready().await.map_err(Into::into)?;
        ready.call(request).await.map_err(Into::into)
    }
}
