"""What every part of the control plane works with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from wildsage.contract.errors import ClientError, nearest
from wildsage.engines.base import Engine
from wildsage.platform import names, shapes
from wildsage.platform.errors import invalid
from wildsage.platform.names import Kind
from wildsage.platform.records import Record
from wildsage.platform.states import Status
from wildsage.platform.store import NameTakenError, Query, Store

_MOST_TAGS = 50
_PAGE = 100


@dataclass(frozen=True)
class Context:
    """home: the folder of all state, absolute. region: the one in ARNs."""

    home: Path
    region: str
    engine: Engine
    store: Store

    def new_record(self, kind: Kind, name: str, status: Status, request: Mapping[str, Any]) -> Record:
        now = time.time()
        arn = names.arn(kind, name, self.region)
        return Record(kind, name, arn, uuid4().hex, str(self.home), status, now, now, request)

    def insert(self, record: Record, request: Mapping[str, Any], operation: str) -> None:
        """Add the record with the tags of the request it came from. Raises ServiceError for a name in use."""
        try:
            self.store.insert(record, tags_of(request, operation))
        except NameTakenError as error:
            raise names.taken(record.kind, record.name, record.arn, operation=operation) from error

    def get(self, kind: Kind, name: str, operation: str) -> Record:
        """The record as it stands in the database. Raises ServiceError if there is none."""
        record = self.store.get(kind, name)
        if record is None:
            raise self.missing(kind, name, operation)
        return record

    def missing(self, kind: Kind, name: str, operation: str) -> Exception:
        near = nearest(name, self.store.names(kind))
        return names.missing(kind, name, names.arn(kind, name, self.region), near, operation=operation)

    def page(self, kind: Kind, request: Mapping[str, Any], operation: str, *, descending: bool) -> Any:
        """One page of a list as (records, {"NextToken": …} or {})."""
        order = request.get("SortOrder")
        query = Query(
            kind,
            name_contains=request.get("NameContains"),
            status=request.get("StatusEquals"),
            created_after=_epoch(request.get("CreationTimeAfter")),
            created_before=_epoch(request.get("CreationTimeBefore")),
            modified_after=_epoch(request.get("LastModifiedTimeAfter")),
            modified_before=_epoch(request.get("LastModifiedTimeBefore")),
            sort_by=request.get("SortBy", "CreationTime"),
            descending=descending if order is None else order == "Descending",
            limit=request.get("MaxResults", _PAGE),
            token=request.get("NextToken"),
        )
        try:
            records, token = self.store.page(query)
        except ClientError as error:
            raise invalid(str(error), operation=operation) from error
        return records, {} if token is None else {"NextToken": token}

    def add_tags(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "AddTags", request)
        record = self._tagged(request["ResourceArn"], "AddTags")
        try:
            found = self.store.put_tags(record.arn, tags_of(request, "AddTags"), most=_MOST_TAGS)
        except ClientError as error:
            raise invalid(str(error), operation="AddTags") from error
        return {"Tags": _tag_list(found)}

    def list_tags(self, **request: Any) -> dict[str, Any]:
        """All tags in one page: there are never more than the least page that the service allows to ask for."""
        request = shapes.check("sagemaker", "ListTags", request)
        return {"Tags": _tag_list(self.store.tags(self._tagged(request["ResourceArn"], "ListTags").arn))}

    def delete_tags(self, **request: Any) -> dict[str, Any]:
        request = shapes.check("sagemaker", "DeleteTags", request)
        self.store.delete_tags(self._tagged(request["ResourceArn"], "DeleteTags").arn, request["TagKeys"])
        return {}

    def _tagged(self, arn: str, operation: str) -> Record:
        """The record that an ARN means; its region and account may be anyone's."""
        parsed = names.parse_arn(arn, operation=operation)
        return self.get(parsed.kind, parsed.name, operation)


def tags_of(request: Mapping[str, Any], operation: str) -> dict[str, str]:
    """The tags of a request. Raises ServiceError for a key that is there twice."""
    labels: dict[str, str] = {}
    for tag in request.get("Tags", ()):
        if tag["Key"] in labels:
            raise invalid(f'Tags: the key "{tag["Key"]}" is there twice', operation=operation)
        labels[tag["Key"]] = tag["Value"]
    return labels


def when(seconds: float) -> datetime:
    """An aware datetime of epoch seconds, as boto3 hands them out."""
    return datetime.fromtimestamp(seconds, UTC)


def _epoch(time_: datetime | None) -> float | None:
    return None if time_ is None else time_.timestamp()


def _tag_list(labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]
