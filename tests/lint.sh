#!/bin/sh
# Checks what can be checked without running anything. Prints one finding a line, `file:line: what`, and exits 1
# when there is one. A file or function that has to be long says why: `lint: long file because ...` in a comment of
# the file, `lint: long function because ...` in the comment above the function.
cd "$(dirname "$0")/.." || exit 2

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
: >"$work/found"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

list() { find "$@" -type f 2>/dev/null | LC_ALL=C sort; }

c_files=$(list runtime bindings tests/c tests/bench tests/fuzz -name '*.[ch]')
sources=$(list runtime bindings tests/c tests/bench tests/fuzz -name '*.c')
headers=$(list runtime bindings -name '*.h')
lua_files=$(list scripts models tests/lua -name '*.lua')
others=$(list .ci Makefile README.md tests -name '*.sh' -o -name run -o -name Makefile -o -name '*.md')

# ---- format ----

command -v clang-format >/dev/null || echo "clang-format is missing: make setup" >>"$work/found"
echo "$c_files" | xargs -r -n 8 -P "$jobs" clang-format --dry-run -Werror 2>&1 |
    sed -n 's/: error: .*/: not as clang-format would have it/p' | sort -u -t: -k1,1 >>"$work/found"

# ---- warnings ----

flags="-std=gnu11 -fsyntax-only -Wall -Wextra -Werror -fno-math-errno -Iruntime -Ibindings -Itests/c -I.
    -DGR_SIMD=baseline -DGR_SIMD_WIDTH=4 -isystem /usr/include/stb
    $(pkg-config --cflags libcjson openblas zlib nettle lua5.4 libedit libseccomp | sed 's/-I/-isystem /g')"

compile() # FILES COMPILER FLAGS...: the first error of each file
{
    files=$1
    shift
    echo "$files" | xargs -r -n 1 -P "$jobs" "$@" 2>&1 | grep -E '^[^ ].*: (fatal )?error: ' |
        sort -u -t: -k1,1 >>"$work/found"
}

# libjpeg-turbo is not asked for: without it, its file is not checked.
if version=$(pkg-config --modversion libturbojpeg 2>/dev/null); then
    flags="$flags -DGR_TURBOJPEG_VERSION=\"$version\""
else
    sources=$(echo "$sources" | grep -v '/jpeg_turbo\.c$')
fi

for compiler in gcc clang; do
    if command -v $compiler >/dev/null; then
        compile "$sources" $compiler $flags
        compile "$headers" $compiler $flags -pedantic -Wno-unused-function -x c
    else
        echo "$compiler is missing: make setup" >>"$work/found"
    fi
done

if command -v luacheck >/dev/null; then
    luacheck --codes --formatter plain $lua_files >"$work/luacheck" 2>&1 || cat "$work/luacheck" >>"$work/found"
else
    echo "luacheck is missing: make setup" >>"$work/found"
fi

# ---- structure ----

# Without comments and the insides of strings, so that words in them are not taken for code; lines stay in place.
bare() {
    awk '
    {
        out = ""; n = length($0); i = 1
        while (i <= n) {
            two = substr($0, i, 2); one = substr($0, i, 1)
            if (comment) {
                if (two == "*/") { comment = 0; i += 2 } else i++
            } else if (two == "/*") {
                comment = 1; i += 2
            } else if (two == "//") {
                break
            } else if (one == "\"" || one == "\047") {
                j = i + 1
                while (j <= n && substr($0, j, 1) != one) j += substr($0, j, 1) == "\\" ? 2 : 1
                out = out one one; i = j + 1
            } else {
                out = out one; i++
            }
        }
        print out
    }' "$1"
}

forbid() # PATTERN MESSAGE FILE: code that has no place in this file
{
    grep -nE "$1" "$work/bare" | sed "s|^\([0-9]*\):.*|$3:\1: $2|" >>"$work/found"
}

# A room may use the rooms to its left.
rooms="base kernels tensor net layers plan io data train insight"

