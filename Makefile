# make demo      install what is missing, build, fetch the demo's weights, continue a prompt
# make build     the programs, in build/bin/
# make test      build and run all tests
# make help      the other targets
SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: help bootstrap configure build demo weights test test-sanitize fuzz bench format lint install clean \
        distclean bump-version git-release

BUILD ?= build
# Ninja's own default (one job a core and a bit) unless JOBS says otherwise.
JOBS ?=
ninja_jobs := $(if $(JOBS),--parallel $(JOBS))
ctest_jobs := --parallel $(or $(JOBS),$(shell getconf _NPROCESSORS_ONLN))
# More settings for CMake: make build CMAKE_ARGS=-DCMAKE_CXX_COMPILER_LAUNCHER=ccache
CMAKE_ARGS ?=
MODEL := models/gemma-3-270m-q4_k_m.gguf
PROMPT ?= The three most important things to know about the sea are
PART ?= patch
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

help:
	@echo 'make demo           install what is missing, build, fetch the weights, continue PROMPT="..."'
	@echo 'make build          the programs, in $(BUILD)/bin/'
	@echo 'make test           build and run all tests'
	@echo 'make test-sanitize  unit tests under ASan and UBSan, in build-asan/ (SANITIZE=tsan: TSan)'
	@echo 'make fuzz           a short seeded run of every fuzz target, in build-asan/ (FUZZ_SECONDS=...)'
	@echo 'make bench          kernel benchmarks'
	@echo 'make format         clang-format all C++ files'
	@echo 'make lint           check formatting, run clang-tidy, check the documents (QUICK=1: fewer files)'
	@echo 'make install        install into PREFIX=...'
	@echo 'make bootstrap      look for everything the build needs and install what is missing'
	@echo 'make clean          remove the build folders (distclean: also .deps/)'
	@echo 'make bump-version   PART=patch|minor|major'
	@echo 'make git-release    tag this version and push the tag'

bootstrap:
	@tools/bootstrap.sh --check system python

# Stamped: costs milliseconds when everything is there.
.PHONY: dependencies
dependencies:
	@tools/bootstrap.sh system python

weights: dependencies
	@tools/bootstrap.sh weights

# CMake reruns itself when its files change; here only a folder never configured to the end.
configure: dependencies
	@[ -f $(BUILD)/build.ninja ] || cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release $(CMAKE_ARGS)

build: configure
	@cmake --build $(BUILD) $(ninja_jobs) --target programs

demo: build weights
	@$(BUILD)/bin/mlxgk generate --model $(MODEL) --prompt "$(PROMPT)" --max-tokens 96

test: configure weights
	@cmake --build $(BUILD) $(ninja_jobs)
	@tools/run_tests.sh $(BUILD) $(ctest_jobs)

SANITIZE ?= asan
test-sanitize: dependencies weights
	@tools/bootstrap.sh --groups build,test,bench,lint system
	@[ -f build-$(SANITIZE)/build.ninja ] || cmake --preset $(SANITIZE) $(CMAKE_ARGS)
	@cmake --build build-$(SANITIZE) $(ninja_jobs) --target unit_tests
	@# The real model's 600 tokens in exact arithmetic would take ten minutes here; `make test` runs them.
	@GTEST_FILTER='-*Gemma3*' tools/run_tests.sh build-$(SANITIZE) $(ctest_jobs) --label-regex unit

FUZZ_SECONDS ?= 20
fuzz: dependencies
	@tools/bootstrap.sh --groups build,test,bench,lint system
	@[ -f build-asan/build.ninja ] || cmake --preset asan $(CMAKE_ARGS)
	@cmake --build build-asan $(ninja_jobs) --target fuzz_targets
	@tools/run_fuzzers.sh build-asan $(FUZZ_SECONDS)

bench: dependencies
	@[ -f build-bench/build.ninja ] || cmake --preset bench $(CMAKE_ARGS)
	@cmake --build build-bench $(ninja_jobs) --target benchmarks
	@for program in build-bench/benchmarks/*_bench; do $$program || exit 1; done

format:
	@tools/bootstrap.sh --groups build,test,bench,lint system
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

lint: configure
	@tools/bootstrap.sh --groups build,test,bench,lint system
	@tools/lint.sh $(BUILD) $(if $(QUICK),--quick)

PREFIX ?= /usr/local
install: configure
	@cmake --build $(BUILD) $(ninja_jobs) --target programs
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf build build-asan build-tsan build-dev build-bench build-lint rust/target

distclean: clean
	rm -rf .deps

bump-version:
	@python3 tools/bump_version.py $(PART)

git-release:
	@python3 tools/git_release.py
