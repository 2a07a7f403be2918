# What a newcomer types. A fresh machine needs Python >= 3.10 with venv, a C++20 compiler, make and git; the rest comes
# from the Python package index into .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
BUILD_REQUIRES := "scikit-build-core>=0.11" "pybind11>=3.0" "cmake>=3.26" "ninja>=1.11"
SOURCES := CMakeLists.txt pyproject.toml $(shell find csrc cmake -type f)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)

CUDA ?= 13
CUDA_ARCHITECTURES ?= 90a
CMAKE_PLAIN := $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_BUILD_TYPE=Release \
	-DDD2424_PYTHON=OFF

.PHONY: help demo build test lint format stubs bench peers clean cuda cuda-all test-cuda test-cuda-host wheel-cuda gpu
help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

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

cuda: .venv/build-requires ## compile the CUDA library with nvcc, for compute capability 9.0 (CUDA_ARCHITECTURES=...)
	$(CMAKE_PLAIN) -B build/cuda -DDD2424_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)"
	$(BIN)/cmake --build build/cuda --target dd2424_cuda

cuda-all: ## the same for every GPU that the packages serve
	$(MAKE) cuda "CUDA_ARCHITECTURES=75-real;80-real;86-real;89-real;90a-real;90-virtual"

wheel-cuda: .venv/build-requires ## build the package dd2424-cuda13 (CUDA=12: dd2424-cuda12; CUDA_ARCHITECTURES=...)
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist packages/cuda$(CUDA) \
		-C "cmake.define.CMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)"

test-cuda: .venv/test cuda ## run the tests of GPUs on this machine's GPU
	DD2424_CUDA_LIBRARY=build/cuda/_cuda.so $(BIN)/python -m pytest tests/test_cuda*.py $(TESTS)

test-cuda-host: .venv/test ## run the tests of GPUs on an emulated one
	$(CMAKE_PLAIN) -B build/cuda_host -DDD2424_CUDA_HOST=ON
	$(BIN)/cmake --build build/cuda_host --target dd2424_cuda_host
	DD2424_CUDA_CHECK=1 DD2424_CUDA_LIBRARY=build/cuda_host/_cuda_host.so $(BIN)/python -m pytest tests/test_cuda*.py $(TESTS)

gpu: .venv/test ## all there is to do on a machine with a GPU, in 8 minutes: build, test, check, measure
	PYTHON=$(BIN)/python benchmarks/gpu.sh

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
