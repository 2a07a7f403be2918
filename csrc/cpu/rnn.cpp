#include "core/rnn.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/rnn_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class Walk, class Arguments>
Status run(const Context& context, const Arguments& a) {
  const FloatMode mode;
  const Index batch = a.steps.batch;
  if (batch == 0 || a.hidden == 0) return Status::ok;  // and so outputs are none
  Walk walk(a);
  walk.prepare(static_cast<char*>(context.workspace));
  walk_parts(walk, batch, a.weight ? batch * summed_gates(a.mode) * a.hidden * a.outputs : 0);
  return Status::ok;
}

template <class T>
Status forward(const Context& context, const RnnForward<T>& a) {
  return run<Forward<T>>(context, a);
}
template <class T>
Status backward(const Context& context, const RnnBackward<T>& a) {
  return run<Backward<T>>(context, a);
}
template <class T>
std::size_t forward_workspace(const RnnForward<T>& a) {
  return static_cast<std::size_t>(Forward<T>(a).bytes());
}
template <class T>
std::size_t backward_workspace(const RnnBackward<T>& a) {
  return static_cast<std::size_t>(Backward<T>(a).bytes());
}

template <class T>
constexpr RnnKernels<T> kRnn{.forward = forward<T>,
                             .backward = backward<T>,
                             .forward_workspace = forward_workspace<T>,
                             .backward_workspace = backward_workspace<T>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(RnnKernels<float>, cpu::DD2424_ISA::kRnn<float>)
DD2424_TABLE(RnnKernels<double>, cpu::DD2424_ISA::kRnn<double>)

}  // namespace dd2424
