# The commands of this repository. `make` alone lists them.

PYTHON ?= python3
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

python := .venv/bin/python
ready := .venv/ready
# As in book/build.py, which says why.
kernel_environment := GOMP_SPINCOUNT=10000 PYTHONHASHSEED=0 PYTHONWARNINGS=default TQDM_DISABLE=1

.PHONY: help book test lint notebooks paper render bench lab clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target does; do \
		printf '  make %-10s %s\n' "$$target" "$$does"; done

book: $(ready) ## run what changed at quick scale and render the book
	@$(python) book/build.py run --scale quick
	@$(python) book/build.py render --scale quick

test: lint ## check everything: style, units, notebooks, the book in a browser
	@$(kernel_environment) $(python) -m pytest --nbval-lax --nbval-current-env \
		--nbval-cell-timeout 600 tests notebooks

lint: $(ready) ## check the style of code and notebooks
	@$(python) -m ruff check --quiet .
	@$(python) -m ruff format --check --quiet .

notebooks: $(ready) ## write quick-scale outputs into the source notebooks
	@$(python) book/build.py notebooks

paper: $(ready) ## run what changed at paper scale, renew the record, README and book (hours)
	@$(python) book/build.py run --scale paper
	@$(python) book/build.py readme
	@$(python) book/build.py render --scale paper

render: $(ready) ## render the book from the committed record, running nothing
	@$(python) book/build.py render --scale paper

bench: $(ready) ## time extraction beside the network alone (minutes; the machine should be quiet)
	@$(kernel_environment) $(python) benchmarks/cpu.py

lab: $(ready) ## open JupyterLab in the environment
	@$(python) -m jupyterlab notebooks

clean: ## remove the environment and everything built
	@rm -rf .venv _build src/*.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is the last thing written, so an interrupted installation is begun again.
$(ready): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "symscope needs Python 3.11 or newer, and $(PYTHON) is not:" \
		"name another one, as in 'make PYTHON=python3.12'" >&2; exit 1; }
	@echo "setting up .venv; the first time this takes some minutes"
	@rm -f $(ready)
	@$(PYTHON) -m venv .venv
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(python) -m pip install -c constraints.txt -e '.[book,test]' \
		| awk '/^(Collecting|Building|Installing)/ { print "  " substr($$0, 1, 77); fflush() }'
	@$(python) -c 'import matplotlib.font_manager' # builds its cache now, or it would warn later
	@touch $(ready)
