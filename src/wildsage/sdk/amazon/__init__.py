"""`sagemaker.amazon`, of which `common` is here: RecordIO-protobuf from arrays."""

from __future__ import annotations

from wildsage.sdk.amazon import common as common
