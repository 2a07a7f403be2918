#include "core/norm.h"

#include <math.h>

#include "cuda/norm_batch_few.h"
#include "cuda/norm_groups.h"
#include "cuda/norm_local.h"
#include "cuda/norm_rows.h"
#include "cuda/offer.h"

namespace dd2424::cuda {
namespace {

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

void offer_norm(DeviceTables& tables) {
  offer(tables, kNorm<float>);
  offer(tables, kNorm<double>);
  offer(tables, kNorm<bfloat16>);
  offer(tables, kNorm<float16>);
}

}  // namespace dd2424::cuda
