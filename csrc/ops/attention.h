#pragma once
#include <optional>

#include "core/attention.h"
#include "ops/common.h"
#include "ops/random.h"

namespace dd2424::ops {

struct AttentionOptions {
  double dropout = 0;
  bool is_causal = false;
  std::optional<double> scale = {};  // 1 / sqrt(features) where not given
  bool enable_gqa = false;           // query heads in groups, each with one head of k and v
  Index window = 0;                  // as in core/attention.h, like offset
  Index offset = 0;
};
// softmax(scale * q k^T + mask) v, dimensions before the last two broadcast; mask: boolean (true is seen), floating
// (added), or undefined.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionOptions& options,
                 Generator& generator);
// The same of q, k and v in one tensor (batch, rows, 3, heads, features), which backward makes no copies of.
Tensor packed_attention(const Tensor& packed, const Tensor& mask, const AttentionOptions& options,
                        Generator& generator);

// The gradients by q, k, v and mask, by operations: what they are differentiated by in turn. All are (batch, heads,
// rows, features), the mask of its full size.
Tensors attention_gradients(const AttentionSizes& sizes, const Tensor& q, const Tensor& k, const Tensor& v,
                            const Tensor& mask, const Tensor& dy, const Needs& needs);

}  // namespace dd2424::ops
