"""hyperparameters.json: text in, a typed and checked model out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Hyperparameters(BaseModel):
    """Base of every algorithm's hyperparameters: SageMaker's names, types, ranges and defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Check values as they arrive (all strings). Raises ClientError that names every bad field at once."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ClientError(str(error)) from error
