"""Mixed precision: `autocast` for the forward pass, `GradScaler` for gradients in float16."""

from dd2424._autocast import autocast as autocast, is_autocast_available as is_autocast_available
from dd2424._lazy import lazy_getattr
from dd2424.amp.custom import custom_bwd as custom_bwd, custom_fwd as custom_fwd
from dd2424.amp.scaler import GradScaler as GradScaler

__getattr__ = lazy_getattr("dd2424.amp")
