#include "ops/elementwise.h"

#include <limits>

#include "bindings/python.h"
#include "ops/copy.h"

namespace dd2424 {
namespace {

using namespace py::literals;

struct UnaryName {
  const char* name;
  UnaryOp op;
};
constexpr UnaryName kUnary[] = {
    {"neg", UnaryOp::neg},
    {"negative", UnaryOp::neg},
    {"abs", UnaryOp::abs},
    {"absolute", UnaryOp::abs},
    {"sign", UnaryOp::sign},
    {"square", UnaryOp::square},
    {"reciprocal", UnaryOp::reciprocal},
    {"sqrt", UnaryOp::sqrt},
    {"rsqrt", UnaryOp::rsqrt},
    {"exp", UnaryOp::exp},
    {"exp2", UnaryOp::exp2},
    {"expm1", UnaryOp::expm1},
    {"log", UnaryOp::log},
    {"log2", UnaryOp::log2},
    {"log10", UnaryOp::log10},
    {"log1p", UnaryOp::log1p},
    {"sin", UnaryOp::sin},
    {"cos", UnaryOp::cos},
    {"tan", UnaryOp::tan},
    {"asin", UnaryOp::asin},
    {"arcsin", UnaryOp::asin},
    {"acos", UnaryOp::acos},
    {"arccos", UnaryOp::acos},
    {"atan", UnaryOp::atan},
    {"arctan", UnaryOp::atan},
    {"sinh", UnaryOp::sinh},
    {"cosh", UnaryOp::cosh},
    {"tanh", UnaryOp::tanh},
    {"asinh", UnaryOp::asinh},
    {"acosh", UnaryOp::acosh},
    {"atanh", UnaryOp::atanh},
    {"erf", UnaryOp::erf},
    {"erfc", UnaryOp::erfc},
    {"erfinv", UnaryOp::erfinv},
    {"lgamma", UnaryOp::lgamma},
    {"digamma", UnaryOp::digamma},
    {"sigmoid", UnaryOp::sigmoid},
    {"floor", UnaryOp::floor},
    {"ceil", UnaryOp::ceil},
    {"round", UnaryOp::round},
    {"trunc", UnaryOp::trunc},
    {"fix", UnaryOp::trunc},
    {"sgn", UnaryOp::sign},
    {"arcsinh", UnaryOp::asinh},
    {"arccosh", UnaryOp::acosh},
    {"arctanh", UnaryOp::atanh},
    {"frac", UnaryOp::frac},
    {"relu", UnaryOp::relu},
    {"selu", UnaryOp::selu},
    {"bitwise_not", UnaryOp::bit_not},
};
// Functions of nn.functional, without a method.
constexpr UnaryName kActivations[] = {
    {"silu", UnaryOp::silu},
    {"mish", UnaryOp::mish},
    {"logsigmoid", UnaryOp::logsigmoid},
    {"softsign", UnaryOp::softsign},
    {"hardsigmoid", UnaryOp::hardsigmoid},
    {"hardswish", UnaryOp::hardswish},
};

struct BinaryName {
  const char* name;
  BinaryOp op;
};
constexpr BinaryName kBinary[] = {
    {"mul", BinaryOp::mul},
    {"multiply", BinaryOp::mul},
    {"floor_divide", BinaryOp::floor_div},
    {"remainder", BinaryOp::remainder},
    {"fmod", BinaryOp::fmod},
    {"pow", BinaryOp::pow},
    {"maximum", BinaryOp::maximum},
    {"minimum", BinaryOp::minimum},
    {"fmax", BinaryOp::fmax},
    {"fmin", BinaryOp::fmin},
    {"atan2", BinaryOp::atan2},
    {"arctan2", BinaryOp::atan2},
    {"hypot", BinaryOp::hypot},
    {"copysign", BinaryOp::copysign},
    {"xlogy", BinaryOp::xlogy},
    {"bitwise_and", BinaryOp::bit_and},
    {"bitwise_or", BinaryOp::bit_or},
    {"bitwise_xor", BinaryOp::bit_xor},
    {"bitwise_left_shift", BinaryOp::shift_left},
    {"bitwise_right_shift", BinaryOp::shift_right},
};
constexpr std::pair<const char*, CompareOp> kCompare[] = {
    {"eq", CompareOp::eq},
    {"ne", CompareOp::ne},
    {"not_equal", CompareOp::ne},
    {"lt", CompareOp::lt},
    {"less", CompareOp::lt},
    {"le", CompareOp::le},
    {"less_equal", CompareOp::le},
    {"gt", CompareOp::gt},
    {"greater", CompareOp::gt},
    {"ge", CompareOp::ge},
    {"greater_equal", CompareOp::ge},
    {"logical_and", CompareOp::logical_and},
    {"logical_or", CompareOp::logical_or},
    {"logical_xor", CompareOp::logical_xor},
};
constexpr std::pair<const char*, TestOp> kTests[] = {{"isnan", TestOp::isnan},
                                                     {"isinf", TestOp::isinf},
                                                     {"isfinite", TestOp::isfinite},
                                                     {"logical_not", TestOp::logical_not}};

std::string inplace(const char* name) { return std::string(name) + "_"; }

Tensor divide(const ops::Operand& a, const ops::Operand& b, const std::optional<std::string>& rounding) {
  if (!rounding) return ops::div(a, b);
  if (*rounding == "floor") return ops::binary(BinaryOp::floor_div, a, b);
  check(*rounding == "trunc", "div: rounding_mode must be None, 'trunc' or 'floor', got '", *rounding, "'");
  if (is_floating(ops::result_type(a, b))) return ops::unary(UnaryOp::trunc, ops::div(a, b));
  const Tensor multiple = ops::sub(a, ops::binary(BinaryOp::fmod, a, b));  // exact, as a quotient in floats is not
  return ops::binary(BinaryOp::floor_div, multiple, b);
}
Tensor divide_(Tensor& a, const ops::Operand& b, const std::optional<std::string>& rounding) {
  if (!rounding) return ops::binary_(BinaryOp::div, a, b);
  if (*rounding == "floor") return ops::binary_(BinaryOp::floor_div, a, b);
  return ops::copy_(a,
                    divide(grad_enabled() && needs_grad(a) ? ops::before_write(a, true) : ops::detach(a), b, rounding));
}

// alpha of add and sub: whole for integers.
double scale_of(const char* name, const ops::Operand& a, const ops::Operand& b, const Scalar& alpha) {
  check(alpha.kind != Scalar::Kind::floating || is_floating(ops::result_type(a, b)), name,
        ": alpha must be an integer for integer operands, got ", alpha.floating);
  return alpha.floating;
}

// Bounds that are numbers go into one kernel; tensors are compared with.
Tensor clamp(const Tensor& x, const std::optional<Value>& low, const std::optional<Value>& high) {
  check(low || high, "clamp: at least one of min and max must not be None");
  if ((low && low->tensor.defined()) || (high && high->tensor.defined())) {
    Tensor y = x;
    if (low) y = ops::binary(BinaryOp::maximum, y, *low);
    if (high) y = ops::binary(BinaryOp::minimum, y, *high);
    return y;
  }
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const bool widens = !is_floating(x.dtype()) && ((low && low->scalar.kind == Scalar::Kind::floating) ||
                                                  (high && high->scalar.kind == Scalar::Kind::floating));
  return ops::unary(UnaryOp::clamp, widens ? ops::to(x, default_dtype()) : x, low ? low->scalar.floating : -infinity,
                    high ? high->scalar.floating : infinity);
}
Tensor& clamp_(Tensor& x, const std::optional<Value>& low, const std::optional<Value>& high) {
  return ops::copy_(x, clamp(grad_enabled() && needs_grad(x) ? ops::before_write(x, true) : ops::detach(x), low, high));
}

void bind_unary(py::module_& m) {
  for (const auto [name, op] : kUnary) {
    define(m, name, [op = op](const Tensor& x) { return ops::unary(op, x); }, "input"_a);
    make_direct(m, name, [](const Tensor& x, int op) { return ops::unary(UnaryOp(op), x); }, static_cast<int>(op));
    define(m, inplace(name).c_str(), [op = op](Tensor x) { return ops::unary_(op, x); }, "input"_a);
  }
  for (const auto [name, op] : kActivations)
    m.def(name, [op = op](const Tensor& x) { return ops::unary(op, x); }, "input"_a);
  for (const auto& [name, op] : kTests)
    define(m, name, [op = op](const Tensor& x) { return ops::test(op, x); }, "input"_a);
  const auto polygamma = [](Index n, const Tensor& x) {
    check(n >= 0, "polygamma: n must not be negative, got ", n);
    return n == 0 ? ops::unary(UnaryOp::digamma, x) : ops::unary(UnaryOp::polygamma, x, static_cast<double>(n));
  };
  m.def("polygamma", polygamma, "n"_a, "input"_a);
  define_method("polygamma", [polygamma](const Tensor& x, Index n) { return polygamma(n, x); }, "n"_a);
  m.def(
      "leaky_relu", [](const Tensor& x, double slope) { return ops::unary(UnaryOp::leaky_relu, x, slope); }, "input"_a,
      "negative_slope"_a = 0.01);
  m.def(
      "elu", [](const Tensor& x, double alpha) { return ops::unary(UnaryOp::elu, x, alpha); }, "input"_a,
      "alpha"_a = 1.0);
  m.def(
      "celu",
      [](const Tensor& x, double alpha) {
        check(alpha != 0, "celu: alpha must not be 0, got ", alpha);
        return ops::unary(UnaryOp::celu, x, alpha);
      },
      "input"_a, "alpha"_a = 1.0);
  m.def(
      "gelu",
      [](const Tensor& x, const std::string& approximate) {
        check(approximate == "none" || approximate == "tanh", "gelu: approximate must be 'none' or 'tanh', got '",
              approximate, "'");
        return ops::unary(approximate == "tanh" ? UnaryOp::gelu_tanh : UnaryOp::gelu, x);
      },
      "input"_a, "approximate"_a = "none");
  m.def(
      "softplus",
      [](const Tensor& x, double beta, double threshold) { return ops::unary(UnaryOp::softplus, x, beta, threshold); },
      "input"_a, "beta"_a = 1.0, "threshold"_a = 20.0);
  m.def(
      "hardtanh", [](const Tensor& x, double low, double high) { return ops::unary(UnaryOp::hardtanh, x, low, high); },
      "input"_a, "min_val"_a = -1.0, "max_val"_a = 1.0);
}

void bind_binary(py::module_& m) {
  for (const auto [name, op] : kBinary) {
    define(m, name, [op = op](const Value& a, const Value& b) { return ops::binary(op, a, b); }, "input"_a, "other"_a);
    define(
        m, inplace(name).c_str(), [op = op](Tensor a, const Value& b) { return ops::binary_(op, a, b); }, "input"_a,
        "other"_a);
  }
  for (const auto& [name, op] : kCompare)
    define(m, name, [op = op](const Value& a, const Value& b) { return ops::compare(op, a, b); }, "input"_a, "other"_a);
  constexpr std::pair<const char*, BinaryOp> sums[] = {
      {"add", BinaryOp::add}, {"sub", BinaryOp::sub}, {"subtract", BinaryOp::sub}};
  for (const auto& [name, op] : sums) {
    const auto scaled = [op = op](double alpha) { return op == BinaryOp::add ? alpha : -alpha; };
    define(
        m, name,
        [name = name, op = op, scaled](const Value& a, const Value& b, const Scalar& alpha) {
          if (alpha.floating == 1) return ops::binary(op, a, b);
          return ops::binary(BinaryOp::add_scaled, a, b, scaled(scale_of(name, a, b, alpha)));
        },
        "input"_a, "other"_a, py::kw_only(), "alpha"_a = Scalar(1));
    define(
        m, inplace(name).c_str(),
        [name = name, op = op, scaled](Tensor a, const Value& b, const Scalar& alpha) {
          if (alpha.floating == 1) return ops::binary_(op, a, b);
          return ops::binary_(BinaryOp::add_scaled, a, b, scaled(scale_of(name, a, b, alpha)));
        },
        "input"_a, "other"_a, py::kw_only(), "alpha"_a = Scalar(1));
  }
  for (const char* name : {"div", "divide", "true_divide"}) {
    define(
        m, name,
        [](const Value& a, const Value& b, const std::optional<std::string>& rounding) {
          return divide(a, b, rounding);
        },
        "input"_a, "other"_a, py::kw_only(), "rounding_mode"_a = py::none());
    define(
        m, inplace(name).c_str(),
        [](Tensor a, const Value& b, const std::optional<std::string>& rounding) { return divide_(a, b, rounding); },
        "input"_a, "other"_a, py::kw_only(), "rounding_mode"_a = py::none());
  }
}

}  // namespace

void bind_elementwise(py::module_& m) {
  bind_unary(m);
  bind_binary(m);
  for (const char* name : {"clamp", "clip"}) {
    define(m, name, clamp, "input"_a, "min"_a = py::none(), "max"_a = py::none());
    define(
        m, inplace(name).c_str(),
        [](Tensor x, const std::optional<Value>& low, const std::optional<Value>& high) {
          return clamp_(x, low, high);
        },
        "input"_a, "min"_a = py::none(), "max"_a = py::none());
  }
  define(
      m, "masked_fill",
      [](const Tensor& x, const Tensor& mask, const Value& value) {
        const Tensor filling = value.tensor.defined() ? ops::to(value.tensor, x.dtype())
                                                      : ops::scalar_tensor(value.scalar, x.dtype(), x.device());
        return ops::contiguous(ops::where(mask, ops::Operand(filling), ops::Operand(x)));
      },
      "input"_a, "mask"_a, "value"_a);
  m.def(
      "where", [](const Tensor& condition, const Value& a, const Value& b) { return ops::where(condition, a, b); },
      "condition"_a, "input"_a, "other"_a);
  define_method(
      "where",
      [](const Tensor& self, const Tensor& condition, const Value& other) {
        return ops::where(condition, ops::Operand(self), other);
      },
      "condition"_a, "other"_a);
}

}  // namespace dd2424
