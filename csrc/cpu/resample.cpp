#include "core/resample.h"

#include "core/table.h"
#include "cpu/resample_grid.h"
#include "cpu/resample_patches.h"
#include "cpu/resample_separable.h"
#include "cpu/resample_take.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr TakeKernels kTake{.take = take};

template <class T>
constexpr ResampleKernels<T> kResample{.separable = separable<T>,
                                       .separable_workspace = separable_workspace<T>,
                                       .unfold = unfold<T>,
                                       .fold = fold<T>,
                                       .grid_sample = grid_sample<T>,
                                       .grid_scatter = grid_scatter<T>,
                                       .grid_scatter_workspace = [](const GridSizes&) { return std::size_t(0); },
                                       .grid_gradient = grid_gradient<T>};
constexpr ResampleKernels<bfloat16> kHalf{.separable = separable<bfloat16>,
                                          .separable_workspace = separable_workspace<bfloat16>,
                                          .unfold = unfold<bfloat16>,
                                          .fold = fold<bfloat16>,
                                          .grid_sample = nullptr,  // operations convert
                                          .grid_scatter = nullptr,
                                          .grid_scatter_workspace = nullptr,
                                          .grid_gradient = nullptr};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
DD2424_TABLE(TakeKernels, cpu::DD2424_ISA::kTake)
DD2424_TABLE(ResampleKernels<float>, cpu::DD2424_ISA::kResample<float>)
DD2424_TABLE(ResampleKernels<double>, cpu::DD2424_ISA::kResample<double>)
DD2424_TABLE(ResampleKernels<bfloat16>, cpu::DD2424_ISA::kHalf)
}  // namespace dd2424
