#include "ops/attention.h"

#include "bindings/python.h"

namespace dd2424 {

namespace {

using namespace py::literals;

Index checked_window(const char* op, const std::optional<Index>& window) {
  check<ValueError>(!window || *window > 0, op, ": window must be positive, got ", window.value_or(0));
  return window.value_or(0);
}

}  // namespace

void bind_attention(py::module_& m) {
  m.def(
      "scaled_dot_product_attention",
      [](const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask, double dropout,
         bool is_causal, const std::optional<double>& scale, bool enable_gqa, const std::optional<Index>& window,
         Index offset) {
        return ops::attention(query, key, value, mask,
                              {.dropout = dropout,
                               .is_causal = is_causal,
                               .scale = scale,
                               .enable_gqa = enable_gqa,
                               .window = checked_window("scaled_dot_product_attention", window),
                               .offset = offset},
                              ops::default_generator());
      },
      "query"_a, "key"_a, "value"_a, "attn_mask"_a = py::none(), "dropout_p"_a = 0.0, "is_causal"_a = false,
      "scale"_a = py::none(), "enable_gqa"_a = false, "window"_a = py::none(), "offset"_a = 0);
  m.def(
      "packed_attention",
      [](const Tensor& qkv, const Tensor& mask, double dropout, bool is_causal, const std::optional<double>& scale,
         const std::optional<Index>& window) {
        return ops::packed_attention(qkv, mask,
                                     {.dropout = dropout,
                                      .is_causal = is_causal,
                                      .scale = scale,
                                      .window = checked_window("packed_attention", window)},
                                     ops::default_generator());
      },
      "qkv"_a, "attn_mask"_a = py::none(), "dropout_p"_a = 0.0, "is_causal"_a = false, "scale"_a = py::none(),
      "window"_a = py::none());
}

}  // namespace dd2424
