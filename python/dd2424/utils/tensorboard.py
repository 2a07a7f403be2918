"""`SummaryWriter` for TensorBoard, under PyTorch's name: tensorboardX's, given our tensors as NumPy's arrays."""

from __future__ import annotations

from typing import Any

from dd2424 import Tensor
from dd2424._lazy import lazy_getattr

try:
    import tensorboardX as _tensorboard
except ImportError as error:
    raise ImportError("utils.tensorboard: tensorboardX must be installed: pip install 'dd2424[tensorboard]'") from error

__all__ = ["SummaryWriter"]
_TAKES_TENSORS = (
    "add_audio", "add_embedding", "add_histogram", "add_histogram_raw", "add_hparams", "add_image",
    "add_image_with_boxes", "add_images", "add_mesh", "add_pr_curve", "add_pr_curve_raw", "add_scalar", "add_scalars",
    "add_video",
)  # fmt: skip


def _plain(value: Any) -> Any:
    """Tensors as arrays, inside lists, tuples and dictionaries too; bfloat16, which NumPy cannot sum, as float32."""
    if isinstance(value, Tensor):
        return (value.detach().float() if value.is_floating_point() else value.detach()).cpu().numpy()
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(member) for member in value)
    return value


class SummaryWriter(_tensorboard.SummaryWriter):  # type: ignore[misc]
    """Writes scalars, histograms, images and text for TensorBoard into `log_dir`, with tensorboardX's methods.

    Tensors may be given wherever an array may. A graph of a model is not drawn: `add_graph` raises NotImplementedError.
    """

    def add_graph(self, *arguments: Any, **options: Any) -> None:
        raise NotImplementedError("SummaryWriter.add_graph: models of dd2424 are not traced; print(model) shows one")


def _taking_tensors(name: str) -> Any:
    method = getattr(_tensorboard.SummaryWriter, name)

    def call(self: SummaryWriter, *arguments: Any, **options: Any) -> Any:
        return method(self, *_plain(arguments), **_plain(options))

    call.__name__, call.__doc__ = name, method.__doc__
    return call


for _name in _TAKES_TENSORS:
    setattr(SummaryWriter, _name, _taking_tensors(_name))
__getattr__ = lazy_getattr("dd2424.utils.tensorboard")
