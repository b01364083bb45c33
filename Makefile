# One command a task. Each does its own set-up first (tools/setup); nothing else is needed on a
# Debian 12 with python3, make and apt, as root or with sudo.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check evasion evasion-list nightly bench fuzz coverage docs wheel format \
	clean model check-style check-types sanitized check-core check-threads check-python

# A target of `make fuzz` runs for so long; also SECONDS=60.
FUZZ_SECONDS ?= $(if $(filter command line,$(origin SECONDS)),$(SECONDS),30)
PYTEST_ARGUMENTS ?=
# Most tests wait for processes, so as many run at once as there are processors; those of a file one
# behind the other, since they share what is expensive to make.
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadfile
NIGHTLY_CASES ?= 100000
NIGHTLY_FUZZ_SECONDS ?= 450
NIGHTLY_KILLS ?= 10000
DEMO_LOGS ?= microbox-logs-demo

bin := .venv/bin
# The tools of the virtual environment before those of the system.
export PATH := $(CURDIR)/$(bin):$(PATH)

C_FILES = $(shell find microbox tests fuzz benchmarks examples -name '*.[ch]')
CORE_TESTS := $(addprefix tests/,differential evasion faults ffi nf nfs runtime stack)
# Whole runs, many times, for what chance decides between processes: sanitizers see nothing new in them.
OF_CHANCE := tests/runtime/test_determinism.py tests/faults/test_kills.py
SANITIZED := build/sanitize
COVERED := build/coverage

help: ## what there is to do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: ## replay a real capture through a chain of network functions
	@tools/setup demo
	@microbox run configs/demo.yaml --overwrite -w $(DEMO_LOGS)

test: ## the C unit tests, then all Python tests against the installed package
	@tools/setup test
	@tools/build build/test -Dbenchmarks=false -Dwerror=false
	@meson test -C build/test --no-rebuild --quiet --print-errorlogs
	@pytest $(SIDE_BY_SIDE) $(PYTEST_ARGUMENTS)

check: check-style check-types model check-core check-threads check-python ## style, types, the model of the bus, and the tests under sanitizers

check-style:
	@tools/setup check
	ruff check
	ruff format --check
	@clang-format --dry-run -Werror $(C_FILES) && echo "clang-format: $(words $(C_FILES)) files are well formed"

check-types:
	@tools/setup check
	mypy

model: ## explore the model of the bus in all its states, and its mutants (docs/bus-protocol.md)
	@tools/setup check
	@python -P tests/model/check.py

sanitized:
	@tools/setup check
	@tools/install-variant $(SANITIZED) -Dtests=true -Dwerror=true -Dbuildtype=debugoptimized -Db_ndebug=false -Db_sanitize=address,undefined -Db_lundef=false

# Everything that touches bytes from outside, with each wrong access and each leak an error.
check-core: sanitized
	@tools/sanitized meson test -C $(SANITIZED)/build --no-rebuild --quiet --print-errorlogs

# The shared-memory protocol: the tests of the suite `threads`, one process, real threads.
check-threads:
	@tools/setup check
	@tools/build build/threads -Dbenchmarks=false -Dwerror=true -Db_sanitize=thread -Db_lundef=false
	@tools/sanitized meson test -C build/threads --no-rebuild --quiet --print-errorlogs --suite threads

# The Python tests that reach the core, which is built as for check-core in each of their processes.
check-python: sanitized
	@tools/sanitized --preload $(SANITIZED)/site pytest $(SIDE_BY_SIDE) -p no:cacheprovider $(CORE_TESTS) $(addprefix --ignore=,$(OF_CHANCE)) $(PYTEST_ARGUMENTS)

evasion: ## published attacks on passive stacks (docs/evasion.md)
	@tools/setup test
	@tools/build build/test -Dbenchmarks=false -Dwerror=false
	@pytest tests/evasion $(PYTEST_ARGUMENTS)

evasion-list:
	@tools/setup test
	@PYTHONPATH=tests/support:tests/evasion python -P -m attacks && echo "docs/evasion.md"

# What chance decides, with many more throws; every capture of the corpus; long fuzzing.
nightly: export MICROBOX_CASES = $(NIGHTLY_CASES)
nightly: export MICROBOX_NIGHTLY = 1
nightly: export MICROBOX_KILLS = $(NIGHTLY_KILLS)
nightly: ## the property tests with 100,000 cases each, every capture 100 times, fuzzing for an hour
	@tools/setup test
	@tools/build build/test -Dbenchmarks=false -Dwerror=false
	@meson test -C build/test --no-rebuild --quiet --print-errorlogs --timeout-multiplier 20
	@pytest --timeout=0 $(PYTEST_ARGUMENTS) tests/conditions tests/stack tests/evasion tests/differential tests/faults/test_kills.py tests/faults/test_commands.py tests/runtime/test_determinism.py tests/runtime/test_control_noise.py tests/runtime/test_undisturbed_rate.py tests/cli/test_start_up.py
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=$(NIGHTLY_FUZZ_SECONDS)

bench: ## measure: medians of several runs, beside what was aimed at
	@tools/setup demo
	@tools/build build/bench -Dtests=false -Dbuildtype=release -Db_ndebug=true -Dwerror=false
	@$(bin)/python -P benchmarks/run.py --build build/bench $(BENCH_ARGUMENTS)

fuzz: ## run each fuzz target for SECONDS (30)
	@tools/setup fuzz
	@CC=clang tools/build build/fuzz -Dfuzz=true -Dtests=false -Dbenchmarks=false -Db_sanitize=address,undefined -Db_lundef=false
	@tools/fuzz build/fuzz $(FUZZ_SECONDS)

coverage: ## which lines the tests reach, of C and of Python
	@tools/setup check
	@tools/install-variant $(COVERED) -Dtests=true -Dwerror=false -Dbuildtype=debug -Db_coverage=true
	@tools/coverage $(COVERED)

docs: ## build the documentation into build/docs
	@tools/setup docs
	@sphinx-build -q -W --keep-going -b html docs build/docs && echo "docs: build/docs/index.html"

wheel: ## build dist/microbox-*.whl, and try it where there is no compiler
	@tools/setup wheel
	@tools/wheel
	@MICROBOX_WHEEL=$$(echo dist/*.whl) pytest tests/wheel $(PYTEST_ARGUMENTS)

format: ## bring all files into the common style
	@tools/setup check
	ruff format
	ruff check --fix-only
	clang-format -i $(C_FILES)

clean: ## remove what was built, .venv included
	rm -rf build build-* dist .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
