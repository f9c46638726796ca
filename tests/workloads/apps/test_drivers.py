"""What drivers have in common: a program that is not there is named, with what to install, before anything starts."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mshare_bench.workloads.registry import workloads

INSTALL = {
    "app_containers": "apt-get install util-linux",
    "app_mpi": "pip install 'mshare-bench[apps]'",
    "app_postgresql": "apt-get install postgresql",
    "app_redis": "apt-get install redis-server",
    "app_vm": "apt-get install qemu-system-x86",
}


def lack_of(name, folder):
    driver = workloads()[name].driver()
    return driver.lack(SimpleNamespace(folder=folder, workload=workloads()[name].resolve()))


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))


@pytest.mark.parametrize("name", list(INSTALL))
@pytest.mark.usefixtures("nothing_installed")
def test_what_to_install_is_said(name):
    said = lack_of(name, Path("/var/tmp/x"))
    assert INSTALL[name] in said
    assert "\n" not in said


def test_containers_without_root_say_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/unshare")
    assert lack_of("app_containers", Path("/var/tmp/x")) == "mounting an overlay for each container takes root"


def test_every_application_with_a_program_of_its_own_is_in_the_list():
    others = {"app_command", "app_ray_store"}  # the user's own, and what this package runs on
    assert {name for name, spec in workloads().items() if spec.driver is not None} - others == set(INSTALL)
