"""Files by their s3:// URIs, in SageMaker's names."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from wildsage.sdk.exceptions import ArgumentError
from wildsage.sdk.session import Session


def parse_s3_url(url: str) -> tuple[str, str]:
    """Return bucket and key. Raises ArgumentError for anything but s3://bucket/key."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise ArgumentError(f'"{url}" is not allowed: a URI such as s3://bucket/key')
    return parts.netloc, parts.path.lstrip("/")


def s3_path_join(*args: str) -> str:
    """Join the parts of an S3 URI or key with single slashes."""
    first = args[0] if args and args[0].startswith("s3://") else ""
    rest = args[1:] if first else args
    keys = "/".join(part.strip("/") for part in rest if part.strip("/"))
    return f"{first.rstrip('/')}/{keys}" if first and keys else first or keys


class S3Uploader:
    """Puts files into buckets."""

    @staticmethod
    def upload(
        local_path: str | os.PathLike[str],
        desired_s3_uri: str,
        kms_key: str | None = None,
        sagemaker_session: Session | None = None,
        callback: Any = None,
    ) -> str:
        """Put a file or a folder's files below a URI; return the URI of the file or folder."""
        bucket, key = parse_s3_url(desired_s3_uri)
        encryption = {"SSEKMSKeyId": kms_key, "ServerSideEncryption": "aws:kms"} if kms_key else None
        session = sagemaker_session or Session()
        return session.upload_data(local_path, bucket, key, callback=callback, extra_args=encryption)

    @staticmethod
    def upload_string_as_file_body(
        body: str, desired_s3_uri: str, kms_key: str | None = None, sagemaker_session: Session | None = None
    ) -> str:
        """Write text to the file of a URI; return the URI."""
        bucket, key = parse_s3_url(desired_s3_uri)
        return (sagemaker_session or Session()).upload_string_as_file_body(body, bucket, key, kms_key)


class S3Downloader:
    """Gets files out of buckets."""

    @staticmethod
    def download(
        s3_uri: str,
        local_path: str | os.PathLike[str],
        kms_key: str | None = None,
        sagemaker_session: Session | None = None,
    ) -> list[str]:
        """Copy the files whose keys begin with the URI's into a folder; return the paths of the copies."""
        bucket, key = parse_s3_url(s3_uri)
        return (sagemaker_session or Session()).download_data(local_path, bucket, key)

    @staticmethod
    def read_file(s3_uri: str, sagemaker_session: Session | None = None) -> str:
        """Return a file as text."""
        return (sagemaker_session or Session()).read_s3_file(*parse_s3_url(s3_uri))

    @staticmethod
    def list(s3_uri: str, sagemaker_session: Session | None = None) -> list[str]:
        """Return the URIs of the files whose keys begin with the URI's."""
        bucket, key = parse_s3_url(s3_uri)
        return [f"s3://{bucket}/{found}" for found in (sagemaker_session or Session()).list_s3_files(bucket, key)]
