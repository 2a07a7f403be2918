#pragma once
#include <memory>
#include <optional>

#include "core/resample.h"
#include "ops/common.h"

namespace dd2424::ops {

// Pads as PyTorch gives them: in front and behind, the last dimension first. Negative ones cut off.
// mode: "constant" with `value`, "reflect", "replicate" or "circular".
Tensor pad(const Tensor& x, const std::vector<Index>& pads, const std::string& mode,
           const std::optional<Scalar>& value);

}  // namespace dd2424::ops
