import dataclasses

from mshare_bench.domain.units import GIB
from mshare_bench.report.pairs import Scene, scenes
from mshare_bench.report.scene import headline, said, varying
from mshare_bench.results.savings import with_savings
from tests.results.sample import cell_of, rows_of
from tests.results.sample import headline as headline_rows


def _scene(**coordinates: object) -> Scene:
    (scene,) = scenes(rows_of([cell_of("shmem", 1, GIB)]).tables()["cells"])
    return dataclasses.replace(scene, coordinates={**scene.coordinates, **coordinates})


def test_what_is_usual_is_not_said() -> None:
    assert headline(_scene()) == "1 process × 1 GiB"
    assert said(_scene()) == "dense"
    changed = _scene(workload="hpc_ranks", offset_bytes=4096, write_fraction=0.1, populate="first_touch")
    assert said(changed) == "hpc_ranks · dense · offset 4 KiB · 10 % writes · populate first touch"


def test_what_tells_scenes_apart_is_said() -> None:
    found = [
        _scene(access_params='{"skew":0.5,"accesses":1.0}', access="zipf"),
        _scene(access_params='{"skew":0.9,"accesses":1.0}'),
    ]
    assert varying(found) == {"access_params"}
    assert said(found[0], varying(found)) == "zipf · skew=0.5 · accesses=1"
    several = [_scene(), _scene(workload="vm_hosts", workload_params='{"peers":3}', write_fraction=1.0)]
    assert varying(several) == {"workload"}
    assert said(several[0], varying(several)) == "region · dense"


def test_predictions_far_out_are_named() -> None:
    small, large = scenes(with_savings(headline_rows().tables()["cells"]))
    assert "far beyond" in said(large)
    assert "far beyond" not in said(small)
