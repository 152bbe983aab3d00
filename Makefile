# Graft. `make help` lists what can be made.

CC ?= cc
AR ?= ar
BUILD ?= build
PREFIX ?= /usr/local
OPT ?= -O3 -g
LUA ?= lua5.4
SANITIZE ?=
FUZZ_SECONDS ?= 30

# V=1 shows whole commands instead of one short line a file.
V ?= 0
ifneq ($(findstring s,$(firstword -$(MAKEFLAGS))),)
say = @
else ifeq ($(V),0)
say = @printf '  %-5s %s\n' "$(1)" "$(2)";
else
say =
endif

# 1: JPEG is decoded by libjpeg-turbo. Never by what is installed: pixels, and so results, differ in their last bits.
TURBOJPEG ?= 0

# As many compilers at a time as there are processors, unless make was told a number.
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PARALLEL = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS))

PACKAGES = libcjson openblas zlib nettle
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null) -isystem /usr/include/stb
PKG_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
TURBO_VERSION := $(shell pkg-config --modversion libturbojpeg 2>/dev/null)
ifeq ($(TURBOJPEG),1)
PKG_LIBS += $(shell pkg-config --libs libturbojpeg 2>/dev/null)
endif
LUA_CFLAGS := $(shell pkg-config --cflags lua5.4 libedit libseccomp 2>/dev/null)
LUA_LIBS := $(shell pkg-config --libs lua5.4 libedit libseccomp 2>/dev/null)

# No contraction of a * b + c into a fused multiply-add where the compiler happens to see one: the same sum written
# in two places must give the same bits. Only the vector kernels (below) are contracted, all of a kernel alike,
# since without it half of the processor's arithmetic would lie idle.
CFLAGS_ALL = -std=gnu11 $(OPT) -Wall -Wextra -fPIC -pthread -fno-math-errno -fno-trapping-math \
	-ffp-contract=off $(SANITIZE) $(CPPFLAGS) $(CFLAGS)
CFLAGS_RUNTIME = $(CFLAGS_ALL) -Iruntime $(PKG_CFLAGS)
CFLAGS_BINDINGS = $(CFLAGS_ALL) -Iruntime -Ibindings -I. -include bindings/weak.h $(PKG_CFLAGS) $(LUA_CFLAGS)
CFLAGS_TESTS = $(CFLAGS_ALL) -Iruntime -Itests/c $(PKG_CFLAGS)
LDFLAGS_ALL = $(SANITIZE) -pthread -Wl,--build-id=sha1 $(LDFLAGS)
LIBS = $(PKG_LIBS) -lm

INSTALL = BUILD=$(BUILD) PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) LUA=$(LUA) PACKAGES="$(PACKAGES)" sh scripts/install.sh

# cJSON's source, for `make static`: Debian packages no static library of it.
CJSON ?= $(BUILD)/static/cJSON.c
# What the static program is made of. libedit's terminal descriptions are in libtinfo; no function of LAPACK is used, so
# its Fortran runtime is not needed.
STATIC_PACKAGES = $(filter-out libcjson,$(PACKAGES)) lua5.4 libedit $(shell pkg-config --exists libseccomp && echo libseccomp)
STATIC_LIBS = $(filter-out -lcjson -lgfortran -ltermcap,$(shell pkg-config --static --libs $(STATIC_PACKAGES) 2>/dev/null)) \
	$(if $(filter 1,$(TURBOJPEG)),-lturbojpeg) -ltinfo -lmd -lm

# ---- sources ----

