//! The door for reqwest: a middleware for `reqwest-middleware`, and a client with the upstream's times around which it stands.
//!
//! The whole call's time also bounds the reading of the body: reqwest keeps it, so that middlewares which wait by themselves belong before this one and
//! not behind it. The bulkhead counts a call until its headers have come.

use crate::breaker::Refused;
use crate::call::CallError;
use crate::door::{Carrier, Protection};
use crate::http::{ByStatus, may_repeat, of_status};
use crate::outcome::{Classify, Outcome};
use crate::upstream::{Ends, Injected, Overflow, Timeout, Tripped, Upstream};
use ::http::Extensions;
use ::http::header::AsHeaderName;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next};
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

/// A middleware: 5xx answers and transport errors are failures, and requests that may be made twice are retried as the upstream is set.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let fake = cutout::FakeClient::new(["bank-charge"]);
/// # let client = fake.client();
/// rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is one")?; // once a program
/// let banks = cutout::Upstream::builder("bank-charge").class("charge").build(&client)?;
/// let http = cutout::reqwest::protect(&banks).key(|asked| asked.header("x-bank-code")).client(reqwest::Client::builder())?;
/// fake.open("bank-charge", &["0001"])?; // in production the monitor does
/// let paid = match http.post("https://bank.example/charges").header("x-bank-code", "0001").send().await {
///     Ok(_answer) => "the bank has answered",
///     Err(error) => match cutout::reqwest::told(&error) {
///         Some(told) if told.is_not_sent() => "nothing was sent: fall back",
///         _ => "ask the bank what became of it",
///     },
/// };
/// assert_eq!(paid, "nothing was sent: fall back");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn protect(upstream: &Upstream) -> Protection<Outgoing, reqwest::Response, Error> {
    Protection::new(upstream.clone(), ByStatus, Outgoing::copy_if_repeatable)
        .with_headers(|outgoing| outgoing.0.request.headers())
}

/// A reqwest client builder with the upstream's times for connecting, for a silent connection, and for unused connections: where other middlewares
/// stand around the client too. Alone, [`Protection::client`] is shorter.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is one")?;
/// # let client = cutout::FakeClient::new(["bank", "country"]).client();
/// # let upstream = |name: &str| cutout::Upstream::builder(name).build(&client);
/// use cutout::reqwest::{client_builder, protect};
///
/// let (bank, country) = (upstream("bank")?, upstream("country")?);
/// let http = reqwest_middleware::ClientBuilder::new(client_builder(&bank).build()?)
///     .with(protect(&country)) // asked first
///     .with(protect(&bank))
///     .build();
/// assert!(http.get("https://bank.example/rates").build().is_ok());
/// # Ok(())
/// # }
/// ```
pub fn client_builder(upstream: &Upstream) -> reqwest::ClientBuilder {
    with_times(reqwest::Client::builder(), upstream)
}

fn with_times(builder: reqwest::ClientBuilder, upstream: &Upstream) -> reqwest::ClientBuilder {
    let settings = upstream.settings();
    let builder =
        builder.connect_timeout(settings.connect_timeout).pool_idle_timeout(settings.pool_idle_timeout);
    match settings.idle_timeout {
        Some(timeout) => builder.read_timeout(timeout),
        None => builder,
    }
}

impl Protection<Outgoing, reqwest::Response, Error> {
    /// The client that `builder` makes, with the upstream's times in the place of its own, behind this protection: in one line what
    /// `reqwest_middleware::ClientBuilder` does with [`client_builder`] and [`Middleware`] in three, and requests need no time-out each.
    ///
    /// With the store gone it sends on, by the last known flags.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is one")?;
    /// # let banks = cutout::Upstream::builder("bank-charge").build(&cutout::FakeClient::new(["bank-charge"]).client())?;
    /// let builder = reqwest::Client::builder().https_only(true);
    /// let http: reqwest_middleware::ClientWithMiddleware = cutout::reqwest::protect(&banks).client(builder)?;
    /// assert!(http.get("https://bank.example/rates").build().is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `builder` has to say: a TLS backend that cannot be had, a setting that contradicts another.
    pub fn client(mut self, builder: reqwest::ClientBuilder) -> reqwest::Result<ClientWithMiddleware> {
        let timeout = self.upstream.settings().request_timeout;
        let client = with_times(builder, &self.upstream).timeout(timeout).build()?;
        self.client_timeout = Some(timeout);
        Ok(ClientBuilder::new(client).with(self).build())
    }
}

