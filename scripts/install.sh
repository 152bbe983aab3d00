#!/bin/sh
# Installs what `make` has built below PREFIX, or takes it away again: `make install` and `make uninstall`.
#
#   BUILD=build PREFIX=/usr/local DESTDIR= sh scripts/install.sh install|uninstall
set -e
cd "$(dirname "$0")/.."

at=$DESTDIR$PREFIX
share=$at/share
lua=$at/lib/lua/5.4

# A file for everybody to read: MODE SOURCE TARGET.
put() {
    install -d "$(dirname "$3")"
    install -m "$1" "$2" "$3"
}

# What the program prints, where this version of it prints that: TARGET, then the words of the command.
printed() {
    target=$1
    shift
    text=$(mktemp)
    if "$BUILD/graft" "$@" >"$text" 2>/dev/null; then
        put 644 "$text" "$target"
    fi
    rm -f "$text"
}

case $1 in
install)
    put 755 "$BUILD/graft" "$at/bin/graft"
    put 755 "$BUILD/graft.so" "$lua/graft.so"
    put 644 "$BUILD/libgraft.a" "$at/lib/libgraft.a"
    for header in runtime/*/*.h; do
        put 644 "$header" "$at/include/graft/${header#runtime/}"
    done
    text=$(mktemp)
    cat >"$text" <<END
Name: graft
Description: Transfer learning on CPUs: tensors, networks, training
Version: $("$BUILD/graft" --version | sed -n '1s/^Graft \([^ ]*\).*/\1/p')
Cflags: -I$PREFIX/include/graft
Libs: -L$PREFIX/lib -lgraft -pthread
Requires.private: ${PACKAGES}
Libs.private: -lm
END
    put 644 "$text" "$at/lib/pkgconfig/graft.pc"
    rm -f "$text"
    for recipe in scripts/recipes/*.lua; do
        put 644 "$recipe" "$share/graft/recipes/${recipe##*/}"
    done
    for model in models/*.safetensors; do
        put 644 "$model" "$share/graft/models/${model##*/}"
    done
    put 644 README.md "$share/doc/graft/README.md"
    put 644 LICENSE "$share/doc/graft/LICENSE"
    printed "$share/man/man1/graft.1" help --man
    printed "$share/doc/graft/reference.md" help --markdown
    printed "$share/graft/luals/graft.lua" help --luals
    printed "$share/bash-completion/completions/graft" help --completion bash
    printed "$share/zsh/site-functions/_graft" help --completion zsh
    echo "installed below $at: bin/graft, lib/libgraft.a, lib/lua/5.4/graft.so, include/graft, share/graft"
    # Stock Lua looks in places that were fixed when it was built.
    if ! env -u LUA_CPATH -u LUA_CPATH_5_4 "${LUA:-lua5.4}" -e 'print(package.cpath)' 2>/dev/null | tr ';' '\n' |
        grep -qxF "$PREFIX/lib/lua/5.4/?.so"; then
        echo "stock Lua does not look there; to use the module:  export LUA_CPATH='$PREFIX/lib/lua/5.4/?.so;;'"
    fi
    ;;
uninstall)
    rm -f "$at/bin/graft" "$at/lib/libgraft.a" "$at/lib/pkgconfig/graft.pc" "$lua/graft.so" "$share/man/man1/graft.1" \
        "$share/bash-completion/completions/graft" "$share/zsh/site-functions/_graft"
    rm -rf "$at/include/graft" "$share/graft" "$share/doc/graft"
    # Folders that are empty now, where it made them.
    for folder in "$lua" "$at/lib/lua" "$at/lib/pkgconfig" "$share/man/man1" "$share/man" "$share/doc" \
        "$share/bash-completion/completions" "$share/bash-completion" "$share/zsh/site-functions" "$share/zsh" "$share" \
        "$at/include" "$at/lib" "$at/bin" "$at"; do
        rmdir "$folder" 2>/dev/null || true
    done
    echo "removed from $at"
    ;;
*)
    echo "usage: sh scripts/install.sh install|uninstall" >&2
    exit 2
    ;;
esac
