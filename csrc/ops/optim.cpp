#include "ops/optim.h"

#include "ops/copy.h"

namespace dd2424::ops {
namespace {

void check_pair(const Tensor& p, const Tensor& g) {
  check(p.shape() == g.shape(), "sgd_step: gradient must have its parameter's shape ", p.shape(), ", got ", g.shape());
  check(p.dtype() == g.dtype(), "sgd_step: gradient must have its parameter's dtype ", p.dtype(), ", got ", g.dtype());
  check(p->storage->writable, "sgd_step: parameters must be writable, got one over read-only memory");
}

bool is_dense(const Tensor& x) { return empty_like(x).strides() == x.strides(); }

// Where g lies as p does, itself; else a copy that does.
Tensor laid_out_like(const Tensor& p, const Tensor& g) {
  if (p.strides() == g.strides() || (p.is_contiguous() && g.is_contiguous())) return g;
  const Tensor copy = empty_like(p);  // p has no gaps
  copy_into(copy, g);
  return copy;
}

template <class T>
void step(const Tensors& parameters, const Tensors& gradients, Tensors& buffers, const SgdOptions& options) {
  std::vector<SgdParameter<T>> entries;
  Tensors held;
  Index work = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    if (p.dtype() != DTypeOf<T>::value || p.numel() == 0) continue;
    check_pair(p, gradients[i]);
    check(is_dense(p), "sgd_step: parameters must lie in memory without gaps, got shape ", p.shape(), ", strides ",
          p.strides());
    held.push_back(laid_out_like(p, gradients[i]));
    const bool first = options.momentum != 0 && !buffers[i].defined();
    if (first) buffers[i] = empty_like(p);
    entries.push_back(
        {p.data<T>(), held.back().data<T>(), options.momentum != 0 ? buffers[i].data<T>() : nullptr, p.numel(), first});
    work += p.numel();
  }
  if (entries.empty()) return;
  run("sgd_step", kernels<OptimKernels<T>>(Device::cpu).sgd, work, 0,
      Sgd<T>{entries.data(), static_cast<Index>(entries.size()), &options.lr, options.momentum, options.dampening,
             options.weight_decay, options.nesterov, options.maximize});
}

}  // namespace

void sgd_step(const Tensors& parameters, const Tensors& gradients, Tensors& buffers, const SgdOptions& options) {
  check(parameters.size() == gradients.size(), "sgd_step: there must be one gradient per parameter, ",
        parameters.size(), ", got ", gradients.size());
  buffers.resize(parameters.size());
  for (const Tensor& p : parameters)
    check(p.dtype() == DType::float32 || p.dtype() == DType::float64,
          "sgd_step: parameters must be float32 or float64, got ", p.dtype());
  step<float>(parameters, gradients, buffers, options);
  step<double>(parameters, gradients, buffers, options);
  for (const Tensor& p : parameters) count_write(p);
}

double clip_grad_norm(const Tensors& gradients, double max_norm) {
  if (gradients.empty()) return 0;
  double norm = 0;
  const DType dtype = gradients[0].dtype();
  for (const Tensor& g : gradients) {
    check(g.dtype() == dtype, "clip_grad_norm: gradients must have one dtype, got ", dtype, " and ", g.dtype());
    check(!overlaps_itself(g), "clip_grad_norm: gradients must have one place in memory per element");
  }
  dispatch_float("clip_grad_norm", dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, bfloat16>) {
      throw RuntimeError("clip_grad_norm: gradients must be float32 or float64, got bfloat16");
    } else {
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
      run("clip_grad_norm", kernels<OptimKernels<T>>(Device::cpu).clip_norm, work, 0,
          ClipNorm<T>{data.data(), sizes.data(), static_cast<Index>(data.size()), max_norm, &norm});
      for (std::size_t i = 0; i < gradients.size(); ++i)
        if (!dense[i].same(gradients[i])) copy_into(gradients[i], dense[i]);
    }
  });
  for (const Tensor& g : gradients) count_write(g);
  return norm;
}

}  // namespace dd2424::ops
