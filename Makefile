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

.DEFAULT_GOAL := help
.PHONY: help setup report tools test compat fuzz cuts witness bench screenshots lint golden plugin notebook verify install-plugin uninstall-plugin clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(READY) ## create .venv with the package, and install tshark where it is missing

$(READY): pyproject.toml .ci/system
	@sh .ci/system tshark venv
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

report: $(READY) ## PCAP=x.pcapng [OUT=report.html]: summary on the terminal, page in OUT
	@test -n "$(PCAP)" || { echo "make report: name a capture, e.g. make report PCAP=pcaps/article-wget.pcapng" >&2; exit 2; }
	@$(BIN)/pybridge report -o "$(OUT)" -- "$(PCAP)"

tools: ## install what the tests need beside Python
	@sh .ci/system chromium libatomic wireshark Xvfb xdotool

test: $(READY) tools ## run the tests
	@$(BIN)/python -m pytest -q -n $(JOBS)

compat: ## [RELEASES="bookworm trixie sid"]: the tests on tshark 4.0, 4.4 and 4.6, each in a Debian of its own (as root)
	@bash tools/test_versions.sh $(RELEASES)

fuzz: $(READY) ## [SECONDS=600] [SEED=1]: both implementations on random conversations and damaged captures, for so long
	@end=$$(($$(date +%s) + $(SECONDS))); seed=$(SEED); while [ $$(date +%s) -lt $$end ]; do \
		echo "seed $$seed"; PYBRIDGE_FUZZ_EXAMPLES=500 $(BIN)/python -m pytest -q -n $(JOBS) --hypothesis-seed=$$seed \
			tests/tcp tests/wireshark/test_engines_agree.py tests/wireshark/test_damaged_captures.py || exit 1; seed=$$((seed + 1)); done

bench: $(READY) ## [FRAMES=500000] [BENCH="--quick"]: measure all that has a goal, beside docs/bench.json
	@$(BIN)/python -m tools.bench --frames $(FRAMES) --compare tools/bench.json $(BENCH)

screenshots: $(READY) ## make the pictures of docs/images anew, in Wireshark and a browser on a display of their own
	@sh tools/screenshots.sh

lint: $(READY) ## ruff, mypy, luacheck
	@sh .ci/system luacheck
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@luacheck --quiet plugin

golden: $(READY) ## make the captures of pcaps/ and their expected tables anew
	@$(BIN)/python -m tools.goldens.build && $(BIN)/python -m tools.goldens.expected

plugin: $(READY) ## build plugin/tcp_handshake.lua from its parts in plugin/src
	@$(BIN)/python -m tools.build_plugin

notebook: $(READY) ## explore a capture in JupyterLab
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,notebook]' && $(BIN)/jupyter lab pybridge/examples/explore.ipynb

verify: $(READY) ## [PCAP=...]: annotate with both engines and compare; default: pcaps
	@$(BIN)/pybridge verify -- "$(or $(PCAP),pcaps)"

cuts: $(READY) ## [CAPTURES=pcaps]: every capture cut at every frame gives the tables of the whole
	@$(BIN)/python -m tools.split_points "$(or $(CAPTURES),pcaps)"

witness: $(READY) ## [CAPTURES=pcaps]: every connection against Wireshark's own completeness and initial RTT
	@$(BIN)/python -m tools.wireshark_fields "$(or $(CAPTURES),pcaps)"

install-plugin: $(READY) ## copy the plugin into Wireshark's personal plugin folder
	@$(BIN)/pybridge plugin install

uninstall-plugin: $(READY) ## remove it from there
	@$(BIN)/pybridge plugin uninstall

clean: ## remove everything that was made here, but not the captures
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist *.egg-info report.html
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
