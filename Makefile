# SPDX-License-Identifier: GPL-3.0-or-later

PREFIX ?= /usr/local
DESTDIR ?=
# Which of cargo's profiles is built and installed: release, or dev for the tests.
PROFILE ?= release
CARGO ?= cargo
# GUI=no builds no assistant: for machines without a screen, and without GTK.
GUI ?= yes

# `sudo make` with a Rust that the user installed for themselves.
ifneq ($(SUDO_USER),)
SUDO_HOME := $(shell getent passwd $(SUDO_USER) | cut -d: -f6)
export PATH := $(PATH):$(SUDO_HOME)/.cargo/bin
ifeq ($(wildcard $(HOME)/.rustup),)
export RUSTUP_HOME ?= $(SUDO_HOME)/.rustup
endif
endif
export PATH := $(PATH):$(HOME)/.cargo/bin

# What needs root is asked for with sudo, and keeps the way to cargo.
ifneq ($(shell id -u),0)
AS_ROOT := sudo env PATH="$(PATH)"
endif

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TARGET := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
SCRIPTS := scripts/*.sh tests/*.sh tests/*/*.sh tests/vgpu/lab/*.sh .ci/run

.DEFAULT_GOAL := build
.PHONY: build deps run test screenshots sweep test-prompt test-debian-13 lint bench doc install uninstall test-kernels test-lab test-vgpu test-umockdev test-compose test-ansible test-boot test-power test-shutdown test-wayland fuzz help

build: ## build the programs
	$(CARGO) build --profile $(PROFILE) --no-default-features --bins
ifneq ($(GUI),no)
	$(CARGO) build --profile $(PROFILE) --bin hostwright-assistant
	scripts/catalogues.sh $(TARGET_DIR)/share/locale
endif

deps: ## install what is needed to build, run and test (by apt, with root or sudo)
	@scripts/deps.sh

run: deps ## do the whole job on the practice host: apply, verify, undo, compare
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) env PROFILE=dev scripts/practice-host.sh

# First what a headless machine gets, then the assistant's own tests; last the whole job, end to end, on the
# command line and in the assistant.
test: deps ## all tests; those of the helper and its bus run as root in a view of this machine
	$(CARGO) test --no-default-features --no-fail-fast
	$(CARGO) test --lib ui::
ifneq ($(AS_ROOT),)
	$(CARGO) test --no-default-features --test helper --config "target.'cfg(unix)'.runner = 'sudo'"
endif
	$(CARGO) build --bin hostwright-assistant
	$(AS_ROOT) env PROFILE=dev tests/bus/gone.sh
	$(AS_ROOT) env PROFILE=dev scripts/practice-host.sh
	$(AS_ROOT) env PROFILE=dev tests/ui/run.sh

screenshots: ## pictures of every page of the assistant, in target/screenshots (LOOKS="wide-light german": only these)
	$(CARGO) build --no-default-features --bins
	$(CARGO) build --bin hostwright-assistant
	mkdir -p target/screenshots
	$(AS_ROOT) env PROFILE=dev SHOTS=$(CURDIR)/target/screenshots tests/ui/screenshots.sh $(LOOKS)

sweep: ## every page of the assistant: names, sizes, order of focus; narrow, large text, right to left
	$(CARGO) build --no-default-features --bins
	$(CARGO) build --bin hostwright-assistant
	$(AS_ROOT) env PROFILE=dev tests/ui/sweep.sh

test-prompt: ## a desktop's own polkit agent, in a virtual machine: our words in it, a picture in target/prompt
	@scripts/deps.sh lab
	$(CARGO) build --no-default-features --bins
	$(CARGO) build --bin hostwright-assistant
	$(AS_ROOT) tests/ui/prompt-vm.sh $(TARGET_DIR)/debug

test-debian-13: ## builds the assistant with Debian 13's GTK, and shows it there: pictures in target/debian-13
	$(AS_ROOT) tests/ui/debian-13.sh

test-kernels: ## build the modules for other releases' kernels, and load them in VMs
	@scripts/deps.sh kernels
	$(CARGO) build --no-default-features --bins
	tests/kernels/roots.sh
	$(AS_ROOT) env PROFILE=dev VMWARE_SOURCES="$(VMWARE_SOURCES)" tests/kernels/matrix.sh
	if command -v apt-get >/dev/null; then $(AS_ROOT) env PROFILE=dev tests/kernels/updates.sh; fi
	if command -v apt-get >/dev/null; then $(AS_ROOT) env PROFILE=dev tests/kernels/dkms.sh; fi
	if command -v apt-get >/dev/null; then $(AS_ROOT) env PROFILE=dev tests/kernels/next.sh; fi

test-lab: ## build images, boot them (BIOS, UEFI, Secure Boot), many kernels, killed builds, a USB stick
	@scripts/deps.sh lab
	$(CARGO) build --no-default-features --bins
	TARGET="$(TARGET_DIR)/debug" tests/lab/images.sh
	TARGET="$(TARGET_DIR)/debug" tests/lab/share.sh
	$(AS_ROOT) env TARGET="$(TARGET_DIR)/debug" tests/lab/write.sh
	TARGET="$(TARGET_DIR)/debug" tests/lab/window.sh
	$(AS_ROOT) env TARGET="$(TARGET_DIR)/debug" tests/lab/archiso.sh

test-ansible: ## apply a profile to several machines of the test's own, by Ansible over ssh
	@scripts/deps.sh ansible
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) env PROFILE=dev tests/ansible/fleet.sh

test-boot: ## a real GRUB in a virtual machine: set parameters, restart, see them, take them back, restart
	@scripts/deps.sh boot
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) tests/boot/grub-vm.sh "$(TARGET_DIR)/debug"

test-power: ## power profiles of the real tuned and power-profiles-daemon in a virtual machine, over a restart
	@scripts/deps.sh boot
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) tests/boot/power-vm.sh "$(TARGET_DIR)/debug"

test-shutdown: ## a virtual machine with the helper shuts down promptly, also while it still waits for calls
	@scripts/deps.sh boot
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) tests/boot/shutdown-vm.sh "$(TARGET_DIR)/debug"

test-wayland: ## VMware's launchers in a weston session with XWayland
	@scripts/deps.sh wayland
	$(CARGO) build --no-default-features --bins
	PROFILE=dev tests/wayland/session.sh

fuzz: ## the parsers of boot loaders' files, each for TIME seconds (60); needs a nightly Rust and cargo-fuzz
	for target in plain grub-defaults grub-config loader-entry refind limine vmware-config; do \
	  mkdir -p fuzz/corpus/$$target && \
	  $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(or $(TIME),60) -max_len=4096 || exit 1; \
	done

test-vgpu: ## a licence token and server, and Debian 12 and 13 dressed as Proxmox through both stages of vGPU and back, in VMs
	@scripts/deps.sh vgpu
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) env PROFILE=dev tests/vgpu/token.sh
	$(AS_ROOT) tests/vgpu/dls.sh "$(TARGET_DIR)/debug" docker
	$(AS_ROOT) tests/vgpu/dls.sh "$(TARGET_DIR)/debug" podman
	$(AS_ROOT) tests/vgpu/vm.sh "$(TARGET_DIR)/debug" bookworm
	$(AS_ROOT) tests/vgpu/vm.sh "$(TARGET_DIR)/debug" trixie
	$(AS_ROOT) env UNLOCK_SOURCE="$(UNLOCK_SOURCE)" tests/vgpu/vm.sh "$(TARGET_DIR)/debug" bookworm unlock

test-umockdev: ## cards that umockdev describes are found in its sysfs
	@scripts/deps.sh umockdev
	$(CARGO) build --no-default-features --bins
	$(AS_ROOT) tests/vgpu/umockdev.sh "$(TARGET_DIR)/debug"

test-compose: ## docker-compose of Debian 12 and 13 reads the compose files of the licence server
	tests/vgpu/compose.sh

lint: ## formatting, clippy with the house rules, scripts, licences of dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --no-default-features -- -D warnings
	$(CARGO) clippy --all-targets -- -D warnings
	if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); fi
	scripts/licences.sh
	if command -v xgettext >/dev/null; then scripts/pot.sh --check; fi
	tests/ui/metadata.sh

bench: ## the benchmarks
	$(CARGO) bench --no-default-features

doc: ## the documentation of the code, in target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

install: ## install what was built: PREFIX=/usr/local, DESTDIR for packages
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" TARGET="$(TARGET)" scripts/install.sh install

uninstall: ## remove what `make install` installed; asks whether to take changes back first (UNDO=yes, UNDO=no)
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" TARGET="$(TARGET)" UNDO="$(UNDO)" scripts/install.sh uninstall

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'
