//! How the requests of an HTTP client or a tower stack go through an upstream: what tower's layer and reqwest's middleware have in common.
//!
//! A request tells its key, whether it may be made twice, and how it is sent elsewhere; its answer tells success from failure. Each is a
//! closure with a default. Left out: sending, which each door does its own way.

use crate::call::CallError;
use crate::calls::Ended;
use crate::outcome::{Classify, Outcome};
use crate::tally::Aside;
use crate::upstream::{Ends, Lane, Tries, Try, Upstream};
use cutout_core::Mark;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

type Value<Q> = Arc<dyn for<'a> Fn(&'a Q) -> Option<&'a str> + Send + Sync>;
type Values<Q> = Arc<dyn Fn(&Q) -> Vec<String> + Send + Sync>;
type Bears<Q> = Arc<dyn Fn(&Q, &Mark) -> bool + Send + Sync>;
type Judge<A, E> = Arc<dyn Fn(&Result<A, E>) -> Outcome + Send + Sync>;
type Copier<Q> = Arc<dyn Fn(&Q) -> Option<Q> + Send + Sync>;
type Rewrite<Q> = Arc<dyn Fn(Q) -> Q + Send + Sync>;
type FallBack<A, E> = Arc<dyn Fn(&CallError<E>) -> Option<A> + Send + Sync>;

/// How requests `Q` that are answered by `A` or end in `E` go through an [`Upstream`]. Made by the doors: `cutout::tower::protect`,
/// `cutout::tower::protect_http`, `cutout::reqwest::protect`.
///
/// Nothing here needs the store: with it gone requests go by the last known flags.
///
/// ```
/// # #[cfg(not(feature = "tower"))]
/// # fn main() {}
/// # #[cfg(feature = "tower")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// use cutout::{FakeClient, Outcome, Protection, Retries, Upstream};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// #[derive(Clone)]
/// struct Charge { bank: &'static str, via: &'static str }
///
/// let fake = FakeClient::new(["bank-a", "bank-b"]);
/// let first = Upstream::builder("bank-a").retries(Retries::up_to(1)).build(&fake.client())?;
/// let second = Upstream::builder("bank-b").build(&fake.client())?;
/// let layer: Protection<Charge, String, BoxError> = cutout::tower::protect(&first)
///     .key(|charge: &Charge| Some(charge.bank))
///     .classify(|answer: &Result<String, BoxError>| match answer {
///         Ok(text) if text == "try later" => Outcome::Failure,
///         Ok(_) => Outcome::Success,
///         Err(_) => Outcome::Failure,
///     })
///     .retry_with(|charge| Some(charge.clone())) // these may be made twice
///     .failover(second, |charge| Charge { via: "b", ..charge })
///     .fall_back(|error| error.is_not_sent().then(|| "queued".to_owned()));
/// let send = async |charge: Charge| Ok::<_, BoxError>(format!("charged by {}", charge.via));
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(send));
///
/// let charge = Charge { bank: "0001", via: "a" };
/// assert_eq!(service.clone().oneshot(charge.clone()).await?, "charged by a");
/// fake.open("bank-a", &["0001"])?;
/// assert_eq!(service.clone().oneshot(charge.clone()).await?, "charged by b");
/// fake.open("bank-b", &["0001"])?;
/// assert_eq!(service.oneshot(charge).await?, "queued");
/// # Ok(())
/// # }
/// ```
pub struct Protection<Q, A, E> {
    pub(crate) upstream: Upstream,
    key: Key<Q>,
    /// Whether a request bears the header that a fault is for.
    bears: Bears<Q>,
    judge: Judge<A, E>,
    copy: Copier<Q>,
    second: Option<Arc<Second<Q>>>,
    fall_back: FallBack<A, E>,
    /// What the client that sends bounds every request by. None: not known.
    #[cfg(feature = "reqwest")]
    pub(crate) client_timeout: Option<Duration>,
}

/// Where the key stands in a request.
enum Key<Q> {
    None,
    /// Borrowed: the way of nearly every request, which then allocates nothing for it.
    One(Value<Q>),
    Many(Values<Q>),
}

