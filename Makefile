# make demo: a simulated month from raw frames to pictures.  make demo-night, demo-pointing: nights; demo-lightcurves: a season.  make test: all tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
STAMP := $(VENV)/.installed

.PHONY: install demo demo-night demo-pointing demo-lightcurves test quick heavy mutants check format bench bench-scale bench-reduction lock clean
.DEFAULT_GOAL := demo

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "VISQL needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/visql simulate config/demo_plan.yaml -o demo/raw --jobs $$(getconf _NPROCESSORS_ONLN || echo 2)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake month site --cores $(CORES) --configfile config/demo.yaml
	@echo
	@echo "Done. Look at:"
	@echo "  demo/results/site/index.html                             open it in a browser: everything is there"
	@echo "  demo/results/months/202407/IQ_timeline_202407.png        the month at a glance"
	@echo "  demo/results/months/202407/psfmoments_202407.png         sizes and shapes of its exposures"
	@echo "  demo/results/months/202407/status.tsv                    what became of every frame"
	@echo "  demo/results/exposures/202407/                           one folder per exposure; *_iq.png first"

demo-night: install
	$(BIN)/visql simulate-night -o demo_night --dialect observatory --seed 1 --overwrite
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake night site --cores $(CORES) --configfile config/demo_night.yaml
	@echo
	@echo "Done. Look at:"
	@echo "  demo_night/results/site/index.html                       open it in a browser: everything is there"
	@echo "  demo_night/results/nights/20210227/stacks/               stacks of two targets in three filters, with pictures"
	@echo "  demo_night/results/nights/20210227/masters/              master bias, dark, flats, map of bad pixels"
	@echo "  demo_night/results/nights/20210227/frames_20210227.parquet   what became of every frame"

# A night of a guide camera: simulated, masters made, processed; then its frames arrive one by one.
demo-pointing: install
	rm -rf demo_pointing/live
	$(BIN)/visql simulate config/demo_pointing_plan.yaml -o demo_pointing --overwrite
	mkdir -p demo_pointing/masters
	$(BIN)/visql pointing-masters bias demo_pointing/calibration/bias/*.fits -o demo_pointing/masters/pc_master_bias.fits --config config/demo_pointing.yaml
	$(BIN)/visql pointing-masters dark demo_pointing/calibration/dark/*.fits -o demo_pointing/masters/pc_master_dark.fits --bias demo_pointing/masters/pc_master_bias.fits --config config/demo_pointing.yaml
	$(BIN)/visql pointing-masters flat demo_pointing/calibration/sky/*.fits -o demo_pointing/masters/pc_master_flat.fits --bias demo_pointing/masters/pc_master_bias.fits --dark demo_pointing/masters/pc_master_dark.fits --config config/demo_pointing.yaml
	$(BIN)/visql pointing-masters badpix -o demo_pointing/masters/pc_badpix_mask.fits --dark demo_pointing/masters/pc_master_dark.fits --flat demo_pointing/masters/pc_master_flat.fits --config config/demo_pointing.yaml
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake night site --cores $(CORES) --configfile config/demo_pointing.yaml
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/live.py config/demo_pointing.yaml --output demo_pointing/live
	@echo
	@echo "Done. Look at:"
	@echo "  demo_pointing/results/site/index.html                    open it in a browser: everything is there"
	@echo "  demo_pointing/results/nights/20210611/night_20210611.png zero point and sky against time"
	@echo "  demo_pointing/results/nights/20210611/movie_20210611.mp4 the night"
	@echo "  demo_pointing/results/exposures/20210611/                one folder per frame; *-zp.png first"

# A season of one field: a lensed quasar in 8 nights, to its light curves.
demo-lightcurves: install
	$(BIN)/visql simulate-season config/demo_lightcurves_plan.yaml -o demo_lightcurves --overwrite
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake lightcurve site --cores $(CORES) --configfile config/demo_lightcurves.yaml
	@echo
	@echo "Done. Look at:"
	@echo "  demo_lightcurves/results/site/index.html                 open it in a browser: everything is there"
	@echo "  demo_lightcurves/results/targets/J1206/J1206.rdb         the light curves, a line per night"
	@echo "  demo_lightcurves/results/targets/J1206/README.md         what each file of the target is"
	@echo "  demo_lightcurves/results/targets/J1206/decisions.parquet what was left out, and why"

test: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not heavy"

# The plugins for clusters make every start of Snakemake slower: they come only here.
heavy: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,cluster]'
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest -n 2 --dist loadfile --timeout 3600 -o faulthandler_timeout=3700 -m heavy

# Every change of tests/mutants.yaml, one at a time: the test it names must fail.
mutants: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/run_mutants.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/visql schema --check
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint --config raw=config results=$$(mktemp -d) months=202407
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint --config pipeline=reduction raw=config results=$$(mktemp -d) nights=20210227
	masters=$$(mktemp -d) && touch $$masters/pc_master_bias.fits $$masters/pc_master_dark.fits $$masters/pc_master_flat.fits $$masters/pc_badpix_mask.fits && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint --config pipeline=pointing raw=config results=$$(mktemp -d) nights=20210611 "masters={folder: $$masters}"
	folder=$$(mktemp -d) && printf 'name: T\nra: 1\ndec: 1\nsets: {R: {camera: generic_ccd, raw: config}}\n' >$$folder/T.yaml && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint --config pipeline=lightcurves targets=$$folder/T.yaml results=$$folder/results
	$(BIN)/python .ci/audit.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow
	$(BIN)/visql schema

bench: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python benchmarks/run.py

bench-scale: install
	$(BIN)/python benchmarks/scale.py

# ccdproc is for comparison only, in an environment of its own.
bench-reduction: install
	$(PYTHON) -m venv $(VENV)/ccdproc
	$(VENV)/ccdproc/bin/python -m pip install --quiet --disable-pip-version-check 'ccdproc==2.5.*' bottleneck
	$(BIN)/python benchmarks/reduction.py --ccdproc $(VENV)/ccdproc/bin/python
	$(BIN)/python benchmarks/night.py --ccdproc $(VENV)/ccdproc/bin/python

lock: install
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | grep -iv '^visql'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf demo demo_night demo_pointing demo_lightcurves $(VENV) .snakemake
