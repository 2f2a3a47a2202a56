//! A step of a drill: carried out as an order on a breaker that is declared with `drill = true`, and on no other.
//!
//! It goes the way of people's orders, with the caution of somebody who has seen nothing: what a person has decided is
//! neither replaced nor ended by a drill. Ending one that has ended already is success, for a step may come twice.

use crate::Shared;
use crate::order::{self, Caution, OrderError};
use cutout_core::{BreakerId, Drill};
use cutout_flags::StoreError;
use http::StatusCode;

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drilled {
    /// Whether there was anything to do.
    pub(crate) changed: bool,
}

/// Why a step was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untaken {
    /// The breaker is not for drills.
    #[error("breaker {0} is not declared with drill = true")]
    NotForDrills(BreakerId),
    /// Its end has come.
    #[error("the drill's time is over")]
    Over,
    /// The store failed.
    #[error("the store of breakers failed")]
    Store(#[source] StoreError),
    /// As any order may be refused.
    #[error("the order was not carried out")]
    Order(#[source] OrderError),
}

impl Untaken {
    /// The status and what the sender is told.
    pub(crate) fn answer(&self) -> (StatusCode, String) {
        let later =
            || (StatusCode::SERVICE_UNAVAILABLE, "the flags cannot be written now: send it again".to_owned());
        match self {
            Untaken::NotForDrills(_) | Untaken::Over => (StatusCode::UNPROCESSABLE_ENTITY, self.to_string()),
            Untaken::Order(error @ OrderError::Others { .. }) => (StatusCode::CONFLICT, error.to_string()),
            Untaken::Order(
                error @ (OrderError::Unsigned | OrderError::TooManyKeys(_) | OrderError::Over),
            ) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            Untaken::Store(_) | Untaken::Order(_) => later(),
        }
    }
}

impl Untaken {
    /// How it is named in metrics.
    pub(crate) fn result(&self) -> &'static str {
        match self {
            Untaken::NotForDrills(_) => "undeclared",
            Untaken::Over => "over",
            Untaken::Order(OrderError::Others { .. }) => "others",
            Untaken::Order(OrderError::Unsigned | OrderError::TooManyKeys(_) | OrderError::Over) => "refused",
            Untaken::Store(_) | Untaken::Order(_) => "store",
        }
    }
}

/// Carries a step out.
pub(crate) async fn carry_out(shared: &Shared, drill: &Drill) -> Result<Drilled, Untaken> {
    let id = BreakerId::typed(&drill.breaker);
    let breakers = shared.breakers();
    let declaration = breakers.declaration(&id);
    let takes = |declaration: &&cutout_core::Declaration| {
        declaration.policy.drill && declaration.key.len() == id.key_len()
    };
    if declaration.filter(takes).is_none() {
        return Err(Untaken::NotForDrills(id));
    }
    let now_ms = shared.parts.store.read(&[], None).await.map_err(Untaken::Store)?.now_ms;
    let order = drill.order(now_ms).ok_or(Untaken::Over)?;
    match order::obey_with(shared, &id, &order, &Caution::Unseen).await {
        Ok(_) => Ok(Drilled { changed: true }),
        Err(OrderError::NoOverride(_)) => Ok(Drilled { changed: false }),
        Err(error) => Err(Untaken::Order(error)),
    }
}
