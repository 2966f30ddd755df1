# The commands for this repository. Each target runs in all modules, without a Go workspace.

GO       ?= go
FUZZTIME ?= 30s
BENCH    ?= .
ROUNDS   ?= 20
KEYS     ?= 500000
LOAD     ?= 10m
CHAOS    ?= 1h
SEED     ?= 0

MODULES := $(patsubst %/go.mod,%,$(sort $(shell find . -name go.mod -not -path '*/.*/*' -not -path '*/testdata/*' -not -path '*/node_modules/*')))
TOOLS   := $(CURDIR)/.tools/bin

export GOWORK := off

# $(call each,COMMAND) runs COMMAND in the folder of every module and stops at the first that fails.
each = @set -e; for m in $(MODULES); do echo "== $$m: $(1)"; (cd "$$m" && $(1)); done

.PHONY: help deps test test-core lint api bench bench-peers bloat fuzz soak load chaos cover

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the missing dependencies of the tests and the linter
	@sh scripts/deps.sh $(TOOLS) $(MODULES)

test: ## run all tests with the race detector, then the allocation tests without it
	@sh scripts/test.sh $(TOOLS)/gotestsum "$(MODULES)" -race -shuffle=on ./...
	@GOTESTSUM_FORMAT=standard-verbose sh scripts/test.sh $(TOOLS)/gotestsum ". benchmarks otelseawall ratelimit/redislimit idempotent/pgstore" -count=1 -run=Alloc ./...

test-core: ## run the tests of the core module; this needs only Go
	$(GO) test -shuffle=on ./...

lint: ## run the linters and govulncheck, and check the prose and that every go.mod is tidy
	@echo "== gofmt -l ."; if gofmt -l . | grep .; then exit 1; fi
	@echo "== prose"; $(GO) run ./internal/cmd/prose
	$(call each,$(GO) vet ./...)
	$(call each,$(GO) mod tidy -diff)
	$(call each,$(TOOLS)/golangci-lint run --allow-serial-runners --config=$(CURDIR)/.golangci.yml ./...)
	$(call each,sh $(CURDIR)/scripts/vulncheck.sh $(TOOLS)/govulncheck)

api: ## write the exported API to api.txt, so that diffs show changes
	$(GO) test -count=1 -run=APIIsInFile . -update-api

bench: ## run the benchmarks (BENCH=regexp)
	$(call each,$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem ./...)

bench-peers: ## compare with other libraries, in about ten minutes (needs redis-server and PostgreSQL), and write docs/BENCHMARKS.md
	cd benchmarks && $(GO) run ./peers/report

bloat: ## measure the size of pgstore's tables with KEYS=500000 keys for each store, in about ten minutes
	cd benchmarks && $(GO) test ./bloat -v -count=1 -timeout=60m -keys=$(KEYS) -retention=20s

fuzz: ## run every fuzz target for FUZZTIME=30s
	$(call each,sh $(CURDIR)/scripts/fuzz.sh $(FUZZTIME))

soak: ## run retry's tests with random calls with the race detector, ROUNDS=20 times as long as in make test
	$(GO) test -race -count=1 -timeout=60m -run='OnlyTheCallerUses|ResponsesInAReverseProxy' ./retry -rounds=$(ROUNDS)

load: ## attack examples/docsapi with the race detector for LOAD=10m, and kill it 50 times
	cd examples/docsapi && $(GO) test -race -count=1 -v -timeout=60m -run='Withstands|Killed' . -load=$(LOAD) -kills=50

chaos: ## attack idempotency, rate limits and retries with real processes for CHAOS=1h, and write docs/CHAOS.md (SEED=N repeats a schedule)
	mkdir -p docs/chaos
	cd internal/chaos && $(GO) test -count=1 -v -timeout=0 -run=Chaos . -chaos=$(CHAOS) -seed=$(SEED) -ledger=$(CURDIR)/docs/chaos/ledger.json
	cd internal/chaos && $(GO) test -count=1 ./ledger -update

cover: ## measure the coverage of each module; for details: go tool cover -html=coverage.out
	$(call each,$(GO) test -coverpkg=./... -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -n 1)
