#include "tensor/dtype.h"

#include <atomic>
#include <cmath>
#include <cstring>

namespace dd2424 {
namespace {

constexpr std::string_view kNames[kDTypes] = {"float32", "float64", "bfloat16", "float16", "int64",
                                              "int32",   "int16",   "int8",     "uint8",   "bool"};
std::atomic<DType> python_float{DType::float32};

DType promote_integers(DType a, DType b) {
  if (a == DType::bool_) return b;
  if (b == DType::bool_) return a;
  const bool mixed = (a == DType::uint8) != (b == DType::uint8);
  if (mixed && item_bytes(a) == 1 && item_bytes(b) == 1) return DType::int16;  // int8 and uint8
  return item_bytes(a) >= item_bytes(b) ? a : b;
}

std::uint16_t to_bfloat16(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  if (std::isnan(x)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Nearest even, by the float adder: in units of the target's last place the sum's own rounding is the one wanted.
std::uint16_t to_float16(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const float size = std::fabs(x);
  if (std::isnan(x)) return sign | 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < 0x1p-14f) return sign | static_cast<std::uint16_t>(std::nearbyint(size * 0x1p24f));
  const std::uint32_t magnitude = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
  return sign | static_cast<std::uint16_t>((magnitude >> 13) - (112 << 10));
}

}  // namespace

std::string_view dtype_name(DType dtype) { return kNames[static_cast<int>(dtype)]; }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << "dd2424." << dtype_name(dtype); }
std::ostream& operator<<(std::ostream& out, Device device) { return out << (device == Device::cpu ? "cpu" : "cuda"); }

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (!is_floating(a) && !is_floating(b)) return promote_integers(a, b);
  if (!is_floating(a)) return b;
  if (!is_floating(b)) return a;
  if (a == DType::float64 || b == DType::float64) return DType::float64;
  return DType::float32;  // also bfloat16 with float16
}

DType default_dtype() { return python_float.load(std::memory_order_relaxed); }
void set_default_dtype(DType dtype) {
  check<TypeError>(is_floating(dtype), "set_default_dtype: dtype must be floating, got ", dtype);
  python_float.store(dtype, std::memory_order_relaxed);
}

Scalar::Scalar(double value) : kind(Kind::floating), floating(value) {
  // Out of an integer's range the value is not used as one.
  integer = value > -0x1p63 && value < 0x1p63 ? static_cast<std::int64_t>(value) : 0;
}

Element to_element(const Scalar& value, DType dtype) {
  Element element{.as_integer = value.integer};  // little-endian: narrower integers are its first bytes
  switch (dtype) {
    case DType::float64: element.as_double = value.floating; break;
    case DType::float32: element.as_float = static_cast<float>(value.floating); break;
    case DType::bool_: element.as_integer = value.floating != 0; break;
    case DType::bfloat16: element.as_integer = to_bfloat16(static_cast<float>(value.floating)); break;
    case DType::float16: element.as_integer = to_float16(static_cast<float>(value.floating)); break;
    default: break;
  }
  return element;
}

}  // namespace dd2424
