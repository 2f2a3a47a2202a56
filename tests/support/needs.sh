# What the scripts of tests/ install for themselves on a machine that has only Rust and Debian's packages. Sourced, from the top of the tree.
# Used by tests/run and tests/bench, which must both work in a fresh clone. Left out: what one script alone needs.

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# A program and the Debian package it comes from.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    step "installing $2"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    [ -n "${apt_updated:-}" ] || { "${as_root[@]}" apt-get update -qq; apt_updated=yes; }
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}

# What the browser of tests/page needs.
need_browser() {
    need node nodejs
    need npm npm
    # Its driver is the newest that takes the Node of Debian 12.
    need chromium chromium
    local page=$PWD/target/page
    mkdir -p "$page/node"
    cp tests/page/package.json tests/page/package-lock.json "$page/node/"
    (cd "$page/node" && npm ci --silent --no-audit --no-fund --ignore-scripts)
}

PATH="$PATH:/usr/sbin:/sbin"
