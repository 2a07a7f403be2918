#include "core/norm.h"

#include "core/table.h"
#include "cpu/norm_backward.h"
#include "cpu/norm_forward.h"
#include "cpu/norm_groups.h"
#include "cpu/norm_local.h"
#include "cpu/norm_rows.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

std::size_t batch_norm_workspace(Index outer, Index channels, Index inner) {
  const Extent extent{outer, channels, inner};
  const Chunks chunks = extent.chunks();
  return chunks.count > 1 ? static_cast<std::size_t>(chunks.count * kSums * channels) * sizeof(double) : 0;
}

template <class T>
constexpr NormKernels<T> kNorm{.batch_norm_forward = batch_norm_forward<T>,
                               .batch_norm_backward = batch_norm_backward<T>,
                               .batch_norm_workspace = batch_norm_workspace,
                               .row_norm_forward = row_norm_forward<T>,
                               .row_norm_backward = row_norm_backward<T>,
                               .row_norm_workspace = row_norm_workspace,
                               .local_response = local_response<T>,
                               .local_response_workspace = local_response_workspace<T>,
                               .group_norm_forward = group_norm_forward<T>,
                               .group_norm_backward = group_norm_backward<T>,
                               .group_norm_workspace = group_norm_workspace};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(NormKernels<float>, cpu::DD2424_ISA::kNorm<float>)
DD2424_TABLE(NormKernels<double>, cpu::DD2424_ISA::kNorm<double>)
DD2424_TABLE(NormKernels<bfloat16>, cpu::DD2424_ISA::kNorm<bfloat16>)

}  // namespace dd2424
