//! Why a call was refused, as callers and pages are told.

use serde::Serialize;
use std::fmt;

/// Why a call was refused.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// fake.half_open("bank-charge", &["0001"], 0)?;
/// let refused = fake.client().breaker("bank-charge", &["0001"])?.admit().unwrap_err();
/// assert_eq!(refused.reason(), cutout::Reason::Share);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// A signal holds the breaker open, and the call is no probe.
    Signals,
    /// It is half-open, and the call is not in the admitted share.
    Share,
    /// A person has forced it open.
    Override,
    /// The store has been silent for longer than [`MaxStaleness::OpenAfter`](crate::MaxStaleness::OpenAfter) allows.
    Staleness,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Signals => "by its signals",
            Reason::Share => "and this call is not in the admitted share",
            Reason::Override => "by a person's order",
            Reason::Staleness => "because the store has been silent for too long",
        })
    }
}