/// What this crate has to say in an error: that the call was not sent, and why, or that it timed out. None: the error is another's.
#[must_use]
pub fn told(error: &Error) -> Option<&CallError<Infallible>> {
    match error {
        Error::Middleware(error) => error.downcast_ref(),
        Error::Reqwest(_) => None,
    }
}

/// A request on its way out, with the extensions that it was built with.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is one")?;
/// # let fake = cutout::FakeClient::new(["bank-a", "bank-b"]);
/// # let upstream = |name: &str| cutout::Upstream::builder(name).build(&fake.client());
/// use cutout::reqwest::{Outgoing, protect, told};
///
/// #[derive(Clone)]
/// struct Bank(&'static str);
///
/// let (first, second) = (upstream("bank-a")?, upstream("bank-b")?);
/// let elsewhere = |mut asked: Outgoing| {
///     let _ = asked.request_mut().url_mut().set_host(Some("b.example"));
///     assert_eq!(asked.request().url().as_str(), "https://b.example/charges");
///     asked
/// };
/// let http = protect(&first)
///     .key(|asked| asked.extensions().get().map(|Bank(code)| *code))
///     .failover(second, elsewhere)
///     .client(reqwest::Client::builder())?;
/// fake.open("bank-a", &["0001"])?;
/// fake.open("bank-b", &["0001"])?;
/// let error = http.post("https://a.example/charges").with_extension(Bank("0001")).send().await.unwrap_err();
/// let told = told(&error).ok_or("the error is another's")?.to_string();
/// assert!(told.contains("breaker bank-b/0001 is open"), "{told}");
/// # Ok(())
/// # }
/// ```
///
/// Boxed: a request is large, and is handed through many futures.
#[derive(Debug)]
pub struct Outgoing(Box<Parts>);

#[derive(Debug)]
struct Parts {
    request: reqwest::Request,
    extensions: Extensions,
}

impl Outgoing {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &reqwest::Request {
        &self.0.request
    }

    /// The request, to be changed: its URL, when it goes to a second upstream.
    pub fn request_mut(&mut self) -> &mut reqwest::Request {
        &mut self.0.request
    }

    /// A header's value; none where there is no such header, or it is not of visible ASCII characters. A name that is a
    /// `HeaderName` need not be read each time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is one")?;
    /// # let fake = cutout::FakeClient::new(["bank-charge"]);
    /// # let banks = cutout::Upstream::builder("bank-charge").build(&fake.client())?;
    /// # use cutout::reqwest::{protect, told};
    /// const BANK: http::HeaderName = http::HeaderName::from_static("x-bank-code");
    ///
    /// let http = protect(&banks).key(|asked| asked.header(&BANK)).client(reqwest::Client::builder())?;
    /// fake.open("bank-charge", &["0001"])?;
    /// let error = http.post("https://bank.example/charges").header(BANK, "0001").send().await.unwrap_err();
    /// assert!(told(&error).is_some_and(|told| told.is_not_sent()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.0.request.headers().get(name)?.to_str().ok()
    }

    /// What `RequestBuilder::with_extension` gave it.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    fn new(request: reqwest::Request, extensions: Extensions) -> Outgoing {
        // Straight to its place: by `Box::new` it would be copied once more on the way.
        Outgoing(Box::write(Box::new_uninit(), Parts { request, extensions }))
    }

    fn copy_if_repeatable(&self) -> Option<Outgoing> {
        let Parts { request, extensions } = &*self.0;
        if !may_repeat(request.method(), extensions) {
            return None;
        }
        if request.body().is_some() || request.timeout().is_some() {
            // None too if the body is a stream, which is gone once it was sent.
            return Some(Outgoing::new(request.try_clone()?, extensions.clone()));
        }
        // All other parts: what has extensions of its own was an `http::Request` once, and has a body. `try_clone` would make a map for the time-out that
        // is not there, in three allocations, for each request that might be retried.
        let copy = reqwest::Request::new(request.method().clone(), request.url().clone());
        let mut copy = Outgoing::new(copy, extensions.clone());
        request.headers().clone_into(copy.request_mut().headers_mut());
        *copy.request_mut().version_mut() = request.version();
        Some(copy)
    }
}

