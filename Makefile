# Phantom: `make help` lists the targets.

include tools/pins.env

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: FORCE help setup setup-tests run dev ok test test-busy test-kernels build reproducible bench install uninstall \
        clean distclean bpf lib layout layout-check sanitize

export DENO_TLS_CA_STORE ?= system,mozilla
export DENO_NO_UPDATE_CHECK := 1
# bpftool and ip are not on everyone's PATH.
export PATH := $(PATH):/usr/sbin:/sbin

# V=1 shows the commands.
Q := $(if $(V),,@)

MACHINE := $(shell uname -m)
CLANG   ?= clang
STRIP   ?= llvm-strip
NATIVE_CC ?= gcc
# Of make test-busy; SUITES= names other files.
COUNT   ?= 20
DENO    := $(CURDIR)/.toolchain/deno-$(DENO_VERSION)/deno
# Of the engine: a heap that may grow to 1.5 times what lives in it, not 4 times, before the old is
# collected; and a worker may ask for a collection (src/loop/heap_relief.ts).
V8_FLAGS := --heap-growing-percent=50,--expose-gc

# ---- what is built of what ----

BPF_OBJECTS    := $(patsubst bpf/%.bpf.c,build/bpf/%.o,$(sort $(wildcard bpf/*.bpf.c)))
TEST_OBJECTS   := $(patsubst tests/bpf/%.bpf.c,build/tests/%.o,$(wildcard tests/bpf/*.bpf.c))
NATIVE_SOURCES := $(wildcard ffi/native/*.c)
NATIVE_MAP     := ffi/native/libphantom.map
# Shipped with the executable, in the order in which they are loaded.
SHIPPED        := libz.so.1 libelf.so.1 libbpf.so.1
LIBRARIES      := $(addprefix build/lib/,$(SHIPPED) libphantom.so)
# The program and each of its workers: one bundle an entry, at the same path in build/stage.
ENTRIES        := main.ts $(sort $(shell find src -type f -name worker.ts))
BUNDLES        := $(ENTRIES:%.ts=build/stage/%.js)
WORKERS        := $(patsubst build/stage/%,%,$(filter-out build/stage/main.js,$(BUNDLES)))
SOURCES        := main.ts $(sort $(shell find src ffi -type f ! -name '*_test.ts' \
                    ! -path 'ffi/native/*')) deno.json $(wildcard deno.lock)
LAYOUT         := ffi/bpf/layout.gen.ts
# Enums whose values are shown to people.
LAYOUT_NAMED   := ph_verdict,ph_reason,ph_event_kind,ph_session_result,ph_relay_outcome,ph_relay_backend_state
LAYOUT_TOOL    := $(DENO) run -A tools/layout.ts --named $(LAYOUT_NAMED) $(BPF_OBJECTS) -o $(LAYOUT)
LIBBPF_LAYOUT  := ffi/bpf/libbpf.gen.ts
LIBBPF_TOOL    := $(DENO) run -A tools/layout.ts --named bpf_map_type --c tools/libbpf_anchors.c \
                    -o $(LIBBPF_LAYOUT)

BPF_ARCH_x86_64  := x86
BPF_ARCH_aarch64 := arm64
BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror \
  -D__TARGET_ARCH_$(BPF_ARCH_$(MACHINE)) -I/usr/include/$(MACHINE)-linux-gnu -Ibpf \
  -ffile-prefix-map=$(CURDIR)=.

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wvla
NATIVE_CFLAGS := -std=gnu11 -O2 $(WARNINGS) -fstack-protector-strong -U_FORTIFY_SOURCE \
  -D_FORTIFY_SOURCE=2 -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections -D_GNU_SOURCE
NATIVE_LDFLAGS := -shared -Wl,-soname,libphantom.so -Wl,--version-script,$(NATIVE_MAP) \
  -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs -Wl,--exclude-libs,ALL -Wl,--gc-sections
NATIVE_LIBS := -l:libcrypto.a -lpthread -ldl
LIBCRYPTO := $(wildcard /usr/lib/$(MACHINE)-linux-gnu/libcrypto.a)
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined \
  -fno-omit-frame-pointer -g
ASAN_CFLAGS := -std=gnu11 -O1 $(WARNINGS) -fPIC -fvisibility=hidden -D_GNU_SOURCE $(SANITIZE)

# ---- for people ----

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  Variables: PREFIX=$(PREFIX) DESTDIR= SYSCONFDIR=$(SYSCONFDIR) UNITDIR=$(UNITDIR) LOCALSTATEDIR=$(LOCALSTATEDIR)'
	@echo '             DENORT_BIN=, DENORT_FALLBACK=npm (see make build), V=1 (show commands)'

setup: ## install what is missing: Debian packages, Deno, npm dependencies
	$(Q)tools/setup.sh

setup-tests:
	$(Q)tools/setup.sh --tests

run: setup ## start the server from source; makes phantom.yaml at the first run
	$(Q)$(MAKE) --no-print-directory bpf lib
	$(Q)exec $(DENO) run -A --v8-flags='$(V8_FLAGS)' main.ts run --init -c phantom.yaml

dev: setup ## ... and again after each change of a source file
	$(Q)PATH="$(dir $(DENO)):$$PATH" $(DENO) task dev

ok: setup ## every check and test that needs no root: before each commit
	$(Q)PATH="$(dir $(DENO)):$$PATH" $(DENO) task ok

test: setup-tests ## every check and test; as root also those that need the kernel
	$(Q)$(MAKE) --no-print-directory bpf lib
	$(Q)$(DENO) run -A tools/run_tests.ts

test-busy: setup-tests ## tests that measure or wait, COUNT=20 times beside a busy loop a core
	$(Q)$(MAKE) --no-print-directory bpf lib
	$(Q)$(DENO) run -A tools/test_busy.ts --count=$(COUNT) $(SUITES)

test-kernels: setup ## ... on Linux 5.10, 6.1 and 6.12, in an emulator (about 6 minutes)
	$(Q)tools/kernels.sh
	$(Q)$(MAKE) --no-print-directory bpf lib dist/phantom
	$(Q)$(DENO) test -A tests/kernels/

build: setup ## dist/phantom, one executable
	$(Q)$(MAKE) --no-print-directory dist/phantom

reproducible: setup ## ... built twice, in two folders: fails when the executables differ
	$(Q)tools/reproducible.sh

bench: setup ## build dist/phantom and run the benchmarks
	$(Q)$(MAKE) --no-print-directory bpf lib dist/phantom
	$(Q)$(DENO) run -A tests/bench/run.ts

clean: ## remove what was built
	$(Q)rm -rf build dist

distclean: clean ## ... and the toolchain
	$(Q)rm -rf .toolchain

# ---- parts ----

bpf: $(BPF_OBJECTS) $(TEST_OBJECTS) ## compile the BPF programs
lib: $(LIBRARIES) ## compile libphantom.so, collect the libraries to ship

layout: $(BPF_OBJECTS) ## write ffi/bpf/*.gen.ts from the BTF of our programs and libbpf's headers
	$(Q)if ! $(LAYOUT_TOOL) --check >/dev/null 2>&1; then \
	  echo '  LAYOUT  $(LAYOUT)'; $(LAYOUT_TOOL); fi
	$(Q)$(LIBBPF_TOOL)

layout-check: build/.layout-checked ## fail when ffi/bpf/layout.gen.ts is stale

sanitize: build/asan/libphantom.so bpf lib ## test our C under the address and UB sanitisers
	$(Q)ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  LD_PRELOAD="$$($(NATIVE_CC) -print-file-name=libasan.so) \
	  $$($(NATIVE_CC) -print-file-name=libubsan.so)" \
	  PHANTOM_NATIVE=$(CURDIR)/build/asan/libphantom.so \
	  $(DENO) test -A ffi/ tests/fuzz/native_fuzz_test.ts \
	  $(if $(filter 0,$(shell id -u)),$(addprefix tests/bpf/,ffi/object_test.ts ffi/map_test.ts ffi/ring_test.ts) \
	  $(addprefix tests/netns/,tunnel/deliver_test.ts tunnel/delivery_test.ts))

# ---- rebuild when flags or the compiler changed: each build/flags/x is a prerequisite ----

# Written to a file of this shell's own: tests run make, too, one beside the other.
replace_if_changed = if cmp -s $@.$$$$ $@; then rm $@.$$$$; else mv $@.$$$$ $@; fi

# $(call record,COMMANDS): the target is what COMMANDS print, and newer only when that differs.
define record
	@mkdir -p $(@D); { $(1); } >$@.$$$$; $(replace_if_changed)
endef

build/flags/bpf: FORCE
	$(call record,$(CLANG) --version; echo '$(BPF_CFLAGS)')

build/flags/native: FORCE
	$(call record,$(NATIVE_CC) --version; \
	  echo '$(NATIVE_CFLAGS) $(NATIVE_LDFLAGS) $(NATIVE_LIBS) $(NATIVE_SOURCES)')

build/flags/asan: FORCE
	$(call record,$(NATIVE_CC) --version; echo '$(ASAN_CFLAGS) $(NATIVE_SOURCES)')

build/flags/bundle: FORCE
	$(call record,echo '$(DENO_VERSION) $(SOURCES)')

build/flags/stage: FORCE
	$(call record,echo '$(BPF_OBJECTS) $(LIBRARIES)')

build/flags/base: FORCE
	$(call record,echo "$${DENORT_BIN:-} $(V8_FLAGS)")

# ---- BPF programs ----

build/bpf/%.o: bpf/%.bpf.c build/flags/bpf Makefile
	@echo '  BPF     $@'
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@.tmp
	$(Q)$(STRIP) -g $@.tmp
	$(Q)mv $@.tmp $@

# Programs that only tests and benchmarks load. Most have no use for their context.
build/tests/%.o: tests/bpf/%.bpf.c build/flags/bpf Makefile
	@echo '  BPF     $@'
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Wno-unused-parameter -MD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@.tmp
	$(Q)$(STRIP) -g $@.tmp
	$(Q)mv $@.tmp $@

build/.layout-checked: $(BPF_OBJECTS) $(LAYOUT) $(wildcard tools/layout*.ts bpf/*/*.h) \
                       ffi/bpf/btf.ts ffi/bpf/layout_model.ts ffi/bpf/layout_hash.ts deno.json
	@echo '  CHECK   $(LAYOUT)'
	$(Q)$(LAYOUT_TOOL) --check
	$(Q)touch $@

# ---- libphantom.so, and its sanitised twin ----

build/native/%.o: ffi/native/%.c build/flags/native Makefile
	@echo '  CC      $@'
	@mkdir -p $(@D)
	$(Q)$(NATIVE_CC) $(NATIVE_CFLAGS) -MD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@.tmp
	$(Q)mv $@.tmp $@

build/lib/libphantom.so: $(NATIVE_SOURCES:ffi/native/%.c=build/native/%.o) $(NATIVE_MAP) \
                         $(LIBCRYPTO) build/flags/native
	@echo '  LD      $@'
	@mkdir -p $(@D)
	$(Q)$(NATIVE_CC) $(filter %.o,$^) $(NATIVE_LDFLAGS) $(NATIVE_LIBS) -s -o $@.tmp
	$(Q)mv $@.tmp $@

build/asan/%.o: ffi/native/%.c build/flags/asan Makefile
	@echo '  CC      $@'
	@mkdir -p $(@D)
	$(Q)$(NATIVE_CC) $(ASAN_CFLAGS) -MD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@.tmp
	$(Q)mv $@.tmp $@

build/asan/libphantom.so: $(NATIVE_SOURCES:ffi/native/%.c=build/asan/%.o) $(NATIVE_MAP) \
                          $(LIBCRYPTO) build/flags/asan
	@echo '  LD      $@'
	$(Q)$(NATIVE_CC) $(filter %.o,$^) $(SANITIZE) -shared -Wl,-soname,libphantom.so \
	  -Wl,--version-script,$(NATIVE_MAP) -Wl,--exclude-libs,ALL $(NATIVE_LIBS) -o $@.tmp
	$(Q)mv $@.tmp $@

# The system's own, copied; looked at each time, since an upgrade replaces them.
$(addprefix build/lib/,$(SHIPPED)): FORCE
	@mkdir -p $(@D)
	@from=$$(readlink -f "$$($(NATIVE_CC) -print-file-name=$(@F))"); \
	  if [[ ! -f $$from ]]; then echo "error: $(@F) is not installed: make setup" >&2; exit 1; fi; \
	  cp "$$from" $@.$$$$; chmod 0644 $@.$$$$; $(replace_if_changed)

# ---- the executable ----

# ESM of packages, which leaves out what nobody calls ("browser"), and short names: both are what a
# start waits for. tools/stack.ts reads the maps.
BUNDLE := $(DENO) bundle --quiet --platform browser --minify --sourcemap=external
FINISH := $(DENO) run --no-config --allow-read --allow-write tools/finish_bundle.ts

# A file a command and what they share: none waits for the code of the others.
build/stage/main.js: main.ts $(SOURCES) build/flags/bundle tools/finish_bundle.ts Makefile
	@echo '  BUNDLE  $@'
	$(Q)rm -rf build/split && mkdir -p build/stage
	$(Q)$(BUNDLE) --code-splitting --outdir build/split $<
	$(Q)$(FINISH) --split build/split build/maps
	$(Q)rm -f build/stage/*.js && mv build/split/*.js build/stage/

$(filter-out build/stage/main.js,$(BUNDLES)): build/stage/%.js: %.ts $(SOURCES) build/flags/bundle \
                                              tools/finish_bundle.ts Makefile
	@echo '  BUNDLE  $@'
	$(Q)mkdir -p $(@D) build/unfinished
	$(Q)$(BUNDLE) -o build/unfinished/$*.js $<
	$(Q)$(FINISH) build/unfinished/$*.js build/maps/$(dir $*)
	$(Q)mv build/unfinished/$*.js $@

build/stage/.copied: $(BPF_OBJECTS) $(LIBRARIES) build/flags/stage Makefile
	$(Q)rm -rf build/stage/build
	$(Q)mkdir -p build/stage/build/bpf build/stage/build/lib
	$(Q)cp $(BPF_OBJECTS) build/stage/build/bpf/
	$(Q)cp $(LIBRARIES) build/stage/build/lib/
	$(Q)touch $@

build/stage/commit.json: FORCE
	$(call record,tools/commit.sh)

dist/phantom: $(BUNDLES) build/stage/.copied build/stage/commit.json build/.layout-checked build/flags/base \
              tools/compile.sh tools/lib.sh tools/pins.env
	@echo '  COMPILE $@'
	$(Q)V8_FLAGS='$(V8_FLAGS)' tools/compile.sh build/stage $@ build/lib build/bpf commit.json $(WORKERS)

# ---- installing ----

PREFIX        ?= /usr/local
SYSCONFDIR    ?= /etc
LOCALSTATEDIR ?= /var
UNITDIR       ?= $(PREFIX)/lib/systemd/system
# What is installed.
DIST          ?= dist/phantom
BIN           := $(DESTDIR)$(PREFIX)/bin/phantom
DOC           := $(DESTDIR)$(PREFIX)/share/doc/phantom
CONFIG        := $(DESTDIR)$(SYSCONFDIR)/phantom
STATE         := $(DESTDIR)$(LOCALSTATEDIR)/lib/phantom
UNITS         := $(DESTDIR)$(UNITDIR)
# What messages and the README send people to.
INSTALLED_DOCS := docs/CONFIG.md docs/TROUBLESHOOTING.md docs/RELAY.md
UNIT_NAMES    := phantom.service phantom@.service phantom-client@.service

# Their paths adapted: $(call adapt,FROM,NAME,MORE OF SED)
define adapt
	$(Q)sed -e 's|/usr/local/bin/phantom|$(PREFIX)/bin/phantom|g' $(3) \
	  -e 's|/etc/phantom|$(SYSCONFDIR)/phantom|g' deploy/$(1) >'$(UNITS)/$(2).tmp'
	$(Q)chmod 0644 '$(UNITS)/$(2).tmp' && mv '$(UNITS)/$(2).tmp' '$(UNITS)/$(2)'
endef

# Only where systemd runs, and not for a package's root.
systemctl = if [[ -z "$(DESTDIR)" && -d /run/systemd/system ]]; then systemctl $(1); fi

# Building is not implied: `make build`, then `sudo make install`, leaves no root-owned build/.
ifneq ($(filter build,$(MAKECMDGOALS)),)
install: build
endif
install: ## install dist/phantom, the example configurations and the systemd units
	@if [[ ! -x $(DIST) ]]; then echo 'error: no $(DIST): make build' >&2; exit 1; fi
	$(Q)install -D -m 0755 $(DIST) $(BIN)
	$(Q)install -D -m 0644 README.md $(DOC)/README.md
	$(Q)install -D -m 0644 -t $(DOC)/docs $(INSTALLED_DOCS)
	$(Q)install -D -m 0644 config.example.yaml $(DOC)/config.example.yaml
	$(Q)install -D -m 0644 config.example.yaml $(CONFIG)/config.example.yaml
	$(Q)install -D -m 0644 client.example.yaml $(DOC)/client.example.yaml
	$(Q)install -d $(UNITS)
	$(call adapt,phantom.service,phantom.service)
	$(call adapt,phantom.service,phantom@.service,-e 's|phantom\.yaml|%i.yaml|g' \
	  -e '/^Description=/s|Phantom|Phantom %i|')
	$(call adapt,phantom-client@.service,phantom-client@.service)
	$(Q)$(call systemctl,daemon-reload)
	@echo 'installed $(BIN), and the units $(UNIT_NAMES)'
	@echo 'next: phantom init $(CONFIG)/phantom.yaml'
	@echo '      systemctl enable --now phantom'
	@echo 'a client: its file as $(CONFIG)/client.yaml, then systemctl enable --now phantom-client@client'

# The tool goes last: it alone takes the programs off that a server has left in the kernel. A file
# that can't be read (3) is no reason to stop, a server that runs is.
uninstall: ## stop, unload, and remove what install and the server made; your configuration stays
	$(Q)$(call systemctl,stop phantom.service 'phantom@*.service' 'phantom-client@*.service')
	$(Q)if [[ -z "$(DESTDIR)" && -x $(BIN) ]]; then \
	  for file in $(CONFIG)/*.yaml; do \
	    if [[ -e $$file && $$file != */config.example.yaml ]]; then \
	      $(BIN) unload -c "$$file" || [[ $$? == 3 ]]; fi; done; \
	  $(BIN) unload; fi
	$(Q)rm -f $(BIN) $(DOC)/README.md $(DOC)/config.example.yaml $(DOC)/client.example.yaml \
	  $(INSTALLED_DOCS:%='$(DOC)/%') \
	  $(CONFIG)/config.example.yaml $(UNIT_NAMES:%='$(UNITS)/%')
	@# What `systemctl enable` made.
	$(Q)if [[ -d $(DESTDIR)$(SYSCONFDIR)/systemd/system ]]; then \
	  find $(DESTDIR)$(SYSCONFDIR)/systemd/system -type l \( -name phantom.service \
	    -o -name 'phantom@*.service' -o -name 'phantom-client@*.service' \) -delete; fi
	$(Q)rm -rf $(STATE)
	$(Q)for folder in $(DOC)/docs $(DOC) $(CONFIG); do \
	  if [[ -d $$folder ]]; then rmdir --ignore-fail-on-non-empty "$$folder"; fi; done
	$(Q)$(call systemctl,daemon-reload)
	@echo 'removed $(BIN), its units, and its state in $(STATE)'
	@if [[ -d $(CONFIG) ]]; then echo 'kept your configuration:' $(CONFIG)/*; fi

# What the compilers noted about included headers.
-include $(BPF_OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d) $(NATIVE_SOURCES:ffi/native/%.c=build/native/%.d) \
  $(NATIVE_SOURCES:ffi/native/%.c=build/asan/%.d)
