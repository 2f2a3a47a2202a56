//! Who may: nobody without a session, nobody by another site's form, and a session opens the page alone.

use cutout_tests::canary;
use cutout_tests::rig::{Answer, Instance, Kept, MONITOR, Rig, Who, answer, until};
use reqwest::header::{COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};

pub(crate) const SECRET: &str = "canary-secret-of-sessions-of-this-test";

/// A browser without a window: it follows nothing by itself.
pub(crate) fn request(at: &Instance, method: Method, path: &str) -> RequestBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    client.request(method, format!("http://{}{path}", at.operators_at()))
}

pub(crate) fn origin(at: &Instance) -> String {
    format!("http://{}", at.operators_at())
}

pub(crate) fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let coded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let body = fields.iter().map(|(name, value)| format!("{name}={}", coded(value))).collect::<Vec<_>>();
    request.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"))
}

async fn sign_in(at: &Instance, token: &str) -> Answer {
    let login = request(at, Method::POST, "/login").header(ORIGIN, origin(at));
    answer(form(login, &[("token", token), ("next", "/?state=open")])).await
}

/// The cookie of a new session.
pub(crate) async fn session(at: &Instance, who: Who) -> String {
    let answered = sign_in(at, who.token().unwrap()).await;
    assert_eq!((answered.status, answered.header(LOCATION.as_str())), (303, "/?state=open"), "{answered:?}");
    answered.header(SET_COOKIE.as_str()).split(';').next().unwrap().to_owned()
}

pub(crate) async fn page(at: &Instance, cookie: &str, path: &str) -> Answer {
    answer(request(at, Method::GET, path).header(COOKIE, cookie)).await
}

/// The token that the forms of a page carry.
pub(crate) fn form_token(page: &Answer) -> String {
    let (_, rest) = page.text.split_once("name=\"form_token\" value=\"").expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

const FORCE: [(&str, &str); 4] = [("act", "force"), ("state", "open"), ("why", "a drill"), ("until", "30m")];
const BREAKER: &str = "/breakers/bank-charge/0001";

async fn is_forced(at: &Instance) -> bool {
    at.get(Who::Vic, "/v1/breakers?overridden=true").await.body["total"] == 1
}

#[tokio::test]
async fn nobody_sees_anything_without_coming_in() {
    let rig = Rig::start(Kept::Memory).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    for path in ["/", "/?state=open", BREAKER, "/history", "/pause", "/breakers/none"] {
        for cookie in ["", "cutout-session=1.x.y.z", "__Host-cutout-session=x"] {
            let away = page(&rig, cookie, path).await;
            let coded: String = path
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect();
            assert_eq!(
                (away.status, away.header("location")),
                (303, &*format!("/login?next={coded}")),
                "{path}"
            );
            assert!(!away.text.contains("bank-charge"), "{away:?}");
        }
    }
    let way_in = page(&rig, "", "/login").await;
    assert!(way_in.status == 200 && !way_in.text.contains("bank-charge"), "{way_in:?}");
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let refused = answer(request(&rig, method.clone(), "/").header(ORIGIN, origin(&rig))).await;
        assert!([303, 405].contains(&refused.status), "{method} {refused:?}");
    }
    assert_eq!(page(&rig, "", "/no-such-page").await.status, 401, "what is not there is told to nobody");
    assert_eq!(page(&rig, "", "/assets/none").await.status, 404);
}

#[tokio::test]
async fn every_answer_of_the_page_says_what_it_may_load_and_who_may_show_it() {
    let rig = Rig::start(Kept::Memory).await;
    let cookie = session(&rig, Who::Vic).await;
    for path in ["/", "/login", "/history", "/breakers/none", "/assets/page.css", "/?state=ajar"] {
        let shown = page(&rig, &cookie, path).await;
        let policy = shown.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(shown.header("x-content-type-options"), "nosniff");
        assert_eq!(shown.header("referrer-policy"), "same-origin");
        let kept = if path.starts_with("/assets") { "public, max-age=86400" } else { "no-store" };
        assert_eq!(shown.header("cache-control"), kept, "{path}");
        assert!(!shown.header("x-request-id").is_empty());
        assert!(!shown.text.contains("style=\"") && !shown.text.contains("onclick"), "{path}");
    }
}

