//! The secrets that every test uses. All hold the word that `tests/canaries` looks for in everything that the run
//! printed and logged, in plain text or inside base64.

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
/// A Redis password.
pub const REDIS_PASSWORD: &str = "canary-secret-redis-password";
