"""What a run's supervisor does before its command: place input data, unpack models.

Loaded between `fit` and the first line of training, so that neither SQLAlchemy nor anything else heavy is imported.
"""

from __future__ import annotations

from pathlib import Path

from wildsage.contract.errors import ClientError
from wildsage.contract.layout import Layout
from wildsage.platform import artifacts, runs
from wildsage.platform.states import Secondary


def place_inputs(folder: Path) -> None:
    """Place the channels of a training job, and link its checkpoint folder. Raises ClientError for data it cannot."""
    charge = runs.Charge.read(folder)
    layout = Layout(folder / "ml")
    runs.mark(folder, Secondary.DOWNLOADING)
    for channel in charge.request.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]
        artifacts.place_channel(
            source["S3Uri"],
            layout.channel(channel["ChannelName"]),
            charge.home,
            s3_data_type=source["S3DataType"],
            compression=channel.get("CompressionType", "None"),
        )
    checkpoints = charge.more.get("checkpoints")
    if checkpoints is not None and not layout.checkpoints.is_symlink():
        kept = Path(checkpoints)
        kept.mkdir(parents=True, exist_ok=True)
        layout.checkpoints.rmdir()
        layout.checkpoints.symlink_to(kept, target_is_directory=True)
    runs.mark(folder, Secondary.TRAINING)


def open_model(folder: Path) -> None:
    """Unpack the model of an endpoint or a transform job, unless it is unpacked, and link it into the folder."""
    charge = runs.Charge.read(folder)
    try:
        model = artifacts.open_model(charge.more["model"], charge.home)
    except ClientError:
        # An endpoint that is started again, and whose archive was deleted meanwhile.
        found = artifacts.still_open(folder / runs.MODEL_LINK)
        if found is None:
            raise
        model = found
    runs.link_model(folder, model)


def prepare_transform(folder: Path) -> None:
    """Unpack the model of a transform job and place its input files. Raises ClientError for data it cannot."""
    charge = runs.Charge.read(folder)
    runs.mark(folder, Secondary.DOWNLOADING)
    open_model(folder)
    source = charge.request["TransformInput"]["DataSource"]["S3DataSource"]
    # Compressed files keep their names, which the outputs are called after; the job itself opens them.
    artifacts.place_channel(source["S3Uri"], folder / runs.INPUTS, charge.home, s3_data_type=source["S3DataType"])
    runs.mark(folder, Secondary.TRAINING)
