# The one door: every target makes what it needs, on a machine with Python 3.11 or newer (with venv) and make.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := pyproject.toml audit/__init__.py hatch_build.py $(wildcard reports/locale/*/LC_MESSAGES/*.po)
PYTHONS := $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14)

.DELETE_ON_ERROR:
.PHONY: help demo test coverage lint bench soak clean browser

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## from nothing to an auditor's report, against a simulated KMS: no account, no network
	@code=0; run=$$($(BIN)/kms-rotation remediate inventory.example.csv --simulate --yes) || code=$$?; \
	case $$code in 0 | 3 | 4) ;; *) echo "make demo: kms-rotation ended with exit code $$code" >&2; exit 1 ;; esac; \
	[ -s "$$run/report.html" ] || { echo "make demo: there is no report in '$$run'" >&2; exit 1; }; \
	echo; \
	echo "The report:          $$run/report.html"; \
	echo "The same as a table: $$run/report.csv"; \
	echo "kms-rotation ended with exit code $$code. The example holds records that cannot be used and a key that cannot be"; \
	echo "judged, on purpose, so 4 (something is not known) is right here; 0 would mean that nothing is left to do."

test: $(VENV)/.dev browser ## the tests, two files at a time; ARGS= is handed to pytest
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

coverage: $(VENV)/.dev browser ## the same with branch coverage and its floor; takes three times as long
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## the measurements of benchmarks/
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev ## the tests that run for minutes
	$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

clean: ## all that the other targets made, except the runs: those are evidence
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f reports/locale/*/LC_MESSAGES/*.mo
	find audit reports tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Python 3.11 or newer with its venv module is needed; tried: $(PYTHONS)." >&2; \
	echo "On Debian: apt-get install python3-venv. Elsewhere name one: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1

$(VENV)/.runtime: $(INSTALLED) | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(INSTALLED) | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

# The report is tested in the system's Chromium. Without one the browser tests fail and say so.
browser:
	@if [ "$$KMS_ROTATION_NO_BROWSER" = 1 ] || command -v chromium >/dev/null; then exit 0; fi; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	if command -v apt-get >/dev/null; then \
	  echo "Installing Debian's chromium, for the browser tests"; \
	  $$sudo apt-get -qq update && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium >/dev/null && \
	  exit 0; \
	fi; \
	echo "No chromium here, and it could not be installed. The browser tests will fail; KMS_ROTATION_NO_BROWSER=1 leaves" >&2; \
	echo "them out." >&2