for file in $(list runtime -name '*.[ch]'); do
    bare "$file" >"$work/bare"
    room=${file#runtime/}
    room=${room%%/*}
    awk -v file="$file" -v room="$room" -v rooms="$rooms" '
        BEGIN { n = split(rooms, name, " "); for (i = 1; i <= n; i++) rank[name[i]] = i
                if (!(room in rank)) print file ":1: no such room in the house: " room }
        /^#include </ && /<(lua|lauxlib|lualib|luaconf)/ { print file ":" FNR ": the runtime does not know Lua" }
        /^#include "/ {
            split($0, part, "\""); other = part[2]
            if (!sub(/\/.*/, "", other)) print file ":" FNR ": includes are written from the room: \"" room "/" part[2] "\""
            else if (rank[other] > rank[room]) print file ":" FNR ": " room " is below " other " and may not use it"
        }' "$file" >>"$work/found"
    forbid '(^|[^A-Za-z0-9_.>])(_?exit|_Exit|abort|assert)[ ]*\(' "the runtime returns errors, it never ends the program" "$file"
    if [ "$file" != runtime/base/memory.c ]; then
        forbid '(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign)[ ]*\(' \
            "memory comes from base/memory.h" "$file"
    fi
    if [ "$file" != runtime/base/threads.c ]; then
        forbid '(^|[^A-Za-z0-9_])(pthread_create|thrd_create)[ ]*\(' "threads come from base/threads.h" "$file"
    fi
    forbid '(^|[^A-Za-z0-9_.>])(s?rand|random|drand48)[ ]*\(' "random numbers come from base/random.h" "$file"
done

for file in $(list bindings -name '*.[ch]'); do
    grep -nE '^#include <(cblas|math|tgmath|complex)\.h>' "$file" |
        sed "s|^\([0-9]*\):.*|$file:\1: bindings contain no maths|" >>"$work/found"
done

for file in $c_files; do
    bare "$file" >"$work/bare"
    case $file in runtime/kernels/*) most=100 ;; *) most=60 ;; esac
    awk -v file="$file" -v most="$most" '
        FNR == NR { original[FNR] = $0; next }
        /^[A-Za-z_]/ && /\(/ && !inside { name = $0; sub(/ *\(.*/, "", name); sub(/.*[ *]/, "", name) ; first = FNR }
        !inside && /^[^ #].*\) \{$|^ .*\) \{$/ && name != "" && !/^#/ { inside = 1; start = FNR; next }
        inside && /^}/ {
            lines = FNR - start - 1
            if (lines > most) {
                excused = 0
                for (i = first - 12; i < first; i++) if (original[i] ~ /lint: long function because/) excused = 1
                if (!excused) print file ":" first ": " name " has " lines " lines, " most " are the most"
            }
            inside = 0; name = ""
        }
        !inside && /[;}]$/ { name = "" }' "$file" "$work/bare" >>"$work/found"
done

for file in $c_files $lua_files; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 800 ] && ! grep -q 'lint: long file because' "$file"; then
        echo "$file:800: has $lines lines, 800 are the most" >>"$work/found"
    fi
done

# Every kind of layer is listed once in the registry, and the registry lists nothing else.
registry=runtime/layers/registry.c
if [ -f $registry ]; then
    sed -n 's/^const struct gr_layer_kind \(gr_layer_[a-z0-9_]*\) = .*/\1/p' runtime/layers/*.c | sort >"$work/kinds"
    grep -oE 'KIND\(gr_layer_[a-z0-9_]+\)' $registry | sed 's/KIND(\(.*\))/\1/' | sort >"$work/listed"
    uniq -d "$work/listed" | sed "s|.*|$registry:1: & is listed twice|" >>"$work/found"
    comm -23 "$work/kinds" "$work/listed" | sed "s|.*|$registry:1: & is not listed|" >>"$work/found"
    sort -u "$work/listed" | comm -13 "$work/kinds" - | sed "s|.*|$registry:1: & is listed but does not exist|" >>"$work/found"
fi

# ---- the top of the tree ----

# Nothing lies about there that is not listed in the README's map of the tree.
git ls-files 2>/dev/null | sed 's|/.*||' | sort -u |
    grep -vxE '\.ci|\.clang-format|\.gitignore|\.luacheckrc|LICENSE|Makefile|README\.md|bindings|models|runtime|scripts|tests' |
    sed 's|$|:1: has no place at the top of the tree|' >>"$work/found"

# ---- words ----

# Promises instead of work, and paths of one machine.
words='(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)|[Nn]ot implemented|[Ff]or simplicity|[Pp]laceholder'
paths='(^|[^A-Za-z0-9._/])/(work|home|root|opt)/|\.\./shared'
for file in $c_files $lua_files $others; do
    [ "$file" = tests/lint.sh ] && continue
    grep -nE "$words" "$file" | sed "s|^\([0-9]*\):.*|$file:\1: a word that stands for unfinished work|" >>"$work/found"
    grep -nE "$paths" "$file" | sed "s|^\([0-9]*\):.*|$file:\1: a path of one machine|" >>"$work/found"
done

if [ -s "$work/found" ]; then
    cat "$work/found"
    echo "lint: $(wc -l <"$work/found") findings"
    exit 1
fi
echo "lint: nothing to say about $(echo "$c_files" "$lua_files" | wc -w) files"