impl<Q> Key<Q> {
    fn lane(&self, upstream: &Upstream, request: &Q) -> Lane {
        match self {
            Key::None => upstream.lane::<&str>(&[]),
            Key::One(value) => upstream.lane(value(request).as_slice()),
            Key::Many(values) => upstream.lane(&values(request)),
        }
    }
}

/// Where requests go while the breaker refuses them.
struct Second<Q> {
    upstream: Upstream,
    /// None: the first one's, unless the breakers are declared without a key.
    key: Option<Values<Q>>,
    rewrite: Rewrite<Q>,
}

impl<Q> Second<Q> {
    fn lane(&self, request: &Q, first: &Key<Q>) -> Lane {
        match &self.key {
            Some(key) => self.upstream.lane(&key(request)),
            None if self.upstream.is_keyless() => self.upstream.lane::<&str>(&[]),
            None => first.lane(&self.upstream, request),
        }
    }
}

impl<Q, A, E> Protection<Q, A, E> {
    pub(crate) fn new(
        upstream: Upstream,
        classify: impl Classify<Result<A, E>> + Send + Sync + 'static,
        copy: impl Fn(&Q) -> Option<Q> + Send + Sync + 'static,
    ) -> Protection<Q, A, E> {
        Protection {
            upstream,
            key: Key::None,
            bears: Arc::new(|_, _| false),
            judge: Arc::new(move |result| classify.classify(result)),
            copy: Arc::new(copy),
            second: None,
            fall_back: Arc::new(|_| None),
            #[cfg(feature = "reqwest")]
            client_timeout: None,
        }
    }

