import os
from pathlib import Path

import pytest

from mshare_bench.audit.objects import PRIVATE, Filesystems, Kind, Objects


@pytest.fixture(scope="module")
def filesystems():
    return Filesystems()


@pytest.fixture
def objects(filesystems):
    return Objects(filesystems)


def number(objects, path, *, device=None, inode=7, shared=True, namespace=0):
    device = objects._filesystems.internal_tmpfs if device is None else device
    return objects.number(device, inode, path, shared=shared, namespace=namespace, pid=os.getpid())


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/memfd:buffers (deleted)", Kind.MEMFD, "memfd:buffers (inode 7)"),
        ("/SYSV0052e2c1 (deleted)", Kind.SYSV, "SysV key 0x0052e2c1 (id 7)"),
        ("/dev/zero (deleted)", Kind.ANONYMOUS, "shared anonymous (inode 7)"),
        ("[anon_shmem:cache]", Kind.ANONYMOUS, "shared anonymous cache (inode 7)"),
        ("/drm mm object (deleted)", Kind.DEVICE, "drm mm object (inode 7)"),
    ],
)
def test_what_lies_in_the_kernels_own_tmpfs(objects, path, kind, name):
    identity = objects[number(objects, path)]
    assert (identity.kind, identity.name, identity.shared) == (kind, name, True)
    assert objects[number(objects, path, inode=8, shared=False)].kind is Kind.PRIVATE_FILE


def test_private_memory_has_one_number(objects):
    for path in ("", "[heap]", "[stack]", "[vdso]", "[anon:arena]"):
        assert number(objects, path, device="00:00", inode=0, shared=False) == PRIVATE
    assert number(objects, "/dev/zero", device="00:06", inode=4, shared=False) == PRIVATE
    assert len(objects) == 1
    assert objects[PRIVATE].kind is Kind.PRIVATE


def test_an_object_is_device_and_inode(objects):
    first = number(objects, "/memfd:a (deleted)")
    assert number(objects, "/memfd:renamed (deleted)") == first
    assert number(objects, "/memfd:a (deleted)", inode=8) != first
    assert number(objects, "/memfd:a (deleted)", device="08:01") != first
    assert number(objects, "/memfd:a (deleted)", shared=False) != first


def test_sysv_ids_start_again_in_each_ipc_namespace(objects):
    first = number(objects, "/SYSV00000000 (deleted)", inode=0 + 1, namespace=100)
    assert number(objects, "/SYSV00000000 (deleted)", inode=1, namespace=200) != first
    assert number(objects, "/memfd:a (deleted)", inode=2, namespace=100) == number(
        objects, "/memfd:a (deleted)", inode=2, namespace=200
    )


def test_file_systems_of_this_machine(filesystems, objects):
    with open("/proc/self/mountinfo") as lines:
        shown = {line.split()[2]: line.split(" - ")[1].split()[0] for line in lines}
    root = Path("/").stat().st_dev
    device = f"{os.major(root):02x}:{os.minor(root):02x}"
    assert filesystems.type_of(device, os.getpid())[0] == shown[f"{os.major(root)}:{os.minor(root)}"]
    assert objects[number(objects, "/usr/bin/program", device=device)].kind is Kind.FILE
    assert objects[number(objects, "/usr/bin/program", device=device, shared=False)].kind is Kind.PRIVATE_FILE
    shm = Path("/dev/shm").stat().st_dev
    device = f"{os.major(shm):02x}:{os.minor(shm):02x}"
    assert objects[number(objects, "/dev/shm/segment", device=device)].kind is Kind.TMPFS
    assert filesystems.type_of("fe:dc", os.getpid()) == ("", 0)


def test_hugetlb_is_told_by_its_device():
    filesystems = Filesystems()
    try:
        descriptor = os.memfd_create("", os.MFD_HUGETLB | os.MFD_HUGE_2MB)
    except OSError as error:
        pytest.skip(f"no huge pages of 2 MiB: {error}")
    device = os.fstat(descriptor).st_dev
    os.close(descriptor)
    objects = Objects(filesystems)
    text = f"{os.major(device):02x}:{os.minor(device):02x}"
    identity = objects[number(objects, "/memfd:big (deleted)", device=text)]
    assert (identity.kind, identity.page_bytes, identity.name) == (Kind.HUGETLB, 2 << 20, "memfd:big (inode 7)")
    assert not objects[number(objects, "/anon_hugepage (deleted)", device=text, shared=False)].shared


def test_devices(objects):
    assert objects[number(objects, "anon_inode:[perf_event]", device="00:0d", inode=0)].kind is Kind.DEVICE
    assert objects[number(objects, "/dev/dri/card0", device="fe:dd", inode=4)].kind is Kind.DEVICE
