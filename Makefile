# make demo and make test are the two to know; make check is what CI runs.

COMPILER ?= $(if $(shell command -v tinygo),tinygo,go)
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

export WRANGLER_SEND_METRICS = false

clean_tree = test -z "$$(git status --porcelain)" || (echo "not committed:"; git status --short; git diff; exit 1)
modules = node_modules/.package-lock.json
bundle = .build/worker/index.js
worker_go = $(shell find worker shared -name '*.go' -not -name '*_test.go') $(wildcard worker/perch.json) go.mod go.sum
worker_ts = $(wildcard worker/shell/*.ts) wrangler.toml $(modules)

.PHONY: demo
demo: $(bundle) orchestrator ## two rollouts on a local Cloudflare: a good canary and a bad one
	@go run ./test/demo

.PHONY: test
test: $(bundle) orchestrator ## all tests
	npm run --silent test:stack
	npm run --silent test:shell
	go test -timeout 15m ./...

.PHONY: bench
bench: .build/perch.wasm $(modules) ## CPU a request and memory, beside hand-written workers, and what each feature costs; five minutes
	go test -run '^$$' -bench Decide -benchmem ./worker/router
	go run ./test/bench

.PHONY: soak
soak: $(bundle) orchestrator ## slow proofs: crowds with traps, bodies of 100 MB, every outcome counted; four minutes
	go run ./test/soak

.PHONY: proof
proof: ## the judge against simulations and a second implementation: many more runs than the tests make; half an hour
	go test -v -timeout 2h ./orchestrator/judge/judgetest -proof

.PHONY: figures
figures: ## the simulated rollouts of docs/figures.md and docs/auto.md, written into them; a quarter of an hour
	go run ./test/figures
	go run ./test/auto

FUZZTIME ?= 2m
.PHONY: fuzz
fuzz: ## all fuzz targets, one after the other; FUZZTIME=2m for each
	@grep -rHo '^func Fuzz[A-Za-z]*' --include='*_test.go' shared worker orchestrator | sed 's/:func / /' | sort | \
	while read -r file target; do \
		echo "$$target in $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) </dev/null || exit 1; \
	done

.PHONY: check
check: tidy format-check vet types test ## what CI runs
	@$(clean_tree)

.PHONY: orchestrator
orchestrator: ## the command, as .build/orchestrator
	go build -trimpath -o .build/orchestrator ./orchestrator

.PHONY: worker
worker: .build/perch.wasm ## the routing core as WebAssembly; COMPILER=go or tinygo forces one

# A build by the other compiler must not pass for this one's.
.build/compiler: FORCE
	@mkdir -p .build
	@echo $(COMPILER) | cmp -s - $@ || echo $(COMPILER) > $@
FORCE:

.build/perch.wasm: .build/compiler $(worker_go)
ifeq ($(COMPILER),tinygo)
	tinygo build -target worker/perch.json -opt z -no-debug -panic trap -o $@ ./worker
else
	@command -v tinygo >/dev/null || echo "TinyGo is not installed: building with the standard compiler, which makes a larger module"
	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o $@ ./worker
endif

.PHONY: bundle
bundle: $(bundle) ## the worker as it would be deployed
$(bundle): .build/perch.wasm $(worker_ts)
	@rm -rf .build/worker
	@npm run --silent wrangler -- deploy --dry-run --env "" --outdir .build/worker >.build/wrangler.log 2>&1 || (cat .build/wrangler.log; exit 1)
	@touch $@

$(modules): package-lock.json
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

.PHONY: format format-check
format: $(modules) ## format Go and TypeScript
	gofmt -w .
	npm run --silent format
format-check: $(modules)
	@test -z "$$(gofmt -l worker orchestrator shared test)" || (gofmt -d worker orchestrator shared test; exit 1)
	npm run --silent format:check

.PHONY: vet
vet:
	go vet ./...
	$(STATICCHECK) ./...

.PHONY: types
types: .build/perch.wasm $(modules)
	npm run --silent typecheck

.PHONY: tidy
tidy: ## the tree holds nothing that is generated or forgotten
	go mod tidy -diff
	@$(clean_tree)

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16
