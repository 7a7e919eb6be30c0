# What one does here. Each target is one line; script/setup first gives the machine what that target lacks.
# ARGS="..." is passed on: make demo ARGS=--keep
NODE := node_modules/.bin/node
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: demo test check e2e soak bench bench-branches bench-sync bench-store bench-memory dev fresh

demo: ; @script/setup demo$(if $(DATABASE),-$(DATABASE)) && $(NODE) script/demo.ts $(if $(DATABASE),--database=$(DATABASE)) $(ARGS) # image at HQ -> branch -> disk of a bare machine; DATABASE=mysql: both meet in a MariaDB
test: ; @script/setup test && test/run all                                      # everything that CI runs
check: ; @script/setup check && test/run check                                  # the quick loop: types, lint, map, pure tests
e2e: ; @script/setup test && $(if $(N),N=$(N)) test/run e2e                     # QEMU runs; N=5 repeats each
soak: ; @script/setup test && $(if $(N),N=$(N)) $(if $(ONLY),ONLY="$(ONLY)") test/run soak  # every test that repeats something, in full, its log into docs/evidence; ONLY=kills, N=3
bench: ; @script/setup test && $(NODE) bench/main.ts $(ARGS)                    # measured figures
bench-branches: ; @script/setup test && $(NODE) bench/branches.ts $(ARGS)         # many branches at one master: is its total kept, and shared fairly
bench-sync: ; @script/setup bench && $(NODE) bench/sync/main.ts $(ARGS)                # replication beside its peers, over one counted line
bench-store: ; @script/setup test && $(NODE) bench/store.ts $(ARGS)                 # a large site beside a small one; what servers that meet cost their database
bench-memory: ; @script/setup bench && $(NODE) bench/memory.ts $(ARGS)               # what a server takes of memory, phase by phase, with a large disk
dev: ; @script/setup run && $(NODE) script/dev.ts $(ARGS)                       # a master and a branch on high ports, no root
fresh: ; @script/setup fresh && for suite in bookworm trixie; do test/fresh/run $$suite || exit; done  # both commands on new machines
