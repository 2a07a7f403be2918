#include "core/machine.h"

#include <vector>

#include "bindings/python.h"
#include "core/parallel.h"
#include "core/table.h"

// The machine's own limits, for benchmarks. They run on arrays of their own making, so no argument can go wrong.
namespace dd2424 {
namespace {

using namespace py::literals;

constexpr Index kChunksPerThread = 4;

template <class T>
Index multiply_adds(Status (*kernel)(const Context&, MultiplyAdds<T>&), Index rounds) {
  if (!kernel) return 0;
  std::vector<Accumulator<T>> sink(std::size_t(kChunksPerThread * num_threads()));
  MultiplyAdds<T> a{.sink = sink.data(), .chunks = Index(sink.size()), .rounds = rounds};
  kernel(Context{}, a);
  return a.flops;
}

Index run_multiply_adds(const std::string& dtype, Index rounds) {
  check<ValueError>(rounds >= 1, "machine_multiply_adds: rounds must be at least 1, got ", rounds);
  const auto& table = kernels<MachineKernels>(Device::cpu);
  if (dtype == "float32") return multiply_adds<float>(table.multiply_adds_float, rounds);
  if (dtype == "float64") return multiply_adds<double>(table.multiply_adds_double, rounds);
  if (dtype == "bfloat16") return multiply_adds<bfloat16>(table.multiply_adds_bfloat16, rounds);
  throw ValueError("machine_multiply_adds: dtype must be float32, float64 or bfloat16, got " + dtype);
}

void run_stream(const std::vector<Tensor>& x, const Tensor& y, bool bypasses_caches, Index repeats) {
  check<ValueError>(repeats >= 1, "machine_stream: repeats must be at least 1, got ", repeats);
  check<ValueError>(!x.empty() && int(x.size()) <= Stream::kMostReads, "machine_stream: x must be 1 to ",
                    Stream::kMostReads, " tensors, got ", x.size());
  float sink[kMaxChunks];
  Stream s{.x = {},
           .y = nullptr,
           .sink = sink,
           .n = x[0].numel(),
           .reads = int(x.size()),
           .bypasses_caches = bypasses_caches,
           .repeats = repeats};
  for (std::size_t i = 0; i < x.size(); ++i) {
    check(x[i].dtype() == DType::float32 && x[i].is_contiguous() && x[i].numel() == s.n,
          "machine_stream: x must be contiguous float32 tensors of one size");
    s.x[i] = x[i].data<float>();
  }
  if (y.defined()) {
    check(y.dtype() == DType::float32 && y.is_contiguous() && y.numel() == s.n,
          "machine_stream: y must be a contiguous float32 tensor as large as x");
    s.y = y.data<float>();
  }
  kernels<MachineKernels>(Device::cpu).stream(Context{}, s);
}

Index run_handoffs(Index rounds) {
  check<ValueError>(rounds >= 1, "machine_handoffs: rounds must be at least 1, got ", rounds);
  Handoffs h{.rounds = rounds};
  kernels<MachineKernels>(Device::cpu).handoffs(Context{}, h);
  return h.done;
}

}  // namespace

void bind_machine(py::module_& m) {
  m.def("machine_multiply_adds", &run_multiply_adds, "dtype"_a, "rounds"_a);
  m.def("machine_stream", &run_stream, "x"_a, "y"_a, "bypasses_caches"_a, "repeats"_a = 1);
  m.def("machine_handoffs", &run_handoffs, "rounds"_a);
}

}  // namespace dd2424
