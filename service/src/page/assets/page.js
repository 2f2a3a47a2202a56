// Keeps the page as it is on the server: when a change is told, and every now and then, it fetches the page again and
// puts the parts that differ in the place of the old ones. It renders nothing itself. What somebody types is left alone.
"use strict";

(() => {
  const REFRESH_EVERY_MS = 15000;
  const REFRESH_AT_MOST_EVERY_MS = 500;
  // Somebody looks at a page that may be old: it is asked for sooner than every now and then.
  const REFRESH_WHILE_STALE_EVERY_MS = 3000;
  const NEWS_GATHERED_MS = 300;
  const STREAM_AGAIN_FIRST_MS = 1000;
  const STREAM_AGAIN_MAX_MS = 15000;

  const changes = document.body.dataset.changes;
  const live = document.getElementById("live");
  const news = document.getElementById("news");
  if (!changes || !live || !news || !window.EventSource) return;

  // How the stream is, and whether what is shown could not be fetched again: only both together are "live".
  let ended = false, stale = false, stream = "waiting";
  const tell = () => {
    const how = ended ? "ended" : stale ? "broken" : stream;
    if (live.dataset.how !== how) {
      live.dataset.how = how;
      live.textContent = live.dataset[how];
    }
  };

  // What is said of the last act is not said again by a page that is loaded again.
  if (new URL(location.href).searchParams.has("done")) {
    const here = new URL(location.href);
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }

  // Puts what has changed into the place of what was there; the focus stays where it is.
  const take = (fresh) => {
    const focused = document.activeElement;
    const mark = focused && (focused.id ? "#" + CSS.escape(focused.id) : focused.getAttribute("href") &&
      "[href=\"" + CSS.escape(focused.getAttribute("href")) + "\"]");
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = fresh.getElementById(part.id);
      if (!next || next.outerHTML === part.outerHTML) continue;
      const held = part.contains(focused);
      const scrolled = [...part.querySelectorAll(".wide")].map((wide) => wide.scrollLeft);
      part.replaceWith(document.adoptNode(next));
      [...next.querySelectorAll(".wide")].forEach((wide, at) => { wide.scrollLeft = scrolled[at] || 0; });
      if (held && mark) {
        const again = next.querySelector(mark);
        if (again) again.focus({ preventScroll: true });
      }
    }
    document.title = fresh.title;
  };

  let fetching = false, wanted = false, fetched = 0;
  const refresh = async () => {
    if (ended) return;
    if (fetching) { wanted = true; return; }
    fetching = true;
    wanted = false;
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "manual" });
      if (answer.type === "opaqueredirect" || answer.status === 401) {
        ended = true;
        source.close();
        clearTimeout(streamAgain);
      } else {
        if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
        stale = !answer.ok;
      }
    } catch (_) {
      stale = true;
    }
    fetching = false;
    fetched = Date.now();
    tell();
    if (wanted || (stale && !document.hidden)) soon();
  };
  let timer = null;
  const soon = () => {
    if (timer !== null || ended) return;
    const every = stale ? REFRESH_WHILE_STALE_EVERY_MS : REFRESH_AT_MOST_EVERY_MS;
    const wait = Math.max(0, fetched + every - Date.now());
    timer = setTimeout(() => { timer = null; refresh(); }, wait);
  };

  // What changed is said in words, a storm of changes in one sentence.
  const known = new Map();
  for (const shown of document.querySelectorAll("[data-breaker]")) {
    known.set(shown.dataset.breaker, shown.dataset.state);
  }
  let gathered = [], gathering = null;
  const say = () => {
    gathering = null;
    const one = gathered[0];
    news.textContent = gathered.length === 1
      ? news.dataset.one.replace("{breaker}", () => one.breaker).replace("{state}", () => one.word)
      : news.dataset.many.replace("{n}", () => String(gathered.length));
    gathered = [];
  };
  const WORDS = { "open": news.dataset.open, "half-open": news.dataset.halfOpen, "closed": news.dataset.closed };
  const only = document.querySelector("section[data-breaker]");

  // A browser comes back by itself after a cut, and never after an answer other than 200 (a proxy's 502, "starting"): then
  // only another stream heals it. A new one begins with "reset", so nothing is missed.
  let source = null, streamAgain = null, failures = 0;
  const stays = (how) => { stream = how; tell(); };
  const follow = () => {
    source = new EventSource(changes);
    source.addEventListener("open", () => { failures = 0; stays("live"); });
    source.addEventListener("error", () => {
      stays("broken");
      soon();
      if (ended || source.readyState !== EventSource.CLOSED) return;
      const wait = Math.min(STREAM_AGAIN_MAX_MS, STREAM_AGAIN_FIRST_MS * 2 ** failures);
      failures += 1;
      // Half to the whole of it, so that all pages of a service that restarts do not come at once.
      streamAgain = setTimeout(follow, wait * (0.5 + Math.random() / 2));
    });
    source.addEventListener("reset", soon);
    source.addEventListener("pause", soon);
    source.addEventListener("flag", changed);
  };
  const changed = (event) => {
    soon();
    const { breaker, state } = JSON.parse(event.data);
    const before = known.get(breaker);
    known.set(breaker, state);
    if (before === state || (only && only.dataset.breaker !== breaker)) return;
    gathered.push({ breaker, word: WORDS[state] || state });
    if (gathering === null) gathering = setTimeout(say, NEWS_GATHERED_MS);
  };
  follow();
  setInterval(() => { if (!document.hidden) soon(); }, REFRESH_EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
  tell();
})();
