"""The convolutional networks: names and counts of parameters, shapes, formats, gradients, training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import dd2424
from accuracy import bits, same_for_any_threads
from dd2424 import models, nn

SMALL: dict[str, Callable[[], nn.Module]] = {  # as CIFAR needs them, narrowed where they can be
    "resnet18": lambda: models.resnet18(num_classes=10, small_images=True, widths=(8, 8, 12, 16)),
    "resnet50": lambda: models.resnet50(num_classes=10, small_images=True, widths=(4, 4, 8, 8)),
    "vgg": lambda: models.VGG(models.vgg.make_layers([8, None, 12, 512, None], True), 10, small_images=True),
    "patchify": lambda: models.PatchifyConvNet(8, 6, 20),
    "small": lambda: models.SmallConvNet((6, 8), batch_norm=True),
}


def images(rng: np.random.Generator, *shape: int) -> dd2424.Tensor:
    return dd2424.from_numpy(rng.standard_normal(shape).astype(np.float32))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def norm_keys(name: str) -> list[str]:
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def resnet_keys(blocks: list[int], convolutions: int) -> Iterator[str]:
    """torchvision's: a stem, `layerS.B.convI` and `bnI`, a downsample where a stage changes the shape, `fc`."""
    yield from ["conv1.weight", *norm_keys("bn1")]
    for stage, number in enumerate(blocks, 1):
        for block in range(number):
            name = f"layer{stage}.{block}"
            for i in range(1, convolutions + 1):
                yield from [f"{name}.conv{i}.weight", *norm_keys(f"{name}.bn{i}")]
            if block == 0 and (stage > 1 or convolutions == 3):
                yield from [f"{name}.downsample.0.weight", *norm_keys(f"{name}.downsample.1")]
    yield from ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("name", "blocks", "convolutions", "parameters", "small"),
    [
        ("resnet18", [2, 2, 2, 2], 2, 11_689_512, 11_173_962),
        pytest.param("resnet34", [3, 4, 6, 3], 2, 21_797_672, 21_282_122, marks=pytest.mark.slow),
        pytest.param("resnet50", [3, 4, 6, 3], 3, 25_557_032, 23_520_842, marks=pytest.mark.slow),
    ],
)
def test_resnets_have_torchvisions_members(
    name: str, blocks: list[int], convolutions: int, parameters: int, small: int
) -> None:
    model = getattr(models, name)()
    assert list(model.state_dict()) == list(resnet_keys(blocks, convolutions))
    assert count(model) == parameters
    assert count(getattr(models, name)(num_classes=10, small_images=True)) == small


@pytest.mark.parametrize(
    ("depth", "batch_norm", "parameters"),
    [
        (11, False, 132_863_336), (11, True, 132_868_840), (13, False, 133_047_848), (13, True, 133_053_736),
        (16, False, 138_357_544), (16, True, 138_365_992), (19, False, 143_667_240), (19, True, 143_678_248),
    ],
)  # fmt: skip
def test_vggs_have_torchvisions_members(depth: int, batch_norm: bool, parameters: int) -> None:
    classifier = (512 * 49 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    features = models.vgg.make_layers(models.vgg.LAYERS[depth], batch_norm)
    assert count(features) == parameters - classifier
    step = 3 if batch_norm else 2  # positions that a convolution, its norm and its ReLU take
    place, expected = 0, []
    for width in models.vgg.LAYERS[depth]:
        if width is None:
            place += 1
            continue
        expected += [f"{place}.weight", f"{place}.bias", *(norm_keys(str(place + 1)) if batch_norm else [])]
        place += step
    assert list(features.state_dict()) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), [("vgg11", 132_863_336), ("alexnet", 61_100_840)])
def test_the_largest_are_whole(rng: np.random.Generator, name: str, parameters: int) -> None:
    model = getattr(models, name)().eval()
    assert count(model) == parameters
    places = (0, 3, 6) if name == "vgg11" else (1, 4, 6)
    assert [k for k in model.state_dict() if "classifier" in k] == [
        f"classifier.{i}.{part}" for i in places for part in ("weight", "bias")
    ]
    with dd2424.no_grad():
        assert model(images(rng, 1, 3, 64, 64)).shape == (1, 1000)


