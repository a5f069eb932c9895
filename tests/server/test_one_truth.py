"""One truth: the library, a batch, the server and the towers in ONNX give the same answers."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from small_server import N_ITEMS, train_part

from twotower.experiment import recommend_all, score_file


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
    from twotower.model import SideArrays

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
    (folded,) = asked.post("/v1/recommend", json={"users": [{"items": [501, 507]}], "k": 9}).json()["results"]
    assert [i["item_id"] for i in folded["items"]] == model.recommend_from([[501, 507]], 9)[
        "item_id"
    ].to_list()
    alike = asked.get("/v1/similar/501", params={"k": N_ITEMS - 1}).json()["items"]
    table = model.similar([501], N_ITEMS - 1)
    assert [i["item_id"] for i in alike] == table["similar_item_id"].to_list()
    assert [i["score"] for i in alike] == table["score"].to_list()
