import pytest

from mshare_bench.errors import CapabilityError
from mshare_bench.real.knobs import SHMEM_ENABLED, knobs_set
from tests.requirements import require


@pytest.mark.kernel
def test_set_and_back():
    require("kernel", SHMEM_ENABLED.available() is None, str(SHMEM_ENABLED.available()))
    before = SHMEM_ENABLED.read()
    with knobs_set({SHMEM_ENABLED: "advise"}):
        assert "[advise]" in SHMEM_ENABLED.path.read_text()
    assert SHMEM_ENABLED.read() == before


@pytest.mark.kernel
def test_a_word_that_the_kernel_does_not_know():
    require("kernel", SHMEM_ENABLED.available() is None, str(SHMEM_ENABLED.available()))
    before = SHMEM_ENABLED.read()
    with (
        pytest.raises(CapabilityError, match="shmem_enabled=sometimes"),
        knobs_set({SHMEM_ENABLED: "sometimes"}),
    ):
        pytest.fail("entered")
    assert SHMEM_ENABLED.read() == before
