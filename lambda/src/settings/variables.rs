//! The variables that the function reads: what the reference tells of each, and the names that are known.

use super::{
    CALLBACK_ALLOW, CALLBACK_ALLOW_CIDR, CALLBACK_ALLOW_HTTP, CALLBACK_TIMEOUT, DATADOG_URL, DD_API_KEY,
    DD_APP_KEY, DD_SITE, OWN_PREFIX, RECONCILE_TAG, REREAD_AFTER, SIGNING_SECRETS,
};
use cutout_core::reference::Variable;

/// In the order of the reference. Instead of a secret, two further variables may tell where AWS keeps it.
pub const VARIABLES: [Variable; 11] = [
    Variable { name: DD_API_KEY, default: "required", meaning: "Datadog's API key" },
    Variable {
        name: DD_APP_KEY,
        default: "required",
        meaning: "Datadog's application key, with the scopes `monitors_read` and `events_read`",
    },
    Variable { name: DD_SITE, default: "`datadoghq.com`", meaning: "Datadog's site, such as `datadoghq.eu`" },
    Variable {
        name: DATADOG_URL,
        default: "`https://api.<site>`",
        meaning: "another base URL; plain http only on loopback",
    },
    Variable {
        name: SIGNING_SECRETS,
        default: "required",
        meaning: "`whsec_…` for all callbacks, or `host=whsec_…` for one host, comma separated; several of one kind all sign, which is how a secret is rotated. Make one: `echo whsec_$(openssl rand -base64 32)`",
    },
    Variable {
        name: CALLBACK_ALLOW,
        default: "nothing",
        meaning: "hosts that may be called, comma separated `host[:port]`: exact, `*.suffix`, or `*`; port 443 (80 for http) unless given, `:*` any",
    },
    Variable {
        name: CALLBACK_ALLOW_CIDR,
        default: "public addresses",
        meaning: "where these hosts may stand, comma separated. If set, every address must lie in one of the ranges; `0.0.0.0/0,::/0` adds the public ones. Loopback, private, link-local, metadata and CGNAT addresses open only by a range within that special range",
    },
    Variable { name: CALLBACK_ALLOW_HTTP, default: "`false`", meaning: "also plain http" },
    Variable { name: CALLBACK_TIMEOUT, default: "`10s`", meaning: "for one callback" },
    Variable {
        name: REREAD_AFTER,
        default: "`5s`",
        meaning: "where the report does not show yet what the message tells, the monitor is read again after this time, twice at the most, while the invocation has 2 s left beyond it; the report that agrees is sent too. Up to `30s`; `0s`: never. Both fit into the 20 s that `infra/` gives the function",
    },
    Variable {
        name: RECONCILE_TAG,
        default: "`cutout`",
        meaning: "the bare tag that managed monitors bear; a monitor without it is served, and told in the log as unmanaged",
    },
];

/// The names that start with `CUTOUT_`.
pub(super) fn own_names() -> impl Iterator<Item = &'static str> {
    let own = VARIABLES.iter().map(|variable| variable.name).filter(|name| name.starts_with(OWN_PREFIX));
    own.chain(["CUTOUT_SIGNING_SECRETS_SECRET_ARN", "CUTOUT_SIGNING_SECRETS_SSM_NAME"])
}
