//! What goes over the wires of the function: every known notification and every known answer of Datadog, judged by
//! what a user relies on. The tables name every fixture; a fixture without a row fails the test.

mod bootstrap;
mod faults;
mod fixtures;
mod notifications;
mod reads;
mod world;
