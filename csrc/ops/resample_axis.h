#pragma once
#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor/tensor.h"

// Maps along one dimension, made once for the sizes and options they come from, on the host and on a GPU.
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

// Numbers that kernels read call after call; on a GPU they are a copy, made when first asked for.
template <class N>
class Numbers {
 public:
  explicit Numbers(std::vector<N> here) : here_(std::move(here)) {}
  ~Numbers();
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  const N* on(Device device) const;
  const std::vector<N>& here() const { return here_; }

 private:
  std::vector<N> here_;
  mutable std::once_flag copied_;
  mutable Tensor there_;
};

class Axis {
 public:
  explicit Axis(const AxisMap& map);
  const Index in, out;
  const Numbers<Index> first, index;  // as in the map
  const Numbers<double> weight;
  const Numbers<float> float_weight;
  const Numbers<Index> from;  // (out): the one input of each output or -1; empty where some are made of several
  const bool is_identity;

  bool only_moves() const { return static_cast<Index>(from.here().size()) == out; }
  const std::shared_ptr<const Axis>& adjoint() const;  // made once
  Index terms() const { return static_cast<Index>(index.here().size()) + out; }

 private:
  mutable std::once_flag transposed_;
  mutable std::shared_ptr<const Axis> adjoint_;
};
using AxisRef = std::shared_ptr<const Axis>;

// What a map is made from: a number for the kind of map, and its own.
using AxisKey = std::array<Index, 6>;
enum AxisKind : Index { kIdentityAxis, kPadAxis, kShuffleAxis, kInterpolateAxis };  // the last: and the modes behind it
// That of the key, made where it isn't kept from an earlier call. The least used ones make room.
AxisRef axis_for(const AxisKey& key, const std::function<AxisMap()>& make);
AxisRef identity_axis(Index size);
void forget_axes();  // gives back their memory, as far as nothing holds them

}  // namespace dd2424::ops
