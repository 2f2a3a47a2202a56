//! How the way to the flags is: what this instance last heard of, and whether the store answers. Shown beside the breakers,
//! since a page that says "all closed" while nothing arrives is the worst of all.

use super::list::before;
use super::view::View;
use crate::board::Scope;
use crate::pulse::Kind;
use cutout_core::Pause;
use maud::{Markup, html};

/// From when on the store's silence is bad, milliseconds: a follower hears of it every 30 s.
const STORE_AGE_MAX_MS: i64 = 90_000;
/// From when on the scheduled run's silence is bad, milliseconds: it runs every minute.
const RECONCILE_AGE_MAX_MS: i64 = 180_000;

/// Says that the scope is paused, if it is.
pub(crate) fn paused(view: &View<'_>, pause: Option<&Pause>) -> Markup {
    let texts = view.texts();
    html! {
        div #paused data-part {
            @if let Some(pause) = pause {
                div.banner {
                    p {
                        strong { (texts.paused) } " " (texts.paused_means) " "
                        (pause.by) ": " q { (pause.why) } ", "
                        (view.until(pause.until_ms.map(crate::api::model::time))) ". "
                        a href=(view.site.at("/pause")) { (texts.pause_change) }
                    }
                }
            }
        }
    }
}

/// How the pipeline is.
pub(crate) fn health(view: &View<'_>, scope: &Scope, unconfirmed: usize) -> Markup {
    let (texts, shared) = (view.texts(), &view.site.api.shared);
    let local_ms = shared.clock.now_ms();
    let reconcile_ms = shared.pulse.age_ms(Kind::Reconcile, local_ms);
    let notification_ms = shared.pulse.age_ms(Kind::Notification, local_ms);
    let heard = |age_ms: Option<i64>| match age_ms {
        Some(age_ms) => html! { (before(view, age_ms)) " " (texts.ago) },
        None => html! { (texts.never_heard) },
    };
    let store_ms = scope.age_ms();
    let lines = [
        (
            texts.store,
            html! { (texts.answered) " " (before(view, store_ms)) " " (texts.ago) },
            store_ms > STORE_AGE_MAX_MS,
        ),
        (
            texts.last_reconcile,
            heard(reconcile_ms),
            shared.pulse.silent_ms(Kind::Reconcile, local_ms) > RECONCILE_AGE_MAX_MS,
        ),
        (texts.last_notification, heard(notification_ms), false),
        (texts.unconfirmed, html! { (unconfirmed) " " (texts.breakers_lower) }, unconfirmed > 0),
        (texts.losses, html! { (scope.synced.losses) }, false),
    ];
    html! {
        section #pipeline .pipeline aria-labelledby="pipeline-title" data-part {
            h2 #pipeline-title { (texts.pipeline) }
            dl {
                @for (name, told, is_bad) in lines {
                    div class=[is_bad.then_some("bad")] {
                        dt { (name) }
                        dd { @if is_bad { strong { (texts.look_at) } " " } (told) }
                    }
                }
            }
            p.quiet { (texts.pipeline_what) }
        }
    }
}
