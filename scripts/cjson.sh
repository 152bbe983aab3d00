#!/bin/sh
# Puts cJSON.c of Debian's source package, with Debian's patches, at the path that it is given. The package libcjson-dev has no
# static library, so `make static` compiles its own. Nothing of the system's package lists is changed; signatures are checked.
set -e

out=$1
keys=/usr/share/keyrings/debian-archive-keyring.gpg
fail() {
    echo "make static needs cJSON.c, and $1; get it elsewhere and say: make static CJSON=path/to/cJSON.c" >&2
    exit 1
}
command -v apt-get >/dev/null && command -v dpkg-source >/dev/null || fail "there is no apt-get or dpkg-source here"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/sources.list" <<END
deb-src [signed-by=$keys] http://deb.debian.org/debian $release main
deb-src [signed-by=$keys] http://deb.debian.org/debian-security $release-security main
END
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" "$@" >>"$work/log" 2>&1
}
cd "$work"
apt update && apt source cjson || { tail -n 3 "$work/log" >&2; fail "Debian's source package cannot be fetched"; }
cd - >/dev/null
cp "$work"/cjson-*/cJSON.c "$out"
