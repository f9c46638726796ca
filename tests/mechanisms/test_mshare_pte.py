"""The module's interface as Python speaks it, held against the header that the module is built with."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.mechanisms import _mshare_pte

HEADER = Path(_mshare_pte.__file__).parents[1] / "real" / "guest" / "module" / "mshare_pte.h"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_numbers_are_the_headers(tmp_path):
    source = tmp_path / "numbers.c"
    source.write_text(
        '#include <stdio.h>\n#include "mshare_pte.h"\n'
        'int main(void) { printf("%lu %lu %lu %u\\n", MSHARE_PTE_SETUP, MSHARE_PTE_USAGE, MSHARE_PTE_UNIT,'
        " MSHARE_PTE_PRIVATE_TABLES); }\n"
    )
    subprocess.run(["cc", "-I", str(HEADER.parent), "-o", str(tmp_path / "numbers"), str(source)], check=True)
    found = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout.split()
    own = (_mshare_pte._SETUP, _mshare_pte._USAGE, _mshare_pte.UNIT, _mshare_pte._PRIVATE_TABLES)
    assert [int(one) for one in found] == list(own)


def test_without_the_module_one_line_says_where_it_belongs(tmp_path):
    with pytest.raises(CapabilityError, match="host=guest"):
        _mshare_pte.open_region(2 << 20, device=str(tmp_path / "nothing"))


def test_a_device_that_is_none_is_refused(tmp_path):
    device = tmp_path / "file"
    device.touch()
    with pytest.raises(CapabilityError, match="a region of 2097152 bytes"):
        _mshare_pte.open_region(2 << 20, device=str(device))
