#include "core/resample.h"

#include "core/table.h"
#include "cpu/resample_separable.h"
#include "cpu/resample_take.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr TakeKernels kTake{.take = take};

template <class T>
constexpr ResampleKernels<T> kResample{.separable = separable<T>, .separable_workspace = separable_workspace<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
DD2424_TABLE(TakeKernels, cpu::DD2424_ISA::kTake)
DD2424_TABLE(ResampleKernels<float>, cpu::DD2424_ISA::kResample<float>)
DD2424_TABLE(ResampleKernels<double>, cpu::DD2424_ISA::kResample<double>)
DD2424_TABLE(ResampleKernels<bfloat16>, cpu::DD2424_ISA::kResample<bfloat16>)
}  // namespace dd2424
