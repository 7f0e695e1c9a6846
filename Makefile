# SPDX-License-Identifier: GPL-2.0-or-later
# Every target sets up what it needs: `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= report.html
JOBS ?= auto
SECONDS ?= 600
SEED ?= 1
FRAMES ?= 500000
FAST := not (tshark or browser or gui or cluster or shells)

.DEFAULT_GOAL := help
.PHONY: help setup report verify notebook install-plugin uninstall-plugin check lint test test-tools test-versions test-splits \
	test-wireshark-fields fuzz bench diagnosis instructions check-instructions plugin goldens lab outage screenshots release tshark clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(READY) tshark ## create .venv with the package, and install tshark where it is missing

$(READY): pyproject.toml .ci/system
	@sh .ci/system venv
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once, about a minute) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

tshark:
	@sh .ci/system tshark

# For users

report: $(READY) tshark ## PCAP=x.pcapng [OUT=report.html]: print a summary, write a page
	@test -n "$(PCAP)" || { echo "make report: name a capture, e.g. make report PCAP=pcaps/article-wget.pcapng" >&2; exit 2; }
	@$(BIN)/pybridge report -o "$(OUT)" -- "$(PCAP)"

verify: $(READY) tshark ## [PCAP=pcaps]: annotate with both engines and compare
	@$(BIN)/pybridge verify -- "$(or $(PCAP),pcaps)"

notebook: $(READY) tshark ## explore a capture in JupyterLab
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,notebook]'
	@$(BIN)/jupyter lab pybridge/examples/explore.ipynb

install-plugin: $(READY) tshark ## copy the plugin and its profile into Wireshark's personal folders
	@$(BIN)/pybridge plugin install

uninstall-plugin: $(READY) tshark ## remove them from there
	@$(BIN)/pybridge plugin uninstall

# While you work

check: lint ## lint, then all tests that need no tshark, browser, window, cluster or other shell: under a minute
	@$(BIN)/python -m pytest -q -n $(JOBS) -m "$(FAST)"

lint: $(READY) ## ruff, mypy, luacheck; the built plugin is that of its parts
	@sh .ci/system luacheck
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@luacheck --quiet plugin
	@$(BIN)/python -m tools.build_plugin --check

test: $(READY) tshark test-tools ## all tests
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-tools: ## install what the tests need beside Python and tshark
	@sh .ci/system chromium libatomic wireshark Xvfb xdotool zsh fish

plugin: $(READY) ## build plugin/tcp_handshake.lua from its parts in plugin/src
	@$(BIN)/python -m tools.build_plugin

goldens: $(READY) tshark ## make the captures of pcaps/golden and their expected tables anew
	@$(BIN)/python -m tools.goldens.build && $(BIN)/python -m tools.goldens.expected

# Now and then

test-versions: ## [RELEASES="bookworm trixie sid"]: the tests on tshark 4.0, 4.4 and 4.6, each in a Debian of its own (as root)
	@bash tools/test_versions.sh $(RELEASES)

test-splits: $(READY) tshark ## [CAPTURES=pcaps]: every capture split at every frame gives the tables of the whole
	@$(BIN)/python -m tools.split_points "$(or $(CAPTURES),pcaps)"

test-wireshark-fields: $(READY) tshark ## [CAPTURES=pcaps]: every connection against Wireshark's own completeness and initial RTT
	@$(BIN)/python -m tools.wireshark_fields "$(or $(CAPTURES),pcaps)"

fuzz: $(READY) tshark ## [SECONDS=600] [SEED=1]: both implementations on random conversations and damaged captures, for so long
	@end=$$(($$(date +%s) + $(SECONDS))); seed=$(SEED); while [ $$(date +%s) -lt $$end ]; do \
		echo "seed $$seed"; PYBRIDGE_FUZZ_EXAMPLES=500 $(BIN)/python -m pytest -q -n $(JOBS) --hypothesis-seed=$$seed \
			tests/tcp tests/wireshark/test_engines_agree.py tests/wireshark/test_damaged_captures.py || exit 1; seed=$$((seed + 1)); done

bench: $(READY) tshark ## [FRAMES=500000] [BENCH="--quick"]: measure all that has a goal, beside tools/bench.json
	@$(BIN)/python -m tools.bench --frames $(FRAMES) --compare tools/bench.json $(BENCH)

instructions: $(READY) tshark ## [CAPTURES="x.pcapng ..."]: what the plugin costs in instructions for a frame, in every setting
	@sh .ci/system valgrind
	@$(BIN)/python -m tools.instructions $(CAPTURES)

check-instructions: $(READY) tshark ## the plugin's instructions for a frame are at most 5 % over tools/instructions.json
	@sh .ci/system valgrind
	@$(BIN)/python -m tools.instructions --check

diagnosis: $(READY) tshark ## [CORPUS=folder]: compare the diagnoses with 373 connections that were judged by hand
	@$(BIN)/python -m tools.diagnosis $(CORPUS)

lab: $(READY) tshark ## [SCENARIOS="fast-open ..."]: make the kernel captures of pcaps/real anew, in network namespaces (as root)
	@$(BIN)/python -m tools.lab.scenarios $(SCENARIOS)

outage: $(READY) tshark ## make the capture of the notebook anew, in the same way (as root)
	@$(BIN)/python -m tools.lab.outage

screenshots: $(READY) tshark ## make the pictures of docs/images anew, in Wireshark and a browser on a display of their own
	@sh tools/screenshots.sh

release: $(READY) ## VERSION=x.y.z: set the version, build the plugin, and the wheel in dist/
	@test -n "$(VERSION)" || { echo "make release: name a version, e.g. make release VERSION=0.2.0" >&2; exit 2; }
	@$(BIN)/python -m hatchling version "$(VERSION)"
	@$(BIN)/python -m tools.build_plugin
	@$(BIN)/python -m hatchling build -d dist

clean: ## remove everything that was made here, but not the captures
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist *.egg-info report.html
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
