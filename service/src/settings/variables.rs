//! The variables that the service reads: what the reference tells of each, and the names that are known.

use super::{
    AUDIT_AGE, AUDIT_ENTRIES, BREAKERS, DRAIN, LISTEN, METRICS_LISTEN, OPERATORS, OPERATORS_HEADER,
    OPERATORS_HEADER_FROM, OPERATORS_HEADER_ROLES, OPERATORS_LISTEN, PUBLIC_URL, REDIS_URL, SCOPE,
    SESSION_SECRETS, SIGNING_SECRETS,
};
use cutout_core::reference::{Variable, names};

/// In the order of the reference. The one with `<NAME>` stands for those of notifications, which have a table of their own.
pub const VARIABLES: [Variable; 17] = [
    Variable { name: BREAKERS, default: "required", meaning: "the path of the breakers' file" },
    Variable {
        name: REDIS_URL,
        default: "required",
        meaning: "where the flags are kept: [three forms](#the-redis-url); `memory:` only on a loopback address",
    },
    Variable {
        name: SIGNING_SECRETS,
        default: "required",
        meaning: "`whsec_…`, comma separated; any of them may have signed",
    },
    Variable {
        name: LISTEN,
        default: "`127.0.0.1:8080`",
        meaning: "address and port; TLS ends in front of it",
    },
    Variable {
        name: SCOPE,
        default: "`default`",
        meaning: "the part of the store's key space; callers name the same",
    },
    Variable {
        name: PUBLIC_URL,
        default: "not checked",
        meaning: "the URL that monitors name: callbacks addressed to another are refused",
    },
    Variable {
        name: OPERATORS,
        default: "nobody: no operators' API and page",
        meaning: "`name:sha256-hex:role[:expiry]`, comma separated; role `viewer` or `operator`; see [api.md](api.md)",
    },
    Variable {
        name: OPERATORS_LISTEN,
        default: "`127.0.0.1:8081`",
        meaning: "where the operators' API and page listen, never together with callbacks; TLS ends in front of it",
    },
    Variable {
        name: SESSION_SECRETS,
        default: "drawn at each start",
        meaning: "what sessions of the page are signed with, the same at all instances, 32 characters or more, comma separated: the first signs, any is believed. Make one: `openssl rand -base64 32`; see [page.md](page.md#who-may)",
    },
    Variable {
        name: OPERATORS_HEADER,
        default: "none",
        meaning: "the header in which a proxy names people; this and the next two together, or none of them; see [page.md](page.md#who-may)",
    },
    Variable { name: OPERATORS_HEADER_FROM, default: "none", meaning: "the proxy's own addresses" },
    Variable {
        name: OPERATORS_HEADER_ROLES,
        default: "none",
        meaning: "`name:role` entries, comma separated, for people whom the proxy names",
    },
    Variable {
        name: METRICS_LISTEN,
        default: "no metrics",
        meaning: "where `/metrics` listens, with `/healthz` and `/readyz`: [metrics.md](metrics.md). Anybody who reaches it may read it",
    },
    Variable {
        name: DRAIN,
        default: "`5s`",
        meaning: "how long requests are still taken after SIGTERM, while `/readyz` says 503; 0s to 300s",
    },
    Variable {
        name: "CUTOUT_NOTIFY_<NAME>_…",
        default: "nobody is told",
        meaning: "who is told of transitions: [below](#notifications)",
    },
    Variable { name: AUDIT_AGE, default: "`2160h`", meaning: "how long the history is kept, 1h to 87600h" },
    Variable {
        name: AUDIT_ENTRIES,
        default: "`100000`",
        meaning: "about how many entries of it, 1000 to 10000000; at most 10,000 on `memory:`",
    },
];

/// The names.
pub(super) const KNOWN: [&str; 17] = names(&VARIABLES);
