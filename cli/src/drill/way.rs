//! How the function is asked for a step: at AWS by its invocation, or in this process.

use super::Arguments;
use crate::aws::{Aws, Invoked};
use crate::dispatch::HANDLE_TIMEOUT;
use crate::ended::Failed;
use cutout_lambda::guard::SystemResolver;
use cutout_lambda::{Function, Settings};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Said with each refusal, since the function tells only the service's status.
const STATUSES: &str = "422: the breaker is not declared with drill = true; 409: somebody forces it; 401: the signing secrets differ";

/// The function, and what every step says.
pub(super) struct Way {
    function: Place,
    step: Value,
}

enum Place {
    Aws(Aws, String),
    Here(Box<Function>),
}

impl Way {
    pub(super) async fn open(asked: &Arguments) -> Result<Way, Failed> {
        let by = asked.by.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
        let step = json!({
            "cutout": "drill", "to": asked.callback, "breaker": asked.breaker, "for_secs": asked.for_secs,
            "by": by, "why": asked.why,
        });
        let function = match &asked.function {
            Some(name) => Place::Aws(Aws::of_environment(asked.region.as_deref()).await?, name.clone()),
            None => Place::Here(Box::new(here()?)),
        };
        Ok(Way { function, step })
    }

    /// Asks for one step. `Ok`: the service has committed it.
    pub(super) async fn step(&self, opens: bool) -> Result<(), Failed> {
        let mut event = self.step.clone();
        event["opens"] = json!(opens);
        let told = match &self.function {
            Place::Aws(aws, name) => match aws.invoke(name, &event).await? {
                Invoked::Done => return Ok(()),
                Invoked::Failed(told) => told,
            },
            Place::Here(function) => match function.handle(event, Instant::now() + HANDLE_TIMEOUT).await {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
        };
        Err(Failed::refused(format!("{told} ({STATUSES})")))
    }
}

/// The function with the environment's settings; those of others in this process are passed over.
fn here() -> Result<Function, Failed> {
    let others = ["CUTOUT_REDIS_URL", "CUTOUT_SCOPE", "CUTOUT_URL", "CUTOUT_TOKEN"];
    let of_others = |name: &str| {
        others.contains(&name) || name.starts_with("CUTOUT_DISPATCH_") || name == "CUTOUT_RECONCILE_EVERY"
    };
    let settings = Settings::read(crate::environment().filter(|(name, _)| !of_others(name)));
    Ok(Function::new(settings.map_err(Failed::usage)?, Arc::new(SystemResolver))?)
}
