#pragma once
#include <cstddef>
#include <cstdint>

namespace dd2424 {

using Index = std::int64_t;

constexpr int kMaxDims = 12;  // of a tensor; more is refused with a message

enum class Device : std::uint8_t { cpu, cuda };
constexpr int kDevices = 2;

// What an entry point answers. Everything a user can get wrong is refused before a kernel is called, so anything but ok
// is a mistake of ours.
enum class Status : std::uint8_t { ok, unsupported, device_error };

struct bfloat16 {  // storage only: kernels compute in float
  std::uint16_t bits;
};
struct float16 {  // the same; the CPU's kernels do not compute with it
  std::uint16_t bits;
};

enum class DType : std::uint8_t { float32, float64, bfloat16, float16, int64, int32, int16, int8, uint8, bool_ };
constexpr int kDTypes = 10;

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::float32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::float64;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bfloat16;
};
template <>
struct DTypeOf<float16> {
  static constexpr DType value = DType::float16;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::int64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::int32;
};
template <>
struct DTypeOf<std::int16_t> {
  static constexpr DType value = DType::int16;
};
template <>
struct DTypeOf<std::int8_t> {
  static constexpr DType value = DType::int8;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::uint8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::bool_;
};

// The type of statistics, norm parameters and sums over elements of type T.
template <class T>
struct AccumulatorOf {
  using Type = T;
};
template <>
struct AccumulatorOf<bfloat16> {
  using Type = float;
};
template <>
struct AccumulatorOf<float16> {
  using Type = float;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::Type;

// What a kernel is given beside its arguments. A workspace is as large as the entry point's `_workspace` function asks.
struct Context {
  void* stream = nullptr;  // a cudaStream_t on CUDA, null on the CPU
  void* workspace = nullptr;
};

// How N operands walk through one index space: dimension d of operand i advances strides[i][d] elements, 0 to
// broadcast. Dimensions are collapsed where all operands allow it, the last varies fastest; ndim >= 1.
template <int N>
struct Strided {
  int ndim;
  Index shape[kMaxDims];
  Index strides[N][kMaxDims];
};

}  // namespace dd2424