    /// The key's one value, from the request; a breaker without key, which is the default, needs none. Keys of several values:
    /// [`Protection::key_values`]. A request without the key that its breaker is declared with goes by a breaker that nothing opens, but not without
    /// time-outs and bulkhead; the log tells it, once, and `cutout_client_undeclared_total`.
    ///
    /// From a header and from an extension: `cutout::reqwest`. From the path:
    ///
    /// ```
    /// # #[cfg(not(feature = "tower"))]
    /// # fn main() {}
    /// # #[cfg(feature = "tower")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// # use tower::{BoxError, Layer, ServiceExt, service_fn};
    /// # let fake = cutout::FakeClient::new(["bank-charge"]);
    /// # let banks = cutout::Upstream::builder("bank-charge").build(&fake.client())?;
    /// # let send = service_fn(async |_: http::Request<String>| Ok::<_, BoxError>(http::Response::new(String::new())));
    /// // /banks/0001/charges
    /// let service = cutout::tower::protect_http(&banks)
    ///     .key(|asked: &http::Request<String>| asked.uri().path().split('/').nth(2))
    ///     .layer(send);
    /// fake.open("bank-charge", &["0001"])?;
    /// let asked = |bank: &str| http::Request::post(format!("/banks/{bank}/charges")).body(String::new());
    /// assert!(service.clone().oneshot(asked("0001")?).await.is_err());
    /// assert!(service.oneshot(asked("0002")?).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key(mut self, value: impl for<'a> Fn(&'a Q) -> Option<&'a str> + Send + Sync + 'static) -> Self {
        self.key = Key::One(Arc::new(value));
        self
    }

    /// [`Protection::key`] for keys of several values, in declared order, or of one that does not stand in the request as it is.
    ///
    /// ```
    /// # #[cfg(not(feature = "tower"))]
    /// # fn main() {}
    /// # #[cfg(feature = "tower")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// # use tower::{BoxError, Layer, ServiceExt, service_fn};
    /// # let fake = cutout::FakeClient::new(["network"]);
    /// # let networks = cutout::Upstream::builder("network").build(&fake.client())?;
    /// # let send = service_fn(async |(network, _): (&str, u32)| Ok::<_, BoxError>(network.to_owned()));
    /// let service = cutout::tower::protect(&networks)
    ///     .key_values(|(network, region): &(&str, u32)| vec![(*network).to_owned(), region.to_string()])
    ///     .layer(send);
    /// fake.open("network", &["visa", "81"])?;
    /// assert!(service.clone().oneshot(("visa", 81)).await.is_err());
    /// assert_eq!(service.oneshot(("visa", 44)).await?, "visa");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key_values(mut self, values: impl Fn(&Q) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.key = Key::Many(Arc::new(values));
        self
    }

    /// For requests with headers.
    pub(crate) fn with_headers(
        mut self,
        headers: impl Fn(&Q) -> &http::HeaderMap + Send + Sync + 'static,
    ) -> Self {
        self.bears = Arc::new(move |request, mark| bears(headers(request), mark));
        self
    }

    /// What an answer says about the vendor, in the place of the door's default.
    #[must_use]
    pub fn classify(mut self, classify: impl Classify<Result<A, E>> + Send + Sync + 'static) -> Self {
        self.judge = Arc::new(move |result| classify.classify(result));
        self
    }

    /// Whether a request may be made twice, in the place of the door's default: a copy of it for the next try, or none.
    #[must_use]
    pub fn retry_with(mut self, copy: impl Fn(&Q) -> Option<Q> + Send + Sync + 'static) -> Self {
        self.copy = Arc::new(copy);
        self
    }

    /// Where requests go while the breaker refuses them: to the second upstream's lane of the same key (of none, if its breakers are declared without
    /// one), as `rewrite` makes them. Only when it is certain that nothing was sent to the first.
    #[must_use]
    pub fn failover(mut self, second: Upstream, rewrite: impl Fn(Q) -> Q + Send + Sync + 'static) -> Self {
        self.second = Some(Arc::new(Second { upstream: second, key: None, rewrite: Arc::new(rewrite) }));
        self
    }

    /// [`Protection::failover`] to the lane of another key than the first one's, from the request as it was before `rewrite`.
    ///
    /// ```
    /// # #[cfg(not(feature = "tower"))]
    /// # fn main() {}
    /// # #[cfg(feature = "tower")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// # use tower::{BoxError, Layer, ServiceExt, service_fn};
    /// # let fake = cutout::FakeClient::new(["bank", "network"]);
    /// # let upstream = |name: &str| cutout::Upstream::builder(name).build(&fake.client());
    /// # let send = service_fn(async |(_, card): (&str, &str)| Ok::<_, BoxError>(card.to_owned()));
    /// let service = cutout::tower::protect(&upstream("bank")?)
    ///     .key(|(bank, _): &(&str, &str)| Some(bank))
    ///     .failover_by(upstream("network")?, |(_, card)| vec![(*card).to_owned()], |charge| charge)
    ///     .layer(send);
    /// fake.open("bank", &["0001"])?;
    /// assert_eq!(service.clone().oneshot(("0001", "visa")).await?, "visa");
    /// fake.open("network", &["visa"])?;
    /// assert!(service.oneshot(("0001", "visa")).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn failover_by(
        mut self,
        second: Upstream,
        key: impl Fn(&Q) -> Vec<String> + Send + Sync + 'static,
        rewrite: impl Fn(Q) -> Q + Send + Sync + 'static,
    ) -> Self {
        let (key, rewrite) = (Some(Arc::new(key) as Values<Q>), Arc::new(rewrite));
        self.second = Some(Arc::new(Second { upstream: second, key, rewrite }));
        self
    }

    /// The answer in the place of an error; `None` leaves the error. Comes after retries and failover.
    #[must_use]
    pub fn fall_back(
        mut self,
        fallback: impl Fn(&CallError<E>) -> Option<A> + Send + Sync + 'static,
    ) -> Self {
        self.fall_back = Arc::new(fallback);
        self
    }

    /// The whole way of one request.
    pub(crate) async fn run<C: Carrier<Q, Answer = A, Error = E>>(
        &self,
        request: Q,
        mut carrier: C,
    ) -> Result<A, CallError<E>> {
        let lane = self.key.lane(&self.upstream, &request);
        let result = self.try_all(request, &lane, &mut carrier).await;
        result.or_else(|error| {
            let answer = (self.fall_back)(&error).ok_or(error)?;
            lane.breaker().tally().aside(Aside::Fallback);
            Ok(answer)
        })
    }

    async fn try_all<C: Carrier<Q, Answer = A, Error = E>>(
        &self,
        mut request: Q,
        lane: &Lane,
        carrier: &mut C,
    ) -> Result<A, CallError<E>> {
        let mut second = self.second.as_deref();
        let elsewhere = OnceLock::new();
        let may_retry = self.upstream.retries() || second.is_some_and(|second| second.upstream.retries());
        let mut copy = may_retry.then(|| (self.copy)(&request)).flatten();
        let started = Instant::now();
        let tries = if copy.is_some() { Tries::many(lane, started) } else { Tries::once(lane, started) };
        let mut tries = tries.injected(|mark| (self.bears)(&request, mark));
        let judge = |result: &Result<A, E>| (self.judge)(result);
        let mut last: Option<Box<Result<A, CallError<E>>>> = None;
        loop {
            let one = match tries.enter().await {
                Ok(one) => one,
                Err(not_sent) => match second.take() {
                    Some(second) if not_sent.fails_over() && last.is_none() => {
                        tries = tries.fail_over(elsewhere.get_or_init(|| second.lane(&request, &self.key)));
                        (request, copy) =
                            ((second.rewrite)(request), copy.map(|copy| (second.rewrite)(copy)));
                        tries = tries.injected(|mark| (self.bears)(&request, mark));
                        continue;
                    }
                    _ => return last.map_or_else(|| Err(not_sent.into()), |last| *last),
                },
            };
            let (result, ended) = sent(one, carrier, request, &judge).await;
            let again = copy.is_some() && tries.again(ended).await;
            let Some(next) = copy.take().filter(|_| again) else { return result };
            copy = (self.copy)(&next);
            (request, last) = (next, Some(Box::new(result)));
        }
    }
}