# One of the two decoders of JPEG is in the library.
JPEG := runtime/data/jpeg_$(if $(filter 1,$(TURBOJPEG)),turbo,stb).c
RUNTIME_SOURCES := $(sort $(filter-out runtime/data/jpeg_%,$(wildcard runtime/*/*.c)) $(JPEG))
SIMD_SOURCES := $(filter runtime/kernels/%_simd.c,$(RUNTIME_SOURCES))
PLAIN_SOURCES := $(filter-out $(SIMD_SOURCES),$(RUNTIME_SOURCES))
BINDING_SOURCES := $(sort $(wildcard bindings/*.c))
MODULE_SOURCES := $(filter-out bindings/main.c bindings/repl.c bindings/child.c bindings/sandbox%.c,$(BINDING_SOURCES))
TURBO_OBJECT := $(BUILD)/obj/runtime/data/jpeg_turbo.o
TEST_SOURCES := $(sort $(wildcard tests/c/*/test_*.c))
BENCH_SOURCES := $(sort $(wildcard tests/bench/*.c))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
EMBEDDED := $(shell find scripts/graft scripts/recipes models \( -name '*.lua' -o -name '*.tsv' \) 2>/dev/null)

# Each vector kernel is compiled once for every instruction set; the best one is chosen when the program starts.
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
LEVELS = baseline avx2 avx512
baseline_FLAGS = -march=x86-64-v2 -DGR_SIMD_WIDTH=4
avx2_FLAGS = -mavx2 -mfma -DGR_SIMD_WIDTH=8
avx512_FLAGS = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mprefer-vector-width=512 -DGR_SIMD_WIDTH=16
# These hold for one kernel each.
avx512bf16_FLAGS = $(avx512_FLAGS) -mavx512bf16
avx512vnni_FLAGS = $(avx512_FLAGS) -mavx512vnni
EXTRA_LEVELS = avx512bf16 avx512vnni
EXTRA_OBJECTS = $(BUILD)/obj/runtime/kernels/tile_bf16_simd.avx512bf16.o \
	$(BUILD)/obj/runtime/kernels/tile_int8_simd.avx512vnni.o
else
LEVELS = baseline
baseline_FLAGS = -DGR_SIMD_WIDTH=4
CFLAGS_RUNTIME += -DGR_SIMD_ONLY_BASELINE
endif

object = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
SIMD_OBJECTS := $(foreach level,$(LEVELS),$(SIMD_SOURCES:%_simd.c=$(BUILD)/obj/%_simd.$(level).o)) $(EXTRA_OBJECTS)
RUNTIME_OBJECTS := $(call object,$(PLAIN_SOURCES)) $(SIMD_OBJECTS)
BINDING_OBJECTS := $(call object,$(BINDING_SOURCES)) $(BUILD)/obj/embedded.o
MODULE_OBJECTS := $(call object,$(MODULE_SOURCES)) $(BUILD)/obj/embedded.o
TESTS := $(TEST_SOURCES:tests/c/%.c=$(BUILD)/tests/%)
# Where libjpeg-turbo is installed, a build without it runs the tests of photos with it too.
ifneq ($(TURBOJPEG),1)
TURBO_TESTS := $(if $(TURBO_VERSION),$(patsubst %,$(BUILD)/tests/data/%.turbo,test_image test_jpeg test_loader))
endif
BENCHES := $(BENCH_SOURCES:tests/bench/%.c=$(BUILD)/bench/%)
FUZZERS := $(FUZZ_SOURCES:tests/fuzz/%.c=$(BUILD)/fuzz/%)

# ---- what people make ----

.PHONY: all tests fuzzers setup test lint sanitize demo bench fuzz install uninstall static clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/graft $(BUILD)/graft.so $(BUILD)/libgraft.a ## the program, the Lua module and the C library (default)

demo: setup ## transfers a small network to new classes, from nothing, in two minutes
	@$(MAKE) --no-print-directory $(PARALLEL) all
	@sh scripts/demo.sh

test: setup ## sets up, builds, runs every test; ends with the count of passed and failed
	@$(MAKE) --no-print-directory $(PARALLEL) all tests
	@BUILD=$(BUILD) LUA=$(LUA) sh tests/run

setup: ## installs the Debian packages that are missing
	@TURBOJPEG=$(TURBOJPEG) sh tests/setup.sh

lint: ## format, warnings, luacheck and the structural rules
	@CC="$(CC)" sh tests/lint.sh

docs: $(BUILD)/graft ## the reference as a Markdown page, the manual page, and a stub with types for editors, in BUILD/docs
	@mkdir -p $(BUILD)/docs
	$(call say,HELP,$(BUILD)/docs/reference.md)$(BUILD)/graft help --markdown >$(BUILD)/docs/reference.md
	$(call say,HELP,$(BUILD)/docs/graft.1)$(BUILD)/graft help --man >$(BUILD)/docs/graft.1
	$(call say,HELP,$(BUILD)/docs/graft.lua)$(BUILD)/graft help --luals >$(BUILD)/docs/graft.lua
.PHONY: docs

sanitize: setup ## every test again with address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory $(PARALLEL) all tests BUILD=build-sanitize OPT="-O2 -g -fno-omit-frame-pointer" \
		SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
	@BUILD=build-sanitize LUA=$(LUA) SANITIZED="$$($(CC) -print-file-name=libasan.so)" sh tests/run

bench: all $(BENCHES) ## times kernels, then inference, training steps and the start; never part of the tests
	@for program in $(BENCHES); do echo "$$program"; $$program || exit 1; done
	@$(BUILD)/graft bench

fuzz: ## feeds every reader broken files, every function hostile calls (FUZZ_SECONDS each, 30 by default); needs clang
	@$(MAKE) --no-print-directory $(PARALLEL) fuzzers build-fuzz/graft CC=clang BUILD=build-fuzz OPT="-O1 -g" \
		SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
	@sh tests/fuzz/run $(FUZZ_SECONDS)

install: all ## copies program, module, library, headers, recipes, completion below PREFIX (DESTDIR is honoured)
	@$(INSTALL) install

uninstall: ## takes away what `make install` with the same PREFIX put there
	@$(INSTALL) uninstall

static: setup ## the program as one file that needs no library of the system: build/static/graft
	@$(MAKE) --no-print-directory $(PARALLEL) $(BUILD)/static/graft
	@ls -sh $(BUILD)/static/graft

clean: ## removes everything that was built
	rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo '  Variables: BUILD=folder CC=compiler OPT="-O3 -g" V=1 PREFIX=/usr/local DESTDIR= TURBOJPEG=1 CJSON=cJSON.c'

# ---- how it is made ----

# Every object depends on the flags it was compiled with: other flags in the same folder build it again.
FLAGS = $(CC) $(JPEG) $(if $(filter 1,$(TURBOJPEG)),$(TURBO_VERSION)) $(CFLAGS_BINDINGS) $(CFLAGS_RUNTIME) $(foreach level,$(LEVELS) $(EXTRA_LEVELS),$($(level)_FLAGS))
$(BUILD)/flags: force
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@

$(BUILD)/obj/runtime/%.o: runtime/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_RUNTIME) -MMD -MP -c -o $@ $<

# stb_image and stb_image_write shift and multiply signed numbers beyond their range; every compiler here lets them
# wrap. All other checks stay on for them.
$(BUILD)/obj/runtime/data/decode.o $(BUILD)/obj/runtime/data/encode.o: CFLAGS_RUNTIME += \
	$(if $(findstring undefined,$(SANITIZE)),-fno-sanitize=shift -fno-sanitize=signed-integer-overflow)

$(TURBO_OBJECT): CFLAGS_RUNTIME += -DGR_TURBOJPEG_VERSION='"$(TURBO_VERSION)"' \
	$(shell pkg-config --cflags libturbojpeg 2>/dev/null)

# clang takes minutes for each of these with its checks, so for fuzzing they go without: what they read is sizes that
# others have checked. make sanitize has them checked, by gcc.
SIMD_UNCHECKED = $(if $(findstring fuzzer,$(SANITIZE)),$(SANITIZE))

define simd_rule
$$(BUILD)/obj/runtime/kernels/%_simd.$(1).o: runtime/kernels/%_simd.c $$(BUILD)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$< ($(1)))$$(CC) $$(filter-out $$(SIMD_UNCHECKED),$$(CFLAGS_RUNTIME)) -ffp-contract=fast -Wno-psabi $$($(1)_FLAGS) \
		-DGR_SIMD=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach level,$(LEVELS) $(EXTRA_LEVELS),$(eval $(call simd_rule,$(level))))

$(BUILD)/obj/bindings/%.o: bindings/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_BINDINGS) -MMD -MP -c -o $@ $<

# The list of files is a dependency too, so that a new or a removed file is noticed.
$(BUILD)/embedded.list: force
	@mkdir -p $(@D)
	@echo '$(sort $(EMBEDDED))' | cmp -s - $@ || echo '$(sort $(EMBEDDED))' >$@

$(BUILD)/embedded.c: $(EMBEDDED) $(BUILD)/embedded.list bindings/embed.sh
	$(call say,EMBED,$@)sh bindings/embed.sh $(EMBEDDED) >$@

$(BUILD)/obj/embedded.o: $(BUILD)/embedded.c bindings/embedded.h
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_BINDINGS) -c -o $@ $<

$(BUILD)/libgraft.a: $(RUNTIME_OBJECTS)
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $(RUNTIME_OBJECTS)

$(BUILD)/graft: $(BINDING_OBJECTS) $(BUILD)/libgraft.a
	$(call say,LINK,$@)$(CC) $(LDFLAGS_ALL) -Wl,--as-needed -o $@ $^ $(LUA_LIBS) $(LIBS)

$(BUILD)/static/cJSON.c:
	@mkdir -p $(@D)
	$(call say,FETCH,$@)sh scripts/cjson.sh $@

$(BUILD)/static/cJSON.o: $(CJSON)
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(OPT) $(PKG_CFLAGS) -c -o $@ $<

# Without warnings: the linker has one about dlopen, by which Lua would load modules in C; a static program has none.
$(BUILD)/static/graft: $(BINDING_OBJECTS) $(BUILD)/libgraft.a $(BUILD)/static/cJSON.o
	$(call say,LINK,$@)$(CC) -static $(LDFLAGS_ALL) -Wl,--no-warnings -o $@ $^ $(STATIC_LIBS)
	@strip $@

# Only luaopen_graft is visible, so that nothing of ours can meet a name of the host program. Lua comes from there.
# It stays in memory when the host closes Lua: the threads of the pool would otherwise lose the ground they sleep on.
$(BUILD)/graft.so: $(MODULE_OBJECTS) $(BUILD)/libgraft.a
	@printf '{ global: luaopen_*; local: *; };\n' >$(BUILD)/graft.map
	$(call say,LINK,$@)$(CC) -shared $(LDFLAGS_ALL) -Wl,--as-needed -Wl,-z,nodelete \
		-Wl,--version-script=$(BUILD)/graft.map -o $@ $^ $(LIBS)

tests: $(TESTS) $(TURBO_TESTS)
	@:

$(BUILD)/obj/tests/%.o: tests/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS_TESTS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/obj/tests/c/%.o $(BUILD)/libgraft.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcmocka $(LIBS)

# The rules of the sandbox, which are above the library, with nothing else of the bindings.
$(BUILD)/obj/tests/c/bindings/%.o: CFLAGS_TESTS += -Ibindings $(LUA_CFLAGS)
$(BUILD)/tests/bindings/%: $(BUILD)/obj/tests/c/bindings/%.o $(BUILD)/obj/bindings/sandbox_rules.o $(BUILD)/libgraft.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcmocka $(LIBS) $(shell pkg-config --libs libseccomp)

# The object comes before the library, whose own decoder then stays out.
$(BUILD)/tests/data/%.turbo: $(BUILD)/obj/tests/c/data/%.o $(TURBO_OBJECT) $(BUILD)/libgraft.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcmocka $(LIBS) $(shell pkg-config --libs libturbojpeg)

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/libgraft.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

fuzzers: $(FUZZERS)
	@:

$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/libgraft.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS)

force:
.PHONY: force

-include $(RUNTIME_OBJECTS:.o=.d) $(TURBO_OBJECT:.o=.d) $(BINDING_OBJECTS:.o=.d)
-include $(patsubst %.c,$(BUILD)/obj/%.d,$(TEST_SOURCES) $(BENCH_SOURCES) $(FUZZ_SOURCES))
