"""Data sets, loaders and samplers; `dd2424.utils.data` is this package."""

from dd2424._lazy import lazy_getattr
from dd2424.data.arrays import ArrayDataset
from dd2424.data.cache import data_dir
from dd2424.data.cifar import CIFAR10_CLASSES, cifar10
from dd2424.data.collate import default_collate, default_convert
from dd2424.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from dd2424.data.digits import digits
from dd2424.data.errors import DataError
from dd2424.data.loader import DataLoader
from dd2424.data.mnist import FASHION_CLASSES, fashion_mnist, mnist
from dd2424.data.pin import Prefetcher
from dd2424.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from dd2424.data.workers import WorkerInfo, get_worker_info

__all__ = [
    "CIFAR10_CLASSES",
    "FASHION_CLASSES",
    "ArrayDataset",
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataError",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "Prefetcher",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "cifar10",
    "data_dir",
    "default_collate",
    "default_convert",
    "digits",
    "fashion_mnist",
    "get_worker_info",
    "mnist",
    "random_split",
]
__getattr__ = lazy_getattr("dd2424.data")
