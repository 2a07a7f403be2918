#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/resample.h"
#include "ops/common.h"
#include "ops/resample_axis.h"

// Maps along single dimensions of a tensor: what pads and interpolation are made of.
namespace dd2424::ops {

struct Mapping {
  const char* op;             // what the user called
  std::vector<AxisRef> axes;  // by dimension; null where nothing moves

  bool moves(int d) const { return axes[static_cast<std::size_t>(d)] != nullptr; }
  const Axis& axis(int d) const { return *axes[static_cast<std::size_t>(d)]; }
  bool only_moves() const;  // each output is one input or none
  bool is_identity() const;
  Shape out_shape(const Tensor& x) const;
  Mapping transposed() const;
};

// A dimension of a dense result, and where in x its places are read: at i * stride, or at from[i] * stride where the
// list is given; where that has -1, from no place. Offsets of all dimensions add up.
struct Part {
  Index size, stride;
  const Numbers<Index>* from = nullptr;
};
// y, from its slowest dimension in memory to its fastest. Without the tape.
void take_parts(const char* op, const Tensor& x, const Tensor& y, const std::vector<Part>& parts, const Scalar& value);

// y = x under the map of each dimension; outputs that no input leads to are `value`, whose gradient nobody asks.
// The result lies channels-last where that is asked for. Its gradient is the map's adjoint, likewise an operation.
Tensor map_axes(const Tensor& x, const std::shared_ptr<const Mapping>& map, bool channels_last,
                const Scalar& value = Scalar(0));

}  // namespace dd2424::ops
