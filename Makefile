# make run          build everything, serve DIR at http://127.0.0.1:PORT/ with Twisted on ropewalk
# make build        build the extension module and install it into .venv
# make test         Rust tests, Python tests, the quick part of Twisted's own
# make lint         formatting, clippy, rustdoc, ruff, mypy
# make conformance  Twisted's own tests, whole, on ropewalk and on Twisted's reactor
# make bench        the tables of docs/measured.md
# make clean        remove what was built, .venv included
#
# PORT, DIR, PYTHON (the interpreter .venv is made with) and CARGO_FLAGS can be given.

PYTHON ?= python3
PORT ?= 8080
DIR ?= docs
CARGO_FLAGS ?=

# Where rustup puts cargo, for a shell that was not started anew since.
export PATH := $(PATH):$(HOME)/.cargo/bin

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
EXTENSION_SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md \
	$(shell find crates -name '*.rs' -o -name Cargo.toml -o -name build.rs) \
	$(wildcard python/ropewalk/*.py) $(wildcard python/twisted/plugins/*.py)

.PHONY: run build test lint conformance bench clean rust-test quick-conformance python-test
.NOTPARALLEL:
.DEFAULT_GOAL := build

run: build
	@test -d '$(DIR)' || { echo "make run: no directory $(DIR)" >&2; exit 1; }
	@echo "http://127.0.0.1:$(PORT)/  (serving $(DIR))"; \
	exec $(BIN)/twist --reactor=ropewalk web --listen tcp:$(PORT):interface=127.0.0.1 \
		--path '$(DIR)'

build: $(STAMPS)/extension

test: rust-test quick-conformance python-test
	@echo "make test: all passed"

rust-test:
	tools/need-commands cc cargo curl less openssl socat tmux vim wrk
	cargo test --lib --bins --tests --examples --features ropewalk/tokio,ropewalk-proto/tls $(CARGO_FLAGS)
	cargo test --doc --features ropewalk/tokio,ropewalk-proto/tls $(CARGO_FLAGS)

quick-conformance: build $(STAMPS)/test
	$(BIN)/python tests/conformance/run.py --quick

python-test: build $(STAMPS)/test
	tools/need-commands curl dig wrk socat openssl prlimit ssh strace less tmux vim
	$(BIN)/python -m pytest tests

lint: build $(STAMPS)/test
	cargo fmt --all --check
	cargo clippy --all-targets --features ropewalk/tokio,ropewalk-proto/tls $(CARGO_FLAGS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps \
		--features ropewalk/tokio,ropewalk-proto/tls $(CARGO_FLAGS)
	PYO3_PYTHON="$(CURDIR)/$(BIN)/python" \
		cargo clippy -p ropewalk-python $(CARGO_FLAGS) -- -D warnings
	if [ -f bench/Cargo.toml ]; then \
		(cd bench && cargo fmt --check) && \
		cargo clippy --manifest-path bench/Cargo.toml --all-targets $(CARGO_FLAGS) -- -D warnings; \
	fi
	cd fuzz && cargo fmt --check
	@# The stable compiler will do, for nothing is linked: libFuzzer need not even be built.
	CUSTOM_LIBFUZZER_PATH=/nowhere/libfuzzer.a cargo clippy --manifest-path fuzz/Cargo.toml \
		--target-dir "$${CARGO_TARGET_DIR:-target}" --all-targets $(CARGO_FLAGS) -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	tools/check-types $(BIN)
	@echo "make lint: clean"

conformance: build $(STAMPS)/test
	$(BIN)/python tests/conformance/run.py

bench: build $(STAMPS)/bench
	$(BIN)/python bench/run.py

clean:
	cargo clean
	if [ -f bench/Cargo.toml ]; then cargo clean --manifest-path bench/Cargo.toml; fi
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache _trial_temp*
	rm -f python/ropewalk/*.so python/twisted/plugins/dropin.cache

# Stamps say what .venv holds, so that nothing is installed twice.

$(STAMPS)/venv:
	tools/make-venv '$(PYTHON)' $(VENV)
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime $(STAMPS)/build $(STAMPS)/test $(STAMPS)/bench: \
$(STAMPS)/%: requirements/%.txt | $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet --requirement $<
	touch $@

# These two lists contain the runtime's.
$(STAMPS)/test $(STAMPS)/bench: requirements/runtime.txt

$(STAMPS)/extension: $(EXTENSION_SOURCES) $(STAMPS)/runtime $(STAMPS)/build
	tools/need-commands cc cargo
	PIP_QUIET=1 VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/maturin develop --release
	touch $@
