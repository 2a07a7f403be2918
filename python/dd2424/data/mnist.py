"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels, 10 classes."""

from __future__ import annotations

from .arrays import ArrayDataset
from .cache import Content, Source
from .download import Download
from .idx import labelled_images
from .splits import check_split, hold_out

_PREFIXES = {"train": "train", "validation": "train", "test": "t10k"}

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _source(
    name: str, folders: tuple[str, ...], urls: tuple[str, ...], sums: dict[str, tuple[int, str, str]]
) -> Source:
    """Describe four IDX files by size and SHA-256 uncompressed, and the SHA-256 of their published .gz."""
    return Source(
        name,
        folders,
        {file: Content(size, unpacked) for file, (size, unpacked, _) in sums.items()},
        tuple(
            Download(tuple(f"{url}/{file}.gz" for url in urls), f"{folders[0]}/{file}.gz", packed, (file,))
            for file, (_, _, packed) in sums.items()
        ),
    )


MNIST = _source(
    "mnist",
    ("mnist", "MNIST/raw"),
    ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
    {
        "train-images-idx3-ubyte": (
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        "train-labels-idx1-ubyte": (
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        "t10k-images-idx3-ubyte": (
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        "t10k-labels-idx1-ubyte": (
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    },
)

FASHION_MNIST = _source(
    "fashion_mnist",
    ("fashion-mnist", "FashionMNIST/raw"),
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
    {
        "train-images-idx3-ubyte": (
            47_040_016,
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        "train-labels-idx1-ubyte": (
            60_008,
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        "t10k-images-idx3-ubyte": (
            7_840_016,
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        "t10k-labels-idx1-ubyte": (
            10_008,
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    },
)


def mnist(split: str = "train", *, validation: int = 0, download: bool = True) -> ArrayDataset:
    """Return handwritten digits: images (N, 1, 28, 28) as bytes, labels 0 to 9.

    Splits: "train" (60,000) and "test" (10,000) as published; `validation` holds the last so many of train out as
        split "validation".
    Raises: DataError when a file is missing and cannot be downloaded, or is damaged; ValueError for another split.
    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998).
    """
    return _load(MNIST, split, validation, download, tuple("0123456789"))


def fashion_mnist(split: str = "train", *, validation: int = 0, download: bool = True) -> ArrayDataset:
    """Return articles of clothing: images (N, 1, 28, 28) as bytes, labels 0 to 9. Splits and errors as `mnist`.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST", arXiv:1708.07747.
    """
    return _load(FASHION_MNIST, split, validation, download, FASHION_CLASSES)


def _load(source: Source, split: str, validation: int, download: bool, classes: tuple[str, ...]) -> ArrayDataset:
    check_split(source.name, split, validation, train_size=60_000)
    prefix = _PREFIXES[split]
    files = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    images, labels = labelled_images(*source.read(files, download=download), source.name, len(classes))
    dataset = ArrayDataset(images, labels, classes=classes)
    return dataset if split == "test" else hold_out(dataset, split, validation)
