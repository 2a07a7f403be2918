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
// `size` of the result, by dimension of space; `scales`: those the user gave, which then say where pixels stand, or
// none.
Tensor interpolate(const Tensor& x, const Shape& size, const std::vector<double>& scales, const std::string& mode,
                   bool align_corners, bool antialias);

Tensor pixel_shuffle(const Tensor& x, Index factor);    // (*, C r r, H, W) -> (*, C, H r, W r)
Tensor pixel_unshuffle(const Tensor& x, Index factor);  // and back
Tensor channel_shuffle(const Tensor& x, Index groups);  // channel (g, c) goes to (c, g)

// Patches of images, and their sum. One number per dimension of space in each.
struct PatchOptions {
  Shape kernel, dilation, padding, stride;
};
Tensor unfold_images(const Tensor& x, const PatchOptions& options);  // (N, C, H, W) -> (N, C KH KW, L)
Tensor fold_images(const Tensor& columns, const Shape& size, const PatchOptions& options);  // and back, added up

// x (N, C, *) at the places that grid (N, *out, 2 or 3) names: -1 and 1 are the image's borders.
Tensor grid_sample(const Tensor& x, const Tensor& grid, const std::string& mode, const std::string& padding_mode,
                   bool align_corners);

}  // namespace dd2424::ops
