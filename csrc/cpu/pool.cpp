#include "core/pool.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/pool_average.h"
#include "cpu/pool_max.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
Status max_pool_forward(const Context& context, const MaxPoolForward<T>& a) {
  const FloatMode mode;
  const Windows w(a.sizes, context.workspace);
  if (tap_bytes(a.sizes) == 1)
    MaxPool<T, std::uint8_t>{w}.forward(a);
  else
    MaxPool<T, std::int32_t>{w}.forward(a);
  return Status::ok;
}

template <class T>
Status max_pool_backward(const Context& context, const MaxPoolBackward<T>& a) {
  const FloatMode mode;
  const Windows w(a.sizes, context.workspace);
  if (tap_bytes(a.sizes) == 1)
    MaxPool<T, std::uint8_t>{w}.backward(a);
  else
    MaxPool<T, std::int32_t>{w}.backward(a);
  return Status::ok;
}

Status max_pool_locate(const Context& context, const MaxPoolLocate& a) {
  const Windows w(a.sizes, context.workspace);
  if (tap_bytes(a.sizes) == 1)
    MaxPool<float, std::uint8_t>{w}.locate(a);
  else
    MaxPool<float, std::int32_t>{w}.locate(a);
  return Status::ok;
}

template <class T>
Status average_pool_forward(const Context& context, const AveragePool<T>& a) {
  const FloatMode mode;
  AverageKernel<T>{Windows(a.sizes, context.workspace), a}.forward();
  return Status::ok;
}

template <class T>
Status average_pool_backward(const Context& context, const AveragePool<T>& a) {
  const FloatMode mode;
  AverageKernel<T>{Windows(a.sizes, context.workspace), a}.backward();
  return Status::ok;
}

template <class T>
constexpr PoolKernels<T> kPool{.max_pool_forward = max_pool_forward<T>,
                               .max_pool_backward = max_pool_backward<T>,
                               .max_pool_locate = max_pool_locate,
                               .average_pool_forward = average_pool_forward<T>,
                               .average_pool_backward = average_pool_backward<T>,
                               .pool_workspace = pool_workspace};
template <class T>
constexpr PoolKernels<T> kIntegerPool{.max_pool_forward = max_pool_forward<T>,
                                      .max_pool_backward = nullptr,
                                      .max_pool_locate = max_pool_locate,
                                      .average_pool_forward = nullptr,
                                      .average_pool_backward = nullptr,
                                      .pool_workspace = pool_workspace};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
DD2424_TABLE(PoolKernels<float>, cpu::DD2424_ISA::kPool<float>)
DD2424_TABLE(PoolKernels<double>, cpu::DD2424_ISA::kPool<double>)
DD2424_TABLE(PoolKernels<bfloat16>, cpu::DD2424_ISA::kPool<bfloat16>)
DD2424_TABLE(PoolKernels<std::int64_t>, cpu::DD2424_ISA::kIntegerPool<std::int64_t>)
DD2424_TABLE(PoolKernels<std::int32_t>, cpu::DD2424_ISA::kIntegerPool<std::int32_t>)
DD2424_TABLE(PoolKernels<std::int16_t>, cpu::DD2424_ISA::kIntegerPool<std::int16_t>)
DD2424_TABLE(PoolKernels<std::int8_t>, cpu::DD2424_ISA::kIntegerPool<std::int8_t>)
DD2424_TABLE(PoolKernels<std::uint8_t>, cpu::DD2424_ISA::kIntegerPool<std::uint8_t>)
}  // namespace dd2424
