#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/resample.h"
#include "ops/common.h"

// Maps along single dimensions of a tensor: what pads and interpolation are made of.
namespace dd2424::ops {

// A sparse matrix along one dimension, by rows: of what each output is made.
struct AxisMap {
  Index in = 0;
  std::vector<Index> first{0};  // (out + 1): row i has the terms first[i] to first[i + 1]
  std::vector<Index> index;
  std::vector<double> weight;

  Index out() const { return static_cast<Index>(first.size()) - 1; }
  void add(Index from, double by) { index.push_back(from), weight.push_back(by); }
  void end_row() { first.push_back(static_cast<Index>(index.size())); }
};

struct Mapping {
  const char* op;                          // what the user called
  std::vector<std::vector<AxisMap>> axes;  // by dimension: one map, or none where nothing moves

  bool moves(int d) const { return !axes[static_cast<std::size_t>(d)].empty(); }
  const AxisMap& axis(int d) const { return axes[static_cast<std::size_t>(d)][0]; }
  bool only_moves() const;  // each output is one input or none
  bool is_identity() const;
  Shape out_shape(const Tensor& x) const;
  Mapping transposed() const;
};

// y = x under the map of each dimension; outputs that no input leads to are `value`, whose gradient nobody asks.
// The result lies channels-last where that is asked for. Its gradient is the map's adjoint, likewise an operation.
Tensor map_axes(const Tensor& x, const std::shared_ptr<const Mapping>& map, bool channels_last,
                const Scalar& value = Scalar(0));

}  // namespace dd2424::ops