/// One try of one request. Not spelled out where it is awaited: what is looked at there stays in the future of the whole call.
fn sent<'a, Q, C: Carrier<Q>>(
    one: Try<'a>,
    carrier: &'a mut C,
    request: Q,
    judge: &'a impl Classify<Result<C::Answer, C::Error>>,
) -> impl Future<Output = (Result<C::Answer, CallError<C::Error>>, Ended)> {
    let left = one.left();
    one.run::<C, _, _, _>(carrier.carry(request, left), judge)
}

/// Whether headers bear what a fault is for.
fn bears(headers: &http::HeaderMap, mark: &Mark) -> bool {
    let mut values = headers.get_all(&*mark.name).iter();
    match &mark.value {
        Some(wanted) => values.any(|value| value.as_bytes() == wanted.as_bytes()),
        None => values.next().is_some(),
    }
}

/// Sends one request by a door's own means.
pub(crate) trait Carrier<Q>: Ends<Self::Error> {
    type Answer;
    type Error;

    /// `left`: what is left of the whole call's time.
    fn carry(
        &mut self,
        request: Q,
        left: Duration,
    ) -> impl Future<Output = Result<Self::Answer, Self::Error>> + Send;
}

impl<Q> Clone for Key<Q> {
    fn clone(&self) -> Self {
        match self {
            Key::None => Key::None,
            Key::One(value) => Key::One(Arc::clone(value)),
            Key::Many(values) => Key::Many(Arc::clone(values)),
        }
    }
}

impl<Q, A, E> Clone for Protection<Q, A, E> {
    fn clone(&self) -> Self {
        Protection {
            upstream: self.upstream.clone(),
            key: self.key.clone(),
            bears: Arc::clone(&self.bears),
            judge: Arc::clone(&self.judge),
            copy: Arc::clone(&self.copy),
            second: self.second.clone(),
            fall_back: Arc::clone(&self.fall_back),
            #[cfg(feature = "reqwest")]
            client_timeout: self.client_timeout,
        }
    }
}

impl<Q, A, E> fmt::Debug for Protection<Q, A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protection").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}
