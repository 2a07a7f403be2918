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

// A dimension of a dense result, and where in x its places are read, in elements: at i * stride or at from[i], -1 for
// nowhere. Offsets of all dimensions add up.
struct Part {
  Index size, stride;
  std::vector<Index> from;
  Index at(Index i) const { return from.empty() ? i * stride : from[static_cast<std::size_t>(i)]; }
};
// y, from its slowest dimension in memory to its fastest. Without the tape.
void take_parts(const char* op, const Tensor& x, const Tensor& y, std::vector<Part> parts, const Scalar& value);

// y = x under the map of each dimension; outputs that no input leads to are `value`, whose gradient nobody asks.
// The result lies channels-last where that is asked for. Its gradient is the map's adjoint, likewise an operation.
Tensor map_axes(const Tensor& x, const std::shared_ptr<const Mapping>& map, bool channels_last,
                const Scalar& value = Scalar(0));

}  // namespace dd2424::ops
