"""LitServe: WORKERS workers and API servers. LITSERVE: "default", "fast" (its fast queue) or "batch" (32, 2 ms)."""

from __future__ import annotations

import os
from typing import Any

import litserve

from bench.peers.classifier import Classifier

KIND = os.environ.get("LITSERVE", "default")


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = Classifier()

    def decode_request(self, request):  # LitServe reads annotations: one here would mean query parameters
        return request["instances"]

    def predict(self, texts: list[str]) -> list[Any]:
        return self.classifier.predict(texts)

    def encode_response(self, output: list[Any]) -> list[Any]:
        return output


class BatchApi(Api):
    def batch(self, inputs: list[list[str]]) -> list[list[str]]:
        return inputs

    def predict(self, given: list[list[str]]) -> list[list[Any]]:
        flat = self.classifier.predict([text for texts in given for text in texts])
        out, at = [], 0
        for texts in given:
            out.append(flat[at : at + len(texts)])
            at += len(texts)
        return out

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output


if __name__ == "__main__":
    path = "/invocations"
    api = BatchApi(api_path=path, max_batch_size=32, batch_timeout=0.002) if KIND == "batch" else Api(api_path=path)
    workers = int(os.environ["WORKERS"])
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=workers,
        fast_queue=KIND == "fast",
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=workers,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
