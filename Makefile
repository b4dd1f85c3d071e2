# What a developer does here. Needs GNU make and Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= python3
HOST = 127.0.0.1
PORT ?= 8000
ARGS =
m =
BIN := .venv/bin

# Written last, so that a half-made .venv has none; it names the folder, because a .venv that was moved runs what stands
# at its old place.
DONE := .venv/made-for
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(DONE) 2>/dev/null),$(CURDIR))
REMAKE := remake
endif
# The lock is whole, so nothing is resolved: pip before 23.3, as Debian 12 has it, refuses a lock whose extras have a newer
# release (its issue 12345).
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile --root-user-action=ignore

.PHONY: help install run run-memory test test-faults soak check fmt lock migrate revision openapi bench hotspots populate scale audit sbom clean remake

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1|/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-11s %s\n' "$$name" "$$what"; done

install: $(DONE) ## make .venv with the locked versions (the other targets do it when need be)

run: $(DONE) ## serve on HOST:PORT, with a private Postgres unless MOVIEHUB_DATABASE_URL says otherwise
	@exec $(BIN)/moviehub serve --host $(HOST) --port $(PORT)

run-memory: $(DONE) ## serve with everything in memory
	@MOVIEHUB_DATABASE_URL=memory:// exec $(BIN)/moviehub serve --host $(HOST) --port $(PORT)

# Three of them for two cores, for a third of their time they wait.
test: $(DONE) ## run the tests, on private servers; ARGS="-k word" passes more to pytest
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-faults: $(DONE) ## make everything go wrong, the slow faults too, and print what was promised and measured
	@$(BIN)/pytest --reliability -m promise $(ARGS)

soak: $(DONE) ## let parts fail by chance while people use the hub; ARGS="--minutes 10 --seed 7"
	@$(BIN)/python -m tests.soak $(ARGS)

check: $(DONE) ## format, lint, types, import rules and the lock, without changing anything
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/lock.py check
	@$(BIN)/python -m pip --disable-pip-version-check check

fmt: $(DONE) ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: $(DONE) ## make requirements.lock from pyproject.toml; ARGS=--upgrade for the newest versions
	@$(BIN)/python scripts/lock.py write $(ARGS)

migrate: $(DONE) ## bring the database to the newest schema
	@$(BIN)/moviehub migrate

revision: $(DONE) ## write a migration from what changed in the tables; m="what changed"
	@test -n "$$m" || { echo 'say what changed: make revision m="add a table"' >&2; exit 2; }
	@$(BIN)/python scripts/revision.py "$$m"

openapi: $(DONE) ## print the OpenAPI document
	@$(BIN)/moviehub openapi

bench: $(DONE) ## measure requests a second
	@$(BIN)/python scripts/bench.py $(ARGS)

hotspots: $(DONE) ## show where the CPU of a request goes
	@$(BIN)/python scripts/hotspots.py $(ARGS)

populate: $(DONE) ## fill the database with made-up films and people; ARGS="--movies 100000 --users 100000"
	@$(BIN)/python scripts/populate.py $(ARGS)

scale: $(DONE) ## measure every endpoint on small and on big databases
	@$(BIN)/python scripts/scale.py $(ARGS)

audit: $(DONE) ## what is known against the code and the dependencies; ARGS passes more to pip-audit
	@$(BIN)/python scripts/audit.py $(ARGS)

sbom: $(DONE) ## write what an installed moviehub is made of to build/sbom.cdx.json (CycloneDX)
	@$(BIN)/python scripts/sbom.py build/sbom.cdx.json

clean: ## remove .venv and all that the tools left behind; the data stays
	@rm -rf .venv build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

export m
# pip compiles nothing, so each start of anything would compile all of it anew if none might keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

$(DONE): requirements.lock pyproject.toml $(REMAKE)
	@command -v $(PYTHON) >/dev/null || { echo 'moviehub needs Python 3.11 or newer, and there is no $(PYTHON)' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "moviehub needs Python 3.11 or newer and $(PYTHON) is " \
		+ sys.version.split()[0] + ": name another with make PYTHON=...")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo '$(PYTHON) has no venv module: on Debian, apt install python3-venv' >&2; exit 1; }
	@echo 'Installing into .venv, about a minute ...'
	@$(if $(REMAKE),$(PYTHON) -m venv --clear .venv)
	@rm -f $@
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@printf '%s' '$(CURDIR)' > $@

remake:
