#include "ops/optim.h"

#include "ops/copy.h"

namespace dd2424::ops {
namespace {

// Of one shape, with every element at the same distance from the first: the stride of a single element tells nothing.
bool laid_out_alike(const Tensor& a, const Tensor& b) {
  if (a.is_contiguous() && b.is_contiguous()) return true;
  for (int d = 0; d < a.ndim(); ++d)
    if (a.size(d) != 1 && a.strides()[d] != b.strides()[d]) return false;
  return true;
}
bool is_dense(const Tensor& x) { return x.is_contiguous() || laid_out_alike(x, empty_like(x)); }

// What every step asks of its parameters and gradients.
void check_parameters(const char* op, const Tensors& parameters, const Tensors& gradients) {
  check(parameters.size() == gradients.size(), op, ": there must be one gradient per parameter, ", parameters.size(),
        ", got ", gradients.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor &p = parameters[i], &g = gradients[i];
    check(is_floating(p.dtype()), op, ": parameters must have a floating dtype, got ", p.dtype());
    check_device(op, {&parameters[0], &p, &g});
    check(p.shape() == g.shape(), op, ": gradient must have its parameter's shape ", p.shape(), ", got ", g.shape());
    check(p.dtype() == g.dtype(), op, ": gradient must have its parameter's dtype ", p.dtype(), ", got ", g.dtype());
    check(p->storage->writable, op, ": parameters must be writable, got one over read-only memory");
    check(is_dense(p), op, ": parameters must lie in memory without gaps, got shape ", p.shape(), ", strides ",
          p.strides());
  }
}
void check_state(const char* op, const Tensor& p, const Tensor& state) {
  check_device(op, {&p, &state});
  check(state.shape() == p.shape() && state.dtype() == p.dtype() && laid_out_alike(state, p), op,
        ": state must be laid out as its parameter ", p.dtype(), " ", p.shape(), ", strides ", p.strides(), ", got ",
        state.dtype(), " ", state.shape(), ", strides ", state.strides());
  check(state->storage->writable, op, ": state must be writable, got one over read-only memory");
}

// Where g lies as p does, itself; else a copy that does.
Tensor laid_out_like(const Tensor& p, const Tensor& g) {
  if (laid_out_alike(p, g)) return g;
  const Tensor copy = empty_like(p);  // p has no gaps
  copy_into(copy, g);
  return copy;
}

StepNumber number(const Rate& rate) {
  return {rate.value, rate.tensor.defined() ? rate.tensor.data<double>() : nullptr};
}
void check_rate(const char* op, const Rate& lr, const Tensors& parameters) {
  if (!lr.tensor.defined() || parameters.empty()) return;
  check_device(op, {&parameters[0], &lr.tensor});
  check(lr.tensor.dtype() == DType::float64 && lr.tensor.numel() == 1, op, ": lr must be a number of float64, got ",
        lr.tensor.dtype(), " ", lr.tensor.shape());
}

template <class T>
void step(const Tensors& parameters, const Tensors& gradients, Tensors& buffers, const Rate& lr,
          const SgdOptions& options) {
  std::vector<SgdParameter<T>> entries;
  Tensors held;
  Index work = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    if (p.dtype() != DTypeOf<T>::value || p.numel() == 0) continue;
    held.push_back(laid_out_like(p, gradients[i]));
    const bool first = options.momentum != 0 && !buffers[i].defined();
    if (first) buffers[i] = empty_like(p);
    entries.push_back(
        {p.data<T>(), held.back().data<T>(), options.momentum != 0 ? buffers[i].data<T>() : nullptr, p.numel(), first});
    work += p.numel();
  }
  if (entries.empty()) return;
  run("sgd_step", kernels<OptimKernels<T>>(held[0].device()).sgd, work, 0,
      Sgd<T>{entries.data(), static_cast<Index>(entries.size()), number(lr), options.momentum, options.dampening,
             options.weight_decay, options.nesterov, options.maximize});
}

template <class T>
void step(AdaptiveRule rule, const Tensors& parameters, const Tensors& gradients,
          const std::array<Tensors, kAdaptiveStates>& states, const Tensors& steps, const Tensors& products,
          const Rate& lr, const AdaptiveOptions& options, const Tensor& blocks_done) {
  std::vector<AdaptiveParameter<T>> entries;
  Tensors held;
  Index work = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    if (p.dtype() != DTypeOf<T>::value) continue;
    held.push_back(laid_out_like(p, gradients[i]));
    AdaptiveParameter<T> entry{.parameter = p.data<T>(),
                               .gradient = held.back().data<T>(),
                               .state = {},
                               .steps = steps[i].data<float>(),
                               .product = products.empty() ? nullptr : products[i].data<double>(),
                               .n = p.numel()};
    for (std::size_t s = 0; s < states.size(); ++s)
      if (!states[s].empty() && states[s][i].defined()) entry.state[s] = states[s][i].data<T>();
    entries.push_back(entry);
    work += p.numel();
  }
  if (entries.empty()) return;
  run("adaptive_step", kernels<OptimKernels<T>>(held[0].device()).adaptive, 4 * work, 0,
      Adaptive<T>{entries.data(), static_cast<Index>(entries.size()), number(lr), rule, options,
                  blocks_done.data<std::uint32_t>()});
}

