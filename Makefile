# On a Debian machine with Go and root, `make demo` shows what understudy does and `make test` tests all of it. Both install the
# packages that they miss.

SHELL := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
STATICCHECK := go tool -modfile=.ci/go.mod staticcheck
# The packages whose tests need what make packages makes.
BUILT := ./packaging/lint
# The packages whose tests run on hosts of their own and measure time: they run alone.
HOSTS := ./internal/netlab/... ./cmd/...
# Of these, what takes minutes with the VRRP speakers of others, and is run by itself.
INTEROP := ./internal/netlab/interop
# And what boots whole machines.
MACHINES := ./internal/netlab/machines
# What measures little, and mostly waits for commands and whole elections: two of these packages run at a time.
PATIENT := ./internal/netlab ./internal/netlab/examples ./internal/netlab/pairtest ./cmd/...
FUZZTIME ?= 4s
# Seeds of the simulator: make test runs SEEDS of them, and a tenth as many with groups, and fails where these take more than SEEDTIME
# of the processors, unless SEEDS was given by hand; make sim SIMSEEDS, from SIMFROM on. It fails where SIMTIME is over before that, unless that time was given by hand.
SEEDS ?= 10000
SEEDTIME ?= 160s
SIMSEEDS ?= 1000000
SIMFROM ?= 1
SIMTIME ?= 4h

export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
# The version comes from here, so that the owner of the checkout need not be who builds.
export GOFLAGS := $(GOFLAGS) -buildvcs=false
# With the race detector every program of a test would sleep for a second before it ends.
export GORACE := $(GORACE) atexit_sleep_ms=0

.PHONY: all build demo test test-interop packages test-packages check race seeds sim stories fuzz bench bench-quick fmt clean

all: build

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.release=$(VERSION)' -o bin/understudy ./cmd/understudy

# The demo runs without nginx too, and says so.
demo:
	-@.ci/setup demo
	@$(MAKE) --no-print-directory build
	bin/understudy demo

# Without CI set, the tests that miss a package are skipped.
test:
	.ci/setup test || [ -z "$$CI" ]
	@$(MAKE) --no-print-directory check race seeds stories fuzz

check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted: run make fmt"; exit 1; fi
	go vet ./...
	go fix -diff ./...
	$(STATICCHECK) -checks all ./...

race:
	AGAIN='-race -count=1' .ci/gotest -race -timeout 5m $$(go list ./... | grep -vxF "$$(go list $(HOSTS) $(BUILT))")

# Random clusters: each seed is another one, and repeats exactly. They take less than a minute of two processors, which is held
# whatever else the machine does meanwhile, but for a third more on processors that are shared with others.
seeds:
	.ci/gotest -timeout 5m ./internal/sim -run 'TestRandom(Groups)?$$' -runs $(SEEDS) $(if $(filter file,$(origin SEEDS)),-effort $(SEEDTIME))

# Many of them, printing how far it is and each seed that fails.
sim:
	go test -timeout 0 -count 1 ./internal/sim -run 'TestRandom(Groups)?$$' -v -runs $(SIMSEEDS) -seed $(SIMFROM) -budget $(SIMTIME) $(if $(filter file,$(origin SIMTIME)),,-part)

# The daemon is built once for all of them, as it is shipped and with the race detector.
stories: export UNDERSTUDY := $(CURDIR)/bin/understudy
stories: export UNDERSTUDY_RACE := $(CURDIR)/bin/understudy-race
stories: build
	go build -race -o $(UNDERSTUDY_RACE) ./cmd/understudy
	AGAIN='-race -count=1' .ci/gotest -race -count=1 -p 2 -timeout 12m $(PATIENT)
	AGAIN='-race -count=1' .ci/gotest -race -count=1 -p 1 -timeout 12m $$(go list $(HOSTS) | grep -vxF "$$(go list $(PATIENT) $(INTEROP) $(MACHINES))")

# Beside keepalived and FRR, in both roles; one part: make test-interop RUN='TestWeAreBetter/FRR'.
test-interop:
	.ci/setup test || [ -z "$$CI" ]
	AGAIN='-count=1 -timeout 5m' timeout -k 10s 30m .ci/gotest -count=1 -timeout 15m -run '$(RUN)' $(INTEROP)

# Packages in dist/packages; make packages VERSION=1.2.3 makes them of that version (only then does the build see the variable).
packages:
	packaging/build

# The packages: what is in them, that they can be made again, the scripts of the .rpm, and what an administrator lives through
# with the .deb on two machines with Debian. Those for arm64 are not run. The stories on the machines are
# one test, which is told again as a whole if one of them fails.
test-packages: packages
	.ci/setup lint machines || [ -z "$$CI" ]
	GOARCH=arm64 go vet ./...
	AGAIN='-count=1 -timeout 8m' .ci/gotest -count=1 -p 1 -timeout 9m $(BUILT) $(MACHINES)

fuzz:
	.ci/fuzz $(FUZZTIME)

# Parts of it: make bench BENCH='-faults stop,cut -interval 1s -runs 3 -scale none'; the results are in dist/bench. It fails where
# understudy misses a target, or something was not measured; BENCH=-check=false only reports that.
bench: build
	.ci/setup ip nginx keepalived nft curl tcpdump
	go run ./internal/netlab/bench -check $(BENCH)

bench-quick:
	@$(MAKE) --no-print-directory bench BENCH='-quick'

fmt:
	gofmt -w .
	go fix ./...

clean:
	rm -rf bin dist
	go clean -testcache
