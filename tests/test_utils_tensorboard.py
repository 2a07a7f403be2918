"""What `SummaryWriter` leaves in its folder, read back by tensorboardX's own classes."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest

import dd2424


def events(folder):
    """The events of the only file in a folder; a record is length, checksum, bytes, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.*")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return [event.summary.value[0] for event in found if event.summary.value]


def test_tensors_are_written(tmp_path):
    from dd2424.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("loss", dd2424.tensor(0.5, requires_grad=True), 3)
        writer.add_scalar("half", dd2424.tensor(1.5, dtype=dd2424.bfloat16), 3)
        writer.add_histogram("weights", dd2424.arange(5.0), 3, bins=[-0.5, 1.5, 4.5])
        writer.add_image("image", dd2424.zeros(3, 4, 5), 3)
        writer.add_text("note", "hello", 3)
    values = {value.tag: value for value in events(tmp_path)}
    assert values["loss"].simple_value == 0.5
    assert values["half"].simple_value == 1.5
    assert values["weights"].histo.num == 5
    assert values["weights"].histo.sum == 10
    assert (values["image"].image.height, values["image"].image.width) == (4, 5)
    assert any(tag.startswith("note") for tag in values)


def test_members_of_lists_are_converted(tmp_path):
    from dd2424.utils import tensorboard

    plain = tensorboard._plain(({"x": dd2424.ones(2)}, [dd2424.arange(2)], "text"))
    assert isinstance(plain[0]["x"], np.ndarray)
    assert plain[1][0].tolist() == [0, 1]
    assert plain[2] == "text"


def test_a_graph_is_refused(tmp_path):
    from dd2424.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer, pytest.raises(NotImplementedError, match="models of dd2424 are not"):
        writer.add_graph(dd2424.nn.Linear(2, 2), dd2424.ones(2))


def test_what_to_install_is_said():
    code = "import sys; sys.modules['tensorboardX'] = None; import dd2424.utils.tensorboard"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "tensorboardX must be installed: pip install 'dd2424[tensorboard]'" in run.stderr
