//! The frame of every page: head, way to the content, where to go, who is there; and the pages that are no more than that.

use super::view::View;
use super::{Site, Visitor, assets, fields};
use crate::api::problem::Problem;
use crate::operators::Role;
use maud::{DOCTYPE, Markup, html};

/// What a page is.
pub(crate) const HTML: &str = "text/html; charset=utf-8";
/// The stream of changes that the script follows.
const CHANGES: &str = "/v1/changes";

/// An HTML page.
pub(crate) struct Html(Markup);

impl axum::response::IntoResponse for Html {
    fn into_response(self) -> axum::response::Response {
        axum::response::Html(self.0.into_string()).into_response()
    }
}

/// Which part of the page one is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Breakers,
    History,
    Pause,
}

/// A page with its content.
pub(crate) fn page(view: &View<'_>, part: Part, title: &str, content: &Markup) -> Html {
    let (site, texts) = (view.site, view.texts());
    let link = |to: Part, path: &str, text: &str| {
        html! { a href=(site.at(path)) aria-current=[(to == part).then_some("page")] { (text) } }
    };
    let top = html! {
        nav aria-label=(texts.parts) {
            (link(Part::Breakers, "/", texts.breakers))
            (link(Part::History, "/history", texts.history))
            (link(Part::Pause, "/pause", texts.pause))
        }
        (who(view))
    };
    let live = html! {
        p #live .live role="status" data-waiting=(texts.live_waiting) data-live=(texts.live_on)
            data-broken=(texts.live_broken) data-ended=(texts.live_ended) {
            noscript { (texts.no_script) }
        }
        p #news .unseen role="status" aria-live="polite" data-one=(texts.news_one) data-many=(texts.news_many)
            data-open=(texts.open) data-half-open=(texts.half_open) data-closed=(texts.closed) {}
    };
    let body = html! { (live) (content) };
    Html(frame(site, Some(&site.at(CHANGES)), title, &top, &body))
}

/// Who is there, and the way out.
fn who(view: &View<'_>) -> Markup {
    let (site, texts, visitor) = (view.site, view.texts(), view.visitor);
    let role = match visitor.operator.role {
        Role::Viewer => texts.viewer,
        Role::Operator => texts.operator,
    };
    html! {
        div.who {
            span { (visitor.operator.name) " " span.quiet { "(" (role) ")" } }
            @if visitor.has_session {
                form method="post" action=(site.at("/logout")) {
                    input type="hidden" name=(fields::FORM_TOKEN) value=(view.form_token());
                    button.plain type="submit" { (texts.sign_out) }
                }
            }
        }
    }
}

/// Everything around a page's own. `changes`: what its script follows.
fn frame(site: &Site, changes: Option<&str>, title: &str, top: &Markup, body: &Markup) -> Markup {
    let texts = site.texts;
    html! {
        (DOCTYPE)
        html lang=(texts.language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · " (texts.cutout) }
                link rel="icon" type="image/svg+xml" href=(site.at(&assets::path("sign.svg")));
                link rel="stylesheet" href=(site.at(&assets::path("page.css")));
                @if changes.is_some() { script src=(site.at(&assets::path("page.js"))) defer {} }
            }
            body data-changes=[changes] {
                a.skip href="#content" { (texts.skip) }
                header.top {
                    a.sign href=(site.at("/")) { (texts.cutout) }
                    (top)
                }
                main #content tabindex="-1" { (body) }
            }
        }
    }
}

/// The form to come in by; `refused` tells why the last try failed.
pub(crate) fn login(site: &Site, next: &str, refused: Option<&str>) -> Html {
    let texts = site.texts;
    let body = html! {
        section.narrow {
            h1 { (texts.sign_in) }
            @if let Some(refused) = refused { p.failed role="alert" { (refused) } }
            form method="post" action=(site.at("/login")) {
                input type="hidden" name="next" value=(next);
                label for="token" { (texts.token) }
                input #token type="password" name="token" required autocomplete="current-password" autofocus
                    aria-describedby="token-what" spellcheck="false" maxlength="512";
                p #token-what .quiet { (texts.token_what) }
                button type="submit" { (texts.sign_in) }
            }
        }
    };
    Html(frame(site, None, texts.sign_in, &html! {}, &body))
}

/// A page that asks for itself: the browser then knows that it is us who ask.
pub(crate) fn again(site: &Site) -> Html {
    let texts = site.texts;
    Html(html! {
        (DOCTYPE)
        html lang=(texts.language) {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content="0";
                title { (texts.cutout) }
            }
            body { p { a href="" { (texts.go_on) } } }
        }
    })
}

/// What is shown in the place of a page that failed.
pub(crate) fn failure(site: &Site, visitor: Option<&Visitor>, problem: &Problem, request_id: &str) -> Markup {
    let texts = site.texts;
    let body = html! {
        section.narrow {
            h1 { (texts.failed) }
            p.failed role="alert" { (texts.problem(problem.code(), problem.detail())) }
            p.quiet { (texts.request) " " code { (request_id) } }
            p { a href=(site.at("/")) { (texts.to_breakers) } }
        }
    };
    match visitor {
        Some(visitor) => {
            let view = View::new(site, visitor);
            frame(site, None, texts.failed, &who(&view), &body)
        }
        None => frame(site, None, texts.failed, &html! {}, &body),
    }
}
