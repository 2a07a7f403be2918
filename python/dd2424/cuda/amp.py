"""Mixed precision on a GPU, under the names that programs know: `dd2424.amp` for device "cuda"."""

from __future__ import annotations

import functools

from dd2424 import _core
from dd2424._autocast import autocast as _autocast
from dd2424._core import dtype as DType
from dd2424._lazy import lazy_getattr
from dd2424.amp import GradScaler as GradScaler, custom_bwd as _bwd, custom_fwd as _fwd


class autocast(_autocast):
    """`dd2424.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype: DType = _core.float16, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


custom_fwd = functools.partial(_fwd, device_type="cuda")
custom_bwd = functools.partial(_bwd, device_type="cuda")
__getattr__ = lazy_getattr("dd2424.cuda.amp")
