//! What a door knows of the errors of its own calls, so that a closure which tells success from failure need not.
//!
//! Left out: what the end of a call says about the vendor otherwise (`outcome`).

use super::refusals::Timeout;
use crate::call::CallError;
use std::convert::Infallible;

/// The errors of a door's calls.
pub(crate) trait Ends<E> {
    /// Whether a call ends by itself when its whole time is over, and says so as told by [`Ends::timed_out`]: the engine then needs no timer.
    const KEEPS_TIME: bool = false;

    /// What this crate said of the call further in (a second layer, a lane within), or the error as it was.
    fn within(error: E) -> Result<CallError<Infallible>, E> {
        Err(error)
    }

    /// Which limit ended the call, if the door carries limits out and this is how it says so.
    fn timed_out(_: &E) -> Option<Timeout> {
        None
    }
}

/// Of calls of which the engine knows nothing.
pub(crate) struct Unknown;

impl<E> Ends<E> for Unknown {}
