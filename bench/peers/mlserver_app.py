"""MLServer: its own V2 protocol with the same texts. MLSERVER_PARALLEL_WORKERS: 0 is one process."""

from __future__ import annotations

import json

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from bench.peers.classifier import Classifier


class Runtime(MLModel):
    async def load(self) -> bool:
        self.classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        answers = [json.dumps(answer) for answer in self.classifier.predict(texts)]
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("answers", answers)])