def test_an_imagenet_stem_divides_by_four(rng: np.random.Generator) -> None:
    model = models.resnet18(widths=(4, 4, 4, 4), num_classes=7)
    x = images(rng, 2, 3, 64, 48)
    assert model.maxpool(model.bn1(model.conv1(x))).shape == (2, 4, 16, 12)
    assert model(x).shape == (2, 7)
    dilated = models.resnet50(widths=(2, 2, 2, 2), replace_stride_with_dilation=(False, True, True))
    before_mean = dilated.layer4(dilated.layer3(dilated.layer2(dilated.layer1(images(rng, 1, 8, 16, 16)[:, :2]))))
    assert before_mean.shape == (1, 8, 8, 8), "dilation keeps the size that strides would halve"


@pytest.mark.parametrize("name", SMALL)
def test_either_format_gives_the_same(rng: np.random.Generator, name: str) -> None:
    model = SMALL[name]()
    filters = [p for p in model.parameters() if p.ndim == 4]
    assert filters
    assert all(p.is_contiguous(memory_format=dd2424.channels_last) for p in filters)
    x = images(rng, 4, 3, 32, 32)
    model.eval()
    scores = model(x)
    assert scores.shape == (4, 10)
    assert bits(model(x.contiguous(memory_format=dd2424.channels_last))) == bits(scores)
    assert bits(model.to(memory_format=dd2424.contiguous_format)(x).argmax(1)) == bits(scores.argmax(1))


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient_and_training_moves_statistics(rng: np.random.Generator, name: str) -> None:
    model = SMALL[name]()
    before = {k: bits(v) for k, v in model.state_dict().items() if "running" in k or "tracked" in k}
    loss = nn.functional.cross_entropy(model(images(rng, 6, 3, 32, 32)), dd2424.arange(6))
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max().item() > 0, key
    after = model.state_dict()
    assert all(bits(after[k]) != old for k, old in before.items())
    model.eval()
    x = images(rng, 3, 3, 32, 32)
    np.testing.assert_allclose(
        model(x)[:1].detach().numpy(), model(x[:1]).detach().numpy(), rtol=2e-5, atol=2e-5
    )  # a sample does not see the others


@pytest.mark.parametrize("block", [models.BasicBlock, models.Bottleneck])
def test_zero_init_residual_starts_with_the_identity(rng: np.random.Generator, block: Any) -> None:
    model = models.ResNet(block, [1, 2, 1, 1], zero_init_residual=True, widths=(4, 4, 4, 4), num_classes=2)
    x = images(rng, 2, 4 * block.expansion, 6, 6)
    assert bits(model.layer2[1](x)) == bits(x.relu())
    plain = models.ResNet(block, [1, 2, 1, 1], widths=(4, 4, 4, 4), num_classes=2)
    assert bits(plain.layer2[1](x)) != bits(x.relu())


def test_another_norm_may_stand_for_batch_norm(rng: np.random.Generator) -> None:
    model = models.resnet18(
        norm_layer=lambda channels: nn.GroupNorm(2, channels), widths=(4, 4, 4, 4), num_classes=3, small_images=True
    )
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert model(images(rng, 2, 3, 16, 16)).shape == (2, 3)


def test_a_training_step_has_the_same_bits_for_any_threads(rng: np.random.Generator) -> None:
    x = images(rng, 4, 3, 32, 32)

    def run() -> Any:
        model = SMALL["resnet18"]()
        optimizer = dd2424.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), dd2424.arange(4)).backward()
            optimizer.step()
        return list(model.state_dict().values())

    same_for_any_threads(run)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="PatchifyConvNet: filter_size must divide the image's size 32, got 5"):
        models.PatchifyConvNet(5)
    with pytest.raises(ValueError, match=r"SmallConvNet: size must be a multiple of 2\^3, got 20"):
        models.SmallConvNet(size=20)
    with pytest.raises(ValueError, match="ResNet: layers and widths must have 4 numbers"):
        models.ResNet(models.BasicBlock, [2, 2])
    with pytest.raises(ValueError, match="BasicBlock: groups, base_width and dilation must be 1, 64 and 1, got 2"):
        models.resnet18(groups=2)
