#pragma once
#include <mutex>

#include "core/random.h"
#include "ops/common.h"

namespace dd2424::ops {

// A seed and how many operations have drawn from it. Every draw has its own number, so its bits are a function of the
// seed, that number and the element's place.
class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) : seed_(seed) {}
  Philox next(Device device = Device::cpu);  // the bits of one operation
  void manual_seed(std::uint64_t seed);
  std::pair<std::uint64_t, std::uint64_t> state() const;  // seed, operations drawn
  void set_state(std::uint64_t seed, std::uint64_t offset);
  std::pair<std::uint64_t, std::uint64_t> reserve(std::uint64_t draws);  // seed, the first of so many operations

 private:
  mutable std::mutex mutex_;
  std::uint64_t seed_, offset_ = 0;
};
Generator& default_generator();

// While a thread captures a graph, what it draws on the GPU is counted here, and numbered when the graph is replayed.
struct CapturedDraws {
  const std::uint64_t* start;  // on the GPU: the seed and the first number of a replay
  std::uint64_t count = 0;
};
extern thread_local CapturedDraws* captured_draws;

// Fills y. p and q as in core/random.h.
void random_(Tensor& self, Distribution distribution, double p, double q, Generator& generator);
Tensor random(const Shape& shape, DType dtype, Distribution distribution, double p, double q, Generator& generator,
              Device device = Device::cpu);
std::int64_t smallest(DType dtype);  // of an integer type or bool
std::int64_t largest(DType dtype);
Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, DType dtype, Generator& generator,
               Device device = Device::cpu);
// On a GPU another order than on the host.
Tensor randperm(Index n, DType dtype, Generator& generator, Device device = Device::cpu);
// Zeroes elements (channels: whole (n, c) planes) with probability p and scales the rest by 1 / (1 - p); alpha: gives
// them SELU's lowest value, and scales and shifts all so that mean and variance stay.
Tensor dropout(const Tensor& x, double p, bool channels, Generator& generator, bool alpha = false);

}  // namespace dd2424::ops
