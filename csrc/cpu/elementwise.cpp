#include "cpu/elementwise.h"

#include "core/float_mode.h"
#include "core/parallel.h"
#include "core/table.h"

// The tables of elementwise operations. bfloat16 runs the blocks of float, bool those of uint8.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kCheapGrain = 32768, kDearGrain = 4096;  // two threads pay above, measured on an Emerald Rapids

template <class T>
struct ComputedAs {
  using Type = T;
};
template <>
struct ComputedAs<bfloat16> {
  using Type = float;
};
template <>
struct ComputedAs<bool> {
  using Type = std::uint8_t;
};

template <class T>
Operand operand(const T* data, const Index* strides) {
  return {const_cast<T*>(data), strides, int(sizeof(T)), std::is_same_v<T, bfloat16>};
}

constexpr bool is_cheap(UnaryOp op) {
  return op <= UnaryOp::rsqrt || (op >= UnaryOp::floor && op <= UnaryOp::leaky_relu) || op >= UnaryOp::clamp ||
         op == UnaryOp::hardtanh || op == UnaryOp::hardsigmoid || op == UnaryOp::hardswish;
}
constexpr bool is_cheap(BinaryOp op) {
  return op <= BinaryOp::div || (op >= BinaryOp::maximum && op <= BinaryOp::fmin) || op == BinaryOp::copysign ||
         (op >= BinaryOp::bit_and && op <= BinaryOp::sigmoid_backward) || op >= BinaryOp::softsign_backward;
}

template <class T>
Status unary(const Context&, UnaryOp op, const Unary<T>& a) {
  const BlockFunction function = unary_block<T>(op);
  if (!function) return Status::unsupported;
  const FloatMode mode;
  const Block block{.y = a.y, .x = {a.x}, .step = {1}, .n = a.at.shape[0], .p = a.p, .q = a.q};
  if (a.at.ndim == 1 && a.at.strides[0][0] == 1 && a.at.strides[1][0] == 1 && block.n <= kDearGrain &&
      !std::is_same_v<T, bfloat16>) {
    function(block);
    return Status::ok;
  }
  walk({.operands = 2,
        .ndim = a.at.ndim,
        .shape = a.at.shape,
        .operand = {operand(a.y, a.at.strides[0]), operand(a.x, a.at.strides[1])},
        .function = function,
        .block = block,
        .grain = is_cheap(op) ? kCheapGrain : kDearGrain});
  return Status::ok;
}

template <class T>
Status binary(const Context&, BinaryOp op, const Binary<T>& a) {
  const BlockFunction function = binary_block<T>(op);
  if (!function) return Status::unsupported;
  const FloatMode mode;
  const Block block{.y = a.y,
                    .x = {a.a, a.b},
                    .step = {1, 1},
                    .n = a.at.shape[0],
                    .p = a.scale,
                    .q = a.bound,
                    .zero_divisor = a.zero_divisor};
  if (a.at.ndim == 1 && a.at.strides[0][0] == 1 && a.at.strides[1][0] == 1 && a.at.strides[2][0] == 1 &&
      block.n <= kDearGrain && !std::is_same_v<T, bfloat16>) {
    function(block);
    return Status::ok;
  }
  walk({.operands = 3,
        .ndim = a.at.ndim,
        .shape = a.at.shape,
        .operand = {operand(a.y, a.at.strides[0]), operand(a.a, a.at.strides[1]), operand(a.b, a.at.strides[2])},
        .function = function,
        .block = block,
        .grain = is_cheap(op) ? kCheapGrain : kDearGrain});
  return Status::ok;
}

template <class T>
Status compare(const Context&, CompareOp op, const Compare<T>& a) {
  using C = typename ComputedAs<T>::Type;
  // a > b is b < a: the operands change places
  const bool swapped = op == CompareOp::gt || op == CompareOp::ge;
  const CompareOp as = op == CompareOp::gt ? CompareOp::lt : op == CompareOp::ge ? CompareOp::le : op;
  const T *first = swapped ? a.b : a.a, *second = swapped ? a.a : a.b;
  walk({.operands = 3,
        .ndim = a.at.ndim,
        .shape = a.at.shape,
        .operand = {operand(a.y, a.at.strides[0]), operand(first, a.at.strides[swapped ? 2 : 1]),
                    operand(second, a.at.strides[swapped ? 1 : 2])},
        .function = compare_block<C>(as),
        .grain = kCheapGrain});
  return Status::ok;
}

template <class T>
Status test(const Context&, TestOp op, const Test<T>& a) {
  walk({.operands = 2,
        .ndim = a.at.ndim,
        .shape = a.at.shape,
        .operand = {operand(a.y, a.at.strides[0]), operand(a.x, a.at.strides[1])},
        .function = test_block<typename ComputedAs<T>::Type>(op),
        .grain = kCheapGrain});
  return Status::ok;
}

template <class T>
Status where(const Context&, const Where<T>& a) {
  Walk w{.operands = 4,
         .ndim = a.at.ndim,
         .shape = a.at.shape,
         .operand = {operand(a.y, a.at.strides[0]), operand(a.condition, a.at.strides[1]),
                     operand(a.a, a.at.strides[2]), operand(a.b, a.at.strides[3])},
         .function = where_block(sizeof(T)),
         .grain = kCheapGrain};
  for (Operand& each : w.operand) each.is_bfloat16 = false;  // moved, not computed with
  walk(w);
  return Status::ok;
}

template <class T>
constexpr ElementwiseKernels<T> kElementwise{
    .unary = unary<T>, .binary = binary<T>, .compare = compare<T>, .test = test<T>, .where = where<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(ElementwiseKernels<float>, cpu::DD2424_ISA::kElementwise<float>)
DD2424_TABLE(ElementwiseKernels<double>, cpu::DD2424_ISA::kElementwise<double>)
DD2424_TABLE(ElementwiseKernels<bfloat16>, cpu::DD2424_ISA::kElementwise<bfloat16>)
DD2424_TABLE(ElementwiseKernels<std::int64_t>, cpu::DD2424_ISA::kElementwise<std::int64_t>)
DD2424_TABLE(ElementwiseKernels<std::int32_t>, cpu::DD2424_ISA::kElementwise<std::int32_t>)
DD2424_TABLE(ElementwiseKernels<std::int16_t>, cpu::DD2424_ISA::kElementwise<std::int16_t>)
DD2424_TABLE(ElementwiseKernels<std::int8_t>, cpu::DD2424_ISA::kElementwise<std::int8_t>)
DD2424_TABLE(ElementwiseKernels<std::uint8_t>, cpu::DD2424_ISA::kElementwise<std::uint8_t>)
DD2424_TABLE(ElementwiseKernels<bool>, cpu::DD2424_ISA::kElementwise<bool>)

}  // namespace dd2424
