SHELL := /bin/sh
.DEFAULT_GOAL := help
SUB ?= alice
# taken word for word and given by environment: neither make nor the shell reads what a name holds
override SUB := $(value SUB)
export SUB
BIN := .venv/bin
FAST := libs/identity libs/runtime \
	$(patsubst %,services/gateway/tests/test_%.py,\
		circuit_breaker expiring_lru jwks redis_url settings token_mutations) \
	$(patsubst %,services/todos/tests/test_%.py,\
		bodies cursor declared duedate isolation_source ownership parameters preconditions since) \
	$(patsubst %,tests/test_%.py,contract documents list_settings)

.PHONY: help run token test test-fast test-external fuzz mutation chaos bench secrets images lint types lock settings format setup

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup:
	@PYTHON="$(PYTHON)" devtools/setup.sh

run: setup ## start everything on this machine; Ctrl-C stops it, data stays in .local/
	@exec $(BIN)/python -m devtools.stack

token: setup ## print a token of the running stack and nothing else: make -s token SUB=alice
	@$(BIN)/python -m devtools.token

test: lint types ## lint, types, and every test that Python alone can run
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not external' --durations 10

test-fast: setup ## the tests of rules that need no other process: half a minute
	@$(BIN)/python -m pytest -n 2 $(FAST)

test-external: setup ## tests against what no wheel brings and the newest uvicorn; skips by name what is missing
	@$(BIN)/python -m pytest -m external || test $$? -eq 5  # 5: there is none

fuzz: setup ## fuzz every reader of what clients send, a minute each; SECONDS=600, ONLY="rule token", KEEP=1
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ONLY),--only $(ONLY)) $(if $(KEEP),--keep)

mutation: setup ## change the modules that decide, place by place, and see that a test notices; ONLY="token identity"
	@$(BIN)/python -m devtools.mutation $(if $(ONLY),--only $(ONLY))

chaos: setup ## break everything under users who check every answer; SEED=7, ONLY="postgres-killed …", QUICK=1
	@$(BIN)/python -m tests.resilience $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

bench: setup ## us and the peers in one run: a table, bench/results; QUICK=1 for a short run, ONLY=gateway for a part
	@$(BIN)/python -m bench

secrets: ## make the secrets of the Compose stack in .secrets/, and overwrite none
	@sh deploy/compose/secrets.sh .secrets

images: ## build the image of each service, with the version in its tag and label
	@for service in gateway todos; do \
		docker build --build-arg "VERSION=$$(cat VERSION)" --tag "$$service:$$(cat VERSION)" \
			--file "services/$$service/Dockerfile" . || exit; \
	done

lint: setup ## style, import rules, and whether the requirement files are true
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m devtools.locks --check

types: setup ## mypy, strict
	@$(BIN)/mypy

settings: setup ## write docs/settings.md from the settings classes
	@$(BIN)/python -m devtools.settings_page

format: setup ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup ## write the hashed requirement files from the pyproject files
	@$(BIN)/python -m devtools.locks
