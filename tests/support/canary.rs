//! The secrets that every test uses. All hold the word that `tests/canaries` looks for in everything that the run
//! printed and logged, in plain text or inside base64.

use sha2::{Digest, Sha256};

/// A Datadog API key.
pub const DD_API_KEY: &str = "canary-secret-dd-api-key";
/// A Datadog application key.
pub const DD_APP_KEY: &str = "canary-secret-dd-app-key";
/// What these are rotated to.
pub const NEXT_DD_API_KEY: &str = "canary-secret-next-dd-api-key";
/// What these are rotated to.
pub const NEXT_DD_APP_KEY: &str = "canary-secret-next-dd-app-key";
/// What AWS Lambda gives a function to show to its extensions.
pub const SESSION_TOKEN: &str = "canary-secret-session-token";
/// A signing secret: `canary-secret-signing-key-number-1`.
pub const SIGNING_SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC1zaWduaW5nLWtleS1udW1iZXItMQ==";
/// Another one: `canary-secret-signing-key-number-2`.
pub const OTHER_SIGNING_SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC1zaWduaW5nLWtleS1udW1iZXItMg==";
/// A third one: `canary-secret-signing-key-number-3`.
pub const THIRD_SIGNING_SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC1zaWduaW5nLWtleS1udW1iZXItMw==";
/// What Datadog's webhook shows to `cutout dispatch`.
pub const DISPATCH_SECRET: &str = "canary-secret-of-the-dispatch-door-1";
/// Another one.
pub const OTHER_DISPATCH_SECRET: &str = "canary-secret-of-the-dispatch-door-2";
/// A Redis password.
pub const REDIS_PASSWORD: &str = "canary-secret-redis-password";
/// An operator's token.
pub const OPERATOR_TOKEN: &str = "canary-secret-operator-token-of-ann";
/// Another operator's.
pub const OTHER_OPERATOR_TOKEN: &str = "canary-secret-operator-token-of-bob";
/// A viewer's.
pub const VIEWER_TOKEN: &str = "canary-secret-viewer-token-of-vic";
/// An operator's whose time is over.
pub const EXPIRED_TOKEN: &str = "canary-secret-operator-token-of-old";

/// `ann` and `bob` may decide, `vic` may look, `old` might until his token expired: as the setting spells it.
#[must_use]
pub fn operators() -> String {
    let entry = |name: &str, token: &str, role: &str, expiry: &str| {
        let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}:{hash}:{role}{expiry}")
    };
    [
        entry("ann", OPERATOR_TOKEN, "operator", ""),
        entry("bob", OTHER_OPERATOR_TOKEN, "operator", ""),
        entry("vic", VIEWER_TOKEN, "viewer", ":2999-01-01"),
        entry("old", EXPIRED_TOKEN, "operator", ":2026-01-01T00:00:00Z"),
    ]
    .join(",")
}
