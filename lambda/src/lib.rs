//! Cutout's function: a notification comes in, a signed callback goes out.
//!
//! [`Function::handle`] is the program; every stage of it is one named call. [`notification`] reads what arrived,
//! [`guard`] judges where a callback may go, [`datadog`] reads the truth, [`callbacks`] delivers it. The binary
//! `bootstrap` puts it on AWS Lambda.
//!
//! This is the only room that knows Datadog. It keeps no state: what is lost or late is sent again by the next message.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod callbacks;
pub mod datadog;
pub mod function;
pub mod guard;
pub mod notification;
pub mod secrets;
pub mod settings;
pub mod template;
pub mod trust;

pub use function::Function;
pub use settings::Settings;
