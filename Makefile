# The one door: everything that a person or a machine does here is a target of this file.
# `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
# Made when everything is installed; older than the lock or pyproject: install again.
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults check bench lock format

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED)  ## make .venv with everything locked in it; quick when nothing changed

demo: setup  ## the whole job on the sample activity, against a sandbox on loopback
	@$(BIN)/retrobadge demo

test: setup  ## the tests
	@$(BIN)/pytest

test-faults: setup  ## the whole fault suite, of which `make test` takes a share
	@$(BIN)/pytest -m faults

check: setup  ## format, lint, types, import contracts and tests: all of them, then the count
	@sh -c "$$CHECK"

bench: setup  ## how fast and how large, measured on this machine
	@$(BIN)/python tests/benchmarks/bench.py

format: setup  ## format the code, and mend what lint can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock:  ## write requirements.lock from pyproject.toml, keeping the versions that still fit
	@uv=$$(command -v uv || echo $(BIN)/uv); \
	"$$uv" pip compile pyproject.toml --group dev --group dask --group data --universal \
	  --generate-hashes --python-version 3.11 --quiet \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --output-file requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@sh -eu -c "$$SETUP"
	@touch $@

# uv if there is one, else one fetched into .venv; where uv can't be had, or doesn't reach
# the packages that pip is set up for, pip itself. Every way checks the hashes.
define SETUP
say() { echo "setup: $$*" >&2; }
is_new_enough() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

uv=$$(command -v uv || true)
if ! is_new_enough $(BIN)/python; then
  python=
  for name in $(PYTHON) python3.13 python3.12 python3.11; do
    if is_new_enough "$$name"; then python=$$name; break; fi
  done
  if [ -z "$$python" ]; then
    say "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V 2>&1)."
    say "Install one, or name it: make setup PYTHON=/path/to/python3"
    exit 1
  fi
  rm -rf .venv
  if [ -n "$$uv" ]; then
    "$$uv" venv --quiet --python "$$("$$python" -c 'import sys; print(sys.executable)')" .venv
  elif ! "$$python" -m venv .venv; then
    rm -rf .venv
    say "$$python can't make a virtual environment (see above)."
    say "On Debian and Ubuntu: apt install python3-venv. Or install uv."
    exit 1
  fi
fi

if [ -z "$$uv" ] && [ ! -x $(BIN)/uv ]; then
  say "no uv found: fetching one into .venv"
  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
  $(BIN)/python -m pip install --quiet 'uv>=0.9,<1' || say "uv can't be had, going on with pip"
fi
if [ -z "$$uv" ] && [ -x $(BIN)/uv ]; then uv=$(BIN)/uv; fi

# The lock holds every dependency of every dependency, so none is looked for.
install() { "$$@" --no-deps --require-hashes -r requirements.lock; }
install_project() { "$$@" --no-deps --no-build-isolation -e .; }

if [ -n "$$uv" ] && install "$$uv" pip install --quiet --python $(BIN)/python; then
  install_project "$$uv" pip install --quiet --python $(BIN)/python
else
  [ -z "$$uv" ] || say "uv can't get the packages (see above), trying pip"
  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
  install $(BIN)/python -m pip install --quiet
  install_project $(BIN)/python -m pip install --quiet
fi

# Once for all: else every command would where no bytecode may be written later on.
PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import flows.pipeline, flows.cli.main'
endef
export SETUP

# The tests come last, so that their summary is what is left on the screen.
define CHECK
failed=
count=0
run() {
  name=$$1; shift
  echo "== $$name"
  "$$@" || { failed="$$failed $$name"; count=$$((count + 1)); }
}
run format $(BIN)/ruff format --check
run lint $(BIN)/ruff check
run types $(BIN)/mypy
run imports $(BIN)/lint-imports
run tests $(BIN)/pytest
if [ "$$count" -gt 0 ]; then echo "check: $$count of 5 failed:$$failed" >&2; exit 1; fi
endef
export CHECK
