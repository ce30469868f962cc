# `make` alone prints what there is to do.
.DEFAULT_GOAL := help
.PHONY: help run test check soak bench generate build
SHELL := /bin/bash
CARGO ?= cargo

help: ## print this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

run: build ## the whole system over a sample, two pull requests played; ONCE=1 ends after their verdicts
	target/release/sandgate demo --data-dir ./.sandgate/demo $(if $(filter-out 0,$(ONCE)),--once)

test: ## run every test suite; installs what the tests need and names what it skips
	.ci/test

check: ## format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

generate: ## write the files that are generated and checked in
	mkdir -p docs
	$(CARGO) run --quiet --locked -p sandgate-cli -- schema > docs/sandgate.schema.json

build: ## the optimised binary, target/release/sandgate
	$(CARGO) build --release --locked -p sandgate-cli

soak: ## kill `sandgate dev` again and again: MINUTES (30), SEED to repeat a round, ROUNDS
	$(if $(MINUTES),SANDGATE_SOAK_MINUTES=$(MINUTES)) $(if $(ROUNDS),SANDGATE_SOAK_ROUNDS=$(ROUNDS)) \
	$(if $(SEED),SANDGATE_SEED=$(SEED)) $(CARGO) test --locked -p sandgate-cli --test it dev::kills::soak -- --ignored --exact --nocapture

bench: ## measure this machine: a Markdown table; ONLY=<pattern> for a part
	@ONLY="$(ONLY)" .ci/bench
