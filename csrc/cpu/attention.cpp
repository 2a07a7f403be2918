#include "core/attention.h"

#include "core/table.h"
#include "cpu/attention_backward.h"
#include "cpu/attention_single.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
Status attention_forward(const Context& context, const AttentionForward<T>& a) {
  const FloatMode mode;
  const AttentionSizes& s = a.sizes;
  const Index heads = s.batch * s.heads, step = query_block(s.queries), blocks = ceil_div(s.queries, step);
  const bool is_single = s.queries == 1 && s.dropout == 0;
  for_items<T>(context, s, heads * blocks, [&](Index item, const Work<T>& w) {
    const Index head = item / blocks, first = item % blocks * step, b = head / s.heads, h = head % s.heads;
    if (is_single) attend_single(a, b, h, w);
    else attend(a, b, h, {first, smaller(first + step, s.queries)}, w);
  });
  return Status::ok;
}

template <class T>
std::size_t attention_workspace(const AttentionSizes& s) {
  Work<T> w;
  return static_cast<std::size_t>(s.teams * lay_out(w, nullptr, s));
}

template <class T>
constexpr AttentionKernels<T> kAttention{.attention_fits = nullptr,
                                         .attention_forward = attention_forward<T>,
                                         .attention_backward = attention_backward<T>,
                                         .attention_workspace = attention_workspace<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(AttentionKernels<float>, cpu::DD2424_ISA::kAttention<float>)
DD2424_TABLE(AttentionKernels<double>, cpu::DD2424_ISA::kAttention<double>)
DD2424_TABLE(AttentionKernels<bfloat16>, {})

}  // namespace dd2424
