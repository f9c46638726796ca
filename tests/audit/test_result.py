import json

import pyarrow as pa

from tests.audit.made_up import audit_of, buffers, library, unread


def test_rows_of_the_tables_add_up():
    audit = audit_of(buffers(), library())
    objects, processes = audit.objects_table(), audit.processes_table()
    assert sum(objects["table_bytes"].to_pylist()) == sum(processes["vmpte_bytes"].to_pylist()) == audit.vmpte_bytes
    for row in processes.to_pylist():
        assert row["vmpte_bytes"] == row["attributed_bytes"] + row["unattributed_bytes"]
    assert audit.unattributed_bytes == 4096
    assert [row["kind"] for row in objects.to_pylist()] == ["memfd", "private_file", "private", "unattributed"]


def test_what_nobody_can_save_is_null():
    audit = audit_of(library())
    table = audit.objects_table()
    assert table["saved_mshare_bytes"].to_pylist() == [None, None, None]
    assert table.schema.field("saved_mshare_bytes").type == pa.int64()


def test_tables_survive_a_file(tmp_path):
    table = audit_of(buffers(), library()).objects_table()
    with pa.OSFile(str(tmp_path / "audit.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.memory_map(str(tmp_path / "audit.arrow")) as source:
        again = pa.ipc.open_file(source).read_all()
    assert again.schema.equals(table.schema, check_metadata=True)
    assert again.schema.metadata[b"schema_version"] == b"1.0"
    assert again.equals(table)


def test_explained_counts_what_the_kernel_shares_once():
    plain = audit_of(buffers())
    shared = audit_of(buffers(kernel_shared_bytes=40960))
    assert plain.explained_bytes == plain.vmpte_bytes + plain.own_bytes
    assert plain.explained_bytes - shared.explained_bytes == 40960
    assert audit_of(buffers(), top_bytes=8192).explained_bytes - plain.explained_bytes == 8192


def test_everything_as_json():
    audit = audit_of(buffers(), unread=(unread(),))
    read = json.loads(json.dumps(audit.to_dict()))
    assert read["vmpte_bytes"] == audit.vmpte_bytes
    assert read["objects"][0]["kind"] == "memfd"
    assert read["objects"][0]["saved_mshare_bytes"] == audit.objects[0].saved_mshare_bytes
    assert read["unread"] == [{"pid": 4, "comm": "init", "reason": "Permission denied", "vmpte_bytes": 8192}]
    assert len(read["processes"]) == 100
