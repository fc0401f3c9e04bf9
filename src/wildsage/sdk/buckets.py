"""Files in buckets: folders of the home for an embedded session, S3 for a remote one."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from wildsage.contract.files import is_beside_name, write_atomically
from wildsage.platform.files import copy_file, disk_errors
from wildsage.sdk.exceptions import ArgumentError


class Buckets(ABC):
    """What holds files by bucket and key. A file appears there whole or not at all."""

    @abstractmethod
    def make(self, bucket: str) -> None:
        """Make a bucket, unless it is there."""

    @abstractmethod
    def put(self, file: Path, bucket: str, key: str, extra_args: dict[str, Any] | None, callback: Any) -> None:
        """Copy a file into a bucket. extra_args, callback: for S3."""

    @abstractmethod
    def write(self, data: bytes, bucket: str, key: str, kms_key: str | None) -> None:
        """Write a file of a bucket."""

    @abstractmethod
    def get(self, bucket: str, key: str, copy: Path, extra_args: dict[str, Any] | None) -> None:
        """Copy a file out of a bucket, to a folder that is there."""

    @abstractmethod
    def read(self, bucket: str, key: str) -> bytes:
        """A file's content."""

    @abstractmethod
    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys that begin with the prefix, sorted."""


class FolderBuckets(Buckets):
    """Each bucket is a folder below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, bucket: str) -> None:
        folder = self._folder(bucket)
        with disk_errors("making the bucket", folder):
            folder.mkdir(parents=True, exist_ok=True)

    def put(self, file: Path, bucket: str, key: str, extra_args: dict[str, Any] | None, callback: Any) -> None:
        """Copy, not link: what was uploaded stays as it was when its origin is written to."""
        copy_file(file, self._path(bucket, key))

    def write(self, data: bytes, bucket: str, key: str, kms_key: str | None) -> None:
        path = self._path(bucket, key)
        with disk_errors("writing", path):
            write_atomically(path, data, durable=True)

    def get(self, bucket: str, key: str, copy: Path, extra_args: dict[str, Any] | None) -> None:
        copy_file(self._path(bucket, key), copy)

    def read(self, bucket: str, key: str) -> bytes:
        try:
            return self._path(bucket, key).read_bytes()
        except OSError as error:
            raise ArgumentError(f"can not read s3://{bucket}/{key}: {error.strerror}") from None

    def keys(self, bucket: str, prefix: str) -> list[str]:
        folder = self._folder(bucket)
        files = (file for file in folder.rglob("*") if not is_beside_name(file.name) and file.is_file())
        return sorted(key for file in files if (key := file.relative_to(folder).as_posix()).startswith(prefix))

    def _folder(self, bucket: str) -> Path:
        if not bucket or "/" in bucket or bucket.startswith("."):
            raise ArgumentError(f'bucket = "{bucket}" is not allowed: a name without slashes, such as my-bucket')
        return self._root / bucket

    def _path(self, bucket: str, key: str) -> Path:
        folder = self._folder(bucket)
        path = Path(os.path.normpath(folder / key))
        if not path.is_relative_to(folder) or path == folder:
            raise ArgumentError(f'key = "{key}" is not allowed: a path below the bucket')
        return path


class S3Buckets(Buckets):
    """S3, through boto3's client."""

    def __init__(self, client: Any, region: str) -> None:
        self._client, self._region = client, region

    def make(self, bucket: str) -> None:
        try:
            self._client.head_bucket(Bucket=bucket)
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            self._client.create_bucket(Bucket=bucket, **({} if self._region == "us-east-1" else elsewhere))

    def put(self, file: Path, bucket: str, key: str, extra_args: dict[str, Any] | None, callback: Any) -> None:
        self._client.upload_file(str(file), bucket, key, ExtraArgs=extra_args, Callback=callback)

    def write(self, data: bytes, bucket: str, key: str, kms_key: str | None) -> None:
        encryption = {"SSEKMSKeyId": kms_key, "ServerSideEncryption": "aws:kms"} if kms_key else {}
        self._client.put_object(Bucket=bucket, Key=key, Body=data, **encryption)

    def get(self, bucket: str, key: str, copy: Path, extra_args: dict[str, Any] | None) -> None:
        self._client.download_file(bucket, key, str(copy), ExtraArgs=extra_args)

    def read(self, bucket: str, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", []) if not found["Key"].endswith("/")]
