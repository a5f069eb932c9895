"""One truth: the library, a batch, the server and the towers in ONNX give the same answers."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from small_server import ADMIN, N_ITEMS, train_part

import twotower as tt
from twotower.workflows import recommend_all, score_file


def test_library_batch_server_and_onnx_agree(asked, model, tmp_path):
    """To the bit between library, batch and server; to 1e-5 with ONNX, whose sums run in another order."""
    k = 12
    users = model.user_ids.to_list()
    library = model.recommend(users, k)
    recommend_all(model, tmp_path / "all.parquet", k)
    batch = pl.read_parquet(tmp_path / "all.parquet")
    assert batch["item_id"].to_list() == library["item_id"].to_list()
    assert batch["score"].to_list() == library["score"].to_list()
    served = asked.post("/v1/recommend", json={"users": users, "k": k}).json()["results"]
    assert [i["item_id"] for own in served for i in own["items"]] == library["item_id"].to_list()
    assert [i["score"] for own in served for i in own["items"]] == library["score"].to_list()
    alone = asked.get(f"/v1/recommend/{users[7]}", params={"k": k}).json()
    assert alone["items"] == served[7]["items"]

    pairs = pl.DataFrame({"user_id": users[:30], "item_id": [500 + i for i in range(30)]})
    pairs.write_parquet(tmp_path / "pairs.parquet")
    score_file(model, tmp_path / "pairs.parquet", tmp_path / "scored.parquet")
    predicted = pl.read_parquet(tmp_path / "scored.parquet")["score"].to_list()
    scored = asked.post("/v1/score", json={"pairs": pairs.to_dicts()}).json()["results"]
    assert [own["score"] for own in scored] == predicted == model.score(pairs)["score"].to_list()

    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from twotower.export import export_onnx
    from twotower.towers import SideArrays

    written = export_onnx(model, tmp_path / "onnx")
    vectors = {}
    tables = {"users": train_part().users, "items": train_part().items}
    for which, tower in written.items():
        encoder = getattr(model.encoder, which)
        arrays = SideArrays.pack(encoder.transform(tables[which]), next(model.model.parameters()).device)
        inputs = {"id": arrays.warm.numpy()}
        if arrays.dense.shape[1]:
            inputs["numbers"] = arrays.dense.numpy()
        if arrays.codes.shape[1]:
            inputs["codes"] = arrays.codes.numpy()
        for n, (indptr, codes) in enumerate(arrays.bags):
            inputs[f"list_{n}_codes"] = codes.numpy()
            inputs[f"list_{n}_rows"] = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr.numpy()))
        session = runtime.InferenceSession(str(tower.path), providers=["CPUExecutionProvider"])
        assert [given.name for given in session.get_inputs()] == list(tower.inputs)
        (vectors[which],) = session.run(None, inputs)
    npt.assert_allclose(vectors["users"], model.users.vectors, rtol=1e-5, atol=1e-6)
    npt.assert_allclose(vectors["items"], model.items.vectors, rtol=1e-5, atol=1e-6)
    scores = vectors["users"] @ vectors["items"].T
    for own, row in zip(served, scores, strict=True):
        for item in own["items"]:
            assert item["score"] == pytest.approx(row[item["item_id"] - 500], rel=1e-4, abs=1e-5)


def test_new_users_and_similar_items_agree(asked, model):
    (folded,) = asked.post("/v1/recommend", json={"users": [{"history": [501, 507]}], "k": 9}).json()[
        "results"
    ]
    assert [i["item_id"] for i in folded["items"]] == model.recommend(tt.Query(history=[501, 507]), 9)[
        "item_id"
    ].to_list()
    alike = asked.get("/v1/similar/501", params={"k": N_ITEMS - 1}).json()["items"]
    table = model.similar_items([501], N_ITEMS - 1)
    assert [i["item_id"] for i in alike] == table["similar_item_id"].to_list()
    assert [i["score"] for i in alike] == table["score"].to_list()


QUERIES = [
    {"user": 1003},
    {"history": [501, 507]},
    {"features": {"group": 1}},
    {"features": {}},
    {"history": [501], "features": {"group": 2}},
    {"user": 1003, "history": [501, 507]},
    {"user": 77, "history": [501], "features": {"group": 2}},
    {"history": [501, 507], "labels": [4.5, None]},
    {"user": 1003, "history": [507, 502], "labels": [None, 1.0]},
]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_a_query_is_answered_alike_in_python_and_over_http(asked, model, exclude_seen):
    how = {"k": 12, "exclude_seen": exclude_seen, "deny": [503, 504]}
    served = asked.post("/v1/recommend", json={"users": QUERIES, **how}).json()
    table = model.recommend([tt.Query(**query) for query in QUERIES], **how)
    for place, (query, own) in enumerate(zip(QUERIES, served["results"], strict=True)):
        part = table.filter(pl.col("query") == place)
        assert [i["item_id"] for i in own["items"]] == part["item_id"].to_list(), query
        assert [i["score"] for i in own["items"]] == part["score"].to_list(), query
        assert part["user_id"][0] == own["user_id"]


def test_fresh_events_count_alike_in_python_and_over_http(client, model):
    events = [
        {"id": "a", "user_id": 1003, "item_id": 501, "value": 3.5},
        {"id": "b", "user_id": 1003, "item_id": 507},
        {"id": "c", "user_id": 8, "item_id": 502, "value": 0.1},
    ]
    assert client.post("/v1/events", json={"events": events}).json()["stored"] == 3
    for user, query in (
        (1003, tt.Query(user=1003, history=[501, 507], labels=[3.5, None])),
        (8, tt.Query(user=8, history=[502], labels=[0.1])),
    ):
        served = client.get(f"/v1/recommend/{user}", params={"k": 9, "explain": 2}).json()["items"]
        table = model.recommend(query, 9)
        assert [i["item_id"] for i in served] == table["item_id"].to_list()
        assert [i["score"] for i in served] == table["score"].to_list()
        reasons = model.explain(query, served[0]["item_id"])
        assert reasons["base"][0] == pytest.approx(served[0]["because"]["base"], abs=1e-6)


def test_similar_to_a_new_item_alike_in_python_and_over_http(client, model):
    columns = {"kind": "kind 1", "tags": ["t2", "all"], "title": "new"}
    put = client.put("/v1/items/900", json={"columns": columns}, headers={"authorization": f"Bearer {ADMIN}"})
    assert put.status_code == 201, put.text
    served = client.get("/v1/similar/900", params={"k": 8}).json()["items"]
    table = model.similar_items(columns, 8)
    assert [i["item_id"] for i in served] == table["similar_item_id"].to_list()
    assert [i["score"] for i in served] == table["score"].to_list()


def test_events_a_history_and_features_together_are_one_query(client, model):
    """What happened since training and what the request says are weighed together, not in turn."""
    events = [
        {"id": "a", "user_id": 1003, "item_id": 501, "value": 3.5},
        {"id": "b", "user_id": 1003, "item_id": 505, "kind": "skip"},
        {"id": "c", "user_id": 77, "item_id": 502, "value": 2.5},
    ]
    assert client.post("/v1/events", json={"events": events}).json()["stored"] == 3
    asked = [{"user": 1003, "history": [507]}, {"user": 77, "history": [508], "features": {"group": 2}}]
    served = client.post("/v1/recommend", json={"users": asked, "k": 9}).json()["results"]
    queries = [
        tt.Query(user=1003, history=[501, 507], labels=[3.5, None]),
        tt.Query(user=77, history=[502, 508], labels=[2.5, None], features={"group": 2}),
    ]
    table = model.recommend(tt.Queries.of(queries), 9, deny=[505])
    assert [own["events"] for own in served] == [1, 1]  # the request's own history is no event
    for place, own in enumerate(served):
        part = table.filter(pl.col("query") == place)
        found = [(item["item_id"], item["score"]) for item in own["items"] if item["item_id"] != 505]
        assert [item for item, _ in found] == part["item_id"].to_list()[: len(found)]
        # one ulp: another number of candidates is multiplied in another order
        npt.assert_allclose([score for _, score in found], part["score"][: len(found)], rtol=1e-6)
    assert 505 not in {item["item_id"] for item in served[0]["items"]}
