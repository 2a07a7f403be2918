# What a newcomer types. A fresh machine needs Python >= 3.10 with venv, a C++20 compiler, make and git; the rest comes
# from the Python package index into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
BUILD_REQUIRES := "scikit-build-core>=0.11" "pybind11>=3.0" "cmake>=3.26" "ninja>=1.11"
SOURCES := CMakeLists.txt pyproject.toml $(shell find csrc cmake -type f)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: help demo build test lint format stubs bench peers clean
help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/labs ## build, then train a classifier of handwritten digits
	$(BIN)/dd2424 train mlp --data digits

build: .venv/labs ## build and install into .venv; after a change, only what changed

test: .venv/test ## run the tests
	$(BIN)/python -m pytest -m "not torch" $(TESTS)

lint: .venv/dev ## check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/codespell

format: .venv/dev ## rewrite the sources in the style that lint checks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format -i

stubs: .venv/dev ## write the types of the compiled module, after its bindings have changed
	$(BIN)/python tests/make_stubs.py
	$(BIN)/ruff check --quiet --fix python/dd2424/_core.pyi
	$(BIN)/ruff format --quiet python/dd2424/_core.pyi

bench: .venv/bench ## measure everything, with the peers there are, and write docs/benchmarks.md
	$(BIN)/python benchmarks --page docs/benchmarks.md --json benchmarks/results/latest.json

peers: .venv-peers/bin/python ## PyTorch for `make bench` to compare with, in an environment of its own

clean: ## delete what was built and the environments
	rm -rf .venv .venv-peers build dist

# The environment grows by what each command needs; a stamp tells what it has.
.venv/build-requires: Makefile
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet $(BUILD_REQUIRES)
	@touch $@
.venv-peers/bin/python:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip --disable-pip-version-check install --quiet "torch==2.13.0" numpy
.venv/labs: .venv/build-requires $(SOURCES)
	$(PIP) install --quiet --no-build-isolation --editable ".[labs]"
	@touch $@
.venv/test .venv/dev .venv/bench: .venv/%: .venv/labs
	$(PIP) install --quiet --no-build-isolation --editable ".[$*]"
	@touch $@