void check_counters(const char* argument, const Tensors& counters, const Tensors& parameters, DType dtype) {
  check(counters.size() == parameters.size(), "adaptive_step: there must be one of ", argument, " per parameter, ",
        parameters.size(), ", got ", counters.size());
  for (std::size_t i = 0; i < counters.size(); ++i) {
    const Tensor& t = counters[i];
    check(t.dtype() == dtype && t.numel() == 1 && t->storage->writable, "adaptive_step: ", argument,
          " must be writable numbers of ", dtype, ", got ", t.dtype(), " ", t.shape());
    check_device("adaptive_step", {&parameters[i], &t});
  }
}

}  // namespace

void sgd_step(const Tensors& parameters, const Tensors& gradients, Tensors& buffers, const Rate& lr,
              const SgdOptions& options) {
  check_parameters("sgd_step", parameters, gradients);
  check_rate("sgd_step", lr, parameters);
  buffers.resize(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (options.momentum != 0 && buffers[i].defined()) check_state("sgd_step", parameters[i], buffers[i]);
  step<float>(parameters, gradients, buffers, lr, options);
  step<double>(parameters, gradients, buffers, lr, options);
  step<bfloat16>(parameters, gradients, buffers, lr, options);
  step<float16>(parameters, gradients, buffers, lr, options);
  for (const Tensor& p : parameters) count_write(p);
}

void adaptive_step(AdaptiveRule rule, const Tensors& parameters, const Tensors& gradients,
                   const std::array<Tensors, kAdaptiveStates>& states, const Tensors& steps, const Tensors& products,
                   const Rate& lr, const AdaptiveOptions& options, const Tensor& blocks_done) {
  check_parameters("adaptive_step", parameters, gradients);
  check_rate("adaptive_step", lr, parameters);
  check_counters("steps", steps, parameters, DType::float32);
  if (rule == AdaptiveRule::nadam) check_counters("products", products, parameters, DType::float64);
  if (blocks_done.defined() && !parameters.empty()) {
    check(blocks_done.dtype() == DType::int32 && blocks_done.numel() == 1,
          "adaptive_step: blocks_done must be a number of int32, got ", blocks_done.dtype(), " ", blocks_done.shape());
    check_device("adaptive_step", {&parameters[0], &blocks_done});
  }
  for (const Tensors& kind : states) {
    check(kind.empty() || kind.size() == parameters.size(), "adaptive_step: there must be one state per parameter, ",
          parameters.size(), ", got ", kind.size());
    for (std::size_t i = 0; i < kind.size(); ++i)
      if (kind[i].defined()) check_state("adaptive_step", parameters[i], kind[i]);
  }
  step<float>(rule, parameters, gradients, states, steps, products, lr, options, blocks_done);
  step<double>(rule, parameters, gradients, states, steps, products, lr, options, blocks_done);
  step<bfloat16>(rule, parameters, gradients, states, steps, products, lr, options, blocks_done);
  step<float16>(rule, parameters, gradients, states, steps, products, lr, options, blocks_done);
  for (const Tensor& p : parameters) count_write(p);
}

void check_scalable(const char* op, const Tensors& gradients) {
  for (const Tensor& g : gradients) {
    check_device(op, {&gradients[0], &g});
    check(g->storage->writable, op, ": gradients must be writable, got one over read-only memory");
    check(!overlaps_itself(g), op, ": gradients must have one place in memory per element, got an expanded one");
  }
}

template <class T>
void clip(const Tensors& gradients, double max_norm, const Tensor& norm) {
  std::vector<T*> data;
  std::vector<Index> sizes;
  Tensors dense;  // copies of those with gaps
  Index work = 0;
  for (const Tensor& g : gradients) {
    dense.push_back(is_dense(g) ? g : clone_contiguous(detach(g)));
    data.push_back(dense.back().template data<T>());
    sizes.push_back(g.numel());
    work += g.numel();
  }
  const auto& table = kernels<OptimKernels<T>>(norm.device());
  const ClipNorm<T> arguments{data.data(), sizes.data(), static_cast<Index>(data.size()), max_norm,
                              norm.data<double>()};
  run("clip_grad_norm", table.clip_norm, work, Scratch(table.clip_norm_workspace(arguments), norm.device()), arguments);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    if (!dense[i].same(gradients[i])) copy_into(gradients[i], dense[i]);
}

Tensor clip_grad_norm(const Tensors& gradients, double max_norm) {
  if (gradients.empty()) return zeros({}, DType::float64);
  const DType dtype = gradients[0].dtype();
  for (const Tensor& g : gradients)
    check(g.dtype() == dtype, "clip_grad_norm: gradients must have one dtype, got ", dtype, " and ", g.dtype());
  check_scalable("clip_grad_norm", gradients);
  const Tensor norm = empty({}, DType::float64, gradients[0].device());
  dispatch_float("clip_grad_norm", dtype, [&]<class T>(T) {
    if constexpr (sizeof(T) == 2)
      throw RuntimeError(message("clip_grad_norm: gradients must be float32 or float64, got ", dtype));
    else clip<T>(gradients, max_norm, norm);
  });
  for (const Tensor& g : gradients) count_write(g);
  return norm;
}

}  // namespace dd2424::ops