impl Classify<Result<reqwest::Response, Error>> for ByStatus {
    fn classify(&self, ended: &Result<reqwest::Response, Error>) -> Outcome {
        match ended {
            Ok(answer) => of_status(answer.status()),
            // A request that could not be built.
            Err(error) if error.is_builder() => Outcome::NotSent,
            Err(_) => Outcome::Failure,
        }
    }
}

/// The answer that a middleware promises.
type Promised<'a> = Pin<Box<dyn Future<Output = reqwest_middleware::Result<reqwest::Response>> + Send + 'a>>;

impl Middleware for Protection<Outgoing, reqwest::Response, Error> {
    /// As `async_trait` would write it, but for the request, which is put in its box before the future is made: it would be most of it.
    fn handle<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: reqwest::Request,
        extensions: &'life1 mut Extensions,
        next: Next<'life2>,
    ) -> Promised<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        let outgoing = Outgoing::new(request, extensions.clone());
        let chain = Chain { next, extensions, client_timeout: self.client_timeout };
        Box::pin(async move {
            let ended = self.run(outgoing, chain).await;
            ended.map_err(|error| error.split().map_or_else(|own| own, Error::middleware))
        })
    }
}

impl Ends<Error> for Chain<'_> {
    /// reqwest's timer bounds the body as well, and a second one would end at the same moment.
    const KEEPS_TIME: bool = true;

    fn within(error: Error) -> Result<CallError<Infallible>, Error> {
        let Error::Middleware(error) = error else { return Err(error) };
        error
            .downcast()
            .or_else(|error| error.downcast().map(|told: Refused| told.into()))
            .or_else(|error| error.downcast().map(|told: Overflow| told.into()))
            .or_else(|error| error.downcast().map(|told: Tripped| told.into()))
            .or_else(|error| error.downcast().map(|told: Injected| told.into()))
            .map_err(Error::Middleware)
    }

    /// What ends the reading of a body comes later, as reqwest's own error.
    fn timed_out(error: &Error) -> Option<Timeout> {
        let limit = if error.is_connect() { Timeout::Connect } else { Timeout::Request };
        error.is_timeout().then_some(limit)
    }
}

/// The rest of the middlewares, and the client at their end.
struct Chain<'a> {
    next: Next<'a>,
    extensions: &'a mut Extensions,
    /// What the client bounds requests by that have no time-out of their own. None: not known.
    client_timeout: Option<Duration>,
}

impl Carrier<Outgoing> for Chain<'_> {
    type Answer = reqwest::Response;
    type Error = Error;

    fn carry(
        &mut self,
        mut outgoing: Outgoing,
        left: Duration,
    ) -> impl Future<Output = Result<reqwest::Response, Error>> + Send {
        let request = outgoing.request_mut();
        let own = request.timeout().copied();
        let timeout = own.map_or(left, |own| left.min(own));
        // reqwest keeps a time-out of one request in a map, which it makes for that.
        if own.or(self.client_timeout) != Some(timeout) {
            *request.timeout_mut() = Some(timeout);
        }
        self.next.clone().run(outgoing.0.request, self.extensions)
    }
}