#[tokio::test]
async fn a_token_opens_a_session_and_nothing_else_does() {
    let rig = Rig::start(Kept::Memory).await;
    let answered = sign_in(&rig, canary::OPERATOR_TOKEN).await;
    let cookie = answered.header("set-cookie");
    assert!(cookie.starts_with("cutout-session=1."), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"), "{cookie}");
    for wrong in ["", "short", canary::EXPIRED_TOKEN, "no-such-canary-secret-token-at-all"] {
        let refused = sign_in(&rig, wrong).await;
        assert_eq!((refused.status, refused.header("set-cookie")), (401, ""), "{wrong}");
        assert!(refused.text.contains("This token is not accepted."));
    }
    // Another site's form, and one of which nobody says where it comes from.
    for (name, value) in
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("x-none", "")]
    {
        let login = request(&rig, Method::POST, "/login").header(name, value);
        let refused = answer(form(login, &[("token", canary::OPERATOR_TOKEN)])).await;
        assert_eq!((refused.status, refused.header("set-cookie")), (403, ""), "{name}: {value}");
    }
    // Wherever a form says to go on, it is a path of this page.
    let login = request(&rig, Method::POST, "/login").header(ORIGIN, origin(&rig));
    let fields = [("token", canary::OPERATOR_TOKEN), ("next", "//evil.example/")];
    assert_eq!(answer(form(login, &fields)).await.header("location"), "/");
    // By its name: only by TLS.
    let login = request(&rig, Method::POST, "/login").header(HOST, "breakers.bank.example");
    let login = login.header(ORIGIN, "https://breakers.bank.example");
    let answered = answer(form(login, &[("token", canary::OPERATOR_TOKEN)])).await;
    let cookie = answered.header("set-cookie");
    assert!(cookie.starts_with("__Host-cutout-session=") && cookie.contains("; Secure"), "{cookie}");
    assert!(!rig.log().contains("canary-secret"), "{}", rig.log());
}

#[tokio::test]
async fn a_session_opens_the_page_and_the_stream_of_changes_and_nothing_else() {
    let rig = Rig::start(Kept::Memory).await;
    let cookie = session(&rig, Who::Ann).await;
    assert_eq!(page(&rig, &cookie, "/").await.status, 200);
    let stream = request(&rig, Method::GET, "/v1/changes").header(COOKIE, &cookie).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    for (method, path) in [
        (Method::GET, "/v1/breakers"),
        (Method::GET, "/v1/status"),
        (Method::GET, "/v1/history/export"),
        (Method::POST, "/v1/changes"),
        (Method::PUT, "/v1/overrides/bank-charge/0001"),
        (Method::PUT, "/v1/pause"),
    ] {
        let refused = answer(request(&rig, method.clone(), path).header(COOKIE, &cookie)).await;
        assert_eq!(refused.problem(), (401, "token"), "{method} {path}");
    }
    let wrong =
        request(&rig, Method::GET, "/v1/changes").header(COOKIE, &cookie).header("authorization", "Bearer x");
    assert_eq!(answer(wrong).await.problem(), (401, "token"), "who shows a token is judged by it");
}

#[tokio::test]
async fn a_form_is_believed_only_from_its_own_page_and_session() {
    let rig = Rig::start(Kept::Memory).await;
    let (ann, bob) = (session(&rig, Who::Ann).await, session(&rig, Who::Bob).await);
    let token = form_token(&page(&rig, &ann, BREAKER).await);
    let own = origin(&rig);
    let send = async |cookie: &str, more: (&str, &str), token: &str| {
        let post = request(&rig, Method::POST, BREAKER).header(COOKIE, cookie).header(more.0, more.1);
        answer(form(post, &[&FORCE[..], &[("form_token", token)]].concat())).await
    };
    let good = ("origin", &*own);
    for (what, answered, status) in [
        ("another site", send(&ann, ("origin", "https://evil.example"), &token).await, 403),
        ("a neighbour", send(&ann, ("sec-fetch-site", "same-site"), &token).await, 403),
        ("nobody knows whose", send(&ann, ("x-none", ""), &token).await, 403),
        ("without its token", send(&ann, good, "").await, 403),
        ("another session's token", send(&bob, good, &token).await, 403),
        ("no session", send("", good, &token).await, 303),
    ] {
        assert_eq!(answered.status, status, "{what}: {answered:?}");
        assert!(!is_forced(&rig).await, "{what}");
    }
    let done = send(&ann, good, &token).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/breakers/bank-charge/0001?done=open"),
        "{done:?}"
    );
    assert!(is_forced(&rig).await);
    let out = request(&rig, Method::POST, "/logout").header(COOKIE, &ann).header(ORIGIN, &own);
    let out = answer(form(out, &[("form_token", &token)])).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
}

#[tokio::test]
async fn a_viewer_sees_and_does_not_decide() {
    let rig = Rig::start(Kept::Memory).await;
    let vic = session(&rig, Who::Vic).await;
    let shown = page(&rig, &vic, BREAKER).await;
    assert!(shown.text.contains("Deciding takes the role operator.") && !shown.text.contains("name=\"why\""));
    // The way out is a form too, so he has a token.
    let post = request(&rig, Method::POST, BREAKER).header(COOKIE, &vic).header(ORIGIN, origin(&rig));
    let refused = answer(form(post, &[&FORCE[..], &[("form_token", &form_token(&shown))]].concat())).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let post = request(&rig, Method::POST, "/pause").header(COOKIE, &vic).header(ORIGIN, origin(&rig));
    let fields = [("act", "pause"), ("why", "x"), ("until", "1h"), ("form_token", &*form_token(&shown))];
    assert_eq!(answer(form(post, &fields)).await.status, 403);
    assert!(!is_forced(&rig).await);
    assert!(rig.get(Who::Vic, "/v1/pause").await.body["pause"].is_null());
}

