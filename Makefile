# Every target makes .venv first if there is none, and needs only Python >= 3.11, make and PyPI.
# Paths are relative, so that a checkout below a folder with spaces in its name works too.
PYTHON ?= python3
NAME ?= grading
PORT ?= 8000
BIN := .venv/bin
INSTALLED := .venv/.installed
COMPILED := .venv/.compiled
PROGRAMS := $(BIN)/python scripts/system_programs.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow book serve bench lint format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## grade a made-up class of 40, build the book, check every grade
	@$(PROGRAMS) bubblewrap node
	$(BIN)/autograder demo

# The book comes first, so that the tests which open its pages never see old ones.
test: book $(COMPILED) ## build the website and run the tests but the slow ones
	@$(PROGRAMS) bubblewrap chromium
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED) $(COMPILED) ## run the slow tests only
	@$(PROGRAMS) bubblewrap chromium
	$(BIN)/python -m pytest -m slow || [ $$? -eq 5 ] # 5: no test is marked slow

book: $(INSTALLED) ## build the website into book/_build/html
	@$(PROGRAMS) node
	$(BIN)/python book/build.py

serve: $(INSTALLED) ## build the website and show it at http://localhost:8000 (PORT=8000)
	@$(PROGRAMS) node
	$(BIN)/python book/build.py --serve $(PORT)

bench: $(INSTALLED) $(COMPILED) ## time us beside our peers (NAME=grading, classical, metrics, models or crf)
	@$(PROGRAMS) bubblewrap
	$(BIN)/python -m benchmarks $(NAME)

lint: $(INSTALLED) ## check style, and that exercises/ and model cards are in step with what they are made from
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/autograder release --check
	$(BIN)/python scripts/model_cards.py --check

format: $(INSTALLED) ## put the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what building and testing left behind; keep .venv, gradebook and submissions
	rm -rf book/_build demo-course dist .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .jupyter_cache \) -type d -prune -exec rm -rf {} +

# The stamp is the last thing written: an installation that failed is tried again by the next `make`.
$(INSTALLED): pyproject.toml constraints.txt
	@sh scripts/make_venv.sh "$(PYTHON)"
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

# A peer of some tests: where there is no compiler for it, these are skipped.
$(COMPILED): $(INSTALLED)
	@$(PROGRAMS) compiler
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[compiled]' || echo "pydensecrf2 could not be built: its tests are skipped."
	@touch $@
