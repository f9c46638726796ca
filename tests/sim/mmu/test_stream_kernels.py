"""The compiled generators against the plain ones, address by address, in blocks of every length."""

import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
from numba import njit

from mshare_bench.sim.mmu import Scenario, Trace
from mshare_bench.sim.mmu.reference_streams import addresses, seed_of
from mshare_bench.sim.mmu.simulate import _streams, _traces
from mshare_bench.sim.mmu.stream_kernels import _remainder, generate
from mshare_bench.sim.mmu.streams import number_stream
from tests.sim.mmu.configurations import random_scenario, random_stream


@pytest.mark.parametrize("block", range(5))
def test_generators_agree(block: int) -> None:
    for index in range(block, 150, 5):
        rnd = random.Random(index)
        region = random_scenario(rnd).region
        stream = random_stream(rnd, region)
        scenario = Scenario(region=region, processes=3, accesses=1, streams=(stream,), seed=index)
        kinds, numbers, tables, seeds, states = _streams(scenario)
        traces, spans = _traces(scenario)
        process = rnd.randrange(3)
        out = np.zeros(400, np.int64)
        drawn: list[int] = []
        state = states[process]
        while len(drawn) < 700:
            count = rnd.choice([1, 2, 3, 64, 257, 400])
            trace = traces[slice(*spans[process])]
            state = generate(
                kinds[process], numbers[process], tables[process], trace, seeds[process], state, len(drawn), count, out
            )
            drawn += out[:count].tolist()
        plain = addresses(
            number_stream(stream, region, process),
            seed_of(index, process),
            stream if isinstance(stream, Trace) else None,
        )
        assert drawn == list(islice(plain, len(drawn))), f"{stream} over {region}"


def test_remainder_without_a_division() -> None:
    """Next to multiples of the divisor, where floating point may give a quotient that is one too large or too small."""

    @njit  # type: ignore[untyped-decorator]
    def remainder(value: Any, divisor: Any) -> Any:
        return _remainder(value, divisor, 1.0 / np.float64(divisor))

    rnd = random.Random(1)
    for _ in range(20_000):
        divisor = rnd.randrange(1, 1 << rnd.randrange(1, 32))
        value = max(0, rnd.randrange(1 << 31) * divisor + rnd.choice([-1, 0, 1]))
        assert int(remainder(np.uint64(value), np.uint64(divisor))) == value % divisor