#[tokio::test]
async fn a_session_holds_at_every_instance_of_the_same_secret() {
    let shared = [("CUTOUT_SESSION_SECRETS", SECRET)];
    let rig = Rig::start_with(Kept::Redis, &shared).await;
    let cookie = session(&rig, Who::Ann).await;
    let same = rig.another_with(&shared).await;
    assert_eq!(page(&same, &cookie, "/").await.status, 200);
    let token = form_token(&page(&rig, &cookie, BREAKER).await);
    let post = request(&same, Method::POST, BREAKER).header(COOKIE, &cookie).header(ORIGIN, origin(&same));
    let done = answer(form(post, &[&FORCE[..], &[("form_token", &token)]].concat())).await;
    assert_eq!(done.status, 303, "{done:?}");
    let other = rig.another().await;
    assert_eq!(page(&other, &cookie, "/").await.status, 303, "a secret of its own");
    // A token that is not among the settings any more ends its sessions.
    let without: Vec<_> = canary::operators()
        .split(',')
        .filter(|entry| !entry.starts_with("ann:"))
        .map(str::to_owned)
        .collect();
    let without = without.join(",");
    let later = rig.another_with(&[shared[0], ("CUTOUT_OPERATORS", &without)]).await;
    assert_eq!(page(&later, &cookie, "/").await.status, 303);
}

#[tokio::test]
async fn a_proxy_names_people_where_it_is_set_and_from_its_address_alone() {
    let header = ("CUTOUT_OPERATORS_HEADER", "x-forwarded-email");
    let roles = ("CUTOUT_OPERATORS_HEADER_ROLES", "ann@bank.example:operator,*:viewer");
    let rig =
        Rig::start_with(Kept::Memory, &[header, ("CUTOUT_OPERATORS_HEADER_FROM", "127.0.0.1"), roles]).await;
    let named = |at: &Instance, method, path: &str, name: &str| {
        request(at, method, path).header("x-forwarded-email", name).header(ORIGIN, origin(at))
    };
    let ann = answer(named(&rig, Method::GET, BREAKER, "ann@bank.example")).await;
    assert!(ann.status == 200 && ann.text.contains("ann@bank.example"), "{ann:?}");
    assert!(!ann.text.contains("Sign out"), "it is the proxy that lets people out");
    let vic = answer(named(&rig, Method::GET, BREAKER, "vic@bank.example")).await;
    assert!(vic.status == 200 && vic.text.contains("Deciding takes the role operator."), "{vic:?}");
    let token = form_token(&ann);
    let fields = [&FORCE[..], &[("form_token", &token)]].concat();
    let stolen = answer(form(named(&rig, Method::POST, BREAKER, "vic@bank.example"), &fields)).await;
    assert_eq!(stolen.status, 403, "a form of somebody else");
    let done = answer(form(named(&rig, Method::POST, BREAKER, "ann@bank.example"), &fields)).await;
    assert_eq!(done.status, 303, "{done:?}");
    until("the override is seen", async || is_forced(&rig).await).await;
    let history = rig.get(Who::Vic, "/v1/history").await.body;
    assert_eq!(history["items"][0]["cause"]["by"], "ann@bank.example");
    let api = answer(named(&rig, Method::GET, "/v1/breakers", "ann@bank.example")).await;
    assert_eq!(api.status, 401, "the API wants tokens");

    let elsewhere =
        Rig::start_with(Kept::Memory, &[header, ("CUTOUT_OPERATORS_HEADER_FROM", "10.0.0.0/8"), roles]).await;
    let unset = Rig::start(Kept::Memory).await;
    for at in [&elsewhere, &unset] {
        let away = answer(named(at, Method::GET, "/", "ann@bank.example")).await;
        assert_eq!(away.status, 303, "{away:?}");
    }
}

#[tokio::test]
async fn who_comes_by_a_link_of_another_site_is_asked_for_again_by_our_own_page() {
    let rig = Rig::start(Kept::Memory).await;
    let by_link = request(&rig, Method::GET, BREAKER).header("sec-fetch-site", "cross-site");
    let again = answer(by_link).await;
    assert!(again.status == 200 && again.text.contains("http-equiv=\"refresh\" content=\"0\""), "{again:?}");
    assert!(!again.text.contains("bank-charge"), "{again:?}");
}
