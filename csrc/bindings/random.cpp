#include "ops/random.h"

#include <random>

#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"

namespace dd2424 {
namespace {

using namespace py::literals;
using ops::Generator;

Generator& chosen(Generator* generator) { return generator ? *generator : ops::default_generator(); }

// Fills self; types that no kernel draws in are drawn in float32 and converted.
Tensor fill_random(Tensor self, Distribution distribution, double p, double q, Generator* generator) {
  if (is_floating(self.dtype()) && (self.dtype() != DType::float16 || self.device() != Device::cpu)) {
    ops::random_(self, distribution, p, q, chosen(generator));
    return self;
  }
  ops::check_inplace("random", self);
  const Tensor drawn = ops::random(self.shape(), DType::float32, distribution, p, q, chosen(generator), self.device());
  ops::copy_into(self, drawn);
  ops::count_write(self);
  return self;
}

// 1 with the probability that each element of p gives, else 0.
Tensor fill_by_chance(Tensor self, const Tensor& p, Generator* generator) {
  ops::check_inplace("bernoulli_", self);
  const GradMode off(false);
  check(is_floating(p.dtype()), "bernoulli: p must have a floating dtype, got ", p.dtype());
  const Tensor low = ops::compare(CompareOp::ge, p, 0.0), high = ops::compare(CompareOp::le, p, 1.0);
  check(ops::item(ops::all(ops::binary(BinaryOp::bit_and, low, high))).integer != 0,
        "bernoulli: p must hold probabilities from 0 to 1");
  const DType dtype = p.dtype() == DType::float64 ? DType::float64 : DType::float32;
  const Tensor drawn = ops::random(self.shape(), dtype, Distribution::uniform, 0, 1, chosen(generator), self.device());
  return ops::copy_(self, ops::compare(CompareOp::lt, drawn, ops::to(p, dtype)));
}

// The integers that every one of the dtype can hold: all of an integer type, those of a mantissa for a float.
std::int64_t highest_whole(DType dtype) {
  switch (dtype) {
    case DType::float64: return std::int64_t{1} << 53;
    case DType::float32: return std::int64_t{1} << 24;
    case DType::float16: return std::int64_t{1} << 11;
    case DType::bfloat16: return std::int64_t{1} << 8;
    default: return ops::largest(dtype);
  }
}

// random_(), random_(to), random_(from, to): whole numbers below `to`.
Tensor fill_whole(Tensor self, const std::optional<std::int64_t>& first, const std::optional<std::int64_t>& second,
                  Generator* generator) {
  ops::check_inplace("random_", self);
  const std::int64_t most = highest_whole(self.dtype());
  const std::int64_t end = most + (is_floating(self.dtype()) || most < 0x7fffffffffffffff);
  const std::int64_t low = second && first ? *first : 0, high = second ? *second : first.value_or(end);
  ops::copy_into(self, ops::randint(low, high, self.shape(), self.dtype(), chosen(generator), self.device()));
  ops::count_write(self);
  return self;
}

void bind_fills() {
  define_method(
      "uniform_",
      [](Tensor self, double low, double high, Generator* g) {
        check(low <= high, "uniform_: from must not be larger than to, got ", low, " and ", high);
        return fill_random(self, Distribution::uniform, low, high, g);
      },
      "from"_a = 0.0, "to"_a = 1.0, py::kw_only(), "generator"_a = py::none());
  define_method(
      "normal_",
      [](Tensor self, double mean, double std, Generator* g) {
        check(std >= 0, "normal_: std must not be negative, got ", std);
        return fill_random(self, Distribution::normal, mean, std, g);
      },
      "mean"_a = 0.0, "std"_a = 1.0, py::kw_only(), "generator"_a = py::none());
  define_method(
      "bernoulli_",
      [](Tensor self, const Value& p, Generator* g) {
        if (p.tensor.defined()) return fill_by_chance(self, p.tensor, g);
        const double chance = p.scalar.floating;
        check(chance >= 0 && chance <= 1, "bernoulli_: p must be a probability from 0 to 1, got ", chance);
        return fill_random(self, Distribution::bernoulli, chance, 0, g);
      },
      "p"_a = 0.5, py::kw_only(), "generator"_a = py::none());
}

void bind_skewed_fills() {
  define_method(
      "exponential_",
      [](Tensor self, double rate, Generator* g) {
        check(rate > 0, "exponential_: lambd must be positive, got ", rate);
        return fill_random(self, Distribution::exponential, rate, 0, g);
      },
      "lambd"_a = 1.0, py::kw_only(), "generator"_a = py::none());
  define_method(
      "cauchy_",
      [](Tensor self, double median, double sigma, Generator* g) {
        return fill_random(self, Distribution::cauchy, median, sigma, g);
      },
      "median"_a = 0.0, "sigma"_a = 1.0, py::kw_only(), "generator"_a = py::none());
  define_method(
      "log_normal_",
      [](Tensor self, double mean, double std, Generator* g) {
        return fill_random(self, Distribution::log_normal, mean, std, g);
      },
      "mean"_a = 1.0, "std"_a = 2.0, py::kw_only(), "generator"_a = py::none());
  define_method(
      "geometric_",
      [](Tensor self, double p, Generator* g) {
        check(p > 0 && p < 1, "geometric_: p must lie between 0 and 1, got ", p);
        return fill_random(self, Distribution::geometric, p, 0, g);
      },
      "p"_a, py::kw_only(), "generator"_a = py::none());
  define_method(
      "random_",
      [](Tensor self, const std::optional<std::int64_t>& first, const std::optional<std::int64_t>& second,
         Generator* g) { return fill_whole(self, first, second, g); },
      "from"_a = py::none(), "to"_a = py::none(), py::kw_only(), "generator"_a = py::none());
}

void bind_generator(py::module_& m) {
  py::class_<Generator>(m, "Generator",
                        "A seed and how many operations have drawn from it. Every draw is a function of both.")
      .def(py::init([](const py::object&) { return std::make_unique<Generator>(); }), "device"_a = py::none())
      .def(
          "manual_seed",
          [](py::object self, std::uint64_t seed) {
            self.cast<Generator&>().manual_seed(seed);
            return self;
          },
          "seed"_a)
      .def("seed",
           [](Generator& self) {
             std::random_device source;
             const std::uint64_t seed = std::uint64_t{source()} << 32 | source();
             self.manual_seed(seed);
             return seed;
           })
      .def("initial_seed", [](const Generator& self) { return self.state().first; })
      .def("get_state",
           [](const Generator& self) {
             const auto [seed, offset] = self.state();
             const Tensor state = empty({2}, DType::int64);
             state.data<Index>()[0] = static_cast<Index>(seed);
             state.data<Index>()[1] = static_cast<Index>(offset);
             return state;
           })
      .def(
          "set_state",
          [](Generator& self, const Tensor& state) {
            check<TypeError>(state.dtype() == DType::int64 && state.numel() == 2,
                             "set_state: state must be what get_state() gave");
            const Tensor flat = ops::contiguous(state);
            self.set_state(static_cast<std::uint64_t>(flat.data<Index>()[0]),
                           static_cast<std::uint64_t>(flat.data<Index>()[1]));
          },
          "new_state"_a);
}

}  // namespace

void bind_random(py::module_& m) {
  bind_generator(m);
  m.attr("default_generator") = py::cast(&ops::default_generator(), py::return_value_policy::reference);

  m.def(
      "random",
      [](const Shape& size, const std::string& distribution, double p, double q, DType dtype, Generator* generator,
         py::handle device) {
        const auto kind = distribution == "uniform" ? Distribution::uniform : Distribution::normal;
        check<ValueError>(distribution == "uniform" || distribution == "normal",
                          "random: distribution must be uniform or normal, got '", distribution, "'");
        checked_numel("random", size);
        return fill_random(empty(size, dtype, load_device("random", device)), kind, p, q, generator);
      },
      "size"_a, "distribution"_a, "p"_a, "q"_a, "dtype"_a, "generator"_a = py::none(), "device"_a = py::none());
  m.def(
      "randint",
      [](std::int64_t low, std::int64_t high, const Shape& size, DType dtype, Generator* generator, py::handle device) {
        return ops::randint(low, high, size, dtype, chosen(generator), load_device("randint", device));
      },
      "low"_a, "high"_a, "size"_a, "dtype"_a = DType::int64, "generator"_a = py::none(), "device"_a = py::none());
  m.def(
      "randperm",
      [](Index n, DType dtype, Generator* generator, py::handle device) {
        return ops::randperm(n, dtype, chosen(generator), load_device("randperm", device));
      },
      "n"_a, "dtype"_a = DType::int64, "generator"_a = py::none(), "device"_a = py::none());
  m.def(
      "dropout",
      [](const Tensor& x, double p, bool channels, bool alpha, Generator* generator) {
        return ops::dropout(x, p, channels, chosen(generator), alpha);
      },
      "input"_a, "p"_a, "channels"_a = false, "alpha"_a = false, "generator"_a = py::none());
  bind_fills();
  bind_skewed_fills();
}

}  // namespace dd2424
