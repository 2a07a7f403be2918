#pragma once
#include <cuda_runtime.h>

#include "core/types.h"

// Elements that are only moved, in the widest cells that fit.
namespace dd2424::cuda {
namespace {

// Calls f with a cell of so many bytes.
template <class F>
Status with_cell(Index bytes, const F& f) {
  switch (bytes) {
    case 1: return f(std::uint8_t());
    case 2: return f(std::uint16_t());
    case 4: return f(std::uint32_t());
    case 8: return f(std::uint64_t());
    case 16: return f(float4());
  }
  return Status::unsupported;
}
// The largest cell, of 16 bytes at most, that divides all of `numbers`, counts of bytes and addresses.
template <class... Numbers>
Index widest(Numbers... numbers) {
  const std::uint64_t all = (static_cast<std::uint64_t>(numbers) | ...);
  Index bytes = 16;
  while (all % static_cast<std::uint64_t>(bytes) != 0) bytes /= 2;
  return bytes;
}
inline std::uint64_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

}  // namespace
}  // namespace dd2424::cuda
